//! Who waits for input, read from /proc: a thread that sits in a read of the input is
//! seen; one that waits for several things at once, with the input as its fd 0, is
//! guessed.

use std::os::fd::OwnedFd;

use procfs::process::Process;
use rustix::fs::{FileType, fstat};

use super::tree;
use crate::transport::InputWait;

/// Stands for whatever /proc calls a terminal.
pub(super) const TERMINAL: &str = "tty";

/// Calls that wait for several descriptors.
const WAITING: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
];

/// The name that /proc gives a pipe; nothing for what is none.
pub(super) fn link_of_pipe(fd: &OwnedFd) -> Option<String> {
    let stat = fstat(fd).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        .then(|| format!("pipe:[{}]", stat.st_ino))
}

/// Whether a program, or what it started, waits for the input of this name; what is seen
/// goes before what is guessed.
pub(super) fn wait_below(root: i32, link: &str) -> Option<InputWait> {
    let below = tree::descendants(root)
        .into_iter()
        .map(|process| process.pid);
    let waits: Vec<bool> = std::iter::once(root)
        .chain(below)
        .filter_map(|pid| observed(pid, link))
        .collect();
    let observed = waits.iter().any(|observed| *observed);
    (!waits.is_empty()).then_some(InputWait {
        observed,
        hidden: false,
    })
}

/// Whether a process waits for the input, and whether that was seen.
fn observed(pid: i32, link: &str) -> Option<bool> {
    let process = Process::new(pid).ok()?;
    let calls = process.tasks().ok()?.flatten();
    let mut guessed = false;
    for task in calls {
        let Some((number, first)) = call_of(pid, task.tid) else {
            continue;
        };
        if number == libc::SYS_read && is_input(&process, first, link) {
            return Some(true);
        }
        guessed |= WAITING.contains(&number) && is_input(&process, 0, link);
    }
    guessed.then_some(false)
}

/// The call that a thread sits in, and its first argument.
fn call_of(pid: i32, tid: i32) -> Option<(libc::c_long, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let first = words.next()?.strip_prefix("0x")?;
    let first = i32::try_from(u64::from_str_radix(first, 16).ok()?).ok()?;
    Some((number, first))
}

fn is_input(process: &Process, fd: i32, link: &str) -> bool {
    let Ok(target) = std::fs::read_link(format!("/proc/{}/fd/{fd}", process.pid)) else {
        return false;
    };
    let target = target.to_string_lossy();
    match link {
        TERMINAL => target == "/dev/tty" || target.starts_with("/dev/pts/"),
        link => target == link,
    }
}
