//! The command that has the foreground: its framing, deadlines, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use execgate_core::framing::{Framed, Framing, Token};
use execgate_core::outcome::{
    Cause, ChannelTotals, Ending, LaunchFailureKind, ObservedBy, Outcome, SHELL_SIGNAL_BASE,
};
use execgate_core::pipeline::{CommandEnd, PipelineEvent};
use tokio::time::Instant;
use tracing::Span;

use super::{SIGKILL, SIGTERM};
use crate::error::Error;
use crate::execution::{Command, EventKind, Execution, Notice};
use crate::random;
use crate::session::Shell;
use crate::session::ladder::{Ladder, Rung};
use crate::session::watchdog::Watchdog;
use crate::transport::ProcessEnd;

/// A command on its way.
pub(super) struct Running {
    pub(super) execution: Arc<Execution>,
    pub(super) ladder: Ladder,
    pub(super) watchdog: Watchdog,
    /// The watchdog gave up on the shell.
    pub(super) broken: bool,
    token: Token,
    /// Where the shell goes back to after a command with a directory of its own.
    cwd_before: Option<String>,
    started: Instant,
    limit: Duration,
    /// Why it must stop, once it must.
    stopping: Option<Cause>,
    signals: Vec<i32>,
    span: Span,
}

impl Running {
    /// Writes a command into the shell, and marks it as started.
    pub(super) fn begin(
        execution: Arc<Execution>,
        command: Command,
        limit: Duration,
        cwd: String,
        span: Span,
        (shell, events): (&mut Shell, &mut Vec<PipelineEvent>),
    ) -> Result<Self, Error> {
        let token = Token::new(random::bytes()?);
        let env: Vec<(String, String)> = command.env.into_iter().collect();
        let cwd_before = command.cwd.is_some().then_some(cwd);
        let framed = Framed {
            script: &command.script,
            env: &env,
            cwd: command.cwd.as_deref(),
            cwd_before: cwd_before.as_deref(),
        };
        shell.pipeline.begin(&token, events);
        shell.write(&shell.framing.command(&framed, &token));
        execution.mark_started();
        let now = Instant::now();
        Ok(Self {
            execution,
            ladder: Ladder::from(now + limit),
            watchdog: Watchdog::new(now),
            broken: false,
            token,
            cwd_before,
            started: now,
            limit,
            stopping: None,
            signals: Vec::new(),
            span,
        })
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Instant {
        let look = self.watchdog.due();
        self.ladder.due().map_or(look, |climb| climb.min(look))
    }

    /// How long ago it started; a little more, for clocks that tick.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed() + Duration::from_millis(10)
    }

    /// Begins to climb the ladder now.
    pub(super) fn stop(&mut self, cause: Cause) {
        if self.stopping.is_none() {
            self.stopping = Some(cause);
            self.ladder = Ladder::from(Instant::now());
        }
    }

    /// The session is closing: what is left of the command gets SIGTERM, then SIGKILL.
    pub(super) fn closing(&mut self) {
        self.stopping = Some(Cause::SessionClosed);
        self.signals.extend([SIGTERM, SIGKILL]);
    }

    /// Says that the time limit has fired, the first time.
    pub(super) fn note_timeout(&mut self, rung: Rung) {
        if rung == Rung::Interrupt && self.stopping.is_none() {
            self.stopping = Some(Cause::Timeout);
            let notice = Notice::TimeoutFired { limit: self.limit };
            self.execution.log.push(EventKind::Notice(notice));
        }
    }

    /// Says that a signal was sent, the first time; answers whether it was the first.
    pub(super) fn signalled(&mut self, signal: i32, processes: usize) -> bool {
        if self.signals.contains(&signal) {
            return false;
        }
        self.signals.push(signal);
        let notice = Notice::SignalSent { signal, processes };
        self.execution.log.push(EventKind::Notice(notice));
        true
    }

    /// Why signals are sent, in a word for the record.
    pub(super) fn cause_name(&self) -> &'static str {
        match self.stopping {
            Some(Cause::Cancelled) => "cancelled",
            Some(_) | None => "timeout",
        }
    }

    /// The trailer to send again.
    pub(super) fn trailer(&self, framing: &Framing) -> Vec<u8> {
        framing.trailer_again(&self.token, self.cwd_before.as_deref())
    }

    /// The end as the shell's marker tells it.
    pub(super) fn ending(&self, end: &CommandEnd, totals: Vec<ChannelTotals>) -> Ending {
        let cause = self.stopping.unwrap_or(Cause::Exited);
        let outcome = match end.status {
            None => Outcome::LaunchFailure {
                kind: LaunchFailureKind::WorkingDirectory,
                errno: 0,
            },
            // 128 + n after we sent n: no guess.
            Some(code) if self.signals.contains(&(code - SHELL_SIGNAL_BASE)) => {
                Outcome::Signal(code - SHELL_SIGNAL_BASE)
            }
            Some(code) => Outcome::ExitCode(code),
        };
        self.ending_by(
            (outcome, ObservedBy::Shell, cause),
            Some(end.cwd.clone()),
            totals,
        )
    }

    /// The end of a command whose shell has ended with it.
    pub(super) fn ended_with_shell(
        &self,
        end: ProcessEnd,
        has_begun: bool,
        cwd: String,
        totals: Vec<ChannelTotals>,
    ) -> Ending {
        let lost = |reason: &str| Outcome::Lost {
            reason: reason.to_owned(),
        };
        let (outcome, observed_by) = match end {
            _ if self.broken => (
                lost("the shell took all its input and never answered"),
                ObservedBy::Nobody,
            ),
            _ if !has_begun => (
                lost("the shell ended before it read the command, which did not run"),
                ObservedBy::Nobody,
            ),
            ProcessEnd::Code(code) => (Outcome::ExitCode(code), ObservedBy::Kernel),
            ProcessEnd::Signal(signal) => (Outcome::Signal(signal), ObservedBy::Kernel),
            ProcessEnd::Unknown => (lost("the shell went out of sight"), ObservedBy::Nobody),
        };
        let cause = match self.stopping {
            Some(cause) => cause,
            None if self.broken => Cause::ShellBroken,
            None => Cause::ShellExited,
        };
        self.ending_by((outcome, observed_by, cause), Some(cwd), totals)
    }

    /// An end of which all is known.
    pub(super) fn ending_by(
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
        }
    }

    /// Puts the end on the command's span.
    pub(super) fn close_span(&self, ending: &Ending) {
        self.span
            .record("execution.cause", tracing::field::debug(&ending.cause));
        match &ending.outcome {
            Outcome::ExitCode(code) => self.span.record("process.exit.code", *code),
            Outcome::Signal(signal) => self.span.record("process.exit.signal", *signal),
            Outcome::LaunchFailure { .. } | Outcome::Lost { .. } => &self.span,
        };
    }
}
