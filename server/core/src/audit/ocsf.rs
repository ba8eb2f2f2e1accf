//! Records as events of the Open Cybersecurity Schema Framework, version 1.5.
//!
//! | records | class |
//! |---|---|
//! | intent, denial | Process Activity (1007), Launch; a denial is a failure |
//! | outcome, abandoned | Process Activity (1007), Terminate |
//! | signal, stdin | Process Activity (1007), Other |
//! | a caller turned away, another host key | Authentication (3002), Logon; a failure |
//! | the server's start, stop, recovery | Application Lifecycle (6002), Start, Stop, Other |
//! | everything else | API Activity (6003) |
//!
//! What the schema has no place for is in `unmapped`: the record as it was hashed. So no
//! reader of these events need believe this translation.

use serde_json::{Map, Value, json};

use super::record::{AuditBody, AuditKind, AuditRecord};

/// The version of the schema.
const SCHEMA_VERSION: &str = "1.5.0";
/// Severity `Informational` and `Medium`.
const INFORMATIONAL: u8 = 1;
const MEDIUM: u8 = 3;
/// Status `Success` and `Failure`.
const SUCCESS: u8 = 1;
const FAILURE: u8 = 2;
/// An activity that the class has no number for.
const OTHER: u32 = 99;
/// Microseconds in the schema's unit of time.
const MICROS_IN_MILLI: u64 = 1000;

/// What kind of event a record is.
struct Class {
    category: u32,
    uid: u32,
    activity: u32,
    status: u8,
}

const fn class(category: u32, uid: u32, activity: u32, status: u8) -> Class {
    Class {
        category,
        uid,
        activity,
        status,
    }
}

const fn process(activity: u32, status: u8) -> Class {
    class(1, 1007, activity, status)
}

const fn api(activity: u32, status: u8) -> Class {
    class(6, 6003, activity, status)
}

fn classify(body: &AuditBody) -> Class {
    let ended = |failed| if failed { FAILURE } else { SUCCESS };
    match body {
        AuditBody::ExecutionIntent(_) => process(1, SUCCESS),
        AuditBody::ExecutionDenied(_) => process(1, FAILURE),
        AuditBody::ExecutionOutcome(end) => process(2, ended(end.outcome.failed())),
        AuditBody::ExecutionAbandoned(_) => process(2, FAILURE),
        AuditBody::SignalSent(_) | AuditBody::StdinWritten(_) => process(OTHER, SUCCESS),
        AuditBody::AuthFailure(_) | AuditBody::HostKeyMismatch(_) => class(3, 3002, 1, FAILURE),
        AuditBody::ServerStarted(_) => class(6, 6002, 3, SUCCESS),
        AuditBody::ServerStopped(_) => class(6, 6002, 4, SUCCESS),
        AuditBody::Recovered(_) => class(6, 6002, OTHER, SUCCESS),
        AuditBody::SessionCreated(_) | AuditBody::CheckpointCreated(_) => api(1, SUCCESS),
        AuditBody::AuditRead(_) => api(2, SUCCESS),
        AuditBody::ShellRestarted(_)
        | AuditBody::Intervened(_)
        | AuditBody::CheckpointRestored(_)
        | AuditBody::CheckpointIntent(_) => api(3, SUCCESS),
        AuditBody::PolicyReloaded(reloaded) => api(3, ended(!reloaded.error.is_empty())),
        AuditBody::CheckpointFailed(_) => api(3, FAILURE),
        AuditBody::SessionClosed(_)
        | AuditBody::CheckpointDeleted(_)
        | AuditBody::RetentionApplied(_) => api(4, SUCCESS),
        AuditBody::SessionLost(_) => api(4, FAILURE),
        AuditBody::Unknown => api(OTHER, SUCCESS),
    }
}

/// A record as one event.
#[must_use]
pub fn event(record: &AuditRecord) -> Value {
    let class = classify(&record.body);
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    put("category_uid", class.category.into());
    put("class_uid", class.uid.into());
    put("activity_id", class.activity.into());
    put("type_uid", (class.uid * 100 + class.activity).into());
    put("time", (record.time.0 / MICROS_IN_MILLI).into());
    let severity = match class.status {
        FAILURE => MEDIUM,
        _ => INFORMATIONAL,
    };
    put("severity_id", severity.into());
    put("status_id", class.status.into());
    if class.activity == OTHER {
        put("activity_name", record.body.kind().as_str().into());
    }
    put("metadata", metadata(record));
    put("actor", actor(record));
    match class.uid {
        1007 => {
            put("device", json!({ "type_id": 0, "name": "session" }));
            put("process", process_of(record));
        }
        3002 => {
            put("user", json!({ "name": record.principal }));
        }
        6002 => {
            put("app", product());
        }
        _ => {
            put("api", json!({ "operation": record.body.kind().as_str() }));
            put("src_endpoint", json!({ "name": source(record) }));
        }
    }
    if let Some(outcome) = record.body.outcome()
        && let super::record::AuditOutcome::Exit { code } = outcome.outcome
    {
        put("exit_code", code.into());
    }
    put("unmapped", unmapped(record));
    Value::Object(event)
}

fn product() -> Value {
    json!({ "name": "execgate", "vendor_name": "execgate" })
}

fn metadata(record: &AuditRecord) -> Value {
    let mut metadata = json!({
        "version": SCHEMA_VERSION,
        "product": product(),
        "uid": record.hash.to_string(),
        "sequence": record.sequence,
        "event_code": record.body.kind().as_str(),
        "log_name": "audit",
    });
    if let (Some(trace), Some(metadata)) = (&record.trace_id, metadata.as_object_mut()) {
        metadata.insert("correlation_uid".to_owned(), trace.as_str().into());
    }
    metadata
}

fn actor(record: &AuditRecord) -> Value {
    let mut actor = json!({ "user": { "name": record.principal } });
    if let (Some(session), Some(actor)) = (&record.session_id, actor.as_object_mut()) {
        actor.insert("session".to_owned(), json!({ "uid": session }));
    }
    actor
}

fn process_of(record: &AuditRecord) -> Value {
    let mut process = json!({ "uid": record.execution_id.as_deref().unwrap_or_default() });
    if let (Some(command), Some(process)) = (record.body.command(), process.as_object_mut()) {
        process.insert("cmd_line".to_owned(), command.into());
    }
    process
}

fn source(record: &AuditRecord) -> &'static str {
    match (record.auth, record.body.kind()) {
        (Some(auth), _) => auth.as_str(),
        (None, AuditKind::RetentionApplied | AuditKind::PolicyReloaded) => "server",
        (None, _) => "unknown",
    }
}

/// The record as it was hashed, and what follows from nothing else.
fn unmapped(record: &AuditRecord) -> Value {
    let payload = serde_json::from_str::<Value>(&record.payload).unwrap_or_default();
    json!({ "hash": record.hash.to_string(), "record": payload })
}

#[cfg(test)]
mod tests {
    use super::super::record::{AuthFailure, CommandKind, ExecutionDenied};
    use super::super::{ChainState, Micros, NewRecord, ServerStopped, decode_line};
    use super::*;

    fn read(body: AuditBody) -> AuditRecord {
        let record = NewRecord {
            time: Micros(1_700_000_000_123_456),
            principal: "local".to_owned(),
            session_id: Some("s".to_owned()),
            execution_id: Some("e".to_owned()),
            trace_id: None,
            auth: None,
            body,
        };
        let mut line = Vec::new();
        ChainState::default().append(&record, 0, &mut line).unwrap();
        line.pop();
        decode_line(&line).unwrap().record().unwrap()
    }

    /// What the schema requires of every event, and of each class used here.
    fn required(class: u64) -> &'static [&'static str] {
        match class {
            1007 => &["device", "process", "actor"],
            3002 => &["user"],
            6002 => &["app"],
            6003 => &["actor", "api", "src_endpoint"],
            other => panic!("{other}"),
        }
    }

    fn check(body: AuditBody, type_uid: u64, status: u64) {
        let event = event(&read(body));
        let class = event["class_uid"].as_u64().unwrap();
        let base = [
            "activity_id",
            "category_uid",
            "severity_id",
            "time",
            "metadata",
        ];
        for name in base.iter().chain(required(class)) {
            assert!(!event[*name].is_null(), "{name} of {event}");
        }
        assert_eq!(event["category_uid"].as_u64(), Some(class / 1000));
        assert_eq!(event["metadata"]["version"], SCHEMA_VERSION);
        assert!(event["metadata"]["product"]["vendor_name"].is_string());
        assert_eq!(event["time"].as_u64(), Some(1_700_000_000_123));
        let seen = (event["type_uid"].as_u64(), event["status_id"].as_u64());
        assert_eq!(seen, (Some(type_uid), Some(status)));
    }

    #[test]
    fn events_have_what_the_schema_requires() {
        let denied = ExecutionDenied {
            command: "rm -rf /".to_owned(),
            command_hash: super::super::Digest::default(),
            command_kind: CommandKind::Script,
            rule: "r".to_owned(),
            reason: "no".to_owned(),
            policy_hash: super::super::Digest::default(),
        };
        let event = event(&read(AuditBody::ExecutionDenied(denied.clone())));
        assert_eq!(event["process"]["cmd_line"], "rm -rf /");
        assert_eq!(event["process"]["uid"], "e");
        assert_eq!(event["actor"]["session"]["uid"], "s");
        check(AuditBody::ExecutionDenied(denied), 100_701, 2);
        let stopped = ServerStopped {
            reason: "SIGTERM".to_owned(),
        };
        check(AuditBody::ServerStopped(stopped), 600_204, 1);
        let failure = AuthFailure {
            method: "/x".to_owned(),
            peer: "tcp".to_owned(),
            reason: "no token".to_owned(),
        };
        check(AuditBody::AuthFailure(failure), 300_201, 2);
        check(AuditBody::Unknown, 600_399, 1);
    }
}
