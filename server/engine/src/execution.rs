//! An execution: the thing itself, of which a stream is only a view. It outlives the
//! request that started it and keeps what came out of it, up to a bound.

mod collect;
mod follower;
mod journal;
mod log;
mod read;
mod retention;
mod spill;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use execgate_core::audit::{CommandKind, Digest, Origin};
use execgate_core::framing;
use execgate_core::ids::{CheckpointId, ExecutionId, SessionId};
use execgate_core::outcome::{Channel, Ending};
use tokio::sync::watch;

use crate::checkpoint::CheckpointMode;
use crate::error::Error;
use crate::quotas::Hold;
use crate::secrets::SecretReference;
use crate::session::signals;
use crate::transport::InputWait;
pub use collect::{CollectedStream, ExecResult};
pub use follower::Follower;
use follower::Presence;
use journal::Offsets;
pub(crate) use log::EventLog;
pub use read::{OutputRead, ReadError, RetainedRange};
pub use retention::{
    KEPT_EXECUTIONS, KEPT_FOR, RETAINED_BYTES, Retention, RetentionLimits, SPILLED_BYTES,
    SPILLED_BYTES_IN_ALL,
};

/// A command as a client asked for it; valid, but not yet judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// What to run.
    pub line: CommandLine,
    /// Its standard input.
    pub stdin: Stdin,
    /// Its own time limit; the session's default where there is none.
    pub timeout: Option<Duration>,
    /// What happens at the limit.
    pub timeout_action: TimeoutAction,
    /// Time between two steps of the ladder.
    pub grace: Duration,
    /// Variables for this command alone.
    pub env: BTreeMap<String, String>,
    /// The operator's secrets in the environment of this command alone.
    pub secrets: Vec<SecretReference>,
    /// Working directory for this command alone.
    pub cwd: Option<String>,
    /// The session's generation that the caller means.
    pub expected_generation: Option<u64>,
    /// Whether to wait for the running execution instead of being refused.
    pub queue_if_busy: bool,
    /// What happens when its output exceeds what is kept.
    pub overflow: Overflow,
    /// Whether files are saved before it; as the session says where it does not.
    pub checkpoint: Option<CheckpointMode>,
    /// Where the request came from.
    pub origin: Origin,
}

/// What happens when output exceeds what is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The command is slowed: what no reader has had is not let go until the command is
    /// being ended. Where nobody reads, it waits for a reader, or for its time limit.
    #[default]
    Backpressure,
    /// The oldest output is let go, which later readers see as a gap.
    Evict,
}

/// What a command says, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CommandLine {
    /// A text for the session's shell.
    Script(String),
    /// A program and its arguments, run beside the shell; at least one word.
    Argv(Vec<String>),
}

impl CommandLine {
    /// The command as one text: arguments are quoted as a shell would need them.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Script(script) => Cow::Borrowed(script),
            Self::Argv(words) => Cow::Owned(framing::join(words)),
        }
    }

    /// What the audit log calls it.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Script(_) => CommandKind::Script,
            Self::Argv(_) => CommandKind::Argv,
        }
    }
}

/// What happens when a command reaches its time limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TimeoutAction {
    /// SIGINT, a grace, SIGTERM, a grace, SIGKILL.
    #[default]
    Ladder,
    /// SIGKILL at once.
    Kill,
    /// Nothing but a notice.
    Tell,
}

/// Time between two steps of the ladder where a command does not say: enough for a program
/// to clean up.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(1);

/// What a command can read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Stdin {
    /// Nothing.
    #[default]
    Closed,
    /// These bytes.
    Inline(Bytes),
    /// What is written while it runs.
    Open,
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
        /// Why it is missing.
        reason: GapReason,
    },
    /// Something the reader should know.
    Notice(Notice),
    /// It is over; always the last event, once.
    Finished(Arc<Ending>),
}

/// Why output is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// What is kept reached its bound, and the oldest was let go.
    Evicted,
    /// It could not be written to disk, or not be read from there.
    StorageFailed,
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
    /// The command waits for input.
    InputWanted {
        /// It was seen in a read; otherwise it is a guess.
        observed: bool,
        /// What is typed is not shown: most likely a password.
        hidden: bool,
    },
    /// The command was stopped.
    Stopped {
        /// The signal that was sent.
        signal: i32,
    },
    /// Files were saved before the command.
    CheckpointMade {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// The command was let go on.
    Continued,
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
    /// What is kept is full: the command waits until a reader has caught up.
    OutputThrottled {
        /// Bytes that are kept.
        retained: u64,
    },
    /// The disk did not take output: from here on less of it is kept.
    StorageFailed,
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
