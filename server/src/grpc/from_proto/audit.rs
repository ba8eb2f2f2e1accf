//! Questions to the audit log.

use execgate_core::audit::{AuditCause, MAX_NOTE_BYTES};
use execgate_core::ids::{ExecutionId, SessionId};
use execgate_engine::audit::{AuditKind, AuditQuery, Decision, Micros, PageStart, VerifyRequest};
use execgate_proto::v1;

use super::fields::{self, enumeration};
use super::page::{open, page_size};
use crate::grpc::refusal::Refusal;
use crate::grpc::to_proto::{AUDIT_NEWEST, AUDIT_OLDEST};

/// Sessions in one filter at most: a page's worth of them.
const MAX_SESSIONS: usize = 1000;
/// Bytes of a text to look for at most, as the API says.
const MAX_TEXT_BYTES: usize = 1024;

/// What to read, as far as the caller may.
pub(crate) fn audit_query(request: v1::ListAuditRecordsRequest) -> Result<AuditQuery, Refusal> {
    let (start, through) = start(&request.page_token, request.newest_first)?;
    Ok(AuditQuery {
        start,
        through,
        limit: page_size(request.page_size)?,
        ..audit_filter(request.filter.unwrap_or_default())?
    })
}

/// Which records are meant, wherever the reading begins.
pub(crate) fn audit_filter(filter: v1::AuditFilter) -> Result<AuditQuery, Refusal> {
    if filter.session_ids.len() > MAX_SESSIONS {
        return Err(Refusal::field(
            "filter.session_ids",
            format!("has more than {MAX_SESSIONS}"),
        ));
    }
    for (index, id) in filter.session_ids.iter().enumerate() {
        fields::session_id(id)
            .map_err(|_| Refusal::field(format!("filter.session_ids[{index}]"), "is no id"))?;
    }
    let execution_id = fields::given(filter.execution_id);
    if execution_id
        .as_deref()
        .is_some_and(|id| ExecutionId::parse(id).is_err())
    {
        return Err(Refusal::field("filter.execution_id", "is no id"));
    }
    if filter.text.len() > MAX_TEXT_BYTES {
        let bytes = filter.text.len();
        let reason = format!("has {bytes} bytes, at most {MAX_TEXT_BYTES}");
        return Err(Refusal::field("filter.text", reason));
    }
    let mut kinds = Vec::new();
    for (index, number) in filter.kinds.iter().enumerate() {
        kinds.push(kind(&format!("filter.kinds[{index}]"), *number)?);
    }
    let mut causes = Vec::new();
    for (index, number) in filter.causes.iter().enumerate() {
        causes.extend(cause(&format!("filter.causes[{index}]"), *number)?);
    }
    Ok(AuditQuery {
        principal: fields::given(filter.principal),
        session_ids: filter.session_ids,
        execution_id,
        kinds,
        since: fields::time("filter.start_time", filter.start_time)?.map(Micros::from),
        until: fields::time("filter.end_time", filter.end_time)?.map(Micros::from),
        decision: match enumeration("filter.decision", filter.decision)? {
            v1::Decision::Unspecified => None,
            v1::Decision::Allow => Some(Decision::Allowed),
            v1::Decision::Deny => Some(Decision::Denied),
        },
        causes,
        failed_only: filter.failed_only,
        text: fields::given(filter.text),
        ..AuditQuery::default()
    })
}

/// What VerifyAuditLog is asked.
pub(crate) fn verification(request: v1::VerifyAuditLogRequest) -> Result<VerifyRequest, Refusal> {
    let note = request.known_checkpoint_note;
    if note.len() > MAX_NOTE_BYTES {
        let bytes = note.len();
        let reason = format!("has {bytes} bytes, at most {MAX_NOTE_BYTES}");
        return Err(Refusal::field("known_checkpoint_note", reason));
    }
    Ok(VerifyRequest {
        from: request.from_sequence,
        to: request.to_sequence,
        known_heads: fields::given(note).into_iter().collect(),
        ..VerifyRequest::default()
    })
}

/// What ExportRecording is asked.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) session: SessionId,
    /// One execution, or all of the session.
    pub(crate) execution: Option<ExecutionId>,
    pub(crate) form: RecordingForm,
}

/// The form of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordingForm {
    Jsonl,
    Asciicast,
    Ocsf,
}

pub(crate) fn recording(request: v1::ExportRecordingRequest) -> Result<Recording, Refusal> {
    let execution = fields::given(request.execution_id);
    Ok(Recording {
        session: fields::session_id(&request.session_id)?,
        execution: execution.map(|id| fields::execution_id(&id)).transpose()?,
        form: match enumeration("format", request.format)? {
            v1::RecordingFormat::Unspecified => {
                return Err(Refusal::field("format", "is not set"));
            }
            v1::RecordingFormat::Jsonl => RecordingForm::Jsonl,
            v1::RecordingFormat::AsciicastV3 => RecordingForm::Asciicast,
            v1::RecordingFormat::Ocsf => RecordingForm::Ocsf,
        },
    })
}

/// Where a page starts, and the last record that its listing is about.
fn start(token: &str, newest_first: bool) -> Result<(PageStart, Option<u64>), Refusal> {
    let place = |listing| match token {
        "" => Ok::<_, Refusal>((None, None)),
        token => {
            let place = open(listing, token)?;
            let (at, through) = place.split_once(' ').ok_or(Refusal::PageToken)?;
            let number = |text: &str| text.parse().map(Some).map_err(|_| Refusal::PageToken);
            Ok((number(at)?, number(through)?))
        }
    };
    Ok(match newest_first {
        true => {
            let (before_sequence, through) = place(AUDIT_NEWEST)?;
            (PageStart::NewestFirst { before_sequence }, through)
        }
        false => {
            let (after, through) = place(AUDIT_OLDEST)?;
            let after_sequence = after.unwrap_or(0);
            (PageStart::OldestFirst { after_sequence }, through)
        }
    })
}

/// The causes in records that one of the API stands for.
fn cause(field: &str, number: i32) -> Result<Vec<AuditCause>, Refusal> {
    use v1::Cause as Proto;
    Ok(match enumeration(field, number)? {
        Proto::Unspecified => return Err(Refusal::field(field, "is not set")),
        Proto::Exited => vec![AuditCause::Exited],
        Proto::ShellExited => vec![AuditCause::ShellExited],
        Proto::SignaledByRequest => vec![AuditCause::SignaledByRequest],
        Proto::Timeout => vec![AuditCause::Timeout],
        Proto::Cancelled => vec![AuditCause::Cancelled],
        Proto::OutputLimit => vec![AuditCause::OutputLimit],
        Proto::Oom => vec![AuditCause::Oom],
        Proto::SessionClosed => vec![AuditCause::SessionClosed],
        Proto::TargetStopped => vec![AuditCause::TargetStopped],
        Proto::TransportLost => vec![AuditCause::TransportLost],
        Proto::ServerRestarted => vec![AuditCause::ServerRestarted],
        Proto::ShellBroken => vec![AuditCause::ShellBroken],
        Proto::LaunchFailed => vec![AuditCause::LaunchFailed, AuditCause::NotStarted],
    })
}

fn kind(field: &str, number: i32) -> Result<AuditKind, Refusal> {
    use v1::AuditKind as Kind;
    Ok(match enumeration(field, number)? {
        Kind::Unspecified => return Err(Refusal::field(field, "is not set")),
        Kind::SessionCreated => AuditKind::SessionCreated,
        Kind::SessionClosed => AuditKind::SessionClosed,
        Kind::SessionLost => AuditKind::SessionLost,
        Kind::ExecutionIntent => AuditKind::ExecutionIntent,
        Kind::ExecutionDenied => AuditKind::ExecutionDenied,
        Kind::ExecutionOutcome => AuditKind::ExecutionOutcome,
        Kind::ExecutionAbandoned => AuditKind::ExecutionAbandoned,
        Kind::SignalSent => AuditKind::SignalSent,
        Kind::ShellRestarted => AuditKind::ShellRestarted,
        Kind::StdinWritten => AuditKind::StdinWritten,
        Kind::AuthFailure => AuditKind::AuthFailure,
        Kind::ServerStarted => AuditKind::ServerStarted,
        Kind::ServerStopped => AuditKind::ServerStopped,
        Kind::Recovered => AuditKind::Recovered,
        Kind::HostKeyMismatch => AuditKind::HostKeyMismatch,
        Kind::PolicyReloaded => AuditKind::PolicyReloaded,
        Kind::CheckpointIntent => AuditKind::CheckpointIntent,
        Kind::CheckpointCreated => AuditKind::CheckpointCreated,
        Kind::CheckpointRestored => AuditKind::CheckpointRestored,
        Kind::CheckpointDeleted => AuditKind::CheckpointDeleted,
        Kind::CheckpointFailed => AuditKind::CheckpointFailed,
        Kind::AuditRead => AuditKind::AuditRead,
        Kind::Intervened => AuditKind::Intervened,
        Kind::RetentionApplied => AuditKind::RetentionApplied,
    })
}
