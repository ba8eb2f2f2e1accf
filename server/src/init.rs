//! The first process of a container, where nobody else is: it buries orphans, hands signals
//! on, and ends as the server ends.
//!
//! ```text
//! process 1 (init) ──► the same program with the same arguments: the server
//!   ▲ orphans, of whatever `docker exec` starts, for example
//! ```
//! The server cannot bury them itself: it waits for children of its own, by number, and a
//! number whose process somebody else buried may be another's the next moment. Where an
//! init is there already (`docker run --init`, systemd) none of this happens.
//!
//! Reads no configuration and knows nothing of gRPC.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, wait};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// The number of the process that orphans go to.
const INIT_PID: i32 = 1;
/// Tells the server that process 1 is its own init. Who sets it by mistake shuts out the
/// callers on the Unix socket, and lets nobody in.
const VARIABLE: &str = "EXECGATE_UNDER_INIT";
/// Exit code for a server that a signal ended: this and the signal's number, as in a shell.
const SIGNAL_CODE: u8 = 128;

/// True for the first process of a container.
#[must_use]
pub fn is_wanted() -> bool {
    getpid().as_raw_nonzero().get() == INIT_PID
}

/// The init, if this server was started by one of ours: what descends from it may be an
/// orphan of a session.
pub(crate) fn own_init() -> Option<i32> {
    let parent = getppid()?.as_raw_nonzero().get();
    (parent == INIT_PID && env::var_os(VARIABLE).is_some()).then_some(parent)
}

/// Starts this program again with the same arguments, and lives as long as that does.
#[must_use]
pub fn run() -> ExitCode {
    match try_run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("execgate: failed to be the first process of a container: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run() -> io::Result<u8> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the server is there: no signal is missed.
        let mut heard = Heard::new()?;
        let server = Command::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .env(VARIABLE, "1")
            // Ctrl-C in a terminal is for this process, which hands it on once.
            .process_group(0)
            .spawn()?;
        // Not waited for by its handle: one loop buries everybody.
        let server = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
        let server = server.ok_or(io::ErrorKind::InvalidData)?;
        loop {
            match heard.next().await {
                // It may have ended meanwhile; that is heard next.
                Some(sent) => drop(kill_process(server, sent)),
                None => {
                    if let Some(status) = bury(server)? {
                        return Ok(code(status));
                    }
                }
            }
        }
    })
}

/// Buries every child that has ended; says how the server did, if it is among them.
fn bury(server: Pid) -> io::Result<Option<WaitStatus>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == server => return Ok(Some(status)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let exit = status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok());
    let signal = status
        .terminating_signal()
        .and_then(|number| u8::try_from(number).ok());
    match (exit, signal) {
        (Some(code), _) => code,
        (None, Some(number)) => SIGNAL_CODE.saturating_add(number),
        (None, None) => u8::MAX,
    }
}

/// The signals that concern an init.
struct Heard {
    child: Signals,
    interrupt: Signals,
    terminate: Signals,
}

impl Heard {
    fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// A signal to hand on; nothing where a child has ended.
    async fn next(&mut self) -> Option<Signal> {
        tokio::select! {
            _ = self.child.recv() => None,
            _ = self.interrupt.recv() => Some(Signal::INT),
            _ = self.terminate.recv() => Some(Signal::TERM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_wants_an_init_and_others_have_none_of_ours() {
        assert!(!is_wanted());
        assert_eq!(own_init(), None);
    }
}
