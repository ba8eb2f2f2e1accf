//! What an execution is told from outside: to stop, a signal, bytes for its input; and the
//! start of programs beside the shell.

use std::sync::Arc;
use std::time::Duration;

use execgate_core::ids::ExecutionId;
use execgate_core::outcome::Cause;
use tokio::time::Instant;

use super::{Actor, StartRequest};
use crate::error::Error;
use crate::execution::{Command, CommandLine, Stdin};
use crate::session::beside::{Beside, program};
use crate::session::{Nudge, signals};
use crate::transport::{Job, NamedInput, SignalScope, WindowSize};

/// How much older than the running command a process has to be to count as none of it: the
/// question takes its time to arrive.
const JOBS_MARGIN: Duration = Duration::from_millis(200);

impl Actor {
    /// Tells the execution in the foreground, or one that waits. What nobody can take is
    /// dropped: its sender sees that.
    pub(super) async fn nudged(&mut self, id: &ExecutionId, nudge: Nudge) {
        let runs = self
            .running
            .as_ref()
            .is_some_and(|running| running.course.execution.id == *id);
        match nudge {
            Nudge::Cancel if runs => {
                if let Some(running) = self.running.as_mut() {
                    running.course.stop(Cause::Cancelled);
                }
            }
            Nudge::Cancel => {
                let _waited = self.cancel_waiting(id);
            }
            Nudge::Closing => {}
            Nudge::Write(write) if runs => {
                if let Some(running) = self.running.as_mut() {
                    match running.feed.as_mut() {
                        Some(feed) => feed.take(write, &self.recorder, &self.hash_key).await,
                        None => write.refuse_closed(id),
                    }
                }
            }
            Nudge::Write(write) => drop(write),
            Nudge::Signal { signal, reply } if runs => {
                // The caller may have gone.
                let _gone = reply.send(self.signal(signal).await);
            }
            Nudge::Signal { signal, reply } => {
                let ends = matches!(signal, signals::INT | signals::TERM | signals::KILL);
                if ends && self.cancel_waiting(id) {
                    let _gone = reply.send(Ok(0));
                }
            }
        }
    }

    /// Takes an execution that waits for its turn out of the queue.
    fn cancel_waiting(&mut self, id: &ExecutionId) -> bool {
        let waiting = self
            .queue
            .iter()
            .position(|request| request.execution.id == *id);
        let Some(request) = waiting.and_then(|at| self.queue.remove(at)) else {
            return false;
        };
        let execution = request.execution.id.clone();
        self.refuse(&request.execution, Error::ExecutionNotFound { execution });
        true
    }

    /// Sends a signal that a client asks for: an interrupt to the foreground, everything
    /// else to what the command has started, never to the shell.
    async fn signal(&mut self, signal: i32) -> Result<usize, Error> {
        let (Some(running), Some(shell)) = (self.running.as_mut(), self.shell.as_mut()) else {
            return Err(self.session.over());
        };
        let scope = match signal {
            signals::INT => SignalScope::Foreground,
            _ => SignalScope::StartedWithin(running.course.age()),
        };
        let control = shell.pump.control();
        let processes = control.signal(scope, signal).await?;
        if signal == signals::TSTP && self.spec.terminal.is_none() {
            // Without job control the kernel drops SIGTSTP; this one it does not.
            control.signal(scope, signals::STOP).await?;
        }
        if signal == signals::INT {
            running.course.interrupted(Instant::now());
            // The interrupt may have taken the trailer along.
            shell.pump.write(&running.trailer(&shell.framing));
        }
        running.course.execution.note_stop(signal, processes);
        running
            .course
            .requested(signal, processes, &self.recorder)
            .await;
        Ok(processes)
    }

    /// What runs in the background: all that is older than the command that runs now.
    pub(super) async fn jobs(&mut self) -> Vec<Job> {
        let age = self
            .running
            .as_ref()
            .map_or(Duration::ZERO, |running| running.course.age() + JOBS_MARGIN);
        self.transport.jobs(age).await.unwrap_or_default()
    }

    pub(super) async fn resize(&mut self, size: WindowSize) -> Result<(), Error> {
        match (&self.shell, &self.reconnecting) {
            (Some(shell), _) => shell.pump.control().resize(size).await?,
            (None, Some(_)) if self.spec.terminal.is_some() => {}
            (None, _) => return Err(self.session.over()),
        }
        // A shell that takes its place begins with it.
        self.spec.terminal = Some(size);
        self.session.update(|now| now.terminal = Some(size));
        Ok(())
    }

    pub(super) async fn take_waiting_writes(&mut self) {
        if let Some(feed) = self.running.as_mut().and_then(|r| r.feed.as_mut()) {
            feed.take_waiting(&self.recorder, &self.hash_key).await;
        }
    }

    /// The pipe for a command's input, where it has one and no terminal.
    pub(super) async fn input_for(
        &mut self,
        command: &Command,
    ) -> Result<Option<NamedInput>, Error> {
        let wanted = command.stdin != Stdin::Closed && self.spec.terminal.is_none();
        match wanted {
            true => Ok(Some(self.transport.open_input().await?)),
            false => Ok(None),
        }
    }

    /// Starts a program beside the shell, in a task of its own.
    pub(super) async fn start_beside(&mut self, request: StartRequest) {
        let StartRequest {
            execution,
            command,
            secrets,
            intent,
            saves,
            trace,
        } = request;
        if let Err(error) = self.check_generation(&command) {
            return self.refuse(&execution, error);
        }
        let mut events = Vec::new();
        self.learn_environment(&mut events).await;
        let CommandLine::Argv(words) = &command.line else {
            return;
        };
        let here = self.session.snapshot().cwd;
        let cwd = match &command.cwd {
            Some(cwd) => std::path::Path::new(&here)
                .join(cwd)
                .to_string_lossy()
                .into(),
            None => here,
        };
        let mut around = self.exported().to_vec();
        around.extend(trace.variables(&command.env));
        let program = program(words, (&command, &secrets), around, cwd);
        let task = Beside {
            session: Arc::clone(&self.session),
            transport: Arc::clone(&self.transport),
            recorder: self.recorder.clone(),
            hash_key: self.hash_key.clone(),
            nudges: self.session.enter_beside(&execution.id),
            execution,
            intent,
            saves,
            before: None,
            program,
            command,
        };
        self.beside.spawn(task.run(trace));
    }
}
