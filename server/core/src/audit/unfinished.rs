//! Which executions and sessions a log leaves open, and the records that close
//! them after a crash.
//!
//! ```text
//! intent ── outcome | abandoned        created ── closed | lost
//! ```
//! A `server_started` or `recovered` record is a boundary: whoever wrote it had
//! opened the log first, and opening closes everything before.

use std::collections::BTreeMap;

use super::record::{
    AuditBody, AuditRecord, ExecutionAbandoned, Micros, NewRecord, Recovered, SYSTEM_PRINCIPAL,
    SessionLoss, SessionLost,
};

/// Reason of a `session_lost` record written after a crash.
const LOST_REASON: &str = "the server ended without closing it";

/// Principal, session, execution: ids are unique only within the one before.
type ExecutionKey = (String, Option<String>, Option<String>);
type SessionKey = (String, Option<String>);

/// A fold over a log: what was begun and not ended.
#[derive(Clone, Debug, Default)]
pub struct Unfinished {
    executions: BTreeMap<ExecutionKey, Intent>,
    sessions: BTreeMap<SessionKey, u64>,
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
        }
        match record.body {
            AuditBody::ExecutionIntent(_) => {
                let intent = Intent {
                    sequence: record.sequence,
                    trace_id: record.trace_id.clone(),
                };
                self.executions.insert(execution_key(record), intent);
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
            | AuditBody::Unknown => {}
        }
    }

    /// The records that close all of it, `recovered` last; none if nothing was
    /// left open and nothing was torn.
    #[must_use]
    pub fn into_closing_records(self, now: Micros, torn_bytes: u64) -> Vec<NewRecord> {
        let recovered = Recovered {
            torn_bytes,
            abandoned_executions: self.executions.len() as u64,
            lost_sessions: self.sessions.len() as u64,
        };
        let nothing = Recovered {
            torn_bytes: 0,
            abandoned_executions: 0,
            lost_sessions: 0,
        };
        if recovered == nothing {
            return Vec::new();
        }
        let executions = in_log_order(self.executions, |intent| intent.sequence);
        let abandoned = executions
            .into_iter()
            .map(|((principal, session, execution), intent)| {
                let body = ExecutionAbandoned {
                    intent_sequence: intent.sequence,
                };
                NewRecord {
                    time: now,
                    principal,
                    session_id: session,
                    execution_id: execution,
                    trace_id: intent.trace_id,
                    body: AuditBody::ExecutionAbandoned(body),
                }
            });
        let sessions = in_log_order(self.sessions, |sequence| *sequence);
        let lost = sessions.into_iter().map(|((principal, session_id), _)| {
            let body = AuditBody::SessionLost(SessionLost {
                reason: LOST_REASON.to_owned(),
                loss: Some(SessionLoss::ServerRestarted),
            });
            NewRecord {
                time: now,
                principal,
                session_id,
                execution_id: None,
                trace_id: None,
                body,
            }
        });
        let summary = NewRecord {
            time: now,
            principal: SYSTEM_PRINCIPAL.to_owned(),
            session_id: None,
            execution_id: None,
            trace_id: None,
            body: AuditBody::Recovered(recovered),
        };
        abandoned.chain(lost).chain([summary]).collect()
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

fn in_log_order<K, V>(open: BTreeMap<K, V>, sequence: impl Fn(&V) -> u64) -> Vec<(K, V)> {
    let mut entries: Vec<_> = open.into_iter().collect();
    entries.sort_by_key(|(_, value)| sequence(value));
    entries
}

#[cfg(test)]
mod tests {
    use super::super::record::{
        AuditCause, AuditObserver, AuditOutcome, CommandKind, Digest, ExecutionIntent,
        ExecutionOutcome, ServerStarted, SessionCreated,
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
        });
        check(&[new(Some("a"), intent()), new(None, started)], 0, &[]);
    }
}
