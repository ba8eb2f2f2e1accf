//! What a process and everything below it use: proportional memory (PSS, which counts a page
//! that two share by halves), file descriptors, threads, processor time.

use std::collections::HashMap;
use std::fs;

use crate::Result;

/// Argument that makes the server's binary a launcher.
const LAUNCHER: &str = "__launcher";

/// Where the time in user mode is in `/proc/PID/stat`, behind the name; the kernel's follows.
const USER_TIME: usize = 11;

/// Use at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Memory of the process itself, in bytes.
    pub(crate) top: f64,
    /// Memory of launchers below it.
    pub(crate) launchers: f64,
    /// Memory of everything else below it.
    pub(crate) shells: f64,
    /// File descriptors of the process itself.
    pub(crate) files: f64,
    /// Its threads.
    pub(crate) threads: f64,
}

/// Sums over a process and all below it.
pub(crate) fn usage(root: u32) -> Result<Usage> {
    let mut sum = Usage {
        top: pss(root)?,
        files: entries(root, "fd")?,
        threads: entries(root, "task")?,
        ..Usage::default()
    };
    for pid in below(root)? {
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

/// All processes below one.
pub(crate) fn below(root: u32) -> Result<Vec<u32>> {
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
    let mut all = Vec::new();
    let mut waiting = children.remove(&root).unwrap_or_default();
    while let Some(pid) = waiting.pop() {
        waiting.extend(children.remove(&pid).unwrap_or_default());
        all.push(pid);
    }
    Ok(all)
}

/// Whether a process is there.
pub(crate) fn lives(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

/// Seconds that a process has run, with those of its threads that have ended.
pub(crate) fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no process's stat")?;
    let ticks: f64 = fields
        .split(' ')
        .skip(USER_TIME)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory that programs may still have, in bytes.
pub(crate) fn available_memory() -> Result<u64> {
    let all = fs::read_to_string("/proc/meminfo")?;
    let line = all
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .ok_or("no MemAvailable")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

fn entries(pid: u32, folder: &str) -> Result<f64> {
    Ok(fs::read_dir(format!("/proc/{pid}/{folder}"))?.count() as f64)
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
