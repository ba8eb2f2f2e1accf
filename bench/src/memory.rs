//! What an idle session costs: proportional memory (PSS, which counts a shared page by
//! halves) of the server and of everything below it, before and after.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::client::Client;
use crate::peer::Peer;
use crate::report::{Report, Unit};
use crate::server::{Audit, Server};
use crate::{Plan, Result};

/// Argument that makes the server's binary a launcher.
const LAUNCHER: &str = "__launcher";

/// Memory by what it is used for, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    top: f64,
    launchers: f64,
    shells: f64,
}

/// Fills the rows of memory.
pub(crate) async fn measure(program: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let sessions = plan.idle_sessions;
    let table = format!("memory of an idle session, mean of {sessions}");
    let server = Server::execgate(program, Audit::Durable).await?;
    let mut client = Client::connect(&server.unix()).await?;
    // The first session pays for what all share.
    client.open("first").await?;
    client.run("first", "true").await?;
    let before = usage(server.pid()?)?;
    for index in 0..sessions {
        let name = format!("idle-{index}");
        client.open(&name).await?;
        client.run(&name, "true").await?;
    }
    let after = usage(server.pid()?)?;
    let mut note = |name: &str, before: f64, after: f64| {
        report.sample(
            &table,
            name,
            Unit::Bytes,
            (after - before) / sessions as f64,
        );
    };
    note("execgate: in the server", before.top, after.top);
    note("execgate: launcher", before.launchers, after.launchers);
    note("execgate: bash", before.shells, after.shells);
    let server_memory = after.top;
    drop(server);

    let _first = Peer::open()?;
    let before = usage(std::process::id())?;
    let mut peers = Vec::new();
    for _ in 0..sessions {
        let mut peer = Peer::open()?;
        peer.run("true")?;
        peers.push(peer);
    }
    let after = usage(std::process::id())?;
    note("execkit: in its process", before.top, after.top);
    note("execkit: bash", before.shells, after.shells);
    let table = format!("memory of the server with {} sessions", sessions + 1);
    report.sample(&table, "execgate", Unit::Bytes, server_memory);
    Ok(())
}

/// Sums over a process and all below it.
fn usage(root: u32) -> Result<Usage> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut sum = Usage {
        top: pss(root)?,
        ..Usage::default()
    };
    let mut waiting = children.remove(&root).unwrap_or_default();
    while let Some(pid) = waiting.pop() {
        waiting.extend(children.remove(&pid).unwrap_or_default());
        // One that has ended meanwhile costs nothing.
        let Ok(memory) = pss(pid) else { continue };
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        match command.split('\0').nth(1) {
            Some(LAUNCHER) => sum.launchers += memory,
            _ => sum.shells += memory,
        }
    }
    Ok(sum)
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state and the parent follow it.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn pss(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .map_err(|error| format!("read the memory of {pid}: {error}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .ok_or("no Pss")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024.0)
}
