//! How a shell ends, is replaced or given up, and how the session ends.

use std::time::Duration;

use execgate_core::audit::{AuditBody, SessionClosed, SessionLost, ShellRestarted};
use execgate_core::outcome::{Cause, Ending, ObservedBy, Outcome, signal_name};
use execgate_core::pipeline::PipelineEvent;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Actor, ENDED_QUIET, StartRequest};
use crate::error::Error;
use crate::execution::{EventKind, Notice};
use crate::session::signals;
use crate::session::{Message, OnShellExit, OnTransportLoss, SessionState, Shell, ShellSpec};
use crate::transport::{EndedProcess, Leftovers, ProcessEnd, TransportError};

/// How long the tasks of programs that have been ended may take to say so.
const BESIDE_LIMIT: Duration = Duration::from_secs(5);

/// How long a session that asks for it tries to reach its target again.
const RECONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Time between two tries.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

impl Actor {
    /// The shell is over. Where a command ran, it ends here; where the session asks for
    /// it, another shell takes its place. `Err` means that the session is lost.
    pub(super) async fn shell_ended(
        &mut self,
        end: ProcessEnd,
        events: &mut Vec<PipelineEvent>,
    ) -> Result<(), ()> {
        let Some(mut shell) = self.shell.take() else {
            return Ok(());
        };
        shell.pump.drain_ended(ENDED_QUIET, events).await;
        let has_begun = shell.pump.pipeline.has_begun();
        shell.pump.pipeline.abandon(events);
        let totals = shell.pump.pipeline.totals();
        drop(shell);
        // A marker that came out before the end was the command's own; else it ends now.
        self.absorb(events).await;
        let cwd = self.session.snapshot().cwd;
        let ending = self.running.as_ref().map(|running| {
            running.ended_with_shell((end, self.session.observer), has_begun, cwd, totals)
        });
        let reason = match &ending {
            Some(ending) if ending.cause == Cause::ShellBroken => {
                "it no longer answered".to_owned()
            }
            _ => describe(end),
        };
        let settings = &self.session.settings;
        let loses = match end {
            ProcessEnd::Unknown | ProcessEnd::Stopped | ProcessEnd::OutOfMemory => {
                settings.on_transport_loss == OnTransportLoss::Lose
            }
            ProcessEnd::Code(_) | ProcessEnd::Signal(_) => {
                settings.on_shell_exit == OnShellExit::Lose
            }
        };
        if loses {
            return self.lose(reason, ending).await;
        }
        // Between commands the next one restarts the shell: a shell that ends by itself
        // whenever it is idle (TMOUT) must not be started over and over.
        if end == ProcessEnd::Unknown {
            if let Some(ending) = ending {
                self.complete(ending).await;
            }
            if let Err(error) = self.reconnect(&reason).await {
                return self.lose(format!("{reason}; {error}"), None).await;
            }
            self.start_next().await;
            return Ok(());
        }
        if let Some(ending) = ending {
            if let Err(error) = self.restart(&reason).await {
                return self.lose(format!("{reason}; {error}"), Some(ending)).await;
            }
            if let Some(running) = &self.running {
                for notice in self.notices.drain(..) {
                    running.course.execution.log.push(EventKind::Notice(notice));
                }
            }
            self.complete(ending).await;
            self.start_next().await;
        }
        Ok(())
    }

    /// Another shell after the connection broke: what broke it may take a while to pass.
    async fn reconnect(&mut self, reason: &str) -> Result<(), Error> {
        let limit = Instant::now() + RECONNECT_LIMIT;
        loop {
            match self.restart(reason).await {
                Err(Error::Transport(TransportError::Unreachable { .. }))
                    if Instant::now() + RECONNECT_PAUSE < limit =>
                {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Another shell for the same session.
    pub(super) async fn restart(&mut self, reason: &str) -> Result<(), Error> {
        let cwd = self.session.snapshot().cwd;
        let transport = self.transport.as_ref();
        let spec = ShellSpec {
            env: self.exported().to_vec(),
            ..self.spec.clone()
        };
        let started = match Shell::start(transport, &spec, &cwd).await {
            // The directory may be gone with the command that made it.
            Err(Error::Transport(_)) => Shell::start(transport, &spec, "/").await,
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
             its working directory is kept, and what it exported when it last rested"
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

    async fn lose(&mut self, reason: String, ending: Option<Ending>) -> Result<(), ()> {
        let lost = SessionState::Lost {
            reason: reason.clone(),
        };
        if let Some(running) = &self.running {
            let notice = Notice::SessionLost {
                reason: reason.clone(),
            };
            running.course.execution.log.push(EventKind::Notice(notice));
        }
        if let Some(ending) = ending {
            self.complete(ending).await;
        }
        self.session.update(|now| now.state = lost.clone());
        self.session.close_beside();
        self.transport.close(Leftovers::Kill).await;
        self.until_beside_ended().await;
        self.recorder
            .note(None, AuditBody::SessionLost(SessionLost { reason }))
            .await;
        Err(())
    }

    /// Ends the session and everything in it.
    pub(super) async fn close(
        mut self,
        reason: &'static str,
        done: Option<oneshot::Sender<Vec<EndedProcess>>>,
    ) {
        self.session.update(|now| now.state = SessionState::Closing);
        if let Some(running) = self.running.as_mut() {
            running.course.closing([signals::TERM, signals::KILL]);
        }
        self.session.close_beside();
        let ended = self.transport.close(self.session.settings.leftovers).await;
        self.until_beside_ended().await;
        let mut events = Vec::new();
        if let Some(mut shell) = self.shell.take() {
            shell.pump.drain_ended(ENDED_QUIET, &mut events).await;
            shell.pump.pipeline.abandon(&mut events);
            let totals = shell.pump.pipeline.totals();
            drop(shell);
            self.absorb(&mut events).await;
            let cwd = self.session.snapshot().cwd;
            if let Some(running) = &self.running {
                let ending = running.course.ending(
                    (
                        Outcome::Signal(signals::KILL),
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
        self.session.set_ended_processes(ended.clone());
        self.session.update(|now| now.state = SessionState::Closed);
        self.finish_task(reason);
        if let Some(done) = done {
            // The caller may have gone; the session is closed all the same.
            let _ = done.send(ended);
        }
    }

    /// Waits for the programs beside the shell, which have been ended: each says how.
    async fn until_beside_ended(&mut self) {
        let all = async { while self.beside.join_next().await.is_some() {} };
        if tokio::time::timeout(BESIDE_LIMIT, all).await.is_err() {
            tracing::warn!(session.id = %self.session.id, "a program beside the shell did not end");
        }
    }

    /// The task's last act: whoever waits is refused, the session leaves the directory.
    pub(super) fn finish_task(&mut self, reason: &str) {
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

fn describe(end: ProcessEnd) -> String {
    match end {
        ProcessEnd::Code(code) => format!("the shell ended with code {code}"),
        ProcessEnd::Signal(signal) => format!("the shell was ended by {}", signal_name(signal)),
        ProcessEnd::Unknown => "the shell went out of sight".to_owned(),
        ProcessEnd::Stopped => "the session's target stopped".to_owned(),
        ProcessEnd::OutOfMemory => "the session's target ran out of memory".to_owned(),
    }
}
