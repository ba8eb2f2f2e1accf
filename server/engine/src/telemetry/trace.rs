//! The spans of commands and of sessions' creation.
//!
//! A command's span is below whoever asked for it, and no child of any span of `tracing`: it
//! lives as long as the command, which may be longer than the request. Its stages are children
//! of it, and its moments events of it; both are for tracing alone and no log lines at the
//! usual levels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use execgate_core::audit::CommandKind;
use execgate_core::ids::{ExecutionId, SessionId};
use execgate_core::outcome::{Cause, Ending, Outcome, signal_name};
use execgate_core::trace::TraceContext;
use tracing::Span;

use super::fact::{Change, Fact, Stage, TargetKind, cause_word, outcome_word};
use super::{Placement, Telemetry};
use crate::session::SessionSettings;

/// The variables that a command finds its trace in.
const TRACEPARENT: &str = "TRACEPARENT";
const TRACESTATE: &str = "TRACESTATE";

impl Stage {
    /// A span of it below a command's; none for those that are told by its moments.
    fn span(self, parent: &Span) -> Span {
        macro_rules! stage {
            ($name:literal) => {
                tracing::debug_span!(target: "execgate::stage", parent: parent, $name)
            };
        }
        match self {
            Self::Policy => stage!("policy"),
            Self::Queue => stage!("queue"),
            Self::Audit => stage!("audit"),
            Self::Checkpoint => stage!("checkpoint"),
            Self::Start => stage!("start"),
            Self::FirstByte | Self::Total => Span::none(),
        }
    }
}

/// Whose command is told of, and to whom.
pub(crate) struct Subject<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) execution: &'a ExecutionId,
    pub(crate) target: TargetKind,
    pub(crate) kind: CommandKind,
    pub(crate) placement: Placement<'a>,
}

/// What is told of one command: its span, from its request to its end. Dropped without an
/// end, it says that the command was refused.
#[derive(Debug)]
pub(crate) struct CommandTrace {
    telemetry: Arc<dyn Telemetry>,
    span: Span,
    context: Option<TraceContext>,
    target: TargetKind,
    kind: CommandKind,
    asked: Instant,
    queued: Option<StageTimer>,
    started: Option<Instant>,
    has_written: AtomicBool,
    has_ended: AtomicBool,
}

/// A stage under way; dropping it ends it.
#[derive(Debug)]
pub(crate) struct StageTimer {
    telemetry: Arc<dyn Telemetry>,
    stage: Stage,
    began: Instant,
    _span: Span,
}

impl Drop for StageTimer {
    fn drop(&mut self) {
        let (stage, time) = (self.stage, self.began.elapsed());
        self.telemetry.note(&Fact::Took { stage, time });
    }
}

impl CommandTrace {
    /// Begins a command's span.
    pub(crate) fn begin(telemetry: &Arc<dyn Telemetry>, subject: &Subject<'_>) -> Self {
        use tracing::field::Empty;
        let kind = match subject.kind {
            CommandKind::Script => "script",
            CommandKind::Argv => "argv",
        };
        let span = tracing::info_span!(
            target: "execgate::command",
            parent: None,
            "execute",
            execgate.session.id = %subject.session,
            execgate.execution.id = %subject.execution,
            execgate.target = subject.target.as_str(),
            execgate.command.kind = kind,
            execgate.outcome = Empty,
            execgate.cause = Empty,
            execgate.signal = Empty,
            execgate.rule = Empty,
            process.exit.code = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        );
        Self {
            context: telemetry.place(&span, &subject.placement),
            telemetry: Arc::clone(telemetry),
            span,
            target: subject.target,
            kind: subject.kind,
            asked: Instant::now(),
            queued: None,
            started: None,
            has_written: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Begins a stage.
    pub(crate) fn stage(&self, stage: Stage) -> StageTimer {
        StageTimer {
            telemetry: Arc::clone(&self.telemetry),
            stage,
            began: Instant::now(),
            _span: stage.span(&self.span),
        }
    }

    /// The variables that the command finds its trace in, unless it has some of its own.
    pub(crate) fn variables(&self, own: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let Some(context) = self
            .context
            .as_ref()
            .filter(|_| !own.contains_key(TRACEPARENT))
        else {
            return Vec::new();
        };
        let mut variables = vec![(TRACEPARENT.to_owned(), context.traceparent())];
        if !context.tracestate().is_empty() {
            variables.push((TRACESTATE.to_owned(), context.tracestate().to_owned()));
        }
        variables
    }

    /// The command is on its way.
    pub(crate) fn has_started(&mut self) {
        self.started = Some(Instant::now());
        self.telemetry.note(&Fact::Running(Change::More));
    }

    /// Output came.
    pub(crate) fn has_written(&self) {
        if self.has_written.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::debug!(target: "execgate::moment", parent: &self.span, "first byte");
        let stage = Stage::FirstByte;
        if let Some(started) = self.started {
            let time = started.elapsed();
            self.telemetry.note(&Fact::Took { stage, time });
        }
    }

    /// Its time limit was reached.
    pub(crate) fn timed_out(&self, limit: Duration) {
        let limit = limit.as_secs_f64();
        tracing::debug!(
            target: "execgate::moment",
            parent: &self.span,
            { execgate.limit = limit },
            "timeout"
        );
    }

    /// A signal was sent.
    pub(crate) fn signalled(&self, signal: i32, reason: &str) {
        let signal = signal_name(signal);
        tracing::debug!(
            target: "execgate::moment",
            parent: &self.span,
            { execgate.signal = signal, execgate.reason = reason },
            "signal sent"
        );
    }

    /// Another shell took the place of the one that it ran in.
    pub(crate) fn shell_restarted(&self) {
        tracing::debug!(target: "execgate::moment", parent: &self.span, "shell restarted");
    }

    /// It has to wait for its turn.
    pub(crate) fn waits(&mut self) {
        self.telemetry.note(&Fact::Waiting(Change::More));
        self.queued = Some(self.stage(Stage::Queue));
    }

    /// It waits no more.
    pub(crate) fn waits_no_more(&mut self) {
        if self.queued.take().is_some() {
            self.telemetry.note(&Fact::Waiting(Change::Less));
        }
    }

    /// It was denied.
    pub(crate) fn denied(&self, rule: &str, of_operator: bool) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.span.record("execgate.outcome", "denied");
        self.span.record("execgate.rule", rule);
        let rule = of_operator.then_some(rule);
        self.telemetry.note(&Fact::Denied { rule });
    }

    /// It is over.
    pub(crate) fn ended(&self, ending: &Ending) {
        self.has_ended.store(true, Ordering::Relaxed);
        let outcome = outcome_word(&ending.outcome);
        let cause = cause_word(ending.cause);
        self.span.record("execgate.outcome", outcome);
        self.span.record("execgate.cause", cause);
        match &ending.outcome {
            Outcome::ExitCode(code) => drop(self.span.record("process.exit.code", *code)),
            Outcome::Signal(signal) => {
                self.span.record("execgate.signal", signal_name(*signal));
            }
            Outcome::LaunchFailure { .. } | Outcome::Lost { .. } => {}
        }
        // A code that is not 0 is data: `grep` that finds nothing has not failed.
        let failure = match (&ending.outcome, ending.cause) {
            (Outcome::LaunchFailure { .. } | Outcome::Lost { .. }, _) => Some(outcome),
            (_, Cause::Exited | Cause::Cancelled | Cause::SignaledByRequest) => None,
            (_, Cause::SessionClosed | Cause::ShellExited) => None,
            (..) => Some(cause),
        };
        if let Some(failure) = failure {
            self.span.record("error.type", failure);
            self.span.record("otel.status_code", "ERROR");
        }
        let (target, kind, time) = (self.target, self.kind, self.asked.elapsed());
        self.telemetry.note(&Fact::Ended {
            target,
            kind,
            ending,
        });
        let stage = Stage::Total;
        self.telemetry.note(&Fact::Took { stage, time });
    }
}

impl Drop for CommandTrace {
    fn drop(&mut self) {
        self.waits_no_more();
        if self.started.is_some() {
            self.telemetry.note(&Fact::Running(Change::Less));
        }
        if !self.has_ended.load(Ordering::Relaxed) {
            self.span.record("execgate.outcome", "refused");
        }
    }
}

/// What is told of a session's creation: its span, which its commands are linked to.
#[derive(Debug)]
pub(crate) struct SessionTrace {
    telemetry: Arc<dyn Telemetry>,
    target: TargetKind,
    context: Option<TraceContext>,
    _span: Span,
}

impl SessionTrace {
    /// Begins the span.
    pub(crate) fn begin(
        telemetry: &Arc<dyn Telemetry>,
        session: &SessionId,
        settings: &SessionSettings,
    ) -> Self {
        let target = TargetKind::from(&settings.target);
        let span = tracing::info_span!(
            target: "execgate::session",
            parent: None,
            "create session",
            execgate.session.id = %session,
            execgate.target = target.as_str(),
        );
        let placement = Placement {
            asked: settings.origin.trace.as_ref(),
            ..Placement::default()
        };
        Self {
            telemetry: Arc::clone(telemetry),
            target,
            context: telemetry.place(&span, &placement),
            _span: span,
        }
    }

    /// The session is ready; answers where it was created.
    pub(crate) fn created(self) -> Option<TraceContext> {
        let target = self.target;
        self.telemetry.note(&Fact::SessionCreated { target });
        self.context
    }
}
