//! Learns of ended children: SIGCHLD as a readable file descriptor, and `waitpid`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::{WaitOptions, wait};

use crate::transport::ProcessEnd;

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

/// Gives a fresh child the default signals: no mask, SIGPIPE deadly again (Rust's
/// runtime ignores it, and an ignored signal stays ignored over exec).
pub(super) fn default_signals() {
    // SAFETY: plain system calls on an initialised mask; this process has one thread.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// All children that have ended since the last call: ours, and the orphans we inherit.
pub(super) fn ended() -> Vec<(i32, ProcessEnd)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let end = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ProcessEnd::Code(code),
            (None, Some(signal)) => ProcessEnd::Signal(signal),
            (None, None) => continue,
        };
        ended.push((pid.as_raw_nonzero().get(), end));
    }
    ended
}
