//! Whether a command costs more where there is more: beside other sessions, and after many
//! commands in its own. Each is timed in turns with a young session of another server that
//! has no other: what the machine does to both is no growth.

use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::caller::{Call, Caller};
use crate::client::Client;
use crate::plan::Plan;
use crate::processes::usage;
use crate::race::{Contender, Race};
use crate::report::{Report, Unit};
use crate::server::{Audit, Server};
use crate::streaming;

/// The command.
const TRUE: &str = "true";

/// Turns of each step.
const TURNS: usize = 3;

/// Tables.
pub(crate) const SESSIONS: &str = "growth: `true` beside other sessions, audit not synced";
pub(crate) const COMMANDS: &str = "growth: `true` after others in its session, audit not synced";

const BEGINS: &str = "growth: create + close beside other sessions, audit not synced";
const STREAMS: &str = "growth: streams of log lines, redacted";

/// Begins and ends of each step.
const BEGIN_TIMES: usize = 20;

/// Streams of each size.
const STREAM_TIMES: usize = 2;

/// The row of a step.
pub(crate) fn beside(others: usize) -> String {
    format!("execgate, beside {others}")
}

/// The row of a step.
pub(crate) fn after(commands: usize) -> String {
    format!("execgate, after {commands}")
}

/// The row of the young session that took turns with a step.
pub(crate) fn control(row: &str) -> String {
    format!("{row}: a young session alone")
}

/// Fills the rows of growth.
pub(crate) async fn measure(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let alone = Server::execgate(program, Audit::Written).await?;
    let grown = Server::execgate(program, Audit::Written).await?;
    commands(&alone, &grown, plan, report).await?;
    streams(&alone, plan, report).await?;
    drop(grown);
    let grown = Server::execgate(program, Audit::Written).await?;
    let mut client = Client::connect(&grown.unix()).await?;
    client.open("timed").await?;
    let mut opened = 0;
    for &others in plan.other_sessions {
        while opened < others {
            client.open(&format!("other-{opened}")).await?;
            opened += 1;
        }
        let timed = Caller::connect(&grown.unix(), "timed", Call::Run).await?;
        step(SESSIONS, &beside(others), &alone, timed, plan, report).await?;
        begins(&grown, others, report).await?;
        if let Some(&first) = plan.other_sessions.first() {
            report.compare(BEGINS, &beside(others), &beside(first));
        }
    }
    Ok(())
}

/// Begins and ends. There is no control here: what other sessions do to the machine is what
/// is asked for.
async fn begins(grown: &Server, others: usize, report: &mut Report) -> Result<()> {
    let mut client = Client::connect(&grown.unix()).await?;
    for index in 0..BEGIN_TIMES {
        let session = format!("begin-{others}-{index}");
        let start = Instant::now();
        client.open(&session).await?;
        client.close(&session).await?;
        let taken = start.elapsed().as_secs_f64();
        report.sample(BEGINS, &beside(others), Unit::Time, taken);
    }
    Ok(())
}

/// Streams of all sizes in turns, through the floor too.
async fn streams(alone: &Server, plan: Plan, report: &mut Report) -> Result<()> {
    let floor = Server::floor().await?;
    let session = "stream";
    let young = Caller::open(&alone.unix(), session, None, Call::Exec).await?;
    let least = Caller::connect(&floor.unix(), session, Call::Exec).await?;
    let mut contenders = [("floor", least), ("execgate", young)];
    for turn in 0..=STREAM_TIMES {
        // The first turn warms up and does not count.
        let sizes = match turn {
            0 => plan.growing_streams.get(..1).unwrap_or_default(),
            _ => plan.growing_streams,
        };
        for &bytes in sizes {
            let script = streaming::script(bytes);
            for (name, caller) in &mut contenders {
                let rate = bytes as f64 / caller.stream(&script, bytes).await?;
                if turn > 0 {
                    let row = format!("{name}, {} MB", bytes / 1_000_000);
                    report.sample(STREAMS, &row, Unit::Bandwidth, rate);
                }
            }
        }
    }
    Ok(())
}

async fn commands(alone: &Server, grown: &Server, plan: Plan, report: &mut Report) -> Result<()> {
    let mut timed = Caller::open(&grown.unix(), "timed", None, Call::Run).await?;
    let mut done = 0;
    for &earlier in plan.earlier_commands {
        timed.run(TRUE, earlier.saturating_sub(done)).await?;
        let row = after(earlier);
        let memory = format!("{row}: the whole server");
        let bytes = usage(grown.pid()?)?.top;
        report.sample(COMMANDS, &memory, Unit::Bytes, bytes);
        step(COMMANDS, &row, alone, timed.clone(), plan, report).await?;
        // Those that were timed.
        done = earlier + TURNS * plan.commands + plan.commands / 4;
    }
    Ok(())
}

/// One step, and its control.
async fn step(
    table: &str,
    row: &str,
    alone: &Server,
    timed: Caller,
    plan: Plan,
    report: &mut Report,
) -> Result<()> {
    // A session's id is never used again.
    let young = row.replace([' ', ','], "-");
    let mut race = Race::default();
    let control = control(row);
    let caller = Caller::open(&alone.unix(), &young, None, Call::Run).await?;
    race.add(&control, plan.commands, caller);
    race.add(row, plan.commands, timed);
    race.versus(row, &control);
    race.run(table, TRUE, TURNS, report).await;
    Client::connect(&alone.unix()).await?.close(&young).await
}
