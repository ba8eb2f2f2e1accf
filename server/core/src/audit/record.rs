//! What one audit record says: its envelope, and one body per kind of event.
//!
//! Types only: nothing here hashes, stores or decides. Field order is the
//! order in the stored JSON; fields may be added, never renamed or reused.

mod checkpoint;
mod execution;
mod server;
mod session;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, Micros};
use super::origin::AuthMethod;
pub use checkpoint::{
    CheckpointCreated, CheckpointDeleted, CheckpointFailed, CheckpointIntent, CheckpointOperation,
    CheckpointRestored,
};
pub use execution::{
    AuditCause, AuditChannel, AuditObserver, AuditOutcome, ChannelTotals, CommandKind,
    ExecutionAbandoned, ExecutionDenied, ExecutionIntent, ExecutionOutcome, SignalSent,
    StdinWritten,
};
pub use server::{
    AuditRead, AuthFailure, Intervened, PolicyReloaded, Recovered, RetentionApplied,
    RetentionReason, ServerStarted, ServerStopped,
};
pub use session::{
    HostKeyMismatch, SessionClosed, SessionCreated, SessionLoss, SessionLost, ShellRestarted,
};

/// Principal of records that the server writes for itself.
pub const SYSTEM_PRINCIPAL: &str = "system";

/// A record as it is handed to the store: everything but its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// When it happened.
    pub time: Micros,
    /// On whose behalf; [`SYSTEM_PRINCIPAL`] for the server itself.
    pub principal: String,
    /// The session concerned.
    pub session_id: Option<String>,
    /// The execution concerned.
    pub execution_id: Option<String>,
    /// The W3C trace id of the request, if it carried one.
    pub trace_id: Option<String>,
    /// How the caller showed who it is; nothing for the server itself.
    pub auth: Option<AuthMethod>,
    /// What happened.
    pub body: AuditBody,
}

/// A record as it stands in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Place in the chain, from 1, without holes.
    pub sequence: u64,
    /// When it happened.
    pub time: Micros,
    /// On whose behalf.
    pub principal: String,
    /// The session concerned.
    pub session_id: Option<String>,
    /// The execution concerned.
    pub execution_id: Option<String>,
    /// The W3C trace id of the request, if it carried one.
    pub trace_id: Option<String>,
    /// How the caller showed who it is; nothing for the server itself.
    pub auth: Option<AuthMethod>,
    /// Hash of the record before this one.
    pub previous_hash: Digest,
    /// Hash of this record: SHA-256(previous hash || payload).
    pub hash: Digest,
    /// What happened.
    pub body: AuditBody,
    /// The exact bytes that were hashed, so that a reader can check for himself.
    pub payload: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditBody {
    /// A session is ready.
    SessionCreated(SessionCreated),
    /// A session was closed on purpose.
    SessionClosed(SessionClosed),
    /// A session ended by accident.
    SessionLost(SessionLost),
    /// A command was admitted and is about to start.
    ExecutionIntent(ExecutionIntent),
    /// A command was refused and never started.
    ExecutionDenied(ExecutionDenied),
    /// A command ended.
    ExecutionOutcome(ExecutionOutcome),
    /// An intent whose outcome nobody recorded, closed at the next start.
    ExecutionAbandoned(ExecutionAbandoned),
    /// A signal was sent to a running command.
    SignalSent(SignalSent),
    /// A session's shell was replaced by a new process.
    ShellRestarted(ShellRestarted),
    /// Bytes were written to a command's standard input.
    StdinWritten(StdinWritten),
    /// A caller could not prove who it is.
    AuthFailure(AuthFailure),
    /// The server began to serve.
    ServerStarted(ServerStarted),
    /// The server ended in good order.
    ServerStopped(ServerStopped),
    /// The log was opened after an end that was not in good order.
    Recovered(Recovered),
    /// A host showed another key than the known one.
    HostKeyMismatch(HostKeyMismatch),
    /// The operator's policy was read again.
    PolicyReloaded(PolicyReloaded),
    /// Something is about to be done with a checkpoint.
    CheckpointIntent(CheckpointIntent),
    /// A checkpoint was made.
    CheckpointCreated(CheckpointCreated),
    /// A checkpoint was restored, or that was tried.
    CheckpointRestored(CheckpointRestored),
    /// A checkpoint was forgotten.
    CheckpointDeleted(CheckpointDeleted),
    /// What was to be done with a checkpoint was not.
    CheckpointFailed(CheckpointFailed),
    /// The audit log was read.
    AuditRead(AuditRead),
    /// An operator is about to end what is somebody else's.
    Intervened(Intervened),
    /// Old records were removed.
    RetentionApplied(RetentionApplied),
    /// A kind that a newer version wrote; its payload still tells.
    #[serde(other)]
    Unknown,
}

impl AuditBody {
    /// The kind of this body, for filters.
    #[must_use]
    pub const fn kind(&self) -> AuditKind {
        match self {
            Self::SessionCreated(_) => AuditKind::SessionCreated,
            Self::SessionClosed(_) => AuditKind::SessionClosed,
            Self::SessionLost(_) => AuditKind::SessionLost,
            Self::ExecutionIntent(_) => AuditKind::ExecutionIntent,
            Self::ExecutionDenied(_) => AuditKind::ExecutionDenied,
            Self::ExecutionOutcome(_) => AuditKind::ExecutionOutcome,
            Self::ExecutionAbandoned(_) => AuditKind::ExecutionAbandoned,
            Self::SignalSent(_) => AuditKind::SignalSent,
            Self::ShellRestarted(_) => AuditKind::ShellRestarted,
            Self::StdinWritten(_) => AuditKind::StdinWritten,
            Self::AuthFailure(_) => AuditKind::AuthFailure,
            Self::ServerStarted(_) => AuditKind::ServerStarted,
            Self::ServerStopped(_) => AuditKind::ServerStopped,
            Self::Recovered(_) => AuditKind::Recovered,
            Self::HostKeyMismatch(_) => AuditKind::HostKeyMismatch,
            Self::PolicyReloaded(_) => AuditKind::PolicyReloaded,
            Self::CheckpointIntent(_) => AuditKind::CheckpointIntent,
            Self::CheckpointCreated(_) => AuditKind::CheckpointCreated,
            Self::CheckpointRestored(_) => AuditKind::CheckpointRestored,
            Self::CheckpointDeleted(_) => AuditKind::CheckpointDeleted,
            Self::CheckpointFailed(_) => AuditKind::CheckpointFailed,
            Self::AuditRead(_) => AuditKind::AuditRead,
            Self::Intervened(_) => AuditKind::Intervened,
            Self::RetentionApplied(_) => AuditKind::RetentionApplied,
            Self::Unknown => AuditKind::Unknown,
        }
    }
}

impl AuditBody {
    /// The redacted command, where the record is of one.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        match self {
            Self::ExecutionIntent(intent) => Some(&intent.command),
            Self::ExecutionDenied(denied) => Some(&denied.command),
            _ => None,
        }
    }

    /// How a command ended, where the record is of that.
    #[must_use]
    pub const fn outcome(&self) -> Option<&ExecutionOutcome> {
        match self {
            Self::ExecutionOutcome(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether something may be left undone where this record cannot be written. What has
    /// happened already is written into space that is kept for it.
    #[must_use]
    pub const fn can_be_refused(&self) -> bool {
        matches!(
            self,
            Self::SessionCreated(_)
                | Self::ExecutionIntent(_)
                | Self::ExecutionDenied(_)
                | Self::StdinWritten(_)
                | Self::CheckpointIntent(_)
                | Self::AuthFailure(_)
                | Self::AuditRead(_)
                | Self::Intervened(_)
                | Self::HostKeyMismatch(_)
        )
    }
}

impl AuditKind {
    /// The word in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionCreated => "session_created",
            Self::SessionClosed => "session_closed",
            Self::SessionLost => "session_lost",
            Self::ExecutionIntent => "execution_intent",
            Self::ExecutionDenied => "execution_denied",
            Self::ExecutionOutcome => "execution_outcome",
            Self::ExecutionAbandoned => "execution_abandoned",
            Self::SignalSent => "signal_sent",
            Self::ShellRestarted => "shell_restarted",
            Self::StdinWritten => "stdin_written",
            Self::AuthFailure => "auth_failure",
            Self::ServerStarted => "server_started",
            Self::ServerStopped => "server_stopped",
            Self::Recovered => "recovered",
            Self::HostKeyMismatch => "host_key_mismatch",
            Self::PolicyReloaded => "policy_reloaded",
            Self::CheckpointIntent => "checkpoint_intent",
            Self::CheckpointCreated => "checkpoint_created",
            Self::CheckpointRestored => "checkpoint_restored",
            Self::CheckpointDeleted => "checkpoint_deleted",
            Self::CheckpointFailed => "checkpoint_failed",
            Self::AuditRead => "audit_read",
            Self::Intervened => "intervened",
            Self::RetentionApplied => "retention_applied",
            Self::Unknown => "unknown",
        }
    }
}

/// The kind of a record, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each name is documented on the body of the same name"
)]
pub enum AuditKind {
    SessionCreated,
    SessionClosed,
    SessionLost,
    ExecutionIntent,
    ExecutionDenied,
    ExecutionOutcome,
    ExecutionAbandoned,
    SignalSent,
    ShellRestarted,
    StdinWritten,
    AuthFailure,
    ServerStarted,
    ServerStopped,
    Recovered,
    HostKeyMismatch,
    PolicyReloaded,
    CheckpointIntent,
    CheckpointCreated,
    CheckpointRestored,
    CheckpointDeleted,
    CheckpointFailed,
    AuditRead,
    Intervened,
    RetentionApplied,
    Unknown,
}
