//! What a session's task does when time passes: idle output let go, the ladder climbed,
//! a silent shell looked at, the session ended.

use execgate_core::pipeline::PipelineEvent;
use tokio::time::Instant;

use super::{Actor, IDLE_FLUSH};
use crate::execution::{EventKind, Notice};
use crate::session::CloseReason;
use crate::session::ladder::Rung;
use crate::session::signals;
use crate::session::watchdog::{Verdict, Watchdog};
use crate::transport::SignalScope;

impl Actor {
    /// What is due; answers the reason where the session must end.
    pub(super) async fn on_timer(
        &mut self,
        events: &mut Vec<PipelineEvent>,
    ) -> Option<CloseReason> {
        let now = Instant::now();
        if let Some(shell) = self.shell.as_mut()
            && now >= self.last_output + IDLE_FLUSH
            && shell.pump.pipeline.holds_back()
        {
            shell.pump.flush_idle(events);
            self.take_output(events).await;
        }
        if self
            .session
            .settings
            .max_lifetime
            .is_some_and(|lifetime| now >= self.born + lifetime)
        {
            return Some(CloseReason::Lifetime);
        }
        if self.rest_is_over(now) {
            self.learn_environment(events).await;
            return None;
        }
        match &mut self.running {
            None => (now >= self.idle_end()).then_some(CloseReason::Idle),
            Some(running) => {
                if running.course.takes_again(now) {
                    self.interrupt_again().await;
                    return None;
                }
                let rung = running.course.ladder.climb(now);
                let look = now >= running.watchdog.due();
                match rung {
                    // What the signal does is seen at a later look.
                    Some(rung) => self.climb(rung).await,
                    None if look => self.look(now, events).await,
                    None => {}
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
        running.watchdog = Watchdog::new(Instant::now());
        let age = running.course.age();
        running.course.note_timeout(rung);
        if rung == Rung::Interrupt {
            running.course.interrupted(Instant::now());
        }
        let (scope, signal) = match rung {
            Rung::Tell => return,
            Rung::Interrupt => (SignalScope::Foreground, signals::INT),
            Rung::Terminate => (SignalScope::StartedWithin(age), signals::TERM),
            Rung::Kill => (SignalScope::StartedWithin(age), signals::KILL),
            Rung::EndShell => (SignalScope::Program, signals::KILL),
        };
        let control = shell.pump.control();
        if rung == Rung::Terminate {
            // A program may have missed the first one while it was being started; one that
            // dies of it ends the script, one that dies of SIGTERM only its own command.
            let _ended = control.signal(SignalScope::Foreground, signals::INT).await;
        }
        let sent = control.signal(scope, signal).await.unwrap_or(0);
        if rung == Rung::Terminate {
            // A stopped process takes it only once it goes on.
            let _ended = control.signal(scope, signals::CONT).await;
        }
        if matches!(rung, Rung::Terminate | Rung::Kill) {
            // A process that has ended meanwhile is no failure.
            let _ended = control.signal(SignalScope::Foreground, signals::INT).await;
        }
        if rung != Rung::EndShell {
            // The interrupt may have taken the trailer along.
            shell.pump.write(&running.trailer(&shell.framing));
        }
        running.course.signalled(signal, sent, &self.recorder).await;
    }

    /// Interrupts once more what has missed the first interrupt.
    async fn interrupt_again(&mut self) {
        let (Some(running), Some(shell)) = (self.running.as_mut(), self.shell.as_mut()) else {
            return;
        };
        let control = shell.pump.control();
        let sent = control
            .signal(SignalScope::ForegroundAgain, signals::INT)
            .await;
        match sent {
            Ok(sent) if sent > 0 => shell.pump.write(&running.trailer(&shell.framing)),
            Ok(_) | Err(_) => running.course.was_heard(),
        }
    }

    /// Looks at a shell that has been silent.
    async fn look(&mut self, now: Instant, events: &mut Vec<PipelineEvent>) {
        let (Some(running), Some(shell)) = (self.running.as_mut(), self.shell.as_mut()) else {
            return;
        };
        // A shell whose output nobody takes is waiting for us. One that cannot be looked at
        // has ended, and its end is on the way.
        let seen = shell.pump.control().inspect().await;
        let (false, Ok(seen)) = (running.course.execution.log.is_full(), seen) else {
            running.watchdog = Watchdog::new(now);
            return;
        };
        // What it said before the look may lie in the pipe.
        shell.pump.drain(1, events);
        if !events.is_empty() {
            running.watchdog = Watchdog::new(now);
            return self.take_output(events).await;
        }
        if let Some(source) = &running.input {
            let wait = shell.pump.control().waits_for_input(source).await;
            running.course.execution.note_input(wait.unwrap_or(None));
        }
        match running.watchdog.judge(now, &seen) {
            Verdict::Busy => {}
            Verdict::Probe => {
                let trailer = running.trailer(&shell.framing);
                shell.pump.write(&trailer);
            }
            Verdict::Continue => {
                let _ = shell
                    .pump
                    .control()
                    .signal(SignalScope::Program, signals::CONT)
                    .await;
                running
                    .course
                    .execution
                    .log
                    .push(EventKind::Notice(Notice::ShellContinued));
            }
            Verdict::Broken => {
                running.broken = true;
                let _ = shell
                    .pump
                    .control()
                    .signal(SignalScope::Program, signals::KILL)
                    .await;
            }
        }
    }
}
