//! The facts, and the words for what they are about: all of them are listed here, so that
//! whatever counts them is bounded.

use std::time::Duration;

use execgate_core::audit::{CommandKind, SessionLoss};
use execgate_core::outcome::{Cause, Ending, Outcome};

use crate::session::CloseReason;
use crate::target::Target;

/// Something that is counted or timed. No fact names what callers choose.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A session is ready.
    SessionCreated {
        /// Where.
        target: TargetKind,
    },
    /// A session is over.
    SessionEnded {
        /// Where it was.
        target: TargetKind,
        /// Why.
        reason: SessionEnd,
    },
    /// A command was denied.
    Denied {
        /// The operator's rule; nothing where it was one of the session's own.
        rule: Option<&'a str>,
    },
    /// A command waits for its turn, or waits no more.
    Waiting(Change),
    /// A command runs, or runs no more.
    Running(Change),
    /// A command is over.
    Ended {
        /// Where it ran.
        target: TargetKind,
        /// Whether it was a script or a program.
        kind: CommandKind,
        /// How it ended.
        ending: &'a Ending,
    },
    /// A stage is over.
    Took {
        /// Which.
        stage: Stage,
        /// How long it was.
        time: Duration,
    },
    /// Records were put on stable storage.
    AuditSynced {
        /// How long that took.
        time: Duration,
    },
}

/// One more, or one less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more.
    More,
    /// One less.
    Less,
}

/// Where a session is, without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// On this machine.
    Local,
    /// On a machine reached through SSH.
    Ssh,
    /// In a container.
    Docker,
}

impl TargetKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ssh => "ssh",
            Self::Docker => "docker",
        }
    }
}

impl From<&Target> for TargetKind {
    fn from(target: &Target) -> Self {
        match target {
            Target::Local => Self::Local,
            Target::Ssh(_) => Self::Ssh,
            Target::Docker(_) => Self::Docker,
        }
    }
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are those of the session's state")]
pub enum SessionEnd {
    Closed,
    Idle,
    MaxLifetime,
    ServerStopping,
    ShellExited,
    ShellBroken,
    TransportLost,
    TargetStopped,
}

impl From<CloseReason> for SessionEnd {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Owner => Self::Closed,
            CloseReason::Idle => Self::Idle,
            CloseReason::Lifetime => Self::MaxLifetime,
            CloseReason::Shutdown => Self::ServerStopping,
        }
    }
}

impl From<SessionLoss> for SessionEnd {
    fn from(loss: SessionLoss) -> Self {
        match loss {
            SessionLoss::ShellExited => Self::ShellExited,
            SessionLoss::ShellBroken => Self::ShellBroken,
            SessionLoss::TransportLost => Self::TransportLost,
            SessionLoss::TargetStopped => Self::TargetStopped,
            // No session that is alive is lost so.
            SessionLoss::ServerRestarted | SessionLoss::Unknown => Self::ServerStopping,
        }
    }
}

impl SessionEnd {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::MaxLifetime => "max_lifetime",
            Self::ServerStopping => "server_stopping",
            Self::ShellExited => "shell_exited",
            Self::ShellBroken => "shell_broken",
            Self::TransportLost => "transport_lost",
            Self::TargetStopped => "target_stopped",
        }
    }
}

/// Where the time of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The policy judges it.
    Policy,
    /// It waits for the commands before it.
    Queue,
    /// Its intent is put on stable storage.
    Audit,
    /// A checkpoint is made before it.
    Checkpoint,
    /// Its process is started, or its text written into the shell.
    Start,
    /// From its start to the first byte that it writes.
    FirstByte,
    /// From its request to its end.
    Total,
}

impl Stage {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Queue => "queue",
            Self::Audit => "audit",
            Self::Checkpoint => "checkpoint",
            Self::Start => "start",
            Self::FirstByte => "first_byte",
            Self::Total => "total",
        }
    }
}

/// An outcome in a word.
#[must_use]
pub const fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::ExitCode(_) => "exit",
        Outcome::Signal(_) => "signal",
        Outcome::LaunchFailure { .. } => "launch_failure",
        Outcome::Lost { .. } => "lost",
    }
}

/// A cause in a word.
#[must_use]
pub const fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Exited => "exited",
        Cause::ShellExited => "shell_exited",
        Cause::ShellBroken => "shell_broken",
        Cause::LaunchFailed => "launch_failed",
        Cause::SignaledByRequest => "signaled_by_request",
        Cause::Timeout => "timeout",
        Cause::Cancelled => "cancelled",
        Cause::TransportLost => "transport_lost",
        Cause::TargetStopped => "target_stopped",
        Cause::Oom => "oom",
        Cause::SessionClosed => "session_closed",
    }
}
