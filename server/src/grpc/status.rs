//! What a refusal is on the wire. The only file that builds a `Status`: one table,
//! every row written out, so that a new engine error does not compile without one.
//!
//! Each answer carries an `ErrorInfo` of domain `execgate.dev` whose reason is a name
//! of `errors.proto`, and beside it the `google.rpc` details that help.

mod limits;
mod targets;

use std::collections::HashMap;
use std::time::Duration;

use execgate_core::policy::Denial;
use execgate_engine::Error;
use execgate_engine::authority::Role;
use execgate_proto::ERROR_DOMAIN;
use execgate_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::refusal::{DeniedCommand, Refusal};

/// When to try again where the server or its log is unwell.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);
/// What the names of reasons begin with in `errors.proto`.
const REASON_PREFIX: &str = "ERROR_REASON_";
/// Why a draining server refuses, in words.
const DRAINING: &str = "the server is shutting down";

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Answer::of(refusal).into_status()
    }
}

impl Refusal {
    /// The refusal as a whole response, for where no handler was reached.
    pub(crate) fn into_response<B: Default>(self) -> http::Response<B> {
        Status::from(self).into_http()
    }
}

/// What a status says that the libraries beneath made of a request they could not read,
/// if it is one of theirs: those carry no details.
pub(crate) fn bare_refusal(headers: &http::HeaderMap, method: &str) -> Option<Refusal> {
    let status = Status::from_header_map(headers)?;
    if !status.details().is_empty() {
        return None;
    }
    let detail = status.message().trim_start_matches("Error, ").to_owned();
    match status.code() {
        Code::Unimplemented => Some(Refusal::not_implemented(format!("method {method}"))),
        Code::OutOfRange | Code::ResourceExhausted => Some(Refusal::MessageTooLarge { detail }),
        Code::Internal | Code::InvalidArgument => Some(Refusal::Malformed { detail }),
        _ => None,
    }
}

/// A status in the making.
struct Answer {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Answer {
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
        }
    }

    fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    fn suggest(self, suggestion: &str) -> Self {
        self.with("suggestion", suggestion)
    }

    fn retry(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    fn resource(mut self, kind: &str, name: &str) -> Self {
        self.details
            .set_resource_info(kind, name, "", self.message.as_str());
        self
    }

    fn quota(mut self, subject: &str) -> Self {
        self.details
            .add_quota_failure_violation(subject, self.message.as_str());
        self
    }

    fn precondition(mut self, kind: &str, subject: &str) -> Self {
        self.details
            .add_precondition_failure_violation(kind, subject, self.message.as_str());
        self
    }

    fn bad_field(field: &str, reason: &str) -> Self {
        let message = format!("{field} {reason}");
        let mut answer = Self::new(Code::InvalidArgument, ErrorReason::InvalidField, message);
        answer.details.add_bad_request_violation(field, reason);
        answer.with("field", field)
    }

    fn beyond(offset: u64, next_offset: u64) -> Self {
        let message = format!("offset {offset} lies beyond the end, {next_offset}");
        Self::new(Code::OutOfRange, ErrorReason::OffsetOutOfRange, message)
            .with("next_offset", next_offset.to_string())
    }

    fn evicted(offset: u64, first_offset: u64) -> Self {
        let message = format!("offset {offset} is gone; the first kept is {first_offset}");
        Self::new(Code::OutOfRange, ErrorReason::OutputEvicted, message)
            .with("first_offset", first_offset.to_string())
    }

    fn outside(sequence: u64, first: u64, next: u64) -> Self {
        let message = format!("record {sequence} is not among those from {first} on to {next}");
        Self::new(Code::OutOfRange, ErrorReason::SequenceOutOfRange, message)
            .with("first_sequence", first.to_string())
            .with("next_sequence", next.to_string())
    }

    fn too_large(detail: &str) -> Self {
        Self::new(
            Code::ResourceExhausted,
            ErrorReason::MessageTooLarge,
            detail,
        )
        .quota("max_request_bytes")
        .suggest("write large input to a file in pieces and name the file")
    }

    fn into_status(mut self) -> Status {
        let reason = self.reason.as_str_name();
        let reason = reason.strip_prefix(REASON_PREFIX).unwrap_or(reason);
        self.details
            .set_error_info(reason, ERROR_DOMAIN, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }

    fn of(refusal: Refusal) -> Self {
        use ErrorReason as Reason;
        match refusal {
            Refusal::InvalidField { field, reason } => Self::bad_field(&field, &reason),
            Refusal::PageToken => {
                let message = "page_token is not from this listing; begin without one";
                let mut answer =
                    Self::new(Code::InvalidArgument, Reason::PageTokenInvalid, message);
                answer
                    .details
                    .add_bad_request_violation("page_token", message);
                answer
            }
            Refusal::PolicyInvalid { line, reason } => {
                let mut answer = Self::new(Code::InvalidArgument, Reason::PolicyInvalid, &reason);
                answer.details.add_bad_request_violation("policy", reason);
                match line {
                    Some(line) => answer.with("line", line.to_string()),
                    None => answer,
                }
            }
            Refusal::NotImplemented { what } => {
                let message = format!("this server does not have {what} yet");
                Self::new(Code::Unimplemented, Reason::NotImplemented, message)
                    .with("missing", what)
                    .suggest("ask GetCapabilities what this server can do")
            }
            Refusal::Denied(denied) => Self::denied(&denied),
            Refusal::Engine(error) => Self::of_engine(&error),
            Refusal::TooFast(too_fast) => Self::of_too_fast(&too_fast),
            call @ (Refusal::Unauthenticated { .. }
            | Refusal::CalledFromSession { .. }
            | Refusal::NoRole { .. }
            | Refusal::DeadlineExceeded { .. }
            | Refusal::OffsetOutOfRange { .. }
            | Refusal::OutputEvicted { .. }
            | Refusal::SequenceOutOfRange { .. }
            | Refusal::MessageTooLarge { .. }
            | Refusal::Malformed { .. }
            | Refusal::Internal { .. }) => Self::of_call(call),
        }
    }

    /// Refusals of the call itself, whatever it asks.
    fn of_call(refusal: Refusal) -> Self {
        use ErrorReason as Reason;
        match refusal {
            Refusal::Unauthenticated { reason } => Self::new(
                Code::Unauthenticated,
                Reason::Unauthenticated,
                reason,
            )
            .suggest(
                "send `authorization: Bearer TOKEN` with an API key, or on the server's machine \
                     with the token from its data directory",
            ),
            Refusal::CalledFromSession { reason } => {
                Self::new(Code::PermissionDenied, Reason::CalledFromSession, reason)
            }
            Refusal::NoRole { principal } => Self::new(
                Code::PermissionDenied,
                Reason::RoleRequired,
                format!("{principal} was granted nothing on this server"),
            )
            .with("role", Role::Nobody.name())
            .suggest("ask the operator for a role"),
            Refusal::DeadlineExceeded { execution } => {
                let message = format!("the call's deadline passed; {execution} may live on");
                Self::new(Code::DeadlineExceeded, Reason::DeadlineExceeded, message)
                    .with("execution_id", execution.as_str())
                    .suggest("Attach to the execution, or give it a time limit of its own")
            }
            Refusal::OffsetOutOfRange {
                offset,
                next_offset,
            } => Self::beyond(offset, next_offset),
            Refusal::OutputEvicted {
                offset,
                first_offset,
            } => Self::evicted(offset, first_offset),
            Refusal::SequenceOutOfRange {
                sequence,
                first_sequence,
                next_sequence,
            } => Self::outside(sequence, first_sequence, next_sequence),
            Refusal::MessageTooLarge { detail } => Self::too_large(&detail),
            Refusal::Malformed { detail } => {
                Self::new(Code::InvalidArgument, Reason::InvalidField, detail)
            }
            Refusal::Internal { incident } => {
                let message = format!("a defect of the server; its log knows it as {incident}");
                Self::new(Code::Internal, Reason::Internal, message).with("incident", incident)
            }
            Refusal::InvalidField { .. }
            | Refusal::PageToken
            | Refusal::PolicyInvalid { .. }
            | Refusal::NotImplemented { .. }
            | Refusal::Denied(_)
            | Refusal::TooFast(_)
            | Refusal::Engine(_) => Self::of(refusal),
        }
    }

    fn denied(denied: &DeniedCommand) -> Self {
        Self::of_denial(&denied.denial)
            .with("layer", denied.denial.layer.name())
            .with("excerpt", denied.excerpt.as_str())
            .with("policy_hash", denied.policy_hash.as_str())
    }

    fn of_denial(denial: &Denial) -> Self {
        let message = format!("denied by rule {}: {}", denial.rule, denial.reason);
        let span = format!("{}-{}", denial.span.start, denial.span.end);
        let answer = Self::new(Code::PermissionDenied, ErrorReason::PolicyDenied, message)
            .with("rule", denial.rule.as_str())
            .with("span", span)
            .with("justification", denial.reason.as_str());
        match &denial.suggestion {
            Some(suggestion) => answer.suggest(suggestion),
            None => answer,
        }
    }

    #[expect(clippy::too_many_lines, reason = "one table, a row for each error")]
    fn of_engine(error: &Error) -> Self {
        use ErrorReason as Reason;
        let message = format!("failed to {error}");
        let new = |code, reason| Self::new(code, reason, message.as_str());
        match error {
            Error::InvalidField { field, reason } => Self::bad_field(field, reason),
            Error::SessionNotFound { session } => {
                new(Code::NotFound, Reason::SessionNotFound).resource("session", session.as_str())
            }
            Error::SessionExpired { session, reason } => {
                new(Code::NotFound, Reason::SessionExpired)
                    .resource("session", session.as_str())
                    .with("why", reason.as_str())
                    .suggest("create a new session")
            }
            Error::SessionIdTaken { session } => new(Code::AlreadyExists, Reason::SessionIdReused)
                .resource("session", session.as_str()),
            Error::SessionEnded {
                session,
                lost,
                reason,
            } => {
                let state = match lost {
                    true => "LOST",
                    false => "CLOSED",
                };
                new(Code::FailedPrecondition, Reason::SessionEnded)
                    .precondition("SESSION_STATE", session.as_str())
                    .with("state", state)
                    .with("why", reason.as_str())
                    .suggest("create a new session, under another id")
            }
            Error::GenerationMismatch {
                session,
                expected,
                actual,
            } => new(Code::FailedPrecondition, Reason::GenerationMismatch)
                .precondition("GENERATION", session.as_str())
                .with("expected", expected.to_string())
                .with("generation", actual.to_string()),
            Error::SessionBusy { session, running } => {
                new(Code::FailedPrecondition, Reason::SessionBusy)
                    .precondition("SESSION_IDLE", session.as_str())
                    .with("execution_id", running.as_str())
                    .suggest("wait for it, set queue_if_busy, or use another session")
            }
            Error::ExecutionNotFound { execution } => {
                new(Code::NotFound, Reason::ExecutionNotFound)
                    .resource("execution", execution.as_str())
            }
            Error::ExecutionExpired { execution } => new(Code::NotFound, Reason::ExecutionExpired)
                .resource("execution", execution.as_str()),
            Error::ExecutionIdReused { execution } => {
                new(Code::AlreadyExists, Reason::ExecutionIdReused)
                    .resource("execution", execution.as_str())
                    .suggest("choose another execution_id")
            }
            Error::ExecutionNotRunning {
                execution,
                finished,
            } => {
                let state = match finished {
                    true => "FINISHED",
                    false => "QUEUED",
                };
                new(Code::FailedPrecondition, Reason::ExecutionNotRunning)
                    .precondition("EXECUTION_STATE", execution.as_str())
                    .with("state", state)
            }
            Error::StdinNotOpen { execution } => {
                new(Code::FailedPrecondition, Reason::StdinNotOpen)
                    .precondition("STDIN", execution.as_str())
                    .suggest("start the command with `stdin` open")
            }
            Error::StdinOffset { next_offset, .. } => {
                new(Code::OutOfRange, Reason::OffsetOutOfRange)
                    .with("next_offset", next_offset.to_string())
            }
            Error::StdinFull { retry_after, .. } => {
                new(Code::ResourceExhausted, Reason::StdinFull).retry(*retry_after)
            }
            Error::NoTerminal { session } => new(Code::FailedPrecondition, Reason::NoTerminal)
                .precondition("TERMINAL", session.as_str())
                .suggest("create a session with `terminal` set"),
            Error::UnknownFence { profile } => {
                Self::bad_field("fence.profile", &format!("{profile:?} is no profile here"))
            }
            Error::FenceUnavailable(control) => Self::of_fence(control),
            Error::PolicyDenied(denial) => Self::of_denial(denial),
            Error::LimitReached(reached) => Self::of_limit(reached),
            Error::AuditUnavailable(_) => {
                new(Code::Unavailable, Reason::AuditUnavailable).retry(UNAVAILABLE_RETRY)
            }
            Error::Transport(error) => Self::of_transport(error),
            Error::Shellless { session } => new(Code::FailedPrecondition, Reason::NoShell)
                .precondition("SHELL", session.as_str()),
            Error::RoleRequired { role, .. } => new(Code::PermissionDenied, Reason::RoleRequired)
                .with("role", role.name())
                .suggest("ask the operator for the role"),
            Error::TargetNotGranted { target } => {
                new(Code::PermissionDenied, Reason::TargetNotAllowed)
                    .with("target", target.as_str())
                    .suggest("use a target that the operator grants to this principal")
            }
            Error::SecretNotFound { secret } => new(Code::NotFound, Reason::SecretNotFound)
                .with("secret", secret.as_str())
                .resource("secret", secret),
            Error::NoShell { reason } => new(Code::FailedPrecondition, Reason::ShellNotFound)
                .precondition("SHELL", "local")
                .with("shell", reason.as_str()),
            Error::ShellNotReady { reason } => {
                new(Code::Unavailable, Reason::ShellStartFailed).with("detail", reason.as_str())
            }
            Error::CheckpointNotFound { checkpoint } => {
                new(Code::NotFound, Reason::CheckpointNotFound)
                    .resource("checkpoint", checkpoint.as_str())
            }
            Error::WorkspaceRequired { session } => {
                new(Code::FailedPrecondition, Reason::WorkspaceRequired)
                    .precondition("WORKSPACE", session.as_str())
                    .suggest("create the session with `workspace`")
            }
            Error::CheckpointBusy { retry_after } => {
                new(Code::Aborted, Reason::CheckpointBusy).retry(*retry_after)
            }
            Error::CheckpointProgramMissing { program } => {
                new(Code::FailedPrecondition, Reason::GitNotFound)
                    .precondition("PROGRAM", program)
                    .with("detail", program.as_str())
            }
            Error::CheckpointLimit { what, .. } => {
                new(Code::ResourceExhausted, Reason::CheckpointLimit)
                    .quota(what)
                    .suggest("delete some checkpoints")
            }
            Error::CheckpointFailed { reason } => {
                new(Code::Unavailable, Reason::CheckpointFailed).with("detail", reason.as_str())
            }
            Error::RestoreIncomplete {
                reason,
                pre_restore,
            } => new(Code::Unavailable, Reason::RestoreIncomplete)
                .with("detail", reason.as_str())
                .with("pre_restore_checkpoint_id", pre_restore.as_str())
                .suggest("repeat the restore: that finishes it"),
            Error::ShuttingDown => Self::new(Code::Unavailable, Reason::ServerDraining, DRAINING)
                .retry(UNAVAILABLE_RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use execgate_core::ids::{ExecutionId, SessionId};

    use super::*;

    #[test]
    fn busy_names_the_running_execution_to_programs() {
        let error = Error::SessionBusy {
            session: SessionId::parse("s").unwrap(),
            running: ExecutionId::parse("e").unwrap(),
        };
        let status = Status::from(Refusal::from(error));
        assert_eq!(status.code(), Code::FailedPrecondition);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("SESSION_BUSY", "execgate.dev")
        );
        assert_eq!(
            info.metadata.get("execution_id").map(String::as_str),
            Some("e")
        );
        assert!(details.precondition_failure().is_some());
    }

    #[test]
    fn a_bad_field_is_named() {
        let status = Status::from(Refusal::field("spec.timeout", "is negative"));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(
            (violation.field.as_str(), violation.description.as_str()),
            ("spec.timeout", "is negative")
        );
    }

    #[test]
    fn a_bare_status_of_the_library_gets_a_reason() {
        let status = Status::out_of_range("Error, decoded message length too large");
        let headers = status.into_http::<()>().headers().clone();
        let refusal = bare_refusal(&headers, "/x/Y").unwrap();
        let status = Status::from(refusal);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            status.get_error_details().error_info().unwrap().reason,
            "MESSAGE_TOO_LARGE"
        );
        let typed = status.into_http::<()>().headers().clone();
        assert!(bare_refusal(&typed, "/x/Y").is_none());
    }
}
