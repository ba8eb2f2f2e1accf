//! Questions to the audit log.

use execgate_core::ids::{ExecutionId, Principal};
use execgate_engine::audit::{AuditKind, AuditQuery, Micros, PageStart};
use execgate_proto::v1;

use super::fields::{self, enumeration};
use super::page::{open, page_size};
use crate::grpc::refusal::Refusal;
use crate::grpc::to_proto::{AUDIT_NEWEST, AUDIT_OLDEST};

/// Sessions in one filter at most: a page's worth of them.
const MAX_SESSIONS: usize = 1000;

/// What to read. A caller sees its own records and the server's.
pub(crate) fn audit_query(
    request: v1::ListAuditRecordsRequest,
    principal: &Principal,
) -> Result<AuditQuery, Refusal> {
    let filter = request.filter.unwrap_or_default();
    refuse_missing(&filter)?;
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
    let mut kinds = Vec::new();
    for (index, number) in filter.kinds.iter().enumerate() {
        kinds.push(kind(&format!("filter.kinds[{index}]"), *number)?);
    }
    // One principal owns everything on this server, and may read what the server itself
    // records.
    let _everything = principal;
    Ok(AuditQuery {
        principal: fields::given(filter.principal),
        session_ids: filter.session_ids,
        execution_id,
        kinds,
        since: fields::time("filter.start_time", filter.start_time)?.map(Micros::from),
        until: fields::time("filter.end_time", filter.end_time)?.map(Micros::from),
        start: start(&request.page_token, request.newest_first)?,
        limit: page_size(request.page_size)?,
    })
}

/// Filters that need an index.
fn refuse_missing(filter: &v1::AuditFilter) -> Result<(), Refusal> {
    let missing = match filter {
        v1::AuditFilter { decision, .. } if *decision != 0 => "field filter.decision",
        v1::AuditFilter { causes, .. } if !causes.is_empty() => "field filter.causes",
        v1::AuditFilter {
            failed_only: true, ..
        } => "field filter.failed_only",
        v1::AuditFilter { text, .. } if !text.is_empty() => "field filter.text",
        _ => return Ok(()),
    };
    Err(Refusal::not_implemented(missing))
}

fn start(token: &str, newest_first: bool) -> Result<PageStart, Refusal> {
    let place = |listing| match token {
        "" => Ok(None),
        token => open(listing, token)?
            .parse()
            .map(Some)
            .map_err(|_| Refusal::PageToken),
    };
    Ok(match newest_first {
        true => PageStart::NewestFirst {
            before_sequence: place(AUDIT_NEWEST)?,
        },
        false => PageStart::OldestFirst {
            after_sequence: place(AUDIT_OLDEST)?.unwrap_or(0),
        },
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
        Kind::RetentionApplied => AuditKind::RetentionApplied,
    })
}
