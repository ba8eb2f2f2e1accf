//! Learns of ended children: SIGCHLD as a readable file descriptor, and `wait4`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use execgate_core::outcome::Usage;

use crate::transport::ProcessEnd;

/// The last of Linux's classic signals; nobody ignores real-time ones by habit.
const LAST_SIGNAL: libc::c_int = 31;

/// Blocks SIGCHLD and gives a descriptor that turns readable when one is pending.
///
/// Children start with the signal unblocked: see `default_signals`.
pub(super) fn child_signal() -> io::Result<OwnedFd> {
    let mask = child_mask();
    // SAFETY: the mask is initialised and outlives both calls.
    let fd = unsafe {
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::signalfd(-1, &raw const mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn child_mask() -> libc::sigset_t {
    // SAFETY: an all-zero set is a valid value, which sigemptyset then makes an empty set.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigaddset(&raw mut mask, libc::SIGCHLD);
        mask
    }
}

/// Gives a fresh child the default signals: no mask, and nothing ignored that the server
/// ignores or was started to ignore (Rust's runtime does SIGPIPE, a shell does SIGINT and
/// SIGQUIT for what it puts in the background): what is ignored stays so over exec.
pub(super) fn default_signals() {
    // SAFETY: plain system calls on an initialised mask; this process has one thread.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for signal in 1..=LAST_SIGNAL {
            // SIGKILL and SIGSTOP have no other; the call says so and changes nothing.
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// All children that have ended since the last call: ours, and the orphans we inherit.
pub(super) fn ended() -> Vec<(i32, ProcessEnd, Usage)> {
    let mut ended = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: plain numbers, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both places outlive the call, which writes to nothing else.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if pid <= 0 {
            return ended;
        }
        let end = match status {
            status if libc::WIFEXITED(status) => ProcessEnd::Code(libc::WEXITSTATUS(status)),
            status if libc::WIFSIGNALED(status) => ProcessEnd::Signal(libc::WTERMSIG(status)),
            _ => continue,
        };
        ended.push((pid, end, usage_of(&usage)));
    }
}

fn usage_of(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        let micros = Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0));
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)) + micros
    };
    Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        // Linux counts in KiB.
        max_resident_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}
