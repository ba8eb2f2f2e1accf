//! The one task that owns a session's shell. It takes messages, moves the shell's bytes
//! through the pipeline into the running execution's log, keeps its deadlines, and is
//! the only place where a session's state changes.
//!
//! One command: [`Actor::start`] (intent recorded, then written to the shell) → output
//! → [`Actor::complete`] (outcome recorded, then `Finished`).

mod running;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use execgate_core::audit::{
    AuditBody, ExecutionIntent, SessionClosed, SessionLost, ShellRestarted, SignalSent,
};
use execgate_core::outcome::{Cause, Channel, ObservedBy, Outcome, signal_name};
use execgate_core::pipeline::PipelineEvent;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::ladder::Rung;
use super::records::{self, Recorder};
use super::shell::ShellEvent;
use super::watchdog::Verdict;
use super::{Message, OnShellExit, Session, SessionState, Shell, ShellSpec};
use crate::audit::Durability;
use crate::error::Error;
use crate::execution::{Command, EventKind, Execution, Notice};
use crate::transport::{EndedProcess, Leftovers, ProcessEnd, SignalScope, Transport};
use running::Running;

/// Silence after which held-back output is let go, so that prompts and progress show.
const IDLE_FLUSH: Duration = Duration::from_millis(100);

/// Output of background jobs kept between executions, in bytes.
const BACKGROUND_BYTES: usize = 64 * 1024;

/// Reads that empty the streams before a command starts; what a flooding background job
/// writes beyond them counts to the command.
const DRAIN_READS: usize = 16;

/// Silence after which the streams of a shell that has ended count as empty.
const ENDED_QUIET: Duration = Duration::from_millis(20);

/// Programs beside the shell: signals of the ladder.
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;

/// What a session's task works with.
pub(crate) struct Context {
    pub(crate) session: Arc<Session>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) spec: ShellSpec,
    pub(crate) recorder: Recorder,
    /// Called once, when the task ends.
    pub(crate) ended: Ended,
}

/// What is called with the session and the reason when its task ends.
pub(crate) type Ended = Box<dyn FnOnce(&Session, &str) + Send>;

/// An execution that has been reserved and allowed.
#[derive(Debug)]
pub(crate) struct StartRequest {
    pub(crate) execution: Arc<Execution>,
    pub(crate) command: Command,
    pub(crate) intent: ExecutionIntent,
    pub(crate) span: tracing::Span,
}

/// The task's state.
pub(crate) struct Actor {
    session: Arc<Session>,
    transport: Arc<dyn Transport>,
    spec: ShellSpec,
    recorder: Recorder,
    ended: Option<Ended>,
    mailbox: mpsc::Receiver<Message>,
    /// Nothing while the shell has ended and no command has asked for the next one.
    shell: Option<Shell>,
    running: Option<Running>,
    queue: VecDeque<StartRequest>,
    background: VecDeque<PipelineEvent>,
    background_bytes: usize,
    /// What the next execution should be told.
    notices: Vec<Notice>,
    last_output: Instant,
    last_active: Instant,
    born: Instant,
}

enum Wake {
    Message(Option<Message>),
    Shell(ShellEvent),
    Timer,
    Room,
}

impl Actor {
    /// A task for a session whose shell has just started.
    pub(crate) fn new(context: Context, mailbox: mpsc::Receiver<Message>, shell: Shell) -> Self {
        let now = Instant::now();
        Self {
            session: context.session,
            transport: context.transport,
            spec: context.spec,
            recorder: context.recorder,
            ended: Some(context.ended),
            mailbox,
            shell: Some(shell),
            running: None,
            queue: VecDeque::new(),
            background: VecDeque::new(),
            background_bytes: 0,
            notices: Vec::new(),
            last_output: now,
            last_active: now,
            born: now,
        }
    }

    /// Runs until the session is over.
    pub(crate) async fn run(mut self) {
        let mut events = Vec::new();
        loop {
            match self.wait(&mut events).await {
                Wake::Message(Some(Message::Start(request))) => self.enqueue(*request).await,
                Wake::Message(Some(Message::Cancel(id))) => self.cancel(&id),
                Wake::Message(Some(Message::Close { reason, done })) => {
                    return self.close(reason, Some(done)).await;
                }
                Wake::Message(None) => return self.close("server shutdown", None).await,
                Wake::Shell(ShellEvent::Output) => self.take_output(&mut events).await,
                Wake::Shell(ShellEvent::Ended(end)) => {
                    if self.shell_ended(end, &mut events).await.is_err() {
                        return self.finish_task("lost");
                    }
                }
                Wake::Timer => {
                    if let Some(reason) = self.on_timer(&mut events).await {
                        return self.close(reason, None).await;
                    }
                }
                Wake::Room => {}
            }
        }
    }

    async fn wait(&mut self, events: &mut Vec<PipelineEvent>) -> Wake {
        let timer = self.next_timer();
        let log = self
            .running
            .as_ref()
            .map(|running| Arc::clone(&running.execution));
        let full = log
            .as_ref()
            .is_some_and(|execution| execution.log.is_full());
        let shell = self.shell.as_mut();
        tokio::select! {
            event = next_of(shell, !full, events) => Wake::Shell(event),
            message = self.mailbox.recv() => Wake::Message(message),
            () = tokio::time::sleep_until(timer) => Wake::Timer,
            () = until_room(log), if full => Wake::Room,
        }
    }

    /// When something is due even if nothing happens.
    fn next_timer(&self) -> Instant {
        let flush = self
            .shell
            .as_ref()
            .filter(|shell| shell.pipeline.holds_back())
            .map(|_| self.last_output + IDLE_FLUSH);
        let due = match &self.running {
            Some(running) => running.next_due(),
            None => self.idle_end(),
        };
        let lifetime = self
            .session
            .settings
            .max_lifetime
            .map(|lifetime| self.born + lifetime);
        [flush, lifetime]
            .into_iter()
            .flatten()
            .fold(due, Instant::min)
    }

    fn idle_end(&self) -> Instant {
        self.last_active + self.session.settings.idle_ttl
    }

    async fn enqueue(&mut self, request: StartRequest) {
        if self.running.is_some() {
            self.queue.push_back(request);
        } else {
            self.start(request).await;
        }
    }

    /// Starts an execution: records the intent, then lets the shell have it.
    async fn start(&mut self, request: StartRequest) {
        let StartRequest {
            execution,
            command,
            intent,
            span,
        } = request;
        if let Err(error) = self.prepare(&command).await {
            return self.refuse(&execution, error);
        }
        let intent = AuditBody::ExecutionIntent(intent);
        let recorded = self
            .recorder
            .record(Some(&execution.id), intent, Durability::Synced)
            .await;
        if let Err(error) = recorded {
            return self.refuse(&execution, error.into());
        }
        let mut events = Vec::new();
        if let Some(shell) = self.shell.as_mut() {
            shell.drain(DRAIN_READS, &mut events);
        }
        self.absorb(&mut events).await;
        let limit = command
            .timeout
            .unwrap_or(self.session.settings.default_timeout);
        let snapshot = self.session.snapshot();
        let Some(shell) = self.shell.as_mut() else {
            return self.refuse(&execution, self.session.over());
        };
        match Running::begin(
            Arc::clone(&execution),
            command,
            limit,
            snapshot.cwd,
            span,
            shell,
        ) {
            Err(error) => return self.refuse(&execution, error),
            Ok(running) => self.running = Some(running),
        }
        self.session.update(|now| {
            now.state = SessionState::Running(execution.id.clone());
            now.last_active = std::time::SystemTime::now();
        });
        self.tell_what_happened_before(&execution);
    }

    /// Makes sure that there is a shell, and the one that the caller means.
    async fn prepare(&mut self, command: &Command) -> Result<(), Error> {
        if self.shell.is_none() {
            self.restart("it had ended").await?;
        }
        let actual = self.session.snapshot().generation;
        match command.expected_generation {
            Some(expected) if expected != actual => Err(Error::GenerationMismatch {
                session: self.session.id.clone(),
                expected,
                actual,
            }),
            _ => Ok(()),
        }
    }

    fn refuse(&mut self, execution: &Execution, error: Error) {
        self.session.executions().release(&execution.id);
        execution.refuse(error);
    }

    /// Background output and notices from between the executions.
    fn tell_what_happened_before(&mut self, execution: &Execution) {
        for notice in self.notices.drain(..) {
            execution.log.push(EventKind::Notice(notice));
        }
        self.background_bytes = 0;
        for event in self.background.drain(..) {
            if let PipelineEvent::Output {
                channel,
                offset,
                data,
            } = event
            {
                execution.log.push(EventKind::Output {
                    channel,
                    offset,
                    data,
                });
            }
        }
    }

    fn cancel(&mut self, id: &execgate_core::ids::ExecutionId) {
        if let Some(running) = self
            .running
            .as_mut()
            .filter(|running| running.execution.id == *id)
        {
            running.stop(Cause::Cancelled);
        }
        let waiting = self
            .queue
            .iter()
            .position(|request| request.execution.id == *id);
        if let Some(request) = waiting.and_then(|at| self.queue.remove(at)) {
            let execution = request.execution.id.clone();
            self.refuse(&request.execution, Error::ExecutionNotFound { execution });
        }
    }

    /// Takes in what the pipeline let go and, if that ends the command, starts the next.
    async fn take_output(&mut self, events: &mut Vec<PipelineEvent>) {
        self.absorb(events).await;
        self.start_next().await;
    }

    async fn start_next(&mut self) {
        while self.running.is_none()
            && let Some(next) = self.queue.pop_front()
        {
            self.start(next).await;
        }
    }

    /// Puts what the pipeline let go where it belongs.
    async fn absorb(&mut self, events: &mut Vec<PipelineEvent>) {
        self.last_output = Instant::now();
        for event in events.drain(..) {
            match (event, &self.running) {
                (
                    PipelineEvent::Output {
                        channel: Channel::Background,
                        offset,
                        data,
                    },
                    _,
                ) => {
                    self.keep_background(PipelineEvent::Output {
                        channel: Channel::Background,
                        offset,
                        data,
                    });
                }
                (
                    PipelineEvent::Output {
                        channel,
                        offset,
                        data,
                    },
                    Some(running),
                ) => {
                    running.execution.log.push(EventKind::Output {
                        channel,
                        offset,
                        data,
                    });
                }
                (PipelineEvent::Ended(end), Some(running)) => {
                    let totals = self.shell.as_ref().map(|shell| shell.pipeline.totals());
                    let ending = running.ending(&end, totals.unwrap_or_default());
                    self.session.update(|now| now.cwd.clone_from(&end.cwd));
                    self.complete(ending).await;
                }
                // A marker for nobody: the trailer of a command that is over.
                (PipelineEvent::Output { .. } | PipelineEvent::Ended(_), None) => {}
            }
        }
    }

    fn keep_background(&mut self, event: PipelineEvent) {
        let bytes = |event: &PipelineEvent| match event {
            PipelineEvent::Output { data, .. } => data.len(),
            PipelineEvent::Ended(_) => 0,
        };
        self.background_bytes += bytes(&event);
        self.background.push_back(event);
        while self.background_bytes > BACKGROUND_BYTES {
            let Some(oldest) = self.background.pop_front() else {
                break;
            };
            self.background_bytes -= bytes(&oldest);
        }
    }

    /// Records how the running execution ended, then says so.
    async fn complete(&mut self, ending: execgate_core::outcome::Ending) {
        let Some(running) = self.running.take() else {
            return;
        };
        let id = &running.execution.id;
        running.close_span(&ending);
        self.recorder
            .note(Some(id), records::outcome(&ending))
            .await;
        self.last_active = Instant::now();
        self.session.update(|now| {
            now.state = SessionState::Ready;
            now.last_active = std::time::SystemTime::now();
        });
        self.session.executions().finished(id);
        running.execution.finish(ending);
    }

    /// What is due; answers the reason where the session must end.
    async fn on_timer(&mut self, events: &mut Vec<PipelineEvent>) -> Option<&'static str> {
        let now = Instant::now();
        if let Some(shell) = self.shell.as_mut()
            && now >= self.last_output + IDLE_FLUSH
            && shell.pipeline.holds_back()
        {
            shell.pipeline.flush_idle(events);
            self.take_output(events).await;
        }
        if self
            .session
            .settings
            .max_lifetime
            .is_some_and(|lifetime| now >= self.born + lifetime)
        {
            return Some("its lifetime is over");
        }
        match &mut self.running {
            None => (now >= self.idle_end()).then_some("it was idle"),
            Some(running) => {
                let rung = running.ladder.climb(now);
                let look = now >= running.watchdog.due();
                if let Some(rung) = rung {
                    self.climb(rung).await;
                }
                if look {
                    self.look(now).await;
                }
                None
            }
        }
    }

    /// Takes one step on the ladder.
    async fn climb(&mut self, rung: Rung) {
        let (Some(running), Some(shell)) = (self.running.as_mut(), self.shell.as_mut()) else {
            return;
        };
        let age = running.age();
        let (scope, signal) = match rung {
            Rung::Interrupt => (SignalScope::Foreground, SIGINT),
            Rung::Terminate => (SignalScope::StartedWithin(age), SIGTERM),
            Rung::Kill => (SignalScope::StartedWithin(age), SIGKILL),
            Rung::EndShell => (SignalScope::Program, SIGKILL),
        };
        running.note_timeout(rung);
        let sent = shell.control().signal(scope, signal).await.unwrap_or(0);
        running.signalled(signal, sent);
        if rung != Rung::EndShell {
            // The interrupt may have taken the trailer along.
            shell.write(&running.trailer(&shell.framing));
        }
        let reason = running.cause_name();
        let record = SignalSent {
            signal: signal_name(signal),
            reason: reason.to_owned(),
        };
        let id = running.execution.id.clone();
        self.recorder
            .note(Some(&id), AuditBody::SignalSent(record))
            .await;
    }

    /// Looks at a shell that has been silent.
    async fn look(&mut self, now: Instant) {
        let (Some(running), Some(shell)) = (self.running.as_mut(), self.shell.as_mut()) else {
            return;
        };
        // A shell that cannot be looked at has ended, and its end is on the way.
        let Ok(seen) = shell.control().inspect().await else {
            running.watchdog = super::watchdog::Watchdog::new(now);
            return;
        };
        match running.watchdog.judge(now, &seen) {
            Verdict::Busy => {}
            Verdict::Probe => {
                let trailer = running.trailer(&shell.framing);
                shell.write(&trailer);
            }
            Verdict::Continue => {
                let _ = shell.control().signal(SignalScope::Program, SIGCONT).await;
                running
                    .execution
                    .log
                    .push(EventKind::Notice(Notice::ShellContinued));
            }
            Verdict::Broken => {
                running.broken = true;
                let _ = shell.control().signal(SignalScope::Program, SIGKILL).await;
            }
        }
    }

    /// The shell is over. Where a command ran, it ends here; where the session asks for
    /// it, another shell takes its place. `Err` means that the session is lost.
    async fn shell_ended(
        &mut self,
        end: ProcessEnd,
        events: &mut Vec<PipelineEvent>,
    ) -> Result<(), ()> {
        let Some(mut shell) = self.shell.take() else {
            return Ok(());
        };
        shell.drain_ended(ENDED_QUIET, events).await;
        shell.pipeline.abandon(events);
        let totals = shell.pipeline.totals();
        drop(shell);
        // A marker that came out before the end was the command's own; else it ends now.
        self.absorb(events).await;
        let cwd = self.session.snapshot().cwd;
        let ending = self
            .running
            .as_ref()
            .map(|running| running.ended_with_shell(end, cwd, totals));
        let reason = match &ending {
            Some(ending) if ending.cause == Cause::ShellBroken => {
                "it no longer answered".to_owned()
            }
            _ => describe(end),
        };
        if self.session.settings.on_shell_exit == OnShellExit::Lose {
            return self.lose(reason, ending).await;
        }
        // Between commands the next one restarts the shell: a shell that ends by itself
        // whenever it is idle (TMOUT) must not be started over and over.
        if let Some(ending) = ending {
            if let Err(error) = self.restart(&reason).await {
                return self.lose(format!("{reason}; {error}"), Some(ending)).await;
            }
            if let Some(running) = &self.running {
                for notice in self.notices.drain(..) {
                    running.execution.log.push(EventKind::Notice(notice));
                }
            }
            self.complete(ending).await;
            self.start_next().await;
        }
        Ok(())
    }

    /// Another shell for the same session.
    async fn restart(&mut self, reason: &str) -> Result<(), Error> {
        let cwd = self.session.snapshot().cwd;
        let transport = self.transport.as_ref();
        let started = match Shell::start(transport, &self.spec, &cwd).await {
            // The directory may be gone with the command that made it.
            Err(Error::Transport(_)) => Shell::start(transport, &self.spec, "/").await,
            other => other,
        };
        let (shell, cwd) = started?;
        self.shell = Some(shell);
        let mut generation = 0;
        self.session.update(|now| {
            now.generation += 1;
            now.cwd = cwd;
            generation = now.generation;
        });
        let lost = format!(
            "{reason}; variables, functions, aliases, options and jobs of the old shell are gone, \
             its working directory is kept"
        );
        self.notices
            .push(Notice::ShellRestarted { generation, lost });
        let record = ShellRestarted {
            generation,
            reason: reason.to_owned(),
        };
        self.recorder
            .note(None, AuditBody::ShellRestarted(record))
            .await;
        Ok(())
    }

    async fn lose(
        &mut self,
        reason: String,
        ending: Option<execgate_core::outcome::Ending>,
    ) -> Result<(), ()> {
        let lost = SessionState::Lost {
            reason: reason.clone(),
        };
        if let Some(running) = &self.running {
            let notice = Notice::SessionLost {
                reason: reason.clone(),
            };
            running.execution.log.push(EventKind::Notice(notice));
        }
        if let Some(ending) = ending {
            self.complete(ending).await;
        }
        self.session.update(|now| now.state = lost.clone());
        self.transport.close(Leftovers::Kill).await;
        self.recorder
            .note(None, AuditBody::SessionLost(SessionLost { reason }))
            .await;
        Err(())
    }

    /// Ends the session and everything in it.
    async fn close(
        mut self,
        reason: &'static str,
        done: Option<oneshot::Sender<Vec<EndedProcess>>>,
    ) {
        self.session.update(|now| now.state = SessionState::Closing);
        if let Some(running) = self.running.as_mut() {
            running.closing();
        }
        let ended = self.transport.close(self.session.settings.leftovers).await;
        let mut events = Vec::new();
        if let Some(mut shell) = self.shell.take() {
            shell.drain_ended(ENDED_QUIET, &mut events).await;
            shell.pipeline.abandon(&mut events);
            let totals = shell.pipeline.totals();
            drop(shell);
            self.absorb(&mut events).await;
            let cwd = self.session.snapshot().cwd;
            if let Some(running) = &self.running {
                let ending = running.ending_by(
                    (
                        Outcome::Signal(SIGKILL),
                        ObservedBy::Kernel,
                        Cause::SessionClosed,
                    ),
                    Some(cwd),
                    totals,
                );
                self.complete(ending).await;
            }
        }
        let killed = u32::try_from(ended.len()).unwrap_or(u32::MAX);
        let record = SessionClosed {
            reason: reason.to_owned(),
            killed,
        };
        self.recorder
            .note(None, AuditBody::SessionClosed(record))
            .await;
        self.session.update(|now| now.state = SessionState::Closed);
        self.finish_task(reason);
        if let Some(done) = done {
            // The caller may have gone; the session is closed all the same.
            let _ = done.send(ended);
        }
    }

    /// The task's last act: whoever waits is refused, the session leaves the directory.
    fn finish_task(&mut self, reason: &str) {
        self.mailbox.close();
        let mut left: Vec<StartRequest> = std::mem::take(&mut self.queue).into();
        while let Ok(message) = self.mailbox.try_recv() {
            if let Message::Start(request) = message {
                left.push(*request);
            }
        }
        for request in left {
            let error = self.session.over();
            self.refuse(&request.execution, error);
        }
        if let Some(ended) = self.ended.take() {
            ended(&self.session, reason);
        }
    }
}

async fn next_of(
    shell: Option<&mut Shell>,
    reading: bool,
    events: &mut Vec<PipelineEvent>,
) -> ShellEvent {
    match shell {
        Some(shell) => shell.next(reading, events).await,
        None => std::future::pending().await,
    }
}

async fn until_room(execution: Option<Arc<Execution>>) {
    if let Some(execution) = execution {
        execution.log.until_room().await;
    }
}

fn describe(end: ProcessEnd) -> String {
    match end {
        ProcessEnd::Code(code) => format!("the shell ended with code {code}"),
        ProcessEnd::Signal(signal) => format!("the shell was ended by {}", signal_name(signal)),
        ProcessEnd::Unknown => "the shell went out of sight".to_owned(),
    }
}
