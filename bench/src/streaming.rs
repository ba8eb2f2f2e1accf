//! How fast output flows: text in lines, as logs are, through each contender.

use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::caller::{Call, Caller};
use crate::client::{Address, Client};
use crate::peer::PeerThread;
use crate::plan::Plan;
use crate::python_row::PythonRow;
use crate::race::{Contender, Race};
use crate::report::Report;
use crate::server::{Audit, Server};
use crate::spawn::PerCommand;

/// A line of a log; 99 bytes and a line end.
pub(crate) const LINE: &str = "2026-01-02T03:04:05.678901Z  INFO worker-07 request finished path=/api/items/4711 status=200 in 12 ms";

/// Configuration of a server that hides nothing.
pub(crate) const UNREDACTED: &str = "[redaction]\nenabled = false\n";

/// Chunks of what comes from memory, in bytes: what a pipe holds.
const CHUNK_BYTES: u64 = 64 * 1024;

/// Streams of who is much slower than the others.
pub(crate) const SLOW_STREAMS: usize = 2;

/// Rows of Python's clients.
pub(crate) const PYTHON: &str = "Python client, execgate";
/// The client alone: what it takes above grpcio.
pub(crate) const PYTHON_MEMORY: &str = "Python client, the floor's memory";
pub(crate) const GRPCIO: &str = "Python grpcio alone, the floor's memory";

/// Bytes from which the size of chunks is known.
const SAMPLE_BYTES: u64 = 20_000_000;

/// The session of these measurements, on every server.
const SESSION: &str = "streaming";

/// The script that prints this many bytes of log lines.
pub(crate) fn script(bytes: u64) -> String {
    format!("yes \"{LINE}\" | head -c {bytes}")
}

/// The local table.
pub(crate) fn table(plan: Plan) -> String {
    format!("{} MB of log lines", plan.stream_bytes / 1_000_000)
}

/// Fills the rows of streams.
pub(crate) async fn measure(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let floor = Server::floor().await?;
    let redacted = Server::execgate(program, Audit::Durable).await?;
    let unredacted = Server::execgate_with(program, Audit::Durable, UNREDACTED).await?;
    let mut race = Race::default();
    let bash = PerCommand::new("bash", ["--noprofile", "--norc", "-c"]);
    race.add("bash, one pipe, no server", plan.streams, bash);
    for server in [&redacted, &unredacted] {
        Caller::open(&server.unix(), SESSION, None, Call::Exec).await?;
    }
    let ways = [
        ("TCP", floor.tcp(), redacted.tcp(), unredacted.tcp()),
        (
            "Unix socket",
            floor.unix(),
            redacted.unix(),
            unredacted.unix(),
        ),
    ];
    for (way, floor, redacted, unredacted) in ways {
        let tonic = FromMemory::connect(&floor).await;
        race.offer(&format!("tonic alone, {way}"), plan.streams, tonic);
        let floor_row = format!("floor Exec, {way}");
        let contenders = [
            (floor_row.clone(), floor),
            (
                format!("execgate Exec, {way}, nothing redacted"),
                unredacted,
            ),
            (format!("execgate Exec, {way}"), redacted),
        ];
        for (row, address) in contenders {
            let caller = Caller::connect(&address, SESSION, Call::Exec).await;
            race.offer(&row, plan.streams, caller);
            if row != floor_row {
                race.versus(&row, &floor_row);
            }
        }
    }
    let execkit = "execkit local, in process";
    race.offer(execkit, SLOW_STREAMS, PeerThread::local().await);
    race.versus(execkit, "execgate Exec, Unix socket");
    in_python(&mut race, &floor, &redacted, plan).await;
    let bytes = plan.stream_bytes;
    race.stream(&table(plan), &script(bytes), bytes, report)
        .await;
    Ok(())
}

/// Clients in Python, over TCP.
async fn in_python(race: &mut Race, floor: &Server, server: &Server, plan: Plan) {
    let mut own = PythonRow::own(&server.tcp(), SESSION).await;
    // What comes from memory has chunks of the size that the client gets from the server.
    let sample = match &mut own {
        Ok(own) => own.chunk(&script(SAMPLE_BYTES)).await.ok(),
        Err(_) => None,
    };
    let chunk = sample.unwrap_or(CHUNK_BYTES);
    race.offer(PYTHON, plan.streams, own);
    let (at, streams) = (floor.tcp(), plan.streams);
    let grpcio = PythonRow::memory(&at, SESSION, chunk).await;
    race.offer(GRPCIO, streams, grpcio);
    let client = PythonRow::own_memory(&at, SESSION, chunk).await;
    race.offer(PYTHON_MEMORY, streams, client);
    race.versus(PYTHON, GRPCIO);
    race.versus(PYTHON_MEMORY, GRPCIO);
    let asyncio = PythonRow::own_asyncio(&server.tcp(), SESSION).await;
    race.offer("Python client, asyncio, execgate", plan.streams, asyncio);
    let same = PythonRow::grpcio(&server.tcp(), SESSION).await;
    race.offer("Python grpcio, execgate", plan.streams, same);
    for row in [
        "Python client, asyncio, execgate",
        "Python grpcio, execgate",
    ] {
        race.versus(row, GRPCIO);
    }
}

/// The floor without its shell.
struct FromMemory(Client);

impl FromMemory {
    async fn connect(address: &Address) -> Result<Self> {
        Ok(Self(Client::connect(address).await?))
    }
}

#[tonic::async_trait(?Send)]
impl Contender for FromMemory {
    async fn once(&mut self, _script: &str) -> Result<()> {
        Err("it runs nothing".into())
    }

    async fn stream(&mut self, _script: &str, bytes: u64) -> Result<f64> {
        let start = Instant::now();
        match self.0.memory(bytes, CHUNK_BYTES).await? {
            came if came == bytes => Ok(start.elapsed().as_secs_f64()),
            came => Err(format!("{came} bytes came").into()),
        }
    }
}
