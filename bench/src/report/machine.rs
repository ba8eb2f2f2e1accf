//! Facts about the machine that numbers depend on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::disk::Appender;

/// Records that are appended to know the disk.
const APPENDS: usize = 200;

/// Where it was measured, and what.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
    pub(super) bash: String,
    pub(super) memory_mib: u64,
    /// Type of the file system that the servers' data directories are on.
    pub(super) file_system: String,
    /// Median of appending a record and waiting for the disk.
    pub(super) fdatasync_us: Option<f64>,
    pub(super) load_at_start: String,
    pub(super) load_at_end: String,
    pub(super) root: bool,
    pub(super) server: String,
    pub(super) commit: String,
}

impl Machine {
    pub(super) fn look(server: &Path) -> Self {
        let bash = said("bash", &["-c", "echo $BASH_VERSION"]);
        Self {
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            bash,
            memory_mib: memory_kib("MemTotal:") / 1024,
            file_system: file_system(&std::env::temp_dir()),
            fdatasync_us: fdatasync(),
            load_at_start: load(),
            load_at_end: String::new(),
            root: rustix::process::geteuid().is_root(),
            server: said(&server.display().to_string(), &["--version"]),
            commit: commit(),
        }
    }

    pub(super) fn look_again(&mut self) {
        self.load_at_end = load();
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.unwrap_or_default()
}

fn cpu() -> String {
    let all = read("/proc/cpuinfo");
    let name = all
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    name.trim_start_matches([':', '\t', ' ']).to_owned()
}

/// A line of `/proc/meminfo`.
fn memory_kib(name: &str) -> u64 {
    let all = read("/proc/meminfo");
    let line = all.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_default().trim();
    line.trim_end_matches(" kB").parse().unwrap_or_default()
}

/// The type of the file system with the longest mount point above a path.
fn file_system(path: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    let longest = above.max_by_key(|(length, _)| *length);
    longest.map_or(String::new(), |(_, kind)| kind.to_owned())
}

fn fdatasync() -> Option<f64> {
    let mut file = Appender::open().ok()?;
    let mut taken = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let start = Instant::now();
        file.append().ok()?;
        taken.push(start.elapsed().as_secs_f64() * 1e6);
    }
    taken.sort_by(f64::total_cmp);
    taken.get(APPENDS / 2).copied()
}

fn load() -> String {
    read("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// What is checked out; a binary that was built elsewhere may be another's.
fn commit() -> String {
    let words = [
        "-C",
        env!("CARGO_MANIFEST_DIR"),
        "describe",
        "--always",
        "--dirty",
    ];
    said(
        "git",
        &[&words, ["--abbrev=12", "--exclude=*"].as_slice()].concat(),
    )
}
