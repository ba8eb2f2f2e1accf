//! How what was cut is tried again: whether, and after which pause.
//!
//! ```text
//!   in touch ──setback──► in trouble ──progress──► in touch
//!                          │  └ setback: pause 100 ms, 200 ms, … 5 s
//!                          └── nothing for as long as `Resume` says ──► given up
//! ```
//!
//! [`Retry`] knows neither clock nor chance: both are handed to it. Up to the first sign that a
//! command may have been started its call is one like any other, and [`Tries`] says whether it is
//! repeated. From then on this does: an execution id makes it harmless.

use std::time::{Duration, Instant};

use execgate_proto::v1::ErrorReason;

use crate::error::{Call, Error};
use crate::retry::{Repeat, RetryPolicy, Setback, Tries, random};

/// How long a call that was cut is tried again without any progress, unless a
/// [`Resume`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client does when the connection breaks while a command runs.
///
/// A call is repeated under the same execution id, and a stream attaches where it was, so
/// that nothing runs twice and no byte is lost or doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resume {
    /// A call that was cut fails at once.
    Never,
    /// It is tried again, with growing pauses, for so long after the last progress.
    For(Duration),
}

impl Default for Resume {
    /// One minute.
    fn default() -> Self {
        Self::For(PATIENCE)
    }
}

/// Setbacks in a row, and what to do about the next one.
#[derive(Debug)]
pub(crate) struct Retry {
    resume: Resume,
    policy: RetryPolicy,
    /// The attempts before the command may have been started.
    tries: Tries,
    touched: bool,
    trouble_since: Option<Instant>,
    attempts: u32,
}

impl Retry {
    /// For a call that has not been made yet.
    pub(crate) fn new(resume: Resume, policy: RetryPolicy, now: Instant) -> Self {
        Self {
            resume,
            policy,
            tries: Tries::new(policy, Repeat::Always, now),
            touched: false,
            trouble_since: None,
            attempts: 0,
        }
    }

    /// The server was heard, and the time without it begins anew.
    pub(crate) fn progress(&mut self) {
        self.touched = true;
        self.trouble_since = None;
        self.attempts = 0;
    }

    /// The pause before the next attempt; `None` gives up. `random` is any number.
    pub(crate) fn pause(
        &mut self,
        setback: Setback,
        now: Instant,
        random: u32,
    ) -> Option<Duration> {
        let told = match (setback, self.resume, self.touched) {
            (Setback::Final, ..) => return None,
            // Nothing was started. Who does not resume hears at once that nobody is there.
            (Setback::Unreached, Resume::Never, false) => return None,
            (Setback::Unreached | Setback::Later(_), _, false) => {
                return self.tries.pause(setback, now, random);
            }
            (Setback::Later(time), _, true) => time,
            (Setback::Unreached | Setback::Cut, ..) => Duration::ZERO,
        };
        let Resume::For(patience) = self.resume else {
            return None;
        };
        self.touched = true;
        let since = *self.trouble_since.get_or_insert(now);
        let left = patience.saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() || told > left {
            return None;
        }
        let pause = self.policy.pause(self.attempts, random);
        self.attempts = self.attempts.saturating_add(1);
        Some(pause.max(told).min(left))
    }
}

/// The attempts at one call about an execution.
#[derive(Debug)]
pub(crate) struct Attempts {
    retry: Retry,
    call: Call,
    execution_id: String,
    /// What broke first, since the last progress.
    broke: Option<String>,
}

impl Attempts {
    pub(crate) fn new(
        resume: Resume,
        policy: RetryPolicy,
        call: Call,
        execution_id: String,
    ) -> Self {
        Self {
            retry: Retry::new(resume, policy, Instant::now()),
            call,
            execution_id,
            broke: None,
        }
    }

    /// The execution exists.
    pub(crate) fn progress(&mut self) {
        self.retry.progress();
        self.broke = None;
    }

    /// Whether the command may have been started.
    pub(crate) fn begun(&self) -> bool {
        self.retry.touched
    }

    /// Whether the call failed before and is made anew.
    pub(crate) fn in_trouble(&self) -> bool {
        self.broke.is_some()
    }

    /// How long to wait before the next attempt.
    ///
    /// # Errors
    /// What to tell the caller, when there is to be none.
    pub(crate) fn pause(&mut self, error: Error) -> Result<Duration, Error> {
        let touched = self.retry.touched;
        let pause = self
            .retry
            .pause(Setback::of(&error), Instant::now(), random());
        match pause {
            Some(pause) => {
                if self.retry.touched {
                    self.broke.get_or_insert_with(|| error.to_string());
                }
                Ok(pause)
            }
            None => Err(self.given_up(error, touched)),
        }
    }

    fn given_up(&self, error: Error, touched: bool) -> Error {
        let disconnected = |message: String| Error::Disconnected {
            address: self.call.address.to_string(),
            execution_id: Some(self.execution_id.clone()),
            message,
        };
        match (error, &self.broke) {
            (Error::Disconnected { message, .. }, _) => disconnected(message),
            (Error::Refused(refusal), _) if touched && is_forgotten(refusal.reason) => {
                Error::Forgotten {
                    address: self.call.address.to_string(),
                    execution_id: self.execution_id.clone(),
                    refusal,
                }
            }
            // A server that cannot be asked to go on.
            (Error::Unsupported { .. }, Some(broke)) => disconnected(broke.clone()),
            (error, Some(_)) if Setback::of(&error) != Setback::Final => {
                disconnected(error.to_string())
            }
            (error, _) => error,
        }
    }
}

/// Whether the server has no memory of what it was asked about.
fn is_forgotten(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::SessionNotFound
            | ErrorReason::SessionExpired
            | ErrorReason::ExecutionNotFound
            | ErrorReason::ExecutionExpired
    )
}

#[cfg(test)]
mod tests;
