//! Many sessions at once, beside the floor and the peer, and some sessions beside one that
//! floods its client.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::at_once;
use crate::client::{Address, Client};
use crate::peer;
use crate::plan::Plan;
use crate::race::within;
use crate::report::{Report, Unit};
use crate::{Result, Servers};

/// Rows.
pub(crate) const FLOOR: &str = "floor";
pub(crate) const EXECGATE: &str = "execgate";
pub(crate) const EXECKIT: &str = "execkit, in process";

/// Most sessions of the peer, and how many commands each runs in a turn: it makes two
/// hundred a second in all.
const PEER_SESSIONS: usize = 64;
const PEER_COMMANDS: usize = 3;
const PEER_TURNS: usize = 2;

/// The table of those beside a flood.
pub(crate) const FAIRNESS: &str = "`true` in 8 sessions at once, beside one that floods";

/// Sessions beside it, and the commands of each in a turn.
const FAIR_SESSIONS: usize = 8;
const FAIR_COMMANDS: usize = 100;

/// How long a flood may take to begin.
const FLOOD_LIMIT: Duration = Duration::from_secs(20);

/// The variable that tells a flood's process the token.
pub(crate) const TOKEN: &str = "EXECGATE_BENCH_TOKEN";

/// Fills the rows of sessions at once.
pub(crate) async fn measure(servers: &Servers, plan: Plan, report: &mut Report) -> Result<()> {
    let (floor, execgate) = (&servers.floor, &servers.execgate);
    let most = plan.parallel_sessions.iter().copied().max();
    at_once::open(&execgate.unix(), most.unwrap_or_default()).await?;
    let contenders = [(FLOOR, floor.unix()), (EXECGATE, execgate.unix())];
    let turns = plan.turns.min(at_once::TURNS);
    for &sessions in plan.parallel_sessions {
        let commands = plan.parallel_commands;
        at_once::race("", &contenders, sessions, commands, turns, report).await?;
        let (latency, rate) = at_once::tables("", sessions);
        if sessions <= PEER_SESSIONS {
            for _ in 0..PEER_TURNS {
                let commands = peer::parallel(sessions, PEER_COMMANDS)?;
                report.sample(&rate, EXECKIT, Unit::Rate, commands);
            }
        }
        for table in [latency, rate] {
            report.compare(&table, EXECGATE, FLOOR);
            report.compare(&table, EXECKIT, EXECGATE);
        }
    }
    for turn in 0..=turns {
        for (name, address) in &contenders {
            fair(name, address, turn, report).await?;
        }
    }
    for name in [FLOOR, EXECGATE] {
        report.compare(FAIRNESS, &flooded(name), name);
    }
    Ok(())
}

/// The row of a contender beside a flood.
pub(crate) fn flooded(name: &str) -> String {
    format!("{name}, one session floods")
}

/// One turn alone, and one beside a flood.
async fn fair(name: &str, address: &Address, turn: usize, report: &mut Report) -> Result<()> {
    let mut client = Client::connect(address).await?;
    let alone = at_once::this_turn(&client, FAIR_SESSIONS, FAIR_COMMANDS).await?;
    let session = format!("flood-{turn}");
    // The floor makes its sessions by itself.
    if address.token.is_some() {
        client.open(&session).await?;
    }
    let flood = within(FLOOD_LIMIT, Flood::start(address, &session)).await?;
    let beside = at_once::this_turn(&client, FAIR_SESSIONS, FAIR_COMMANDS).await?;
    drop(flood);
    if address.token.is_some() {
        client.close(&session).await?;
    }
    // The first turn warms up and does not count.
    if turn > 0 {
        for (row, taken) in [(name.to_owned(), alone), (flooded(name), beside)] {
            for seconds in taken {
                report.sample(FAIRNESS, &row, Unit::Time, seconds);
            }
        }
    }
    Ok(())
}

/// A client in a process of its own that takes what `yes` prints, until it is dropped.
struct Flood(#[expect(dead_code, reason = "dropping it ends the process")] Child);

impl Flood {
    /// Starts one, and waits until it flows.
    async fn start(address: &Address, session: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("flood").args([&address.uri, session]);
        if let Some(token) = &address.token {
            command.env(TOKEN, token);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("it has no pipe")?;
        match BufReader::new(stdout).read_line(&mut String::new()).await? {
            0 => Err("the flood has ended".into()),
            _ => Ok(Self(child)),
        }
    }
}

/// What a flood's process does: says when the first output has come, and reads on.
pub(crate) async fn flood(uri: String, session: &str) -> Result<()> {
    let token = std::env::var(TOKEN).ok();
    let mut client = Client::connect(&Address { uri, token }).await?;
    client
        .swallow(session, "yes", || println!("it flows"))
        .await
}
