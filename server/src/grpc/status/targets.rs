//! The rows of targets: what is not to be had there, or not reached.

use execgate_core::outcome::LaunchFailureKind;
use execgate_engine::isolation::Control;
use execgate_engine::transport::TransportError;
use execgate_proto::v1::ErrorReason;
use tonic::Code;

use super::{Answer, UNAVAILABLE_RETRY};
use crate::grpc::to_proto;

impl Answer {
    /// A control that a session needs and its target does not give.
    pub(super) fn of_fence(control: &Control) -> Self {
        let row = to_proto::control(control);
        let (control, level) = (row.control().as_str_name(), row.level().as_str_name());
        let detail = format!("{} {}", row.mechanism, row.detail);
        let detail = match detail.trim() {
            "" => "nothing does it",
            detail => detail,
        };
        let message = format!("{control} is {level} here: {detail}");
        let reason = ErrorReason::FenceUnavailable;
        Self::new(Code::FailedPrecondition, reason, message)
            .precondition("FENCE", control)
            .with("control", control)
            .with("level", level)
            .with("detail", detail)
    }

    fn unavailable(target: &str, message: &str) -> Self {
        Self::new(Code::Unavailable, ErrorReason::TargetUnavailable, message)
            .with("target", target)
            .with("detail", message)
    }

    /// What a target, or the way to it, does not let happen.
    pub(super) fn of_transport(error: &TransportError) -> Self {
        use ErrorReason as Reason;
        let message = format!("failed to {error}");
        match error {
            TransportError::Launch {
                kind: LaunchFailureKind::WorkingDirectory,
                message,
                ..
            } => Self::bad_field("cwd", &format!("cannot be entered: {message}")),
            TransportError::Launch {
                program,
                kind: LaunchFailureKind::NotFound,
                ..
            } => Self::new(Code::FailedPrecondition, Reason::ShellNotFound, message)
                .precondition("SHELL", program)
                .with("shell", program.as_str()),
            TransportError::Launch {
                message: detail, ..
            } => Self::new(Code::Unavailable, Reason::ShellStartFailed, message)
                .with("detail", detail.as_str()),
            TransportError::NoTerminal => {
                Self::new(Code::FailedPrecondition, Reason::NoTerminal, message)
                    .precondition("TERMINAL", "session")
                    .suggest("create a session with `terminal` set")
            }
            TransportError::Unreachable { target, .. } => {
                Self::unavailable(target, &message).retry(UNAVAILABLE_RETRY)
            }
            TransportError::Io { .. } => {
                Self::unavailable("local", &message).retry(UNAVAILABLE_RETRY)
            }
            TransportError::Unusable { target, .. } => Self::unavailable(target, &message),
            TransportError::NoSuchTarget { target, .. } => {
                Self::new(Code::NotFound, Reason::TargetNotFound, message)
                    .with("target", target.as_str())
            }
            TransportError::NotAllowed { target, .. } => {
                Self::new(Code::PermissionDenied, Reason::TargetNotAllowed, message)
                    .with("target", target.as_str())
            }
            TransportError::LoginRefused { target, methods } => {
                Self::new(Code::FailedPrecondition, Reason::TargetAuthFailed, message)
                    .precondition("LOGIN", target)
                    .with("target", target.as_str())
                    .with("methods", methods.as_str())
            }
            TransportError::HostKeyMismatch {
                target,
                expected,
                got,
            } => Self::new(Code::FailedPrecondition, Reason::HostKeyMismatch, message)
                .precondition("HOST_KEY", target)
                .with("expected", expected.as_str())
                .with("got", got.as_str()),
            TransportError::HostKeyUnknown { target, got } => {
                Self::new(Code::FailedPrecondition, Reason::HostKeyUnknown, message)
                    .precondition("HOST_KEY", target)
                    .with("got", got.as_str())
            }
        }
    }
}
