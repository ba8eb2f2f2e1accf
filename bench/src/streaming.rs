//! How fast output flows: text in lines, as logs are, through each contender.

use std::process::Stdio;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::client::Client;
use crate::peer::Peer;
use crate::report::{Report, Unit};
use crate::{Plan, Result, Servers};

/// A line of a log; 99 bytes and a line end.
pub(crate) const LINE: &str = "2026-01-02T03:04:05.678901Z  INFO worker-07 request finished path=/api/items/4711 status=200 in 12 ms";

/// The session of these measurements, on every server.
const SESSION: &str = "streaming";

/// Largest read from the bare pipe, in bytes: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Fills the rows of streams.
pub(crate) async fn measure(
    Servers {
        execgate: server,
        floor,
        ..
    }: &Servers,
    plan: Plan,
    report: &mut Report,
) -> Result<()> {
    let script = format!("yes \"{LINE}\" | head -c {}", plan.stream_bytes);
    let table = format!("{} MB of log lines", plan.stream_bytes / 1_000_000);
    let mut clients = [
        ("floor Exec, TCP", Client::connect(&floor.tcp()).await?),
        ("execgate Exec, TCP", Client::connect(&server.tcp()).await?),
        (
            "floor Exec, Unix socket",
            Client::connect(&floor.unix()).await?,
        ),
        (
            "execgate Exec, Unix socket",
            Client::connect(&server.unix()).await?,
        ),
    ];
    Client::connect(&server.tcp()).await?.open(SESSION).await?;
    let mut peer = Peer::open()?;
    for _ in 0..plan.streams {
        let mut note = |name: &str, start: Instant, bytes: u64| {
            if bytes != plan.stream_bytes {
                return Err(format!("{name}: {bytes} bytes came"));
            }
            let rate = bytes as f64 / start.elapsed().as_secs_f64();
            report.sample(&table, name, Unit::Bandwidth, rate);
            Ok(())
        };
        let start = Instant::now();
        let bytes = through_a_pipe(&script).await?;
        note("bash, one pipe, no server", start, bytes)?;
        for (name, client) in &mut clients {
            let start = Instant::now();
            let bytes = client.exec(SESSION, &script).await?;
            note(name, start, bytes)?;
        }
        // The peer keeps a part of the output only, and nothing says how much came.
        let start = Instant::now();
        peer.run(&script)?;
        note("execkit local (in process)", start, plan.stream_bytes)?;
    }
    Ok(())
}

async fn through_a_pipe(script: &str) -> Result<u64> {
    let mut child = Command::new("bash")
        .args(["--noprofile", "--norc", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or("the shell has no pipe")?;
    let (mut buffer, mut bytes) = (vec![0; READ_BYTES], 0);
    loop {
        match stdout.read(&mut buffer).await? {
            0 => break,
            read => bytes += read as u64,
        }
    }
    child.wait().await?;
    Ok(bytes)
}
