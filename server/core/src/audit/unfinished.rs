//! Which executions and sessions a log leaves open, and the records that close
//! them after a crash.
//!
//! ```text
//! intent ── outcome | abandoned        created ── closed | lost
//! checkpoint_intent ── checkpoint_created | _restored | _deleted | _failed
//! ```
//! A `server_started` or `recovered` record is a boundary: whoever wrote it had
//! opened the log first, and opening closes everything before.

use std::collections::BTreeMap;

use super::digest::Micros;
use super::record::{
    AuditBody, AuditRecord, CheckpointFailed, CheckpointOperation, ExecutionAbandoned, NewRecord,
    Recovered, SYSTEM_PRINCIPAL, SessionLoss, SessionLost,
};

/// Reason of a `session_lost` record written after a crash.
const LOST_REASON: &str = "the server ended without closing it";
/// Reason of a `checkpoint_failed` record written after a crash.
const LOST_CHECKPOINT_REASON: &str = "the server ended before it was done";

/// Principal, session, execution: ids are unique only within the one before.
type ExecutionKey = (String, Option<String>, Option<String>);
type SessionKey = (String, Option<String>);
/// Session, what is done, and the checkpoint.
type CheckpointKey = (SessionKey, CheckpointOperation, String);

/// A fold over a log: what was begun and not ended.
#[derive(Clone, Debug, Default)]
pub struct Unfinished {
    executions: BTreeMap<ExecutionKey, Intent>,
    sessions: BTreeMap<SessionKey, u64>,
    checkpoints: BTreeMap<CheckpointKey, Intent>,
}

#[derive(Clone, Debug)]
struct Intent {
    sequence: u64,
    trace_id: Option<String>,
}

impl Unfinished {
    /// True if `record` says that everything before it has been closed.
    #[must_use]
    pub const fn is_boundary(record: &AuditRecord) -> bool {
        matches!(
            record.body,
            AuditBody::ServerStarted(_) | AuditBody::Recovered(_)
        )
    }

    /// Takes the next record of the log into account.
    pub fn observe(&mut self, record: &AuditRecord) {
        if Self::is_boundary(record) {
            self.executions.clear();
            self.sessions.clear();
            self.checkpoints.clear();
        }
        let begun = || Intent {
            sequence: record.sequence,
            trace_id: record.trace_id.clone(),
        };
        match &record.body {
            AuditBody::ExecutionIntent(_) => {
                self.executions.insert(execution_key(record), begun());
            }
            AuditBody::CheckpointIntent(intent) => {
                let key = checkpoint_key(record, intent.operation, &intent.checkpoint_id);
                self.checkpoints.insert(key, begun());
            }
            AuditBody::CheckpointCreated(done) => {
                self.checkpoint_ended(record, CheckpointOperation::Create, &done.checkpoint_id);
            }
            AuditBody::CheckpointRestored(done) => {
                self.checkpoint_ended(record, CheckpointOperation::Restore, &done.checkpoint_id);
            }
            AuditBody::CheckpointDeleted(done) => {
                self.checkpoint_ended(record, CheckpointOperation::Delete, &done.checkpoint_id);
            }
            AuditBody::CheckpointFailed(failed) => {
                self.checkpoint_ended(record, failed.operation, &failed.checkpoint_id);
            }
            AuditBody::ExecutionOutcome(_) | AuditBody::ExecutionAbandoned(_) => {
                self.executions.remove(&execution_key(record));
            }
            AuditBody::SessionCreated(_) => {
                self.sessions.insert(session_key(record), record.sequence);
            }
            AuditBody::SessionClosed(_) | AuditBody::SessionLost(_) => {
                self.sessions.remove(&session_key(record));
            }
            AuditBody::ExecutionDenied(_)
            | AuditBody::SignalSent(_)
            | AuditBody::ShellRestarted(_)
            | AuditBody::StdinWritten(_)
            | AuditBody::AuthFailure(_)
            | AuditBody::ServerStarted(_)
            | AuditBody::ServerStopped(_)
            | AuditBody::Recovered(_)
            | AuditBody::HostKeyMismatch(_)
            | AuditBody::PolicyReloaded(_)
            | AuditBody::AuditRead(_)
            | AuditBody::Intervened(_)
            | AuditBody::RetentionApplied(_)
            | AuditBody::Unknown => {}
        }
    }

    fn checkpoint_ended(
        &mut self,
        record: &AuditRecord,
        operation: CheckpointOperation,
        checkpoint: &str,
    ) {
        self.checkpoints
            .remove(&checkpoint_key(record, operation, checkpoint));
    }

    /// The records that close all of it, `recovered` last; none if nothing was
    /// left open and nothing was torn.
    #[must_use]
    pub fn into_closing_records(self, now: Micros, torn_bytes: u64) -> Vec<NewRecord> {
        let recovered = Recovered {
            torn_bytes,
            abandoned_executions: self.executions.len() as u64,
            lost_sessions: self.sessions.len() as u64,
            abandoned_checkpoints: self.checkpoints.len() as u64,
        };
        if recovered == Recovered::default() {
            return Vec::new();
        }
        let executions = in_log_order(self.executions, |intent| intent.sequence);
        let abandoned = executions.into_iter().map(|(key, intent)| {
            let body = ExecutionAbandoned {
                intent_sequence: intent.sequence,
            };
            let (principal, session_id, execution_id) = key;
            NewRecord {
                session_id,
                execution_id,
                trace_id: intent.trace_id,
                ..closing(now, principal, AuditBody::ExecutionAbandoned(body))
            }
        });
        let checkpoints = in_log_order(self.checkpoints, |intent| intent.sequence);
        let unknown = checkpoints.into_iter().map(|(key, intent)| {
            let ((principal, session_id), operation, checkpoint_id) = key;
            let body = CheckpointFailed {
                operation,
                checkpoint_id,
                reason: LOST_CHECKPOINT_REASON.to_owned(),
            };
            NewRecord {
                session_id,
                trace_id: intent.trace_id,
                ..closing(now, principal, AuditBody::CheckpointFailed(body))
            }
        });
        let sessions = in_log_order(self.sessions, |sequence| *sequence);
        let lost = sessions.into_iter().map(|((principal, session_id), _)| {
            let body = AuditBody::SessionLost(SessionLost {
                reason: LOST_REASON.to_owned(),
                loss: Some(SessionLoss::ServerRestarted),
            });
            NewRecord {
                session_id,
                ..closing(now, principal, body)
            }
        });
        let summary = closing(
            now,
            SYSTEM_PRINCIPAL.to_owned(),
            AuditBody::Recovered(recovered),
        );
        abandoned
            .chain(unknown)
            .chain(lost)
            .chain([summary])
            .collect()
    }
}

/// A record that nobody asked for.
const fn closing(time: Micros, principal: String, body: AuditBody) -> NewRecord {
    NewRecord {
        time,
        principal,
        session_id: None,
        execution_id: None,
        trace_id: None,
        auth: None,
        body,
    }
}

fn execution_key(record: &AuditRecord) -> ExecutionKey {
    (
        record.principal.clone(),
        record.session_id.clone(),
        record.execution_id.clone(),
    )
}

fn session_key(record: &AuditRecord) -> SessionKey {
    (record.principal.clone(), record.session_id.clone())
}

fn checkpoint_key(
    record: &AuditRecord,
    operation: CheckpointOperation,
    checkpoint: &str,
) -> CheckpointKey {
    (session_key(record), operation, checkpoint.to_owned())
}

fn in_log_order<K, V>(open: BTreeMap<K, V>, sequence: impl Fn(&V) -> u64) -> Vec<(K, V)> {
    let mut entries: Vec<_> = open.into_iter().collect();
    entries.sort_by_key(|(_, value)| sequence(value));
    entries
}

#[cfg(test)]
mod tests {
    use super::super::Digest;
    use super::super::record::{
        AuditCause, AuditObserver, AuditOutcome, CheckpointCreated, CheckpointIntent, CommandKind,
        ExecutionIntent, ExecutionOutcome, ServerStarted, SessionCreated,
    };
    use super::super::{ChainState, decode_line};
    use super::*;

    fn new(execution: Option<&str>, body: AuditBody) -> NewRecord {
        NewRecord {
            time: Micros(1),
            principal: "agent".to_owned(),
            session_id: Some("ses_1".to_owned()),
            execution_id: execution.map(str::to_owned),
            trace_id: None,
            auth: None,
            body,
        }
    }

    fn intent() -> AuditBody {
        AuditBody::ExecutionIntent(ExecutionIntent {
            command: "true".to_owned(),
            command_hash: Digest::default(),
            command_kind: CommandKind::Script,
            rule: "default".to_owned(),
            policy_hash: Digest::default(),
            cwd: "/".to_owned(),
            secrets: Vec::new(),
        })
    }

    fn outcome() -> AuditBody {
        AuditBody::ExecutionOutcome(ExecutionOutcome {
            outcome: AuditOutcome::Exit { code: 0 },
            cause: AuditCause::Exited,
            observed_by: AuditObserver::Shell,
            wall_micros: 1,
            totals: Vec::new(),
        })
    }

    fn created() -> AuditBody {
        AuditBody::SessionCreated(SessionCreated {
            target: "local".to_owned(),
            shell: "bash".to_owned(),
            policy_hash: Digest::default(),
            isolation: Vec::new(),
            secrets: Vec::new(),
        })
    }

    fn check(log: &[NewRecord], torn_bytes: u64, expected: &[NewRecord]) {
        let mut chain = ChainState::default();
        let mut open = Unfinished::default();
        for record in log {
            let mut line = Vec::new();
            chain.append(record, 0, &mut line).unwrap();
            let line = line.strip_suffix(b"\n").unwrap();
            open.observe(&decode_line(line).unwrap().record().unwrap());
        }
        assert_eq!(open.into_closing_records(Micros(9), torn_bytes), expected);
    }

    fn closing(principal: &str, execution: Option<&str>, body: AuditBody) -> NewRecord {
        let mut record = new(execution, body);
        record.time = Micros(9);
        record.principal = principal.to_owned();
        record
    }

    fn recovered(torn_bytes: u64, abandoned_executions: u64, lost_sessions: u64) -> NewRecord {
        let body = Recovered {
            torn_bytes,
            abandoned_executions,
            lost_sessions,
            abandoned_checkpoints: 0,
        };
        NewRecord {
            session_id: None,
            ..closing("system", None, AuditBody::Recovered(body))
        }
    }

    #[test]
    fn finished_work_needs_no_closing() {
        check(
            &[new(Some("a"), intent()), new(Some("a"), outcome())],
            0,
            &[],
        );
    }

    #[test]
    fn an_intent_without_outcome_is_abandoned_and_its_session_lost() {
        let log = [
            new(None, created()),
            new(Some("b"), intent()),
            new(Some("a"), intent()),
            new(Some("b"), outcome()),
        ];
        let abandoned = AuditBody::ExecutionAbandoned(ExecutionAbandoned { intent_sequence: 3 });
        let lost = AuditBody::SessionLost(SessionLost {
            reason: LOST_REASON.to_owned(),
            loss: Some(SessionLoss::ServerRestarted),
        });
        let expected = [
            closing("agent", Some("a"), abandoned),
            closing("agent", None, lost),
            recovered(0, 1, 1),
        ];
        check(&log, 0, &expected);
    }

    #[test]
    fn a_torn_tail_alone_is_recorded() {
        check(&[], 17, &[recovered(17, 0, 0)]);
    }

    #[test]
    fn a_server_start_closes_what_was_before() {
        let started = AuditBody::ServerStarted(ServerStarted {
            version: "1".to_owned(),
            config_hash: Digest::default(),
            verifier_key: String::new(),
        });
        check(&[new(Some("a"), intent()), new(None, started)], 0, &[]);
    }

    #[test]
    fn a_checkpoint_that_was_begun_and_not_ended_failed() {
        let begun = |operation, id: &str| {
            new(
                None,
                AuditBody::CheckpointIntent(CheckpointIntent {
                    operation,
                    checkpoint_id: id.to_owned(),
                    workspace: "/src".to_owned(),
                }),
            )
        };
        let made = AuditBody::CheckpointCreated(CheckpointCreated {
            checkpoint_id: "a".to_owned(),
            workspace: "/src".to_owned(),
            content_digest: String::new(),
        });
        let log = [
            begun(CheckpointOperation::Create, "a"),
            new(None, made),
            begun(CheckpointOperation::Restore, "a"),
        ];
        let failed = AuditBody::CheckpointFailed(CheckpointFailed {
            operation: CheckpointOperation::Restore,
            checkpoint_id: "a".to_owned(),
            reason: LOST_CHECKPOINT_REASON.to_owned(),
        });
        let summary = AuditBody::Recovered(Recovered {
            abandoned_checkpoints: 1,
            ..Recovered::default()
        });
        let summary = NewRecord {
            session_id: None,
            ..closing("system", None, summary)
        };
        check(&log, 0, &[closing("agent", None, failed), summary]);
    }
}
