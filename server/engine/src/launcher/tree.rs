//! Who is alive below a process, read from /proc.

use procfs::process::{Process, Stat};

use crate::transport::EndedProcess;

/// One living process.
#[derive(Debug, Clone)]
pub(super) struct Living {
    pub(super) pid: i32,
    /// Clock ticks from boot to its start; with the pid it names a process for good.
    pub(super) started: u64,
    pub(super) state: char,
}

impl From<&Stat> for Living {
    fn from(stat: &Stat) -> Self {
        Self {
            pid: stat.pid,
            started: stat.starttime,
            state: stat.state,
        }
    }
}

/// All living descendants of a process, parents before children; zombies are not alive.
///
/// Walks the kernel's lists of children: the cost follows the session, not the machine.
pub(super) fn descendants(root: i32) -> Vec<Living> {
    let mut found = Vec::new();
    let mut queue = children(root);
    while let Some(pid) = queue.pop() {
        let Some(living) = look(pid) else { continue };
        queue.extend(children(pid));
        if living.state != 'Z' {
            found.push(living);
        }
    }
    found
}

/// The direct children of a process, those of all its threads.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = Process::new(pid).and_then(|process| process.tasks()) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| task.children().ok())
        .flatten()
        .filter_map(|pid| i32::try_from(pid).ok())
        .collect()
}

/// What a process is doing now; nothing where it is gone.
pub(super) fn look(pid: i32) -> Option<Living> {
    let stat = Process::new(pid).and_then(|process| process.stat()).ok()?;
    Some(Living::from(&stat))
}

/// The group in the foreground of a program's session: of its terminal, or its own where
/// there is none.
pub(super) fn foreground_group(pid: i32) -> Option<i32> {
    let stat = Process::new(pid).and_then(|process| process.stat()).ok()?;
    Some(if stat.tpgid > 0 {
        stat.tpgid
    } else {
        stat.pgrp
    })
}

/// Whether a process of this group does nothing about a signal, and so dies of it.
pub(super) fn would_die(pid: i32, group: i32, signal: i32) -> bool {
    let Ok(process) = Process::new(pid) else {
        return false;
    };
    let (Ok(stat), Ok(status)) = (process.stat(), process.status()) else {
        return false;
    };
    let handled = status.sigblk | status.sigign | status.sigcgt;
    stat.pgrp == group && stat.state != 'Z' && handled >> (signal - 1) & 1 == 0
}

/// A process as a report names it.
pub(super) fn describe(pid: i32, signal: i32) -> EndedProcess {
    let process = Process::new(pid);
    let line = process
        .as_ref()
        .ok()
        .and_then(|process| process.cmdline().ok());
    let command = match line {
        Some(words) if !words.is_empty() => words.join(" "),
        _ => process
            .and_then(|process| process.stat())
            .map(|stat| stat.comm)
            .unwrap_or_default(),
    };
    EndedProcess {
        pid,
        command,
        signal,
    }
}
