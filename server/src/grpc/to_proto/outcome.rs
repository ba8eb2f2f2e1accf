//! How executions ended.

use std::time::SystemTime;

use bytes::Bytes;
use execgate_core::outcome::{
    Cause, ChannelTotals, Ending, LaunchFailureKind, ObservedBy, Outcome, signal_name,
};
use execgate_engine::session::Session;
use execgate_proto::v1;
use v1::outcome::Result as ProtoResult;

use super::channel;
use super::time::{duration, timestamp};

/// The end of an execution that began at `started`, in a session now of `generation`.
pub(super) fn finished(
    ending: &Ending,
    started: Option<SystemTime>,
    generation: u64,
    session: &Session,
) -> v1::Finished {
    v1::Finished {
        outcome: Some(outcome(&ending.outcome)),
        observed_by: observed_by(ending.observed_by).into(),
        cause: cause(ending.cause).into(),
        start_time: started.map(timestamp),
        end_time: started.map(|started| timestamp(started + ending.wall_time)),
        wall_time: Some(duration(ending.wall_time)),
        usage: ending.usage.map(|usage| v1::Usage {
            user_cpu: Some(duration(usage.user)),
            system_cpu: Some(duration(usage.system)),
            max_resident_bytes: Some(usage.max_resident_bytes),
        }),
        cwd: ending
            .cwd
            .as_deref()
            .map(|cwd| session.redact(cwd))
            .unwrap_or_default(),
        channels: ending.totals.iter().map(totals).collect(),
        generation,
    }
}

fn totals(totals: &ChannelTotals) -> v1::ChannelTotals {
    v1::ChannelTotals {
        channel: channel(totals.channel).into(),
        bytes: totals.bytes,
        lines: totals.lines,
        redactions: totals.redacted.total(),
        sha256: Bytes::copy_from_slice(&totals.sha256),
        redacted: totals
            .redacted
            .iter()
            .map(|(name, count)| v1::RedactionCount {
                name: name.to_owned(),
                count,
            })
            .collect(),
    }
}

fn outcome(outcome: &Outcome) -> v1::Outcome {
    let result = match outcome {
        Outcome::ExitCode(code) => ProtoResult::Exited(v1::Exited {
            code: *code,
            possible_signal: outcome.possible_signal().map(signaled),
        }),
        Outcome::Signal(number) => ProtoResult::Signaled(signaled(*number)),
        Outcome::LaunchFailure { kind, errno } => {
            ProtoResult::LaunchFailed(launch_failed(*kind, *errno))
        }
        Outcome::Lost { reason } => ProtoResult::Lost(v1::Lost {
            reason: reason.clone(),
        }),
    };
    v1::Outcome {
        result: Some(result),
    }
}

pub(super) fn signaled(number: i32) -> v1::Signaled {
    v1::Signaled {
        number,
        name: signal_name(number),
    }
}

fn launch_failed(kind: LaunchFailureKind, errno: i32) -> v1::LaunchFailed {
    let failure = match kind {
        LaunchFailureKind::NotFound => v1::LaunchFailure::NotFound,
        LaunchFailureKind::PermissionDenied => v1::LaunchFailure::Permission,
        LaunchFailureKind::NotExecutable => v1::LaunchFailure::NotExecutable,
        LaunchFailureKind::WorkingDirectory => v1::LaunchFailure::CwdMissing,
        LaunchFailureKind::TooLong => v1::LaunchFailure::TooLong,
        LaunchFailureKind::Resources => v1::LaunchFailure::Resources,
        LaunchFailureKind::Other => v1::LaunchFailure::Other,
    };
    v1::LaunchFailed {
        failure: failure.into(),
        errno: (errno != 0).then_some(errno),
        detail: String::new(),
    }
}

fn observed_by(observer: ObservedBy) -> v1::ObservedBy {
    match observer {
        ObservedBy::Kernel => v1::ObservedBy::Kernel,
        ObservedBy::Shell => v1::ObservedBy::Shell,
        ObservedBy::Sshd => v1::ObservedBy::Sshd,
        ObservedBy::Dockerd => v1::ObservedBy::Dockerd,
        ObservedBy::Nobody => v1::ObservedBy::Nobody,
    }
}

fn cause(cause: Cause) -> v1::Cause {
    match cause {
        Cause::Exited => v1::Cause::Exited,
        Cause::ShellExited => v1::Cause::ShellExited,
        Cause::SignaledByRequest => v1::Cause::SignaledByRequest,
        Cause::Timeout => v1::Cause::Timeout,
        Cause::Cancelled => v1::Cause::Cancelled,
        Cause::SessionClosed => v1::Cause::SessionClosed,
        Cause::TransportLost => v1::Cause::TransportLost,
        Cause::TargetStopped => v1::Cause::TargetStopped,
        Cause::Oom => v1::Cause::Oom,
        Cause::ShellBroken => v1::Cause::ShellBroken,
        Cause::LaunchFailed => v1::Cause::LaunchFailed,
    }
}
