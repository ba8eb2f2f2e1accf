//! What a session writes into the audit log, and in which words.

use std::sync::Arc;
use std::time::SystemTime;

use execgate_core::audit::{
    AuditBody, AuditCause, AuditChannel, AuditObserver, AuditOutcome, ChannelTotals, Digest,
    ExecutionOutcome, Micros, NewRecord, Origin,
};
use execgate_core::ids::{ExecutionId, Principal, SessionId};
use execgate_core::outcome::{
    Cause, Channel, Ending, LaunchFailureKind, ObservedBy, Outcome, signal_name,
};

use execgate_core::trace::TraceContext;

use crate::audit::{AuditError, AuditStore, Durability};
use crate::execution::Execution;

/// Writes the records of one session.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    store: Arc<dyn AuditStore>,
    principal: Principal,
    session: SessionId,
    /// The request that the records are due to, unless a command's own is.
    origin: Origin,
}

impl Recorder {
    pub(crate) fn new(
        store: Arc<dyn AuditStore>,
        principal: Principal,
        session: SessionId,
        origin: Origin,
    ) -> Self {
        Self {
            store,
            principal,
            session,
            origin,
        }
    }

    /// Appends one record, of a command or of the session itself.
    pub(crate) async fn record(
        &self,
        execution: Option<&Execution>,
        body: AuditBody,
        durability: Durability,
    ) -> Result<(), AuditError> {
        let origin = execution.map_or(&self.origin, |execution| &execution.origin);
        let id = execution.map(|execution| &execution.id);
        self.append(id, origin, body, durability).await
    }

    /// Appends a record of a command that never became an execution.
    pub(crate) async fn record_refused(
        &self,
        execution: &ExecutionId,
        body: AuditBody,
    ) -> Result<(), AuditError> {
        self.append(Some(execution), &self.origin, body, Durability::Synced)
            .await
    }

    async fn append(
        &self,
        execution: Option<&ExecutionId>,
        origin: &Origin,
        body: AuditBody,
        durability: Durability,
    ) -> Result<(), AuditError> {
        let record = NewRecord {
            time: now(),
            principal: self.principal.to_string(),
            session_id: Some(self.session.to_string()),
            execution_id: execution.map(ToString::to_string),
            trace_id: origin.trace.as_ref().map(TraceContext::trace_id_text),
            auth: origin.auth,
            body,
        };
        self.store.append(record, durability).await.map(drop)
    }

    /// Appends a record of something that has happened and cannot be undone: where the
    /// log takes no more, that is said in the server's log, and nothing runs afterwards.
    pub(crate) async fn note(&self, execution: Option<&Execution>, body: AuditBody) {
        if let Err(error) = self.record(execution, body, Durability::Written).await {
            tracing::error!(session.id = %self.session, %error, "audit record lost");
        }
    }
}

/// The time of a record.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// An ending as the log has it.
pub(super) fn outcome(ending: &Ending) -> AuditBody {
    AuditBody::ExecutionOutcome(ExecutionOutcome {
        outcome: match &ending.outcome {
            Outcome::ExitCode(code) => AuditOutcome::Exit { code: *code },
            Outcome::Signal(number) => AuditOutcome::Signal {
                number: *number,
                name: signal_name(*number),
            },
            Outcome::LaunchFailure { kind, errno } => AuditOutcome::LaunchFailure {
                failure: launch_failure(*kind).to_owned(),
                errno: (*errno != 0).then_some(*errno),
            },
            Outcome::Lost { reason } => AuditOutcome::Lost {
                reason: reason.clone(),
            },
        },
        cause: match ending.cause {
            Cause::Exited => AuditCause::Exited,
            Cause::ShellExited => AuditCause::ShellExited,
            Cause::ShellBroken => AuditCause::ShellBroken,
            Cause::LaunchFailed => AuditCause::LaunchFailed,
            Cause::SignaledByRequest => AuditCause::SignaledByRequest,
            Cause::Timeout => AuditCause::Timeout,
            Cause::Cancelled => AuditCause::Cancelled,
            Cause::TransportLost => AuditCause::TransportLost,
            Cause::TargetStopped => AuditCause::TargetStopped,
            Cause::Oom => AuditCause::Oom,
            Cause::SessionClosed => AuditCause::SessionClosed,
        },
        observed_by: match ending.observed_by {
            ObservedBy::Kernel => AuditObserver::Kernel,
            ObservedBy::Shell => AuditObserver::Shell,
            ObservedBy::Sshd => AuditObserver::Sshd,
            ObservedBy::Dockerd => AuditObserver::Dockerd,
            ObservedBy::Nobody => AuditObserver::Server,
        },
        wall_micros: u64::try_from(ending.wall_time.as_micros()).unwrap_or(u64::MAX),
        totals: ending.totals.iter().filter_map(totals).collect(),
    })
}

fn launch_failure(kind: LaunchFailureKind) -> &'static str {
    match kind {
        LaunchFailureKind::NotFound => "not_found",
        LaunchFailureKind::PermissionDenied => "permission_denied",
        LaunchFailureKind::NotExecutable => "not_executable",
        LaunchFailureKind::WorkingDirectory => "working_directory",
        LaunchFailureKind::TooLong => "too_long",
        LaunchFailureKind::Resources => "resources",
        LaunchFailureKind::Other => "other",
    }
}

fn totals(total: &execgate_core::outcome::ChannelTotals) -> Option<ChannelTotals> {
    let channel = match total.channel {
        Channel::Stdout => AuditChannel::Stdout,
        Channel::Stderr => AuditChannel::Stderr,
        Channel::Terminal => AuditChannel::Terminal,
        Channel::Background => return None,
    };
    Some(ChannelTotals {
        channel,
        bytes: total.bytes,
        lines: total.lines,
        redactions: total.redacted.total(),
        redacted: total
            .redacted
            .iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        sha256: Digest(total.sha256),
    })
}
