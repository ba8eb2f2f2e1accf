//! An execution: the thing itself, of which a stream is only a view. It outlives the
//! request that started it and keeps what came out of it, up to a bound.

mod collect;
mod command;
mod event;
mod follower;
mod journal;
mod log;
mod read;
mod retention;
mod spill;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use execgate_core::audit::{CommandKind, Digest, Origin};
use execgate_core::ids::{CheckpointId, ExecutionId, SessionId};
use execgate_core::outcome::{Channel, Ending};
use tokio::sync::watch;

use crate::error::Error;
use crate::quotas::Hold;
use crate::session::signals;
use crate::transport::InputWait;
pub use collect::{CollectedStream, ExecResult};
pub use command::{Command, CommandLine, DEFAULT_GRACE, Overflow, Stdin, TimeoutAction};
pub use event::{Event, EventKind, GapReason, Notice};
pub use follower::Follower;
use follower::Presence;
use journal::Offsets;
pub(crate) use log::EventLog;
pub use read::{OutputRead, ReadError, RetainedRange};
pub use retention::{
    KEPT_EXECUTIONS, KEPT_FOR, RETAINED_BYTES, Retention, RetentionLimits, SPILLED_BYTES,
    SPILLED_BYTES_IN_ALL,
};

/// An execution of a session.
#[derive(Debug)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The command's text, redacted.
    pub command: String,
    /// Whether it is a script or a program.
    pub kind: CommandKind,
    /// How far its standard input has come.
    pub(crate) stdin: StdinProgress,
    /// When it was asked for.
    pub created: SystemTime,
    /// What was asked, to tell a retry from another command with the same id.
    pub(crate) payload: Digest,
    /// Where the request came from that it was started by.
    pub(crate) origin: Origin,
    pub(crate) log: EventLog,
    /// What it has of its principal's quotas; a session's background has nothing.
    hold: Option<Hold>,
    pub(crate) started: OnceLock<SystemTime>,
    pub(crate) ending: OnceLock<Arc<Ending>>,
    abandonment: OnceLock<Abandonment>,
    /// The checkpoint that holds the files as they were before it.
    pub(crate) checkpoint: OnceLock<CheckpointId>,
    stopped: AtomicBool,
    input_wanted: AtomicBool,
    start: watch::Sender<Start>,
}

/// What an execution was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The command's text, redacted.
    pub(crate) command: String,
    pub(crate) kind: CommandKind,
    /// Tells a retry from another command with the same id.
    pub(crate) payload: Digest,
    pub(crate) overflow: Overflow,
    pub(crate) origin: Origin,
}

/// What others may know of an execution's standard input.
#[derive(Debug, Default)]
pub(crate) struct StdinProgress {
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicBool,
}

/// What is to become of an execution that nobody follows any more. The engine keeps it;
/// those who follow act on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Abandonment {
    /// It runs on.
    #[default]
    RunsOn,
    /// It is to be cancelled.
    Cancelled,
}

/// How far an execution has come on its way to start.
#[derive(Debug, Clone)]
enum Start {
    Waiting,
    Running,
    Refused(Arc<Error>),
}

impl Execution {
    pub(crate) fn new(
        id: ExecutionId,
        session: SessionId,
        asked: Asked,
        retention: &Retention,
        hold: Option<Hold>,
    ) -> Arc<Self> {
        let Asked {
            command,
            kind,
            payload,
            overflow,
            origin,
        } = asked;
        Arc::new_cyclic(|own| Self {
            id,
            session,
            command,
            kind,
            stdin: StdinProgress::default(),
            created: SystemTime::now(),
            payload,
            origin,
            log: EventLog::new(retention, overflow, Weak::clone(own)),
            hold,
            started: OnceLock::new(),
            ending: OnceLock::new(),
            abandonment: OnceLock::new(),
            checkpoint: OnceLock::new(),
            stopped: AtomicBool::new(false),
            input_wanted: AtomicBool::new(false),
            start: watch::Sender::new(Start::Waiting),
        })
    }

    /// What comes between the executions of a session: a log like any other, in memory,
    /// of which the oldest goes.
    pub(crate) fn background(session: &SessionId, bytes: usize) -> Arc<Self> {
        let limits = RetentionLimits {
            memory_bytes: bytes,
            ..RetentionLimits::default()
        };
        Self::new(
            ExecutionId::from_random([0; 16]),
            session.clone(),
            Asked {
                command: String::new(),
                kind: CommandKind::Script,
                payload: Digest([0; 32]),
                overflow: Overflow::Evict,
                origin: Origin::default(),
            },
            &Retention::in_memory(limits),
            None,
        )
    }

    /// The checkpoint that holds the files as they were before it.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&CheckpointId> {
        self.checkpoint.get()
    }

    /// Bytes of standard input accepted so far.
    #[must_use]
    pub fn stdin_offset(&self) -> u64 {
        self.stdin.accepted.load(Ordering::Relaxed)
    }

    /// Whether more can be written to its standard input now.
    #[must_use]
    pub fn stdin_open(&self) -> bool {
        self.stdin.open.load(Ordering::Relaxed)
    }

    /// Says what is to become of it when nobody follows it; only the first word counts.
    pub fn on_abandonment(&self, abandonment: Abandonment) {
        // Whoever started it was first.
        let _first = self.abandonment.set(abandonment);
    }

    /// Whether it is to be cancelled now: it runs, nobody follows it, and that was said.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.abandonment.get() == Some(&Abandonment::Cancelled)
            && self.ending().is_none()
            && self.log.followers() == 0
    }

    /// Follows the events from the first on.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Follower {
        Follower::new(Arc::clone(self), Offsets::default(), Presence::Follows)
    }

    /// Follows the events for a reader that has all output before these offsets. A channel
    /// that is not named begins at 0.
    ///
    /// # Errors
    /// Where an offset lies beyond what has come so far.
    pub fn follow_from(
        self: &Arc<Self>,
        offsets: &[(Channel, u64)],
    ) -> Result<Follower, ReadError> {
        Follower::from_offsets(Arc::clone(self), offsets)
    }

    /// When the command was written to the shell.
    #[must_use]
    pub fn started(&self) -> Option<SystemTime> {
        self.started.get().copied()
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<Arc<Ending>> {
        self.ending.get().cloned()
    }

    /// Waits until the command was started, or could not be.
    ///
    /// # Errors
    /// The reason why nothing was started.
    pub async fn until_started(&self) -> Result<(), Arc<Error>> {
        let mut start = self.start.subscribe();
        let known = start
            .wait_for(|start| !matches!(start, Start::Waiting))
            .await;
        match known.as_deref() {
            Ok(Start::Refused(error)) => Err(Arc::clone(error)),
            Ok(Start::Running | Start::Waiting) => Ok(()),
            // The sender lives in self: the channel is open.
            Err(_closed) => Ok(()),
        }
    }

    /// Whether it was stopped by a signal that was asked for, and not continued since.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether it was last seen waiting for input.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.input_wanted.load(Ordering::Relaxed)
    }

    /// Takes note of whether it waits for input; says so when it begins to.
    pub(crate) fn note_input(&self, wait: Option<InputWait>) {
        let wanted = self.input_wanted.swap(wait.is_some(), Ordering::Relaxed);
        if let (Some(InputWait { observed, hidden }), false) = (wait, wanted) {
            let notice = Notice::InputWanted { observed, hidden };
            self.log.push(EventKind::Notice(notice));
        }
    }

    /// Takes note of a signal that stops processes, or lets them go on.
    pub(crate) fn note_stop(&self, signal: i32, processes: usize) {
        match signal {
            signals::TSTP | signals::STOP if processes > 0 => {
                self.stopped.store(true, Ordering::Relaxed);
                self.log.push(EventKind::Notice(Notice::Stopped { signal }));
            }
            signals::CONT if self.stopped.swap(false, Ordering::Relaxed) => {
                self.log.push(EventKind::Notice(Notice::Continued));
            }
            _ => {}
        }
    }

    /// The command goes into the shell now.
    pub(crate) fn mark_started(&self) {
        let _ = self.started.set(SystemTime::now());
        self.log.push(EventKind::Started);
        self.start.send_replace(Start::Running);
    }

    /// Nothing was started; the id may be used again.
    pub(crate) fn refuse(&self, error: Error) {
        self.start.send_replace(Start::Refused(Arc::new(error)));
        self.log.close();
        if let Some(hold) = &self.hold {
            hold.finished(0, &Weak::new());
        }
    }

    /// Records the end; only the first one counts.
    pub(crate) fn finish(&self, ending: Ending) {
        let ending = Arc::new(ending);
        if self.ending.set(Arc::clone(&ending)).is_ok() {
            self.log.push(EventKind::Finished(ending));
            self.log.close();
            if let Some(hold) = &self.hold {
                hold.finished(self.log.retained(), self.log.owner());
            }
        }
    }

    /// Lets go of all output; what happened is kept. Answers how many bytes its principal's
    /// quota gets back.
    pub(crate) fn forget_output(&self) -> u64 {
        self.log.forget_output();
        self.hold.as_ref().map_or(0, Hold::let_go)
    }
}

#[cfg(test)]
mod tests;
