//! What happens in an execution.

use std::sync::Arc;
use std::time::Duration;

use execgate_core::outcome::{Channel, signal_name};
use execgate_engine::execution::{EventKind, Execution, GapReason, Notice};
use execgate_engine::session::Session;
use execgate_proto::v1;
use v1::exec_event::Kind;
use v1::notice::Kind as NoticeKind;

use super::audit::command_kind;
use super::outcome::finished;
use super::time::{duration, timestamp};
use crate::grpc::edge::Edge;

/// What an answer about an execution is made from.
#[derive(Debug, Clone)]
pub(crate) struct ExecutionView {
    pub(crate) edge: Arc<Edge>,
    pub(crate) session: Arc<Session>,
    pub(crate) execution: Arc<Execution>,
    /// The time limit, where the request or the session says it.
    pub(crate) timeout: Option<Duration>,
    /// Whether a call found the execution instead of starting it.
    pub(crate) deduplicated: bool,
}

impl ExecutionView {
    /// The first event.
    fn started(&self) -> v1::Started {
        let snapshot = self.session.snapshot();
        v1::Started {
            session_id: self.session.id.to_string(),
            execution_id: self.execution.id.to_string(),
            generation: snapshot.generation,
            kind: command_kind(self.execution.kind).into(),
            command: Edge::shown_command(&self.execution.command),
            cwd: self.session.redact(&snapshot.cwd),
            start_time: self.execution.started().map(timestamp),
            timeout: self.timeout.map(duration),
            deduplicated: self.deduplicated,
            audit_sequence: 0,
        }
    }

    /// How it ended, if it has.
    pub(super) fn finished(&self) -> Option<v1::Finished> {
        let generation = self.session.snapshot().generation;
        let started = self.execution.started();
        let ending = self.execution.ending()?;
        Some(finished(&ending, started, generation, &self.session))
    }
}

/// One event; `number` is the place of a notice among the stream's notices.
pub(crate) fn event_kind(kind: EventKind, number: u64, view: &ExecutionView) -> Kind {
    match kind {
        EventKind::Started => Kind::Started(view.started()),
        EventKind::Output {
            channel: on,
            offset,
            data,
        } => Kind::Output(v1::Output {
            channel: channel(on).into(),
            offset,
            data,
        }),
        EventKind::Gap {
            channel: on,
            from,
            to,
            reason,
        } => Kind::Gap(v1::Gap {
            channel: channel(on).into(),
            from_offset: from,
            to_offset: to,
            reason: match reason {
                GapReason::Evicted => v1::GapReason::Evicted,
                GapReason::StorageFailed => v1::GapReason::StorageFailed,
            }
            .into(),
        }),
        EventKind::Notice(happened) => Kind::Notice(notice(&happened, number, &view.session)),
        EventKind::Finished(ending) => {
            let generation = view.session.snapshot().generation;
            Kind::Finished(finished(
                &ending,
                view.execution.started(),
                generation,
                &view.session,
            ))
        }
    }
}

/// A channel's name in the API.
pub(crate) fn channel(channel: Channel) -> v1::Channel {
    match channel {
        Channel::Stdout => v1::Channel::Stdout,
        Channel::Stderr => v1::Channel::Stderr,
        Channel::Terminal => v1::Channel::Terminal,
        Channel::Background => v1::Channel::Background,
    }
}

/// A notice.
#[expect(clippy::too_many_lines, reason = "one table, a row for each notice")]
pub(crate) fn notice(notice: &Notice, number: u64, session: &Session) -> v1::Notice {
    let (message, kind) = match notice {
        Notice::TimeoutFired { limit } => (
            format!(
                "the time limit of {} was reached",
                humantime::format_duration(*limit)
            ),
            Some(NoticeKind::TimeoutFired(v1::TimeoutFired {
                timeout: Some(duration(*limit)),
            })),
        ),
        Notice::SignalSent { signal, processes } => {
            let signal = signal_name(*signal);
            // The engine does not say why it sent one.
            let reason = v1::SignalReason::Unspecified.into();
            (
                format!("{signal} was sent to {processes} processes or groups"),
                Some(NoticeKind::SignalSent(v1::SignalSent { signal, reason })),
            )
        }
        Notice::InputWanted { observed, hidden } => {
            let (input, what) = match hidden {
                true => (v1::InputKind::Password, "a password, it seems"),
                false => (v1::InputKind::Text, "input"),
            };
            let wanted = v1::InputWanted {
                input: input.into(),
                inferred: !observed,
            };
            (
                format!("the command waits for {what}"),
                Some(NoticeKind::InputWanted(wanted)),
            )
        }
        Notice::Stopped { signal } => {
            let signal = signal_name(*signal);
            (
                format!("the command was stopped by {signal}"),
                Some(NoticeKind::ExecutionStopped(v1::ExecutionStopped {
                    signal,
                })),
            )
        }
        Notice::CheckpointMade { checkpoint } => (
            "the workspace was saved".to_owned(),
            Some(NoticeKind::CheckpointMade(v1::CheckpointMade {
                checkpoint_id: checkpoint.to_string(),
            })),
        ),
        Notice::Continued => (
            "the command goes on".to_owned(),
            Some(NoticeKind::ExecutionContinued(v1::ExecutionContinued {})),
        ),
        Notice::ShellContinued => (
            "the shell had stopped itself and was told to go on".to_owned(),
            Some(NoticeKind::ExecutionContinued(v1::ExecutionContinued {})),
        ),
        Notice::ShellRestarted { generation, lost } => {
            // The engine says it in one sentence: why, then what did not come along.
            let (reason, lost) = lost.split_once("; ").unwrap_or(("the shell ended", lost));
            (
                format!("another shell took its place: {reason}; {lost}"),
                Some(NoticeKind::ShellRestarted(v1::ShellRestarted {
                    generation: *generation,
                    reason: session.redact(reason),
                    lost: vec![session.redact(lost)],
                    cwd: String::new(),
                })),
            )
        }
        Notice::SessionLost { reason } => (format!("the session is lost: {reason}"), None),
        Notice::OutputThrottled { retained } => throttled(*retained),
        Notice::StorageFailed => (
            "output could not be written to disk: from here on less of it is kept".to_owned(),
            None,
        ),
    };
    v1::Notice {
        number,
        message: session.redact(&message),
        kind,
        time: None,
    }
}

fn throttled(retained_bytes: u64) -> (String, Option<NoticeKind>) {
    (
        "the command waits: what is kept of its output is full until it is read".to_owned(),
        Some(NoticeKind::OutputThrottled(v1::OutputThrottled {
            retained_bytes,
        })),
    )
}
