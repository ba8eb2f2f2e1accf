//! Audit records. The payload goes out as it was hashed, so that a reader need not
//! believe this translation.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use execgate_core::audit::{
    AuditBody, AuditCause, AuditChannel, AuditObserver, AuditOutcome, AuthMethod, ChannelTotals,
    CheckpointOperation, CommandKind, Digest, ExecutionOutcome, RetentionReason,
};
use execgate_engine::audit::{
    AuditHead, AuditPage, AuditRecord, DefectKind, Micros, PageStart, SignedHead, Verification,
};
use execgate_proto::v1;
use v1::audit_record::Body;
use v1::outcome::Result as ProtoResult;

use super::session::session_loss;
use super::time::{duration, timestamp};
use super::{AUDIT_NEWEST, AUDIT_OLDEST};
use crate::grpc::from_proto::seal;

/// One page.
pub(crate) fn audit_page(page: AuditPage) -> v1::ListAuditRecordsResponse {
    let next_page_token = match page.next {
        None => String::new(),
        Some(PageStart::OldestFirst { after_sequence }) => {
            seal(AUDIT_OLDEST, &format!("{after_sequence} {}", page.through))
        }
        Some(PageStart::NewestFirst { before_sequence }) => {
            let before = before_sequence.unwrap_or(u64::MAX);
            seal(AUDIT_NEWEST, &format!("{before} {}", page.through))
        }
    };
    let records = page.records.into_iter().map(audit_record).collect();
    v1::ListAuditRecordsResponse {
        records,
        next_page_token,
    }
}

/// Where the log stands.
pub(crate) fn head(head: &AuditHead) -> v1::GetAuditHeadResponse {
    v1::GetAuditHeadResponse {
        sequence: head.sequence,
        hash: digest(&head.hash),
        ..v1::GetAuditHeadResponse::default()
    }
}

/// The signed head.
pub(crate) fn signed_head(signed: SignedHead) -> v1::GetAuditHeadResponse {
    v1::GetAuditHeadResponse {
        sequence: signed.head.size,
        hash: digest(&signed.hash),
        sign_time: Some(time(signed.time)),
        verifier_key: signed.verifier.to_string(),
        checkpoint_note: signed.note,
    }
}

/// What came of a check.
pub(crate) fn verification(found: Verification) -> v1::VerifyAuditLogResponse {
    v1::VerifyAuditLogResponse {
        valid: found.defect.is_none(),
        checked_records: found.checked,
        first_sequence: found.first,
        last_sequence: found.last,
        first_defect: found.defect.map(|defect| v1::AuditDefect {
            sequence: defect.sequence,
            kind: defect_kind(defect.kind).into(),
            detail: defect.detail,
        }),
    }
}

fn defect_kind(kind: DefectKind) -> v1::AuditDefectKind {
    match kind {
        DefectKind::Changed => v1::AuditDefectKind::Changed,
        DefectKind::Missing => v1::AuditDefectKind::Missing,
        DefectKind::Inserted => v1::AuditDefectKind::Inserted,
        DefectKind::Reordered => v1::AuditDefectKind::Reordered,
        DefectKind::Truncated => v1::AuditDefectKind::Truncated,
        DefectKind::BadSignature => v1::AuditDefectKind::BadSignature,
        DefectKind::Unreadable => v1::AuditDefectKind::Unreadable,
    }
}

/// One record.
pub(crate) fn audit_record(record: AuditRecord) -> v1::AuditRecord {
    v1::AuditRecord {
        sequence: record.sequence,
        time: Some(time(record.time)),
        principal: record.principal,
        session_id: record.session_id.unwrap_or_default(),
        execution_id: record.execution_id.unwrap_or_default(),
        trace_id: record.trace_id.unwrap_or_default(),
        previous_hash: digest(&record.previous_hash),
        hash: digest(&record.hash),
        payload: Bytes::from(record.payload),
        auth_method: auth_method(record.auth).into(),
        body: body(record.body),
    }
}

fn time(time: Micros) -> prost_types::Timestamp {
    timestamp(UNIX_EPOCH + Duration::from_micros(time.0))
}

fn digest(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(&digest.0)
}

fn body(body: AuditBody) -> Option<Body> {
    Some(match body {
        AuditBody::SessionCreated(created) => Body::SessionCreated(v1::SessionCreatedRecord {
            target: created.target,
            shell: created.shell,
            policy_hash: digest(&created.policy_hash),
            fence: Some(super::fence::recorded(&created.isolation)),
            isolation: created.isolation,
            secrets: created.secrets,
        }),
        AuditBody::SessionClosed(closed) => Body::SessionClosed(v1::SessionClosedRecord {
            end_reason: end_reason(&closed.reason).into(),
            reason: closed.reason,
            killed: closed.killed,
        }),
        AuditBody::SessionLost(lost) => Body::SessionLost(v1::SessionLostRecord {
            reason: lost.reason,
            // A record from before that was kept says no more than its words.
            end_reason: lost.loss.map_or(0, |loss| session_loss(loss).into()),
        }),
        AuditBody::ExecutionIntent(intent) => Body::ExecutionIntent(v1::ExecutionIntentRecord {
            command: intent.command,
            command_hash: digest(&intent.command_hash),
            command_kind: command_kind(intent.command_kind).into(),
            rule: intent.rule,
            policy_hash: digest(&intent.policy_hash),
            cwd: intent.cwd,
            secrets: intent.secrets,
        }),
        AuditBody::ExecutionDenied(denied) => Body::ExecutionDenied(v1::ExecutionDeniedRecord {
            command: denied.command,
            command_hash: digest(&denied.command_hash),
            command_kind: command_kind(denied.command_kind).into(),
            rule: denied.rule,
            reason: denied.reason,
            policy_hash: digest(&denied.policy_hash),
        }),
        AuditBody::ExecutionOutcome(ended) => Body::ExecutionOutcome(outcome_record(ended)),
        AuditBody::ExecutionAbandoned(abandoned) => {
            let intent_sequence = abandoned.intent_sequence;
            Body::ExecutionAbandoned(v1::ExecutionAbandonedRecord { intent_sequence })
        }
        AuditBody::SignalSent(sent) => Body::SignalSent(v1::SignalSentRecord {
            reason: signal_reason(&sent.reason).into(),
            signal: sent.signal,
        }),
        other => return server_body(other),
    })
}

/// Records that are not about a session's life or a command's.
fn server_body(body: AuditBody) -> Option<Body> {
    Some(match body {
        AuditBody::ShellRestarted(restarted) => Body::ShellRestarted(v1::ShellRestartedRecord {
            generation: restarted.generation,
            reason: restarted.reason,
        }),
        AuditBody::StdinWritten(written) => Body::StdinWritten(v1::StdinWrittenRecord {
            offset: written.offset,
            length: written.bytes,
            data_hash: digest(&written.hash),
            eof: written.eof,
        }),
        AuditBody::AuthFailure(failure) => Body::AuthFailure(v1::AuthFailureRecord {
            method: failure.method,
            peer: failure.peer,
            reason: failure.reason,
        }),
        AuditBody::ServerStarted(started) => Body::ServerStarted(v1::ServerStartedRecord {
            version: started.version,
            config_hash: digest(&started.config_hash),
            verifier_key: started.verifier_key,
        }),
        AuditBody::ServerStopped(stopped) => Body::ServerStopped(v1::ServerStoppedRecord {
            reason: stopped.reason,
        }),
        AuditBody::Recovered(recovered) => Body::Recovered(v1::RecoveredRecord {
            torn_bytes: recovered.torn_bytes,
            abandoned_executions: recovered.abandoned_executions,
            lost_sessions: recovered.lost_sessions,
            abandoned_checkpoints: recovered.abandoned_checkpoints,
        }),
        AuditBody::PolicyReloaded(reloaded) => Body::PolicyReloaded(v1::PolicyReloadedRecord {
            policy: reloaded.policy,
            policy_hash: digest(&reloaded.policy_hash),
            profile: reloaded.profile,
            error: reloaded.error,
        }),
        AuditBody::HostKeyMismatch(shown) => Body::HostKeyMismatch(v1::HostKeyMismatchRecord {
            target: shown.target,
            expected: shown.expected,
            got: shown.got,
        }),
        AuditBody::AuditRead(read) => Body::AuditRead(v1::AuditReadRecord {
            method: read.method,
            first_sequence: read.first_sequence,
            last_sequence: read.last_sequence,
        }),
        AuditBody::Intervened(act) => Body::Intervened(v1::IntervenedRecord {
            owner: act.owner,
            method: act.method,
            subject: act.subject,
        }),
        AuditBody::RetentionApplied(applied) => {
            Body::RetentionApplied(v1::RetentionAppliedRecord {
                first_sequence: applied.first_sequence,
                kept_hash: digest(&applied.kept_hash),
                reason: retention_reason(applied.reason).to_owned(),
            })
        }
        other => return checkpoint_body(other),
    })
}

/// Records of checkpoints.
fn checkpoint_body(body: AuditBody) -> Option<Body> {
    Some(match body {
        AuditBody::CheckpointIntent(intent) => Body::CheckpointIntent(v1::CheckpointIntentRecord {
            operation: checkpoint_operation(intent.operation).into(),
            checkpoint_id: intent.checkpoint_id,
            workspace: intent.workspace,
        }),
        AuditBody::CheckpointCreated(made) => {
            Body::CheckpointCreated(v1::CheckpointCreatedRecord {
                checkpoint_id: made.checkpoint_id,
                workspace: made.workspace,
                content_digest: made.content_digest,
            })
        }
        AuditBody::CheckpointRestored(restored) => {
            Body::CheckpointRestored(v1::CheckpointRestoredRecord {
                checkpoint_id: restored.checkpoint_id,
                workspace: restored.workspace,
                pre_restore_checkpoint_id: restored.pre_restore_checkpoint_id,
                changed_files: restored.changed_files,
                complete: restored.complete,
            })
        }
        AuditBody::CheckpointDeleted(deleted) => {
            Body::CheckpointDeleted(v1::CheckpointDeletedRecord {
                checkpoint_id: deleted.checkpoint_id,
                reason: deleted.reason,
            })
        }
        AuditBody::CheckpointFailed(failed) => Body::CheckpointFailed(v1::CheckpointFailedRecord {
            operation: checkpoint_operation(failed.operation).into(),
            checkpoint_id: failed.checkpoint_id,
            reason: failed.reason,
        }),
        // A reader that does not know the kind still has the payload.
        _ => return None,
    })
}

fn auth_method(auth: Option<AuthMethod>) -> v1::AuthMethod {
    match auth {
        Some(AuthMethod::Token) => v1::AuthMethod::Token,
        Some(AuthMethod::UnixPeer) => v1::AuthMethod::UnixPeer,
        Some(AuthMethod::ClientCertificate) => v1::AuthMethod::ClientCertificate,
        Some(AuthMethod::ApiKey) => v1::AuthMethod::ApiKey,
        Some(AuthMethod::Jwt) => v1::AuthMethod::Jwt,
        Some(AuthMethod::Unknown) | None => v1::AuthMethod::Unspecified,
    }
}

fn retention_reason(reason: RetentionReason) -> &'static str {
    match reason {
        RetentionReason::Age => "age",
        RetentionReason::Bytes => "bytes",
        RetentionReason::Unknown => "",
    }
}

fn checkpoint_operation(operation: CheckpointOperation) -> v1::CheckpointOperation {
    match operation {
        CheckpointOperation::Create => v1::CheckpointOperation::Create,
        CheckpointOperation::Restore => v1::CheckpointOperation::Restore,
        CheckpointOperation::Delete => v1::CheckpointOperation::Delete,
        CheckpointOperation::Unknown => v1::CheckpointOperation::Unspecified,
    }
}

fn end_reason(reason: &str) -> v1::SessionEndReason {
    match reason {
        "requested" | "closed by its owner" => v1::SessionEndReason::Requested,
        "idle" | "it was idle" => v1::SessionEndReason::Idle,
        "max_lifetime" | "its lifetime is over" => v1::SessionEndReason::MaxLifetime,
        "server_stopping" | "server shutdown" => v1::SessionEndReason::ServerStopping,
        _ => v1::SessionEndReason::Unspecified,
    }
}

fn signal_reason(reason: &str) -> v1::SignalReason {
    match reason {
        "requested" => v1::SignalReason::Requested,
        "timeout" => v1::SignalReason::Timeout,
        "cancelled" => v1::SignalReason::Cancelled,
        "closing" => v1::SignalReason::SessionClosing,
        _ => v1::SignalReason::Unspecified,
    }
}

/// How a command was given.
pub(crate) fn command_kind(kind: CommandKind) -> v1::CommandKind {
    match kind {
        CommandKind::Script => v1::CommandKind::Script,
        CommandKind::Argv => v1::CommandKind::Argv,
    }
}

fn outcome_record(ended: ExecutionOutcome) -> v1::ExecutionOutcomeRecord {
    v1::ExecutionOutcomeRecord {
        outcome: Some(v1::Outcome {
            result: Some(outcome(ended.outcome)),
        }),
        cause: cause(ended.cause).into(),
        observed_by: observed_by(ended.observed_by).into(),
        wall_time: Some(duration(Duration::from_micros(ended.wall_micros))),
        channels: ended.totals.iter().map(totals).collect(),
    }
}

fn outcome(outcome: AuditOutcome) -> ProtoResult {
    match outcome {
        AuditOutcome::Exit { code } => ProtoResult::Exited(v1::Exited {
            code,
            possible_signal: None,
        }),
        AuditOutcome::Signal { number, name } => {
            ProtoResult::Signaled(v1::Signaled { number, name })
        }
        AuditOutcome::LaunchFailure { failure, errno } => {
            ProtoResult::LaunchFailed(v1::LaunchFailed {
                failure: launch_failure(&failure).into(),
                errno,
                detail: failure,
            })
        }
        AuditOutcome::Lost { reason } => ProtoResult::Lost(v1::Lost { reason }),
    }
}

fn launch_failure(failure: &str) -> v1::LaunchFailure {
    match failure {
        "not_found" => v1::LaunchFailure::NotFound,
        "permission_denied" => v1::LaunchFailure::Permission,
        "not_executable" => v1::LaunchFailure::NotExecutable,
        "working_directory" => v1::LaunchFailure::CwdMissing,
        "too_long" => v1::LaunchFailure::TooLong,
        "resources" => v1::LaunchFailure::Resources,
        _ => v1::LaunchFailure::Other,
    }
}

fn cause(cause: AuditCause) -> v1::Cause {
    match cause {
        AuditCause::Exited => v1::Cause::Exited,
        AuditCause::ShellExited => v1::Cause::ShellExited,
        AuditCause::SignaledByRequest => v1::Cause::SignaledByRequest,
        AuditCause::Timeout => v1::Cause::Timeout,
        AuditCause::Cancelled => v1::Cause::Cancelled,
        AuditCause::OutputLimit => v1::Cause::OutputLimit,
        AuditCause::Oom => v1::Cause::Oom,
        AuditCause::SessionClosed => v1::Cause::SessionClosed,
        AuditCause::TargetStopped => v1::Cause::TargetStopped,
        AuditCause::TransportLost => v1::Cause::TransportLost,
        AuditCause::ServerRestarted => v1::Cause::ServerRestarted,
        AuditCause::ShellBroken => v1::Cause::ShellBroken,
        AuditCause::LaunchFailed => v1::Cause::LaunchFailed,
        AuditCause::NotStarted => v1::Cause::LaunchFailed,
    }
}

fn observed_by(observer: AuditObserver) -> v1::ObservedBy {
    match observer {
        AuditObserver::Kernel => v1::ObservedBy::Kernel,
        AuditObserver::Shell => v1::ObservedBy::Shell,
        AuditObserver::Sshd => v1::ObservedBy::Sshd,
        AuditObserver::Dockerd => v1::ObservedBy::Dockerd,
        AuditObserver::Server => v1::ObservedBy::Nobody,
    }
}

fn totals(totals: &ChannelTotals) -> v1::ChannelTotals {
    let channel = match totals.channel {
        AuditChannel::Stdout => v1::Channel::Stdout,
        AuditChannel::Stderr => v1::Channel::Stderr,
        AuditChannel::Terminal => v1::Channel::Terminal,
        AuditChannel::Background => v1::Channel::Background,
    };
    v1::ChannelTotals {
        channel: channel.into(),
        bytes: totals.bytes,
        lines: totals.lines,
        redactions: totals.redactions,
        sha256: digest(&totals.sha256),
        redacted: totals
            .redacted
            .iter()
            .map(|(name, count)| v1::RedactionCount {
                name: name.clone(),
                count: *count,
            })
            .collect(),
    }
}
