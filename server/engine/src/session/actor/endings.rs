//! How a shell ends, is replaced or given up, and how the session ends.

use std::time::{Duration, SystemTime};

use execgate_core::audit::{AuditBody, SessionClosed, SessionLoss, SessionLost, ShellRestarted};
use execgate_core::outcome::{Cause, Ending, ObservedBy, Outcome, signal_name};
use execgate_core::pipeline::PipelineEvent;
use tokio::sync::oneshot;

use super::{Actor, ENDED_QUIET, StartRequest};
use crate::error::Error;
use crate::execution::{EventKind, Notice};
use crate::session::signals;
use crate::session::{CloseReason, Message, OnShellExit, OnTransportLoss, SessionState, Shell};
use crate::telemetry::{Fact, SessionEnd, TargetKind};
use crate::transport::{EndedProcess, Leftovers, ProcessEnd};

/// How long the tasks of programs that have been ended may take to say so.
const BESIDE_LIMIT: Duration = Duration::from_secs(5);

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
        let loss = loss(end, ending.as_ref());
        if loses {
            return self.lose(loss, reason, ending).await;
        }
        // Between commands the next one restarts the shell: a shell that ends by itself
        // whenever it is idle (TMOUT) must not be started over and over.
        if end == ProcessEnd::Unknown {
            if let Some(ending) = ending {
                self.complete(ending).await;
            }
            self.reconnect(reason);
            return Ok(());
        }
        if let Some(ending) = ending {
            if let Err(error) = self.restart(&reason).await {
                let reason = format!("{reason}; {error}");
                return self.lose(loss, reason, Some(ending)).await;
            }
            if let Some(running) = &self.running {
                running.course.trace.shell_restarted();
                for notice in self.notices.drain(..) {
                    running.course.execution.log.push(EventKind::Notice(notice));
                }
            }
            self.complete(ending).await;
            self.start_next().await;
        }
        Ok(())
    }

    /// Another shell for the same session.
    pub(super) async fn restart(&mut self, reason: &str) -> Result<(), Error> {
        let (shell, cwd) = self.next_shell().await?;
        self.replace_shell(shell, cwd, reason).await;
        Ok(())
    }

    /// A new shell takes the place of the old one, and whoever asks next is told so.
    pub(super) async fn replace_shell(&mut self, shell: Shell, cwd: String, reason: &str) {
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
    }

    /// The session is over, by accident. Always `Err`.
    pub(super) async fn lose(
        &mut self,
        loss: SessionLoss,
        reason: String,
        ending: Option<Ending>,
    ) -> Result<(), ()> {
        self.reconnecting = None;
        self.preparing = None;
        let lost = SessionState::Lost {
            loss,
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
        self.session.update(|now| {
            now.state = lost;
            now.ended = Some(SystemTime::now());
        });
        self.session.close_beside();
        self.transport.close(Leftovers::Kill).await;
        self.until_beside_ended().await;
        self.tell_end(SessionEnd::from(loss));
        let loss = Some(loss);
        let record = AuditBody::SessionLost(SessionLost { reason, loss });
        self.recorder.note(None, record).await;
        Err(())
    }

    /// Ends the session and everything in it.
    pub(super) async fn close(
        mut self,
        reason: CloseReason,
        done: Option<oneshot::Sender<Vec<EndedProcess>>>,
    ) {
        // What tries to reach the target would hold what its end needs.
        self.reconnecting = None;
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
            reason: reason.as_str().to_owned(),
            killed,
        };
        self.recorder
            .note(None, AuditBody::SessionClosed(record))
            .await;
        self.tell_end(SessionEnd::from(reason));
        self.session.set_ended_processes(ended.clone());
        self.session.update(|now| {
            now.state = SessionState::Closed(reason);
            now.ended = Some(SystemTime::now());
        });
        self.finish_task(reason.as_str());
        if let Some(done) = done {
            // The caller may have gone; the session is closed all the same.
            let _ = done.send(ended);
        }
    }

    fn tell_end(&self, reason: SessionEnd) {
        let target = TargetKind::from(&self.session.settings.target);
        self.telemetry.note(&Fact::SessionEnded { target, reason });
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
        if let Some(workspace) = &self.session.workspace {
            std::sync::Arc::clone(workspace).leave();
        }
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

/// Why a session is lost whose shell ended so.
fn loss(end: ProcessEnd, ending: Option<&Ending>) -> SessionLoss {
    match end {
        ProcessEnd::Unknown => SessionLoss::TransportLost,
        ProcessEnd::Stopped | ProcessEnd::OutOfMemory => SessionLoss::TargetStopped,
        ProcessEnd::Code(_) | ProcessEnd::Signal(_) => match ending {
            Some(ending) if ending.cause == Cause::ShellBroken => SessionLoss::ShellBroken,
            _ => SessionLoss::ShellExited,
        },
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
