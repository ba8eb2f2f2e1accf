//! The one task that owns a session's shell. It takes messages, moves the shell's bytes
//! through the pipeline into the running execution's log, keeps its deadlines, and is
//! the only place where a session's state changes.
//!
//! One command: [`Actor::start`] (intent recorded, then written to the shell) → output
//! → [`Actor::complete`] (outcome recorded, then `Finished`).

mod deadlines;
mod endings;
mod environment;
mod nudges;
mod output;
mod reconnect;
mod running;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use execgate_core::audit::{AuditBody, ExecutionIntent, HashKey};
use execgate_core::pipeline::PipelineEvent;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::course::Course;
use super::feed::{Feed, record_inline};
use super::pump::PumpEvent;
use super::records::{self, Recorder};
use super::{CloseReason, Message, Session, SessionState, Shell, ShellSpec};
use crate::audit::Durability;
use crate::checkpoint::{Before, Prepared, Preparing, preparing};
use crate::error::Error;
use crate::execution::{Command, CommandLine, EventKind, Execution, Notice};
use crate::secrets::SecretVariables;
use crate::telemetry::{CommandTrace, Stage, Telemetry};
use crate::transport::{NamedInput, Transport};
use environment::Rested;
use reconnect::{Reconnecting, reconnected};
use running::{Beginning, Running};

/// Silence after which held-back output is let go, so that prompts and progress show.
const IDLE_FLUSH: Duration = Duration::from_millis(100);

/// Reads that empty the streams before a command starts; what a flooding background job
/// writes beyond them counts to the command.
const DRAIN_READS: usize = 16;

/// Silence after which the streams of a shell that has ended count as empty.
const ENDED_QUIET: Duration = Duration::from_millis(20);

/// What a session's task works with.
pub(crate) struct Context {
    pub(crate) session: Arc<Session>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) spec: ShellSpec,
    pub(crate) recorder: Recorder,
    /// Key of the hashes of standard input.
    pub(crate) hash_key: HashKey,
    pub(crate) telemetry: Arc<dyn Telemetry>,
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
    pub(crate) secrets: SecretVariables,
    pub(crate) intent: ExecutionIntent,
    /// Whether files are saved before it.
    pub(crate) saves: bool,
    pub(crate) trace: CommandTrace,
}

/// The task's state.
pub(crate) struct Actor {
    session: Arc<Session>,
    transport: Arc<dyn Transport>,
    spec: ShellSpec,
    recorder: Recorder,
    hash_key: HashKey,
    telemetry: Arc<dyn Telemetry>,
    ended: Option<Ended>,
    mailbox: mpsc::Receiver<Message>,
    /// Nothing while the shell has ended and no command has asked for the next one.
    shell: Option<Shell>,
    /// The next shell, while the target is being reached again.
    reconnecting: Option<Reconnecting>,
    /// What comes before the first command of the queue.
    preparing: Option<Preparing>,
    running: Option<Running>,
    queue: VecDeque<StartRequest>,
    /// The programs beside the shell, a task each.
    beside: JoinSet<()>,
    /// What the shell exported when it last rested.
    rested: Rested,
    background: VecDeque<PipelineEvent>,
    background_bytes: usize,
    /// Bytes of it in all; a restarted shell goes on counting.
    background_end: u64,
    /// What the next execution should be told.
    notices: Vec<Notice>,
    last_output: Instant,
    last_active: Instant,
    born: Instant,
}

enum Wake {
    Message(Option<Message>),
    Shell(PumpEvent),
    Timer,
    Fed,
    Room,
    Beside,
    Reconnected(Box<Result<(Shell, String), Error>>),
    Prepared(Box<Prepared>),
}

impl Actor {
    /// A task for a session whose shell has just started, or that has none.
    pub(crate) fn new(
        context: Context,
        mailbox: mpsc::Receiver<Message>,
        shell: Option<Shell>,
    ) -> Self {
        let now = Instant::now();
        Self {
            session: context.session,
            transport: context.transport,
            spec: context.spec,
            recorder: context.recorder,
            hash_key: context.hash_key,
            telemetry: context.telemetry,
            ended: Some(context.ended),
            mailbox,
            shell,
            reconnecting: None,
            preparing: None,
            running: None,
            queue: VecDeque::new(),
            beside: JoinSet::new(),
            rested: Rested::default(),
            background: VecDeque::new(),
            background_bytes: 0,
            background_end: 0,
            notices: Vec::new(),
            last_output: now,
            last_active: now,
            born: now,
        }
    }

    /// Runs until the session is over. What is rare lives on the heap while it is done: the
    /// task is as large as the largest of the rest, in memory and on each way through it.
    pub(crate) async fn run(mut self) {
        let mut events = Vec::new();
        loop {
            match self.wait(&mut events).await {
                Wake::Message(Some(Message::Start(request))) => self.enqueue(*request).await,
                Wake::Message(Some(Message::Nudge(id, nudge))) => {
                    Box::pin(self.nudged(&id, nudge)).await;
                }
                Wake::Message(Some(Message::Jobs { reply })) => {
                    // The caller may have gone.
                    let _gone = reply.send(Box::pin(self.jobs()).await);
                }
                Wake::Message(Some(Message::Update { update, reply })) => {
                    self.session.set_defaults(update);
                    // Whoever asked may have gone.
                    let _gone = reply.send(());
                }
                Wake::Message(Some(Message::Resize { size, reply })) => {
                    // The caller may have gone.
                    let _gone = reply.send(Box::pin(self.resize(size)).await);
                }
                Wake::Message(Some(Message::Close { reason, done })) => {
                    return Box::pin(self.close(reason, Some(done))).await;
                }
                Wake::Message(None) => {
                    return Box::pin(self.close(CloseReason::Shutdown, None)).await;
                }
                Wake::Shell(PumpEvent::Output) => self.take_output(&mut events).await,
                Wake::Shell(PumpEvent::Ended(end)) => {
                    if Box::pin(self.shell_ended(end, &mut events)).await.is_err() {
                        return self.finish_task("lost");
                    }
                }
                Wake::Timer => {
                    if let Some(reason) = Box::pin(self.on_timer(&mut events)).await {
                        return Box::pin(self.close(reason, None)).await;
                    }
                }
                Wake::Fed => Box::pin(self.take_waiting_writes()).await,
                Wake::Reconnected(reached) => {
                    if Box::pin(self.reconnected(*reached)).await.is_err() {
                        return self.finish_task("lost");
                    }
                }
                Wake::Prepared(prepared) => Box::pin(self.prepared(*prepared)).await,
                Wake::Room | Wake::Beside => {}
            }
        }
    }

    async fn wait(&mut self, events: &mut Vec<PipelineEvent>) -> Wake {
        let timer = self.next_timer();
        let log = self
            .running
            .as_ref()
            .map(|running| Arc::clone(&running.course.execution));
        let full = log
            .as_ref()
            .is_some_and(|execution| execution.log.is_full());
        let shell = self.shell.as_mut();
        // Only a command that has begun has opened its input.
        let begun = shell
            .as_ref()
            .is_some_and(|shell| shell.pump.pipeline.has_begun());
        let feed = self
            .running
            .as_mut()
            .and_then(|running| running.feed.as_mut())
            .filter(|_| begun);
        tokio::select! {
            event = next_of(shell, !full, events) => Wake::Shell(event),
            message = self.mailbox.recv() => Wake::Message(message),
            () = fed(feed) => Wake::Fed,
            () = tokio::time::sleep_until(timer) => Wake::Timer,
            () = until_room(log), if full => Wake::Room,
            Some(_ended) = self.beside.join_next() => Wake::Beside,
            reached = reconnected(self.reconnecting.as_mut()) => Wake::Reconnected(Box::new(reached)),
            prepared = preparing(self.preparing.as_mut()) => Wake::Prepared(Box::new(prepared)),
        }
    }

    /// When something is due even if nothing happens.
    fn next_timer(&self) -> Instant {
        let flush = self
            .shell
            .as_ref()
            .filter(|shell| shell.pump.pipeline.holds_back())
            .map(|_| self.last_output + IDLE_FLUSH);
        let due = match &self.running {
            Some(running) => running.next_due(),
            None => self.rest_end().unwrap_or_else(|| self.idle_end()),
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
        // A session is not idle while something runs in it.
        let since = match self.beside.is_empty() {
            true => self.last_active,
            false => Instant::now(),
        };
        since + self.session.idle_ttl()
    }

    async fn enqueue(&mut self, request: StartRequest) {
        if let CommandLine::Argv(_) = request.command.line {
            Box::pin(self.start_beside(request)).await;
        } else if self.running.is_some() || self.reconnecting.is_some() || self.preparing.is_some()
        {
            let mut request = request;
            request.trace.waits();
            self.queue.push_back(request);
        } else {
            self.queue.push_back(request);
            self.start_next().await;
        }
    }

    /// Starts an execution: records the intent, then lets the shell have it.
    async fn start(&mut self, request: StartRequest, before: Option<Before>) {
        let StartRequest {
            execution,
            command,
            secrets,
            intent,
            saves: _,
            mut trace,
        } = request;
        trace.waits_no_more();
        let input = match self.admit(&execution, &command, (intent, &trace)).await {
            Ok(input) => input,
            Err(error) => return self.refuse(&execution, error),
        };
        let mut events = Vec::new();
        if let Some(shell) = self.shell.as_mut() {
            shell.pump.drain(DRAIN_READS, &mut events);
        }
        self.absorb(&mut events).await;
        let (presence, saved) = match before {
            Some(Before { presence, saved }) => (Some(presence), saved),
            None => (None, None),
        };
        let limit = self.session.default_timeout();
        let beginning = Beginning {
            course: Course::begin(Arc::clone(&execution), &command, limit, trace),
            script: command.line.text().into_owned(),
            command,
            secrets,
            cwd: self.session.snapshot().cwd,
            input,
            presence,
        };
        let Some(shell) = self.shell.as_mut() else {
            return self.refuse(&execution, self.session.over());
        };
        self.rested.is_stale = true;
        match Running::begin(beginning, shell, &mut events) {
            Err(error) => return self.refuse(&execution, error),
            Ok(running) => self.running = Some(running),
        }
        self.session.update(|now| {
            now.state = SessionState::Running(execution.id.clone());
            now.last_active = std::time::SystemTime::now();
        });
        self.absorb(&mut events).await;
        if let Some(saved) = saved {
            saved.tell(&execution);
        }
        self.tell_what_happened_before(&execution);
    }

    /// Makes all that a command needs, and records that it is about to run.
    async fn admit(
        &mut self,
        execution: &Execution,
        command: &Command,
        (intent, trace): (ExecutionIntent, &CommandTrace),
    ) -> Result<Option<NamedInput>, Error> {
        self.prepare(command).await?;
        let input = self.input_for(command).await?;
        let intent = AuditBody::ExecutionIntent(intent);
        let recording = trace.stage(Stage::Audit);
        self.recorder
            .record(Some(execution), intent, Durability::Synced)
            .await?;
        drop(recording);
        record_inline(execution, &command.stdin, &self.recorder, &self.hash_key).await;
        Ok(input)
    }

    /// Makes sure that there is a shell, and the one that the caller means.
    async fn prepare(&mut self, command: &Command) -> Result<(), Error> {
        if self.shell.is_none() {
            Box::pin(self.restart("it had ended")).await?;
        }
        self.check_generation(command)
    }

    fn check_generation(&self, command: &Command) -> Result<(), Error> {
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

    /// Takes in what the pipeline let go and, if that ends the command, starts the next.
    async fn take_output(&mut self, events: &mut Vec<PipelineEvent>) {
        self.absorb(events).await;
        self.start_next().await;
    }

    async fn start_next(&mut self) {
        while self.running.is_none()
            && self.reconnecting.is_none()
            && self.preparing.is_none()
            && let Some(mut next) = self.queue.pop_front()
        {
            match &self.session.workspace {
                None => self.start(next, None).await,
                // It stays where it can be cancelled.
                Some(workspace) => {
                    next.trace.waits_no_more();
                    let id = next.execution.id.clone();
                    let saving = next.saves.then(|| next.trace.stage(Stage::Checkpoint));
                    self.preparing = Some(Arc::clone(workspace).prepare(id, saving));
                    self.queue.push_front(next);
                }
            }
        }
    }

    /// What comes before the first command of the queue is done, or cannot be.
    async fn prepared(&mut self, prepared: Prepared) {
        self.preparing = None;
        let first = self.queue.front().map(|request| &request.execution.id);
        if first == Some(&prepared.execution)
            && let Some(request) = self.queue.pop_front()
        {
            match prepared.before {
                Ok(before) => self.start(request, Some(before)).await,
                Err(error) => self.refuse(&request.execution, error),
            }
        }
        self.start_next().await;
    }

    /// Records how the running execution ended, then says so.
    async fn complete(&mut self, ending: execgate_core::outcome::Ending) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if let (Some(_), Some(shell)) = (&running.feed, &self.shell) {
            // What was typed for this command is not for the next one.
            shell.pump.control().forget_typed();
        }
        let id = &running.course.execution.id;
        running.course.trace.ended(&ending);
        self.recorder
            .note(Some(&running.course.execution), records::outcome(&ending))
            .await;
        self.last_active = Instant::now();
        self.session.update(|now| {
            now.state = SessionState::Ready;
            now.last_active = std::time::SystemTime::now();
        });
        self.session.executions().finished(id);
        // Whoever sees the end may restore.
        running.presence = None;
        running.course.execution.finish(ending);
    }
}

async fn next_of(
    shell: Option<&mut Shell>,
    reading: bool,
    events: &mut Vec<PipelineEvent>,
) -> PumpEvent {
    match shell {
        Some(shell) => shell.pump.next(reading, events).await,
        None => std::future::pending().await,
    }
}

async fn fed(feed: Option<&mut Feed>) {
    match feed {
        Some(feed) => feed.pump().await,
        None => std::future::pending().await,
    }
}

async fn until_room(execution: Option<Arc<Execution>>) {
    if let Some(execution) = execution {
        execution.log.until_room().await;
    }
}
