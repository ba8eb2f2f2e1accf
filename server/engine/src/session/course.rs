//! What a command in the shell and a program beside it have in common: when it must stop
//! and why, which signals it got, and how its end is put together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use execgate_core::audit::{AuditBody, SignalSent};
use execgate_core::outcome::{
    Cause, Channel, ChannelTotals, Ending, ObservedBy, Outcome, SHELL_SIGNAL_BASE, signal_name,
};
use tokio::time::Instant;

use super::ladder::{Ladder, Rung};
use super::records::Recorder;
use crate::execution::{Command, EventKind, Execution, Notice};
use crate::telemetry::CommandTrace;

/// How long after an interrupt a process that would die of it counts as one that missed
/// it: more than a busy machine takes to end one.
const AGAIN_PAUSE: Duration = Duration::from_millis(50);

/// How often an interrupt is sent again.
const AGAIN_TIMES: u32 = 3;

/// The course of one execution.
pub(super) struct Course {
    pub(super) execution: Arc<Execution>,
    pub(super) ladder: Ladder,
    started: Instant,
    limit: Duration,
    /// That the limit was reached has been said.
    told: bool,
    /// Why it must stop, once it must.
    stopping: Option<Cause>,
    /// When to see whether an interrupt was missed, and how often still.
    again: Option<(Instant, u32)>,
    /// What the gate sent by itself.
    signals: Vec<i32>,
    /// What a client asked for.
    requested: Vec<i32>,
    /// What is told of it.
    pub(super) trace: CommandTrace,
}

impl Course {
    /// A course that begins now and must end within the command's limit, or the session's.
    pub(super) fn begin(
        execution: Arc<Execution>,
        command: &Command,
        default_limit: Duration,
        trace: CommandTrace,
    ) -> Self {
        let limit = command.timeout.unwrap_or(default_limit);
        let now = Instant::now();
        Self {
            execution,
            ladder: Ladder::from(now + limit, command.timeout_action, command.grace),
            started: now,
            limit,
            told: false,
            stopping: None,
            again: None,
            signals: Vec::new(),
            requested: Vec::new(),
            trace,
        }
    }

    /// How long ago it started; a little more, for clocks that tick.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed() + Duration::from_millis(10)
    }

    /// Begins to climb the ladder now.
    pub(super) fn stop(&mut self, cause: Cause) {
        if self.stopping.is_none() {
            self.stopping = Some(cause);
            self.execution.log.release();
            self.ladder.climb_now(Instant::now());
        }
    }

    /// The session is closing: what is left of it gets these signals.
    pub(super) fn closing(&mut self, signals: [i32; 2]) {
        self.stopping = Some(Cause::SessionClosed);
        self.execution.log.release();
        self.signals.extend(signals);
    }

    /// Why it must stop.
    pub(super) fn stopping(&self) -> Option<Cause> {
        self.stopping
    }

    /// An interrupt was sent: it is looked at soon whether it was missed.
    pub(super) fn interrupted(&mut self, now: Instant) {
        self.again = Some((now + AGAIN_PAUSE, AGAIN_TIMES));
    }

    /// When to look whether an interrupt was missed.
    pub(super) fn again_due(&self) -> Option<Instant> {
        self.again.map(|(due, _)| due)
    }

    /// Whether to look now; answers so once for each time it is due.
    pub(super) fn takes_again(&mut self, now: Instant) -> bool {
        let Some((_, left)) = self.again.filter(|(due, _)| now >= *due) else {
            return false;
        };
        self.again = left.checked_sub(1).map(|left| (now + AGAIN_PAUSE, left));
        true
    }

    /// Nothing was missed.
    pub(super) fn was_heard(&mut self) {
        self.again = None;
    }

    /// Says that the time limit has fired, the first time.
    pub(super) fn note_timeout(&mut self, rung: Rung) {
        if self.stopping.is_none() && !self.told {
            self.told = true;
            self.trace.timed_out(self.limit);
            let notice = Notice::TimeoutFired { limit: self.limit };
            self.execution.log.push(EventKind::Notice(notice));
        }
        if self.stopping.is_none() && rung != Rung::Tell {
            self.stopping = Some(Cause::Timeout);
            self.execution.log.release();
        }
    }

    /// Says and records that the gate sent a signal by itself, the first time that it met a
    /// process.
    pub(super) async fn signalled(&mut self, signal: i32, processes: usize, recorder: &Recorder) {
        if processes == 0 || self.signals.contains(&signal) {
            return;
        }
        self.signals.push(signal);
        let reason = match self.stopping {
            Some(Cause::Cancelled) => "cancelled",
            Some(_) | None => "timeout",
        };
        self.tell(signal, processes, reason, recorder).await;
    }

    /// Says and records that a client asked for a signal.
    pub(super) async fn requested(&mut self, signal: i32, processes: usize, recorder: &Recorder) {
        self.requested.push(signal);
        self.tell(signal, processes, "requested", recorder).await;
    }

    async fn tell(&self, signal: i32, processes: usize, reason: &str, recorder: &Recorder) {
        self.trace.signalled(signal, reason);
        let notice = Notice::SignalSent { signal, processes };
        self.execution.log.push(EventKind::Notice(notice));
        let record = AuditBody::SignalSent(SignalSent {
            signal: signal_name(signal),
            reason: reason.to_owned(),
        });
        recorder.note(Some(&self.execution), record).await;
    }

    /// What an exit code says. From who tells a signal n as 128 + n it is that signal if
    /// it was sent from here, and no guess.
    pub(super) fn ended_with(&self, code: i32, observer: ObservedBy) -> Outcome {
        let signal = code - SHELL_SIGNAL_BASE;
        match !observer.tells_signals() && self.has_sent(signal) {
            true => Outcome::Signal(signal),
            false => Outcome::ExitCode(code),
        }
    }

    /// Whether a signal was sent from here.
    fn has_sent(&self, signal: i32) -> bool {
        self.signals.contains(&signal) || self.requested.contains(&signal)
    }

    /// Why it ended with this outcome, where nothing else is known.
    pub(super) fn cause(&self, outcome: &Outcome) -> Cause {
        match (self.stopping, outcome) {
            (Some(cause), _) => cause,
            (None, Outcome::Signal(signal)) if self.requested.contains(signal) => {
                Cause::SignaledByRequest
            }
            (None, Outcome::LaunchFailure { .. }) => Cause::LaunchFailed,
            (None, _) => Cause::Exited,
        }
    }

    /// An end of which all is known.
    pub(super) fn ending(
        &self,
        (outcome, observed_by, cause): (Outcome, ObservedBy, Cause),
        cwd: Option<String>,
        totals: Vec<ChannelTotals>,
    ) -> Ending {
        Ending {
            outcome,
            observed_by,
            cause,
            wall_time: self.started.elapsed(),
            cwd,
            totals,
            usage: None,
        }
    }

    /// It is on its way.
    pub(super) fn mark_started(&mut self) {
        self.trace.has_started();
        self.execution.mark_started();
    }

    /// Puts what it wrote where it is read.
    pub(super) fn output(&self, channel: Channel, offset: u64, data: Bytes) {
        self.trace.has_written();
        self.execution.log.push(EventKind::Output {
            channel,
            offset,
            data,
        });
    }
}
