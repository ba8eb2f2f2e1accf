//! What sessions cost: to begin and to end one, and to have them while they do nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{Address, Client, Target};
use crate::peer::Peer;
use crate::plan::Plan;
use crate::processes::{Usage, available_memory, below, lives, processor_seconds, usage};
use crate::race::Contender;
use crate::report::{Report, Unit};
use crate::server::{Audit, Server};
use crate::shell::BareShell;

/// The table of beginnings and ends.
pub(crate) const TABLE: &str = "a session's begin and end";

/// Its rows.
pub(crate) const BASH: &str = "bash started, asked once, ended";
pub(crate) const CREATE: &str = "execgate create";
pub(crate) const CLOSE: &str = "execgate close";
pub(crate) const BOTH: &str = "execgate create + close";

/// Rows of idle sessions.
pub(crate) const SERVER_MEMORY: &str = "execgate: in the server";
pub(crate) const SERVER_FILES: &str = "execgate: file descriptors of the server";
pub(crate) const SERVER_THREADS: &str = "execgate: threads of the server";
pub(crate) const SERVER_PROCESSOR: &str = "execgate: the server's processor time, all sessions";

/// Begins and ends in a turn.
const BEGINS: usize = 20;

/// The peer's take fifty milliseconds each.
const PEER_BEGINS: usize = 3;

/// Begins and ends on other targets.
const FAR_BEGINS: usize = 8;

/// Idle sessions of the peer, where it is measured.
const PEER_SESSIONS: usize = 100;

/// What an idle session takes of the machine at most, in bytes: its launcher and its shell,
/// twice. Where there is less memory, so many sessions are not tried.
const SESSION_BYTES: u64 = 2 << 20;

/// How long opening a step's sessions may take, before the step is left out.
const OPEN_LIMIT: Duration = Duration::from_secs(300);

/// How long all processes of a server may take to end, and the pause between two looks.
const END_LIMIT: Duration = Duration::from_secs(60);
const END_PAUSE: Duration = Duration::from_millis(100);

/// The table of so many idle sessions.
pub(crate) fn idle_table(sessions: usize) -> String {
    format!("an idle session, mean of {sessions}")
}

/// Fills the rows of sessions.
pub(crate) async fn measure(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    begins(program, plan, report).await?;
    idle(program, plan, report).await?;
    if plan.idle_sessions.contains(&PEER_SESSIONS) {
        peers(report)?;
    }
    Ok(())
}

async fn begins(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let server = Server::execgate(program, Audit::Durable).await?;
    let unsynced = Server::execgate(program, Audit::Written).await?;
    let mut client = Client::connect(&server.unix()).await?;
    let mut without = Client::connect(&unsynced.unix()).await?;
    for turn in 0..=plan.turns {
        let mut note = |row: &str, start: Instant| {
            // The first turn warms up and does not count.
            if turn > 0 {
                let taken = start.elapsed().as_secs_f64();
                report.sample(TABLE, row, Unit::Time, taken);
            }
        };
        for index in 0..BEGINS {
            let start = Instant::now();
            let mut bash = BareShell::start()?;
            bash.once("true").await?;
            bash.end().await?;
            note(BASH, start);
            let name = format!("begin-{turn}-{index}");
            let start = Instant::now();
            client.open(&name).await?;
            note(CREATE, start);
            let middle = Instant::now();
            client.close(&name).await?;
            note(CLOSE, middle);
            note(BOTH, start);
            let start = Instant::now();
            without.open(&name).await?;
            without.close(&name).await?;
            note("execgate create + close, audit not synced", start);
        }
        for _ in 0..PEER_BEGINS {
            let start = Instant::now();
            drop(Peer::open()?);
            note("execkit open + drop", start);
        }
    }
    report.compare(TABLE, BOTH, BASH);
    report.compare(TABLE, "execkit open + drop", BOTH);
    Ok(())
}

/// Begins and ends sessions somewhere else.
pub(crate) async fn begins_on(
    address: &Address,
    table: &str,
    row: &str,
    target: Target,
    report: &mut Report,
) -> Result<()> {
    let mut client = Client::connect(address).await?;
    for index in 0..=FAR_BEGINS {
        let session = format!("{}-{index}", row.replace([' ', ','], "-"));
        let start = Instant::now();
        client.open_on(&session, Some(target.clone())).await?;
        let middle = Instant::now();
        client.close(&session).await?;
        let end = Instant::now();
        // The first one warms up and does not count.
        if index > 0 {
            let mut note = |what: &str, from: Instant, to: Instant| {
                let taken = (to - from).as_secs_f64();
                report.sample(table, &format!("{row}, {what}"), Unit::Time, taken);
            };
            note("create", start, middle);
            note("close", middle, end);
        }
    }
    Ok(())
}

async fn idle(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let server = Server::execgate(program, Audit::Durable).await?;
    let pid = server.pid()?;
    let mut client = Client::connect(&server.unix()).await?;
    // The first session pays for what all share.
    client.open("first").await?;
    client.run("first", "true").await?;
    let before = usage(pid)?;
    let mut opened = 0;
    for &sessions in plan.idle_sessions {
        let table = idle_table(sessions);
        let added = sessions - opened;
        if available_memory()? < added as u64 * SESSION_BYTES {
            report.left_out(&table, "all", "this machine has too little memory");
            break;
        }
        let start = Instant::now();
        while opened < sessions {
            if start.elapsed() > OPEN_LIMIT {
                let reason = format!("{opened} were open after {OPEN_LIMIT:?}");
                report.left_out(&table, "all", &reason);
                return end(server).await;
            }
            let name = format!("idle-{opened}");
            client.open(&name).await?;
            client.run(&name, "true").await?;
            opened += 1;
        }
        let each = start.elapsed().as_secs_f64() / added as f64;
        report.sample(&table, "execgate: create + first command", Unit::Time, each);
        note_idle(report, &table, before, usage(pid)?, sessions as f64);
        let (ran, start) = (processor_seconds(pid)?, Instant::now());
        tokio::time::sleep(Duration::from_secs(plan.idle_seconds)).await;
        let share = (processor_seconds(pid)? - ran) / start.elapsed().as_secs_f64();
        report.sample(&table, SERVER_PROCESSOR, Unit::Share, share);
        let start = Instant::now();
        client.run("idle-0", "true").await?;
        let taken = start.elapsed().as_secs_f64();
        report.sample(&table, "execgate: `true` in one of them", Unit::Time, taken);
    }
    end(server).await
}

fn note_idle(report: &mut Report, table: &str, before: Usage, after: Usage, sessions: f64) {
    let rows = [
        (SERVER_MEMORY, Unit::Bytes, before.top, after.top),
        (
            "execgate: launcher",
            Unit::Bytes,
            before.launchers,
            after.launchers,
        ),
        ("execgate: bash", Unit::Bytes, before.shells, after.shells),
        (SERVER_FILES, Unit::Count, before.files, after.files),
        (SERVER_THREADS, Unit::Count, before.threads, after.threads),
    ];
    for (row, unit, before, after) in rows {
        report.sample(table, row, unit, (after - before) / sessions);
    }
    let whole = "execgate: the whole server, all sessions";
    report.sample(table, whole, Unit::Bytes, after.top);
}

/// Ends a server and waits until its thousands of processes are gone, so that they do not
/// disturb what is measured next.
async fn end(server: Server) -> Result<()> {
    let processes = below(server.pid()?)?;
    drop(server);
    let deadline = Instant::now() + END_LIMIT;
    while processes.iter().any(|&pid| lives(pid)) && Instant::now() < deadline {
        tokio::time::sleep(END_PAUSE).await;
    }
    Ok(())
}

/// The same of the peer, whose process is this one.
fn peers(report: &mut Report) -> Result<()> {
    let _first = Peer::open()?;
    let before = usage(std::process::id())?;
    let mut peers = Vec::new();
    for _ in 0..PEER_SESSIONS {
        let mut peer = Peer::open()?;
        peer.exec("true")?;
        peers.push(peer);
    }
    let after = usage(std::process::id())?;
    let rows = [
        (
            "execkit: in its process",
            Unit::Bytes,
            before.top,
            after.top,
        ),
        ("execkit: bash", Unit::Bytes, before.shells, after.shells),
        (
            "execkit: file descriptors",
            Unit::Count,
            before.files,
            after.files,
        ),
        (
            "execkit: threads",
            Unit::Count,
            before.threads,
            after.threads,
        ),
    ];
    for (row, unit, before, after) in rows {
        let each = (after - before) / PEER_SESSIONS as f64;
        report.sample(&idle_table(PEER_SESSIONS), row, unit, each);
    }
    Ok(())
}
