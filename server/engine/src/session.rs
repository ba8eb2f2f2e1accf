//! A session: a live shell, the one task that owns it, and what others may know of it.
//!
//! ```text
//!             ┌────────── restarted ──────────┐
//!             ▼                               │
//! STARTING ─► READY ⇄ RUNNING ─► CLOSING ─► CLOSED
//!               └──────┴── shell ended, no restart ──► LOST
//!               └──────┴── connection broke ──► RECONNECTING ─► READY, or LOST
//! ```
//!
//! The handle here holds no shell: it holds the mailbox of the task that does (`actor`), the
//! executions, and a snapshot of the state that the actor keeps current.

mod actor;
mod beside;
mod course;
mod defaults;
mod executions;
mod feed;
mod ladder;
mod pump;
mod records;
mod redaction;
mod settings;
mod shell;
pub(crate) mod signals;
mod state;
mod watchdog;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use execgate_core::ids::{ExecutionId, Principal, SessionId};
use execgate_core::outcome::ObservedBy;
use execgate_core::policy::{Asked, Dialect, Judgement, PolicyStack, Question, SessionNames};
use execgate_core::shell::ShellKind;
use execgate_core::trace::TraceContext;
use tokio::sync::{mpsc, oneshot};

use crate::checkpoint::Workspace;
use crate::error::Error;
use crate::execution::{CommandLine, Execution, RetentionLimits};
use crate::isolation::Isolation;
use crate::policy::OperatorPolicy;
use crate::transport::{EndedProcess, Job, WindowSize};
pub(crate) use actor::{Actor, Context, StartRequest};
pub use defaults::{SessionDefaults, SessionUpdate};
pub(crate) use executions::{Executions, Place, QUEUE_LIMIT, Reserved};
pub(crate) use feed::Write;
pub(crate) use records::Recorder;
pub use redaction::AddedRedaction;
pub(crate) use redaction::SessionRedaction;
pub use settings::{OnShellExit, OnTransportLoss, SessionSettings, WantedShell};
pub(crate) use shell::{Shell, ShellSpec};
pub use state::{CloseReason, SessionSnapshot, SessionState};

/// Messages that may wait for a session's task. Senders wait beyond it.
pub(crate) const MAILBOX_MESSAGES: usize = 64;

/// Output of background jobs that is kept between executions, in bytes: the least that a log
/// keeps.
const BACKGROUND_BYTES: usize = 64 * 1024;

/// A session of one principal.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub principal: Principal,
    /// What it was created with; [`Session::defaults`] can be others by now.
    pub settings: SessionSettings,
    /// When it was created.
    pub created: SystemTime,
    /// The shell's kind; nothing where the session has no shell.
    pub shell: Option<ShellKind>,
    /// The shell's program.
    pub shell_program: String,
    /// What records call its target: `local`, `ssh:HOST`, `docker:CONTAINER`.
    pub target: String,
    /// How it is kept from the gate.
    pub isolation: Isolation,
    /// Where in a trace it was created.
    pub(crate) trace: Option<TraceContext>,
    /// Who sees how its processes end.
    pub(crate) observer: ObservedBy,
    /// The operator's policy, as it is now.
    operator: Arc<OperatorPolicy>,
    /// The names that its shell may have of its own.
    names: Mutex<SessionNames>,
    /// What is hidden in it.
    pub(crate) redaction: Arc<SessionRedaction>,
    /// The files that checkpoints cover.
    pub(crate) workspace: Option<Arc<Workspace>>,
    pub(crate) executions: Mutex<Executions>,
    snapshot: Mutex<SessionSnapshot>,
    defaults: Mutex<SessionDefaults>,
    mailbox: mpsc::Sender<Message>,
    background: Arc<Execution>,
    /// What was ended with it.
    ended: OnceLock<Vec<EndedProcess>>,
    /// The programs that run beside the shell.
    beside: Mutex<HashMap<ExecutionId, mpsc::Sender<Nudge>>>,
}

/// What a session's task can be told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A reserved and judged execution, to be recorded and run.
    Start(Box<actor::StartRequest>),
    /// Something for one execution that waits or runs.
    Nudge(ExecutionId, Nudge),
    /// Say what runs in the background.
    Jobs { reply: oneshot::Sender<Vec<Job>> },
    /// Change its defaults.
    Update {
        update: SessionUpdate,
        reply: oneshot::Sender<()>,
    },
    /// Give the terminal another size.
    Resize {
        size: WindowSize,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// End the session.
    Close {
        reason: CloseReason,
        done: oneshot::Sender<Vec<EndedProcess>>,
    },
}

/// What an execution can be told while it waits or runs.
#[derive(Debug)]
pub(crate) enum Nudge {
    /// Stop.
    Cancel,
    /// The session is closing.
    Closing,
    /// Bytes for its standard input.
    Write(Write),
    /// A signal for its processes.
    Signal {
        signal: i32,
        reply: oneshot::Sender<Result<usize, Error>>,
    },
}

/// What a session is made of beside its task.
pub(crate) struct SessionParts {
    pub(crate) id: SessionId,
    pub(crate) principal: Principal,
    pub(crate) settings: SessionSettings,
    pub(crate) shell: Option<ShellKind>,
    pub(crate) shell_program: String,
    pub(crate) cwd: String,
    pub(crate) target: String,
    pub(crate) isolation: Isolation,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) observer: ObservedBy,
    pub(crate) operator: Arc<OperatorPolicy>,
    pub(crate) redaction: Arc<SessionRedaction>,
    pub(crate) workspace: Option<Arc<Workspace>>,
    pub(crate) retention: RetentionLimits,
}

impl Session {
    /// A session in state READY, and the mailbox for its task.
    pub(crate) fn new(parts: SessionParts) -> (Self, mpsc::Receiver<Message>) {
        let (mailbox, messages) = mpsc::channel(MAILBOX_MESSAGES);
        let now = SystemTime::now();
        let terminal = parts.settings.terminal;
        let background = Execution::background(&parts.id, BACKGROUND_BYTES);
        let defaults = SessionDefaults::of(&parts.settings);
        let session = Self {
            id: parts.id,
            principal: parts.principal,
            settings: parts.settings,
            created: now,
            shell: parts.shell,
            shell_program: parts.shell_program,
            target: parts.target,
            isolation: parts.isolation,
            trace: parts.trace,
            observer: parts.observer,
            operator: parts.operator,
            names: Mutex::default(),
            redaction: parts.redaction,
            workspace: parts.workspace,
            executions: Mutex::new(Executions::new(parts.retention)),
            defaults: Mutex::new(defaults),
            snapshot: Mutex::new(SessionSnapshot {
                state: SessionState::Ready,
                generation: 1,
                cwd: parts.cwd,
                terminal,
                last_active: now,
                ended: None,
            }),
            mailbox,
            background,
            ended: OnceLock::new(),
            beside: Mutex::new(HashMap::new()),
        };
        (session, messages)
    }

    /// What is known of the session now.
    #[must_use]
    pub fn snapshot(&self) -> SessionSnapshot {
        self.lock_snapshot().clone()
    }

    /// When the session will end by itself if nothing happens.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        let idle = self.lock_snapshot().last_active + self.idle_ttl();
        match self.settings.max_lifetime {
            Some(lifetime) => idle.min(self.created + lifetime),
            None => idle,
        }
    }

    /// The execution in the foreground.
    pub(crate) fn running_execution(&self) -> Option<ExecutionId> {
        match &self.lock_snapshot().state {
            SessionState::Running(id) => Some(id.clone()),
            _ => None,
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut SessionSnapshot)) {
        change(&mut self.lock_snapshot());
    }

    fn lock_snapshot(&self) -> MutexGuard<'_, SessionSnapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A text of this session as it may be shown: its directory, its processes, a reason.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.redaction.redact(text)
    }

    /// The language that the session's shell reads.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.shell {
            Some(ShellKind::Bash) => Dialect::Bash,
            Some(ShellKind::Dash | ShellKind::Ash | ShellKind::Sh) | None => Dialect::Posix,
        }
    }

    /// The policies that judge its commands: the operator's, its profile's, its own.
    #[must_use]
    pub fn policy(&self) -> PolicyStack {
        self.operator.stack(
            &self.settings.target,
            &self.principal,
            self.settings.policy.as_ref(),
        )
    }

    /// What `policy` says of a command in this session, with these variables of its own.
    #[must_use]
    pub fn judge(
        &self,
        policy: &PolicyStack,
        line: &CommandLine,
        env: &BTreeMap<String, String>,
    ) -> Judgement {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // The session's own variables are around each of its commands.
        let mut around = self.settings.env.clone();
        around.extend(env.clone());
        let asked = match line {
            CommandLine::Script(script) => Asked::Script(self.dialect(), script),
            CommandLine::Argv(words) => Asked::Argv(words),
        };
        policy.judge(&Question {
            asked,
            names: &names,
            env: &around,
        })
    }

    /// Remembers the names that a command defines which is about to run.
    pub(crate) fn learn(&self, defined: &SessionNames) {
        if !defined.is_empty() {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.learn(defined);
        }
    }

    pub(crate) fn executions(&self) -> MutexGuard<'_, Executions> {
        self.executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn send(&self, message: Message) -> Result<(), Error> {
        self.mailbox
            .send(message)
            .await
            .map_err(|_closed| self.over())
    }

    /// Asks for an execution to be stopped; one that is over is left alone.
    ///
    /// # Errors
    /// Where the session is over.
    pub async fn cancel(&self, execution: &ExecutionId) -> Result<(), Error> {
        self.nudge(execution, Nudge::Cancel).await
    }

    /// Tells one execution something. What it cannot take is dropped.
    pub(crate) async fn nudge(&self, execution: &ExecutionId, nudge: Nudge) -> Result<(), Error> {
        let beside = self.lock_beside().get(execution).cloned();
        match beside {
            // A program that has just ended takes nothing.
            Some(program) => drop(program.send(nudge).await),
            None => {
                let message = Message::Nudge(execution.clone(), nudge);
                self.send(message).await?;
            }
        }
        Ok(())
    }

    /// What runs in the background; nothing where the session is over.
    pub async fn jobs(&self) -> Vec<Job> {
        let (reply, answer) = oneshot::channel();
        match self.send(Message::Jobs { reply }).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_over) => Vec::new(),
        }
    }

    /// What came between the executions: the log of an execution that never ends.
    #[must_use]
    pub fn background(&self) -> &Arc<Execution> {
        &self.background
    }

    /// What holds where requests do not say.
    #[must_use]
    pub fn defaults(&self) -> SessionDefaults {
        self.lock_defaults().clone()
    }

    /// How long it may be idle now. Asked at each turn of its task, so nothing is copied.
    pub(crate) fn idle_ttl(&self) -> Duration {
        self.lock_defaults().idle_ttl
    }

    /// How long a command may run where it does not say.
    #[must_use]
    pub fn default_timeout(&self) -> Duration {
        self.lock_defaults().default_timeout
    }

    /// What the session's task does with [`Message::Update`].
    pub(crate) fn set_defaults(&self, update: SessionUpdate) {
        self.lock_defaults().update(update);
    }

    fn lock_defaults(&self) -> MutexGuard<'_, SessionDefaults> {
        self.defaults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes its defaults; its task looks at its timers again.
    pub(crate) async fn change(&self, update: SessionUpdate) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        self.send(Message::Update { update, reply }).await?;
        done.await.map_err(|_gone| self.over())
    }

    pub(crate) async fn resize(&self, size: WindowSize) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Resize { size, reply }).await?;
        answer.await.unwrap_or_else(|_dropped| Err(self.over()))
    }

    /// Enters a program that runs beside the shell; answers what it will be told.
    pub(crate) fn enter_beside(&self, execution: &ExecutionId) -> mpsc::Receiver<Nudge> {
        let (sender, receiver) = mpsc::channel(MAILBOX_MESSAGES);
        self.lock_beside().insert(execution.clone(), sender);
        receiver
    }

    pub(crate) fn forget_beside(&self, execution: &ExecutionId) {
        self.lock_beside().remove(execution);
    }

    /// Tells the programs beside the shell that the session closes.
    pub(crate) fn close_beside(&self) {
        for program in self.lock_beside().values() {
            // One that reads nothing is ended all the same.
            let _full = program.try_send(Nudge::Closing);
        }
    }

    fn lock_beside(&self) -> MutexGuard<'_, HashMap<ExecutionId, mpsc::Sender<Nudge>>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the session; answers what was ended with it.
    ///
    /// # Errors
    /// Where the session is already over.
    pub(crate) async fn close(&self, reason: CloseReason) -> Result<Vec<EndedProcess>, Error> {
        let (done, ended) = oneshot::channel();
        self.send(Message::Close { reason, done }).await?;
        ended.await.map_err(|_gone| self.over())
    }

    /// The error for a session whose task is gone.
    pub(crate) fn over(&self) -> Error {
        let state = self.snapshot().state;
        let (lost, reason) = match state {
            SessionState::Lost { reason, .. } => (true, reason),
            _ => (false, "closed".to_owned()),
        };
        Error::SessionEnded {
            session: self.id.clone(),
            lost,
            reason,
        }
    }

    /// The error for a session that is over, if it is.
    pub(crate) fn end(&self) -> Option<Error> {
        match self.snapshot().state {
            SessionState::Closed(_) | SessionState::Lost { .. } => Some(self.over()),
            SessionState::Ready
            | SessionState::Running(_)
            | SessionState::Reconnecting
            | SessionState::Closing => None,
        }
    }

    /// What was ended with the session, once it is closed.
    pub(crate) fn ended_processes(&self) -> Option<Vec<EndedProcess>> {
        self.ended.get().cloned()
    }

    pub(crate) fn set_ended_processes(&self, ended: Vec<EndedProcess>) {
        // A session ends once.
        let _first = self.ended.set(ended);
    }
}
