//! What it costs that each intent is on the disk before its command starts: the same server
//! with and without waiting for it, with one, some and many sessions at work at once, and how
//! often the disk is made to write.

use std::net::TcpListener;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Result;
use crate::at_once;
use crate::client::{Address, Client};
use crate::disk::Appender;
use crate::plan::Plan;
use crate::race::Race;
use crate::report::{Report, Unit};
use crate::server::{Audit, Server};

/// Sessions at once.
const SESSIONS: [usize; 3] = [1, 8, 64];

/// Rows.
const SYNCED: &str = "execgate, audit synced";
const UNSYNCED: &str = "execgate, audit not synced";

/// How the tables' names begin.
const GROUP: &str = "durable audit: ";

/// The table of how often the disk is asked.
pub(crate) const FLUSHES: &str = "durable audit: flushes of the disk for each command";

/// The counter of flushes, as Prometheus has it.
const COUNTER: &str = "execgate_audit_sync_duration_seconds_count";

/// Appends in a turn.
const APPENDS: usize = 100;

/// The row of so many sessions.
pub(crate) fn flushes_row(sessions: usize) -> String {
    format!("{sessions} sessions at once")
}

/// Fills the rows.
pub(crate) async fn measure(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let metrics = format!("[telemetry]\nprometheus = \"127.0.0.1:{port}\"\n");
    let synced = Server::execgate_with(program, Audit::Durable, &metrics).await?;
    let unsynced = Server::execgate(program, Audit::Written).await?;
    let most = SESSIONS.into_iter().max().unwrap_or_default();
    for server in [&synced, &unsynced] {
        at_once::open(&server.unix(), most).await?;
    }
    let mut disk = Race::default();
    disk.offer("200 bytes appended, fdatasync", APPENDS, Appender::open());
    disk.run("durable audit: the disk alone", "", plan.turns, report)
        .await;
    let contenders = [(UNSYNCED, unsynced.unix()), (SYNCED, synced.unix())];
    let turns = plan.turns.min(at_once::TURNS);
    for sessions in SESSIONS {
        let commands = plan.parallel_commands;
        at_once::race(GROUP, &contenders, sessions, commands, turns, report).await?;
        let (latency, rate) = at_once::tables(GROUP, sessions);
        for table in [latency, rate] {
            report.compare(&table, SYNCED, UNSYNCED);
        }
        let each = (plan.parallel_commands / sessions).max(1);
        for _ in 0..turns {
            let flushes = flushes(&synced.unix(), port, sessions, each).await?;
            report.sample(FLUSHES, &flushes_row(sessions), Unit::Count, flushes);
        }
    }
    Ok(())
}

/// Flushes for each command of a turn.
async fn flushes(address: &Address, port: u16, sessions: usize, each: usize) -> Result<f64> {
    let client = Client::connect(address).await?;
    let before = count(port).await?;
    at_once::this_turn(&client, sessions, each).await?;
    Ok((count(port).await? - before) / (sessions * each) as f64)
}

async fn count(port: u16) -> Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let lines = answer.lines().filter(|line| line.starts_with(COUNTER));
    let values = lines.filter_map(|line| line.rsplit_once(' '));
    let values: Vec<f64> = values.filter_map(|(_, value)| value.parse().ok()).collect();
    match values.is_empty() {
        true => Err(format!("the server does not say {COUNTER}").into()),
        false => Ok(values.iter().sum()),
    }
}
