//! How long a small command takes, from the request to the result, one after the other: the
//! floor, the server with and without waiting for its disk, the peer, and a process for each
//! command.

use crate::caller::{Call, Caller};
use crate::disk::Appender;
use crate::peer::PeerThread;
use crate::plan::Plan;
use crate::python_row::PythonRow;
use crate::race::Race;
use crate::report::Report;
use crate::server::Server;
use crate::shell::BareShell;
use crate::spawn::PerCommand;
use crate::{Result, Servers};

/// The commands, and their tables.
const SCRIPTS: [(&str, &str); 2] = [
    ("true", TABLE),
    ("echo hello", "round trip of `echo hello`"),
];

/// The table of `true`.
pub(crate) const TABLE: &str = "round trip of `true`";

/// The session, on every server.
const SESSION: &str = "round-trip";

/// Rows that others are compared with.
pub(crate) const BARE: &str = "bash eval, three pipes, no server";
pub(crate) const EXECGATE: &str = "execgate Run, Unix socket";
pub(crate) const EXECKIT: &str = "execkit local, in process";
pub(crate) const SYNC: &str = "200 bytes appended, fdatasync";

/// Rows of Python's clients.
pub(crate) const PYTHON_EMPTY: &str = "Python grpcio, empty RPC";
pub(crate) const PYTHON_FLOOR: &str = "Python grpcio, floor Run";
pub(crate) const PYTHON: &str = "Python client, run";
pub(crate) const SWE_REX: &str = "SWE-ReX, its server and bash session";

/// Fills the rows of round trips.
pub(crate) async fn measure(servers: &Servers, plan: Plan, report: &mut Report) -> Result<()> {
    let mut race = race(servers, plan).await?;
    for (script, table) in SCRIPTS {
        let turns = match table {
            TABLE => plan.turns,
            _ => plan.fewer_turns(),
        };
        race.run(table, script, turns, report).await;
    }
    Ok(())
}

async fn race(servers: &Servers, plan: Plan) -> Result<Race> {
    let mut race = Race::default();
    race.add(BARE, plan.commands, BareShell::start()?);
    race.offer(SYNC, plan.commands, Appender::open());
    let Servers {
        execgate,
        unsynced,
        floor,
    } = servers;
    for (way, at) in [("TCP", floor.tcp()), ("Unix socket", floor.unix())] {
        let empty = Caller::connect(&at, SESSION, Call::Nothing).await;
        race.offer(&format!("empty RPC, {way}"), plan.commands, empty);
    }
    for server in [execgate, unsynced] {
        // Kept open by the server when its client goes.
        Caller::open(&server.unix(), SESSION, None, Call::Run).await?;
    }
    for (name, call) in [("Run", Call::Run), ("Exec", Call::Exec)] {
        let ways = [
            ("TCP", floor.tcp(), execgate.tcp(), unsynced.tcp()),
            (
                "Unix socket",
                floor.unix(),
                execgate.unix(),
                unsynced.unix(),
            ),
        ];
        for (way, floor, execgate, unsynced) in ways {
            let floor_row = format!("floor {name}, {way}");
            let contenders = [
                (floor_row.clone(), floor),
                (
                    format!("execgate {name}, {way}, audit not synced"),
                    unsynced,
                ),
                (format!("execgate {name}, {way}"), execgate),
            ];
            for (row, address) in contenders {
                let caller = Caller::connect(&address, SESSION, call).await;
                race.offer(&row, plan.commands, caller);
                if row != floor_row {
                    race.versus(&row, &floor_row);
                }
            }
        }
    }
    race.offer(EXECKIT, plan.slow_commands, PeerThread::local().await);
    let spawn = PerCommand::new("bash", ["--noprofile", "--norc", "-c"]);
    race.add("bash -c per command", plan.slow_commands, spawn);
    for row in [EXECKIT, "bash -c per command"] {
        race.versus(row, EXECGATE);
    }
    in_python(&mut race, floor, execgate, plan).await;
    Ok(race)
}

/// Clients in Python, over TCP; and the peer in Python, which is its own server.
async fn in_python(race: &mut Race, floor: &Server, execgate: &Server, plan: Plan) {
    let (at, here) = (floor.tcp(), execgate.tcp());
    let rows = [
        (PYTHON_EMPTY, None, PythonRow::empty(&at, SESSION).await),
        (
            PYTHON_FLOOR,
            Some(PYTHON_EMPTY),
            PythonRow::grpcio(&at, SESSION).await,
        ),
        (
            "Python grpcio, Run",
            Some(PYTHON_FLOOR),
            PythonRow::grpcio(&here, SESSION).await,
        ),
        (
            PYTHON,
            Some(PYTHON_FLOOR),
            PythonRow::own(&here, SESSION).await,
        ),
        (
            "Python client, run, asyncio",
            Some(PYTHON_FLOOR),
            PythonRow::own_asyncio(&here, SESSION).await,
        ),
        (
            "Python client, exec",
            Some(PYTHON_FLOOR),
            PythonRow::following(&here, SESSION).await,
        ),
    ];
    for (row, versus, contender) in rows {
        race.offer(row, plan.commands, contender);
        if let Some(versus) = versus {
            race.versus(row, versus);
        }
    }
    race.offer(SWE_REX, plan.very_slow_commands, PythonRow::swe_rex().await);
    race.versus(SWE_REX, EXECGATE);
}
