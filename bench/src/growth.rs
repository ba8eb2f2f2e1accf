//! Whether a command costs more where there is more: beside other sessions, and after many
//! commands in its own. Each is timed in turns with a young session of another server that
//! has no other: what the machine does to both is no growth.

use std::path::Path;

use crate::Result;
use crate::client::{Call, Caller, Client};
use crate::plan::Plan;
use crate::processes::usage;
use crate::race::{Contender, Race};
use crate::report::{Report, Unit};
use crate::server::{Audit, Server};

/// The command.
const TRUE: &str = "true";

/// Turns of each step.
const TURNS: usize = 3;

/// Tables.
pub(crate) const SESSIONS: &str = "growth: `true` beside other sessions, audit not synced";
pub(crate) const COMMANDS: &str = "growth: `true` after others in its session, audit not synced";

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
