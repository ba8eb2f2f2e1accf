//! A program beside the shell: started with the session's directory and exported
//! environment, several at once, its end observed by the kernel. Each has a task of its
//! own, which ends with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use execgate_core::audit::{AuditBody, ExecutionIntent, HashKey};
use execgate_core::outcome::{Cause, Ending, LaunchFailureKind, ObservedBy, Outcome};
use execgate_core::pipeline::{Pipeline, PipelineEvent};
use execgate_core::redact::RedactionRules;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::course::Course;
use super::feed::{Feed, Last, record_inline};
use super::ladder::Rung;
use super::pump::{Pump, PumpEvent};
use super::records::{self, Recorder};
use super::redaction::FollowedRules;
use super::{Nudge, Session, signals};
use crate::audit::Durability;
use crate::checkpoint::Before;
use crate::error::Error;
use crate::execution::{Command, Execution, Stdin};
use crate::secrets::{SecretVariables, exposed};
use crate::telemetry::{CommandTrace, Stage};
use crate::transport::{
    InputSource, ProcessControl, ProcessEnd, Program, ProgramStdin, ProgramStreams, SignalScope,
    Transport, TransportError,
};

/// Silence after which held-back output is let go, so that prompts and progress show.
const IDLE_FLUSH: Duration = Duration::from_millis(100);

/// Silence after which the streams of a program that has ended count as empty: what it
/// left in the background may hold them open.
const ENDED_QUIET: Duration = Duration::from_millis(20);

/// Silence after which it is seen whether a program waits for input.
const FIRST_LOOK: Duration = Duration::from_millis(300);

/// Time between two such looks.
const NEXT_LOOK: Duration = Duration::from_secs(2);

/// A program that is to run.
pub(super) struct Beside {
    pub(super) session: Arc<Session>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) recorder: Recorder,
    pub(super) hash_key: HashKey,
    pub(super) execution: Arc<Execution>,
    pub(super) intent: ExecutionIntent,
    /// Whether files are saved before it.
    pub(super) saves: bool,
    /// What was done before it.
    pub(super) before: Option<Before>,
    pub(super) program: Program,
    pub(super) command: Command,
    pub(super) nudges: mpsc::Receiver<Nudge>,
}

/// A program that runs.
struct Life {
    course: Course,
    pump: Pump,
    feed: Option<Feed>,
    last_output: Instant,
    /// When to see whether it waits for input; nothing where it has none.
    look: Option<Instant>,
}

enum Wake {
    Pump(PumpEvent),
    Nudge(Option<Nudge>),
    Fed,
    Timer,
    Room,
}

/// The program of an argv execution.
pub(super) fn program(
    words: &[String],
    (command, secrets): (&Command, &SecretVariables),
    session_env: Vec<(String, String)>,
    cwd: String,
) -> Program {
    let mut env: BTreeMap<String, String> = session_env.into_iter().collect();
    env.insert("PWD".to_owned(), cwd.clone());
    env.extend(command.env.clone());
    env.extend(exposed(secrets));
    Program {
        program: words.first().cloned().unwrap_or_default(),
        arguments: words.get(1..).unwrap_or_default().to_vec(),
        env: env.into_iter().collect(),
        cwd,
        stdin: match &command.stdin {
            Stdin::Closed => ProgramStdin::Closed,
            Stdin::Inline(_) | Stdin::Open => ProgramStdin::Pipe,
        },
        streams: ProgramStreams::Separate,
    }
}

impl Beside {
    /// Records the intent, starts the program and stays until it has ended.
    pub(super) async fn run(mut self, trace: CommandTrace) {
        if let Err(error) = self.admit(&trace).await {
            return self.refuse(error);
        }
        let mut course = Course::begin(
            Arc::clone(&self.execution),
            &self.command,
            self.session.default_timeout(),
            trace,
        );
        let starting = course.trace.stage(Stage::Start);
        let spawned = self.transport.spawn(&self.program).await;
        drop(starting);
        match spawned {
            Ok(process) => {
                let (followed, rules) = FollowedRules::new(&self.session.redaction);
                let mut pump = Pump::new(process, Pipeline::direct(rules), followed);
                let writer = pump.take_stdin();
                course.mark_started();
                let mut life = Life {
                    feed: Feed::new(&self.execution, &self.command.stdin, writer, Last::Close),
                    course,
                    pump,
                    last_output: Instant::now(),
                    look: (self.command.stdin != Stdin::Closed)
                        .then(|| Instant::now() + FIRST_LOOK),
                };
                if let Some(saved) = self.before.as_mut().and_then(|b| b.saved.take()) {
                    saved.tell(&self.execution);
                }
                let end = self.live(&mut life).await;
                self.complete(life, end).await;
            }
            Err(TransportError::Launch { kind, errno, .. }) => {
                course.mark_started();
                self.finish(&course, not_launched(&course, kind, errno))
                    .await;
            }
            // Nothing ran; the record of the intent is closed all the same.
            Err(error) => {
                let reason = error.to_string();
                let lost = (Outcome::Lost { reason }, ObservedBy::Nobody, Cause::Exited);
                let ending = course.ending(lost, None, Vec::new());
                let record = records::outcome(&ending);
                self.recorder.note(Some(&self.execution), record).await;
                self.refuse(error.into());
            }
        }
    }

    /// Does what comes before the program, and records that it is about to run.
    async fn admit(&mut self, trace: &CommandTrace) -> Result<(), Error> {
        if let Some(workspace) = &self.session.workspace {
            let id = self.execution.id.clone();
            let saving = self.saves.then(|| trace.stage(Stage::Checkpoint));
            let prepared = Arc::clone(workspace).prepare(id, saving);
            self.before = Some(prepared.await.before?);
        }
        let intent = AuditBody::ExecutionIntent(self.intent.clone());
        let recording = trace.stage(Stage::Audit);
        self.recorder
            .record(Some(&self.execution), intent, Durability::Synced)
            .await?;
        drop(recording);
        record_inline(
            &self.execution,
            &self.command.stdin,
            &self.recorder,
            &self.hash_key,
        )
        .await;
        Ok(())
    }

    fn refuse(&self, error: Error) {
        self.session.executions().release(&self.execution.id);
        self.session.forget_beside(&self.execution.id);
        self.execution.refuse(error);
    }

    /// Moves bytes and keeps the deadlines until the program ends.
    async fn live(&mut self, life: &mut Life) -> ProcessEnd {
        let mut events = Vec::new();
        loop {
            match self.wait(life, &mut events).await {
                Wake::Pump(PumpEvent::Output) => life.absorb(&mut events),
                Wake::Pump(PumpEvent::Ended(end)) => return end,
                Wake::Nudge(Some(nudge)) => self.nudged(life, nudge).await,
                // The session forgets a program only when it has ended.
                Wake::Nudge(None) => life.course.stop(Cause::Cancelled),
                Wake::Fed => {
                    if let Some(feed) = life.feed.as_mut() {
                        feed.take_waiting(&self.recorder, &self.hash_key).await;
                    }
                }
                Wake::Timer => self.on_timer(life, &mut events).await,
                Wake::Room => {}
            }
        }
    }

    async fn wait(&mut self, life: &mut Life, events: &mut Vec<PipelineEvent>) -> Wake {
        let full = self.execution.log.is_full();
        let timer = life.next_timer();
        tokio::select! {
            event = life.pump.next(!full, events) => Wake::Pump(event),
            nudge = self.nudges.recv() => Wake::Nudge(nudge),
            () = fed(life.feed.as_mut()) => Wake::Fed,
            () = tokio::time::sleep_until(timer) => Wake::Timer,
            () = self.execution.log.until_room(), if full => Wake::Room,
        }
    }

    async fn nudged(&self, life: &mut Life, nudge: Nudge) {
        match nudge {
            Nudge::Cancel => life.course.stop(Cause::Cancelled),
            Nudge::Closing => life.course.closing([signals::TERM, signals::KILL]),
            Nudge::Write(write) => match life.feed.as_mut() {
                Some(feed) => feed.take(write, &self.recorder, &self.hash_key).await,
                None => write.refuse_closed(&self.execution.id),
            },
            Nudge::Signal { signal, reply } => {
                let sent = send(life.pump.control(), signal, life.course.age()).await;
                if signal == signals::INT {
                    life.course.interrupted(Instant::now());
                }
                if let Ok(processes) = sent {
                    self.execution.note_stop(signal, processes);
                    life.course
                        .requested(signal, processes, &self.recorder)
                        .await;
                }
                // The caller may have gone.
                let _gone = reply.send(sent.map_err(Error::from));
            }
        }
    }

    async fn on_timer(&self, life: &mut Life, events: &mut Vec<PipelineEvent>) {
        let now = Instant::now();
        if life.pump.pipeline.holds_back() && now >= life.last_output + IDLE_FLUSH {
            life.pump.flush_idle(events);
            life.absorb(events);
        }
        if life.look.is_some_and(|look| now >= look) {
            life.look = Some(now + NEXT_LOOK);
            let control = life.pump.control();
            let wait = control.waits_for_input(&InputSource::Stdin).await;
            self.execution.note_input(wait.unwrap_or(None));
        }
        if life.course.takes_again(now) {
            let again = SignalScope::ForegroundAgain;
            let sent = life.pump.control().signal(again, signals::INT).await;
            if !sent.is_ok_and(|sent| sent > 0) {
                life.course.was_heard();
            }
        }
        let Some(rung) = life.course.ladder.climb(now) else {
            return;
        };
        life.course.note_timeout(rung);
        if rung == Rung::Interrupt {
            life.course.interrupted(now);
        }
        let signal = match rung {
            Rung::Tell => return,
            Rung::Interrupt => signals::INT,
            Rung::Terminate => signals::TERM,
            Rung::Kill | Rung::EndShell => signals::KILL,
        };
        // A process that has ended meanwhile is no failure.
        let sent = send(life.pump.control(), signal, life.course.age()).await;
        let processes = sent.unwrap_or(0);
        if rung == Rung::Terminate {
            let _ended = send(life.pump.control(), signals::CONT, life.course.age()).await;
        }
        life.course
            .signalled(signal, processes, &self.recorder)
            .await;
    }

    async fn complete(&mut self, mut life: Life, end: ProcessEnd) {
        let mut events = Vec::new();
        life.pump.drain_ended(ENDED_QUIET, &mut events).await;
        life.pump.pipeline.abandon(&mut events);
        life.absorb(&mut events);
        let observer = self.session.observer;
        let (outcome, observed_by) = match end {
            ProcessEnd::Code(code) => (life.course.ended_with(code, observer), observer),
            ProcessEnd::Signal(signal) => (Outcome::Signal(signal), observer),
            ProcessEnd::Unknown => (lost("the program went out of sight"), ObservedBy::Nobody),
            ProcessEnd::Stopped => (lost("the program's target stopped"), observer),
            ProcessEnd::OutOfMemory => (lost("the program's target ran out of memory"), observer),
        };
        let cause = match (life.course.stopping(), end.cause_of_loss()) {
            (None, Some(cause)) => cause,
            _ => life.course.cause(&outcome),
        };
        let totals = life.pump.pipeline.totals();
        let ending = Ending {
            usage: life.pump.control().usage(),
            ..life.course.ending(
                (outcome, observed_by, cause),
                Some(self.program.cwd.clone()),
                totals,
            )
        };
        self.finish(&life.course, ending).await;
    }

    /// Records how it ended, then says so.
    async fn finish(&mut self, course: &Course, ending: Ending) {
        let id = &self.execution.id;
        course.trace.ended(&ending);
        self.recorder
            .note(Some(&self.execution), records::outcome(&ending))
            .await;
        self.session.forget_beside(id);
        self.session
            .update(|now| now.last_active = std::time::SystemTime::now());
        self.session.executions().finished(id);
        // Whoever sees the end may restore.
        self.before = None;
        self.execution.finish(ending);
    }
}

impl Life {
    fn next_timer(&self) -> Instant {
        let flush = self
            .pump
            .pipeline
            .holds_back()
            .then(|| self.last_output + IDLE_FLUSH);
        let course = [self.course.ladder.due(), self.course.again_due()];
        let due = course.into_iter().chain([flush, self.look]).flatten();
        due.fold(Instant::now() + FAR, Instant::min)
    }

    fn absorb(&mut self, events: &mut Vec<PipelineEvent>) {
        self.last_output = Instant::now();
        if let Some(look) = &mut self.look {
            *look = (*look).min(self.last_output + FIRST_LOOK);
            self.course.execution.note_input(None);
        }
        for event in events.drain(..) {
            if let PipelineEvent::Output {
                channel,
                offset,
                data,
            } = event
            {
                self.course.output(channel, offset, data);
            }
        }
    }
}

/// A time at which nothing is due.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

async fn fed(feed: Option<&mut Feed>) {
    match feed {
        Some(feed) => feed.pump().await,
        None => std::future::pending().await,
    }
}

/// Sends a signal: an interrupt to the program's group, as a terminal would, everything
/// else to the program and all that it has started.
async fn send(
    control: &dyn ProcessControl,
    signal: i32,
    age: Duration,
) -> Result<usize, TransportError> {
    if signal == signals::INT {
        return control.signal(SignalScope::Foreground, signal).await;
    }
    let mut processes = 0;
    for scope in [SignalScope::StartedWithin(age), SignalScope::Program] {
        processes += control.signal(scope, signal).await?;
        if signal == signals::TSTP {
            // Without job control the kernel drops SIGTSTP; this one it does not.
            control.signal(scope, signals::STOP).await?;
        }
    }
    Ok(processes)
}

fn lost(reason: &str) -> Outcome {
    Outcome::Lost {
        reason: reason.to_owned(),
    }
}

fn not_launched(course: &Course, kind: LaunchFailureKind, errno: i32) -> Ending {
    let outcome = Outcome::LaunchFailure { kind, errno };
    course.ending(
        (outcome, ObservedBy::Kernel, Cause::LaunchFailed),
        None,
        Pipeline::direct(RedactionRules::none()).totals(),
    )
}
