//! The command that has the foreground: its framing, deadlines, and how it ends.

use execgate_core::framing::{Framed, Framing, Token};
use execgate_core::outcome::{
    Cause, ChannelTotals, Ending, LaunchFailureKind, ObservedBy, Outcome,
};
use execgate_core::pipeline::{CommandEnd, PipelineEvent};
use tokio::time::Instant;

use crate::checkpoint::Presence;
use crate::error::Error;
use crate::execution::Command;
use crate::random;
use crate::secrets::{SecretVariables, exposed};
use crate::session::Shell;
use crate::session::course::Course;
use crate::session::feed::{Feed, Last};
use crate::session::watchdog::Watchdog;
use crate::telemetry::Stage;
use crate::transport::{InputSource, NamedInput, ProcessEnd};

/// A command on its way.
pub(super) struct Running {
    pub(super) course: Course,
    pub(super) watchdog: Watchdog,
    /// Its standard input, where it has one.
    pub(super) feed: Option<Feed>,
    /// Where its input comes from, if it has any.
    pub(super) input: Option<InputSource>,
    /// The watchdog gave up on the shell.
    pub(super) broken: bool,
    token: Token,
    /// Where the shell goes back to after a command with a directory of its own.
    cwd_before: Option<String>,
    /// Keeps restores away from its workspace.
    pub(super) presence: Option<Presence>,
    /// Holds the named pipe of the command's input until it has ended.
    _input: Option<Box<dyn Send + Sync>>,
}

/// What a command is begun with.
pub(super) struct Beginning {
    pub(super) course: Course,
    pub(super) script: String,
    pub(super) command: Command,
    pub(super) secrets: SecretVariables,
    /// The shell's directory now.
    pub(super) cwd: String,
    pub(super) input: Option<NamedInput>,
    pub(super) presence: Option<Presence>,
}

impl Running {
    /// Writes a command into the shell, and marks it as started.
    pub(super) fn begin(
        beginning: Beginning,
        shell: &mut Shell,
        events: &mut Vec<PipelineEvent>,
    ) -> Result<Self, Error> {
        let Beginning {
            mut course,
            script,
            command,
            secrets,
            cwd,
            input,
            presence,
        } = beginning;
        let token = Token::new(random::bytes()?);
        let traced = course.trace.variables(&command.env);
        let own = command.env.into_iter().chain(exposed(&secrets));
        let env: Vec<(String, String)> = own.chain(traced).collect();
        let starting = course.trace.stage(Stage::Start);
        let cwd_before = command.cwd.is_some().then_some(cwd);
        let framed = Framed {
            script: &script,
            env: &env,
            cwd: command.cwd.as_deref(),
            cwd_before: cwd_before.as_deref(),
            stdin: input.as_ref().map(|input| input.path.as_str()),
        };
        shell.pump.refresh();
        shell.pump.pipeline.begin(&token, events);
        shell.pump.write(&shell.framing.command(&framed, &token));
        drop(starting);
        let keyboard = shell.pump.control().keyboard();
        let (source, writer, last, kept) = match input {
            Some(input) => (
                Some(InputSource::Named(input.path)),
                Some(input.writer),
                Last::Close,
                Some(input.keep),
            ),
            None => {
                let terminal = keyboard.is_some().then_some(InputSource::Terminal);
                (terminal, keyboard, Last::Type, None)
            }
        };
        let feed = Feed::new(&course.execution, &command.stdin, writer, last);
        course.mark_started();
        Ok(Self {
            course,
            watchdog: Watchdog::new(Instant::now()),
            feed,
            input: source,
            broken: false,
            token,
            cwd_before,
            presence,
            _input: kept,
        })
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Instant {
        let course = [self.course.ladder.due(), self.course.again_due()];
        course
            .into_iter()
            .flatten()
            .fold(self.watchdog.due(), Instant::min)
    }

    /// The trailer to send again.
    pub(super) fn trailer(&self, framing: &Framing) -> Vec<u8> {
        framing.trailer_again(&self.token, self.cwd_before.as_deref())
    }

    /// Where the shell is after the command's end.
    pub(super) fn cwd_after(&self, end: &CommandEnd) -> String {
        self.cwd_before.clone().unwrap_or_else(|| end.cwd.clone())
    }

    /// The end as the shell's marker tells it.
    pub(super) fn ending(&self, end: &CommandEnd, totals: Vec<ChannelTotals>) -> Ending {
        let outcome = match end.status {
            None => Outcome::LaunchFailure {
                kind: LaunchFailureKind::WorkingDirectory,
                errno: 0,
            },
            Some(code) => self.course.ended_with(code, ObservedBy::Shell),
        };
        let cause = self.course.cause(&outcome);
        self.course.ending(
            (outcome, ObservedBy::Shell, cause),
            Some(self.cwd_after(end)),
            totals,
        )
    }

    /// The end of a command whose shell has ended with it.
    pub(super) fn ended_with_shell(
        &self,
        (end, observer): (ProcessEnd, ObservedBy),
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
            ProcessEnd::Unknown => (lost("the shell went out of sight"), ObservedBy::Nobody),
            ProcessEnd::Stopped => (lost("the shell's target stopped"), observer),
            ProcessEnd::OutOfMemory => (lost("the shell's target ran out of memory"), observer),
            _ if !has_begun => (
                lost("the shell ended before it read the command, which did not run"),
                ObservedBy::Nobody,
            ),
            ProcessEnd::Code(code) => (self.course.ended_with(code, observer), observer),
            ProcessEnd::Signal(signal) => (Outcome::Signal(signal), observer),
        };
        let cause = match self.course.stopping() {
            Some(cause) => cause,
            None if self.broken => Cause::ShellBroken,
            None => end.cause_of_loss().unwrap_or(Cause::ShellExited),
        };
        self.course
            .ending((outcome, observed_by, cause), Some(cwd), totals)
    }
}
