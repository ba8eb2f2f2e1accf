//! A command's result in one piece.

use std::borrow::Cow;

use bytes::Bytes;
use execgate_proto::v1;
use execgate_proto::v1::{BudgetReport, Cause};

use crate::error::Error;
use crate::event::Notice;
use crate::outcome::{Finished, Outcome};

/// What a command wrote and how it ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunResult {
    /// The execution's id within its session.
    pub execution_id: String,
    /// The command, redacted.
    pub command: String,
    /// Standard output, within the budget.
    pub stdout: Bytes,
    /// Standard error, within the budget.
    pub stderr: Bytes,
    /// The terminal's output, in a session that has one.
    pub terminal: Bytes,
    /// How, why, where and when it ended.
    pub finished: Finished,
    /// Whether anything it wrote is missing above.
    pub truncated: bool,
    /// What the budget did, one report per channel; empty for a collected stream.
    pub budgets: Vec<BudgetReport>,
    /// Everything noticed on the way.
    pub notices: Vec<Notice>,
    /// Whether an execution was found, instead of being started.
    pub deduplicated: bool,
}

impl RunResult {
    /// The exit code, if it returned one.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.finished.outcome {
            Outcome::Exited { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether it returned 0 by itself.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit_code() == Some(0) && !self.timed_out()
    }

    /// Whether it reached its time limit.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.finished.cause == Cause::Timeout
    }

    /// The session's working directory after it.
    #[must_use]
    pub fn cwd(&self) -> &str {
        &self.finished.cwd
    }

    /// Standard output as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

impl TryFrom<v1::RunResponse> for RunResult {
    type Error = Error;

    fn try_from(response: v1::RunResponse) -> Result<Self, Error> {
        let result = response.result.ok_or(Error::Protocol {
            what: "a run was answered without a result",
        })?;
        let finished = result.finished.ok_or(Error::Protocol {
            what: "a result came without its end",
        })?;
        Ok(Self {
            execution_id: result.execution_id,
            command: result.command,
            stdout: result.stdout,
            stderr: result.stderr,
            terminal: result.terminal,
            finished: finished.try_into()?,
            truncated: result.truncated,
            budgets: result.budgets,
            notices: result.notices.into_iter().map(Into::into).collect(),
            deduplicated: result.deduplicated,
        })
    }
}
