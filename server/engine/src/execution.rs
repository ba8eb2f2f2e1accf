//! An execution: the thing itself, of which a stream is only a view. It outlives the
//! request that started it and keeps what came out of it, up to a bound.

mod collect;
mod log;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use execgate_core::audit::Digest;
use execgate_core::ids::{ExecutionId, SessionId};
use execgate_core::outcome::{Channel, Ending};
use tokio::sync::watch;

use crate::error::Error;
pub use collect::{CollectedStream, ExecResult};
pub(crate) use log::EventLog;
pub use log::{Follower, RETAINED_BYTES};

/// A command as a client asked for it; valid, but not yet judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// The script for the session's shell.
    pub script: String,
    /// Its own time limit; the session's default where there is none.
    pub timeout: Option<Duration>,
    /// Variables for this command alone.
    pub env: BTreeMap<String, String>,
    /// Working directory for this command alone.
    pub cwd: Option<String>,
    /// The session's generation that the caller means.
    pub expected_generation: Option<u64>,
    /// Whether to wait for the running execution instead of being refused.
    pub queue_if_busy: bool,
}

/// One event of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Counts the execution's events from 1.
    pub sequence: u64,
    /// When it was seen.
    pub time: SystemTime,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen in an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The command is on its way into the shell; always the first event.
    Started,
    /// Output came.
    Output {
        /// On which channel.
        channel: Channel,
        /// Where it stands in the channel's redacted stream.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// Output was let go before this reader came to it.
    Gap {
        /// On which channel.
        channel: Channel,
        /// The first missing offset.
        from: u64,
        /// The next offset that is there.
        to: u64,
    },
    /// Something the reader should know.
    Notice(Notice),
    /// It is over; always the last event, once.
    Finished(Arc<Ending>),
}

/// Things that happen around a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The command's own time limit was reached.
    TimeoutFired {
        /// The limit.
        limit: Duration,
    },
    /// The gate sent a signal.
    SignalSent {
        /// Its number.
        signal: i32,
        /// To how many processes or groups.
        processes: usize,
    },
    /// The shell had stopped itself and was told to go on.
    ShellContinued,
    /// The shell ended and another one took its place.
    ShellRestarted {
        /// The session's generation now.
        generation: u64,
        /// What the new shell does not have.
        lost: String,
    },
    /// The session is lost with its shell.
    SessionLost {
        /// Why.
        reason: String,
    },
}

/// An execution of a session.
#[derive(Debug)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The command's text, redacted.
    pub command: String,
    /// When it was asked for.
    pub created: SystemTime,
    /// What was asked, to tell a retry from another command with the same id.
    pub(crate) payload: Digest,
    pub(crate) log: EventLog,
    pub(crate) started: OnceLock<SystemTime>,
    pub(crate) ending: OnceLock<Arc<Ending>>,
    abandonment: OnceLock<Abandonment>,
    start: watch::Sender<Start>,
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
        command: String,
        payload: Digest,
        retained: usize,
    ) -> Self {
        Self {
            id,
            session,
            command,
            created: SystemTime::now(),
            payload,
            log: EventLog::new(retained),
            started: OnceLock::new(),
            ending: OnceLock::new(),
            abandonment: OnceLock::new(),
            start: watch::Sender::new(Start::Waiting),
        }
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
        Follower::new(Arc::clone(self))
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
    }

    /// Records the end; only the first one counts.
    pub(crate) fn finish(&self, ending: Ending) {
        let ending = Arc::new(ending);
        if self.ending.set(Arc::clone(&ending)).is_ok() {
            self.log.push(EventKind::Finished(ending));
            self.log.close();
        }
    }
}
