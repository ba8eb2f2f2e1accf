//! How what was cut is tried again: whether, and after which pause.
//!
//! ```text
//!   in touch ──setback──► in trouble ──progress──► in touch
//!                          │  └ setback: pause 100 ms, 200 ms, … 5 s
//!                          └── nothing for as long as `Resume` says ──► given up
//! ```
//!
//! [`Retry`] knows neither clock nor chance: both are handed to it. What a call may be
//! repeated for is decided here, and nowhere else: an execution id makes it harmless.

use std::time::{Duration, Instant};

use execgate_proto::v1::ErrorReason;
use tonic::Code;

use crate::error::{Call, Error};

/// How long a call that was cut is tried again without any progress, unless a
/// [`Resume`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause before the first new attempt: what a proxy or server needs to come back at best.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause between two attempts, unless the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Doublings after which a pause is the longest one.
const MAX_DOUBLINGS: u32 = 6;

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

/// What a failure means for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setback {
    /// Another attempt would fail the same way.
    Final,
    /// No connection could be made: nothing was asked.
    Unreached,
    /// It was asked, and nobody knows what became of it.
    Cut,
    /// The server asks to come again after this time.
    Later(Duration),
}

impl Setback {
    /// What this error is.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Connect { .. } => Self::Unreached,
            Error::Disconnected { .. } => Self::Cut,
            Error::Refused(refusal) => match refusal.retry_after {
                Some(time) => Self::Later(time),
                // What has no reason of ours was said by something on the way.
                None if refusal.reason_name.is_empty() && is_of_the_way(refusal.code) => Self::Cut,
                None => Self::Final,
            },
            _ => Self::Final,
        }
    }
}

/// Whether proxies, and HTTP/2 itself, answer this code for a connection that failed.
fn is_of_the_way(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Internal
    )
}

/// Setbacks in a row, and what to do about the next one.
#[derive(Debug)]
pub(crate) struct Retry {
    resume: Resume,
    touched: bool,
    trouble_since: Option<Instant>,
    attempts: u32,
}

impl Retry {
    /// For a call that has not been made yet.
    pub(crate) fn new(resume: Resume) -> Self {
        Self {
            resume,
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
        let Resume::For(patience) = self.resume else {
            return None;
        };
        let told = match setback {
            Setback::Final => return None,
            // Nothing was started: the caller hears it at once.
            Setback::Unreached | Setback::Later(_) if !self.touched => return None,
            Setback::Later(time) => time,
            Setback::Unreached | Setback::Cut => Duration::ZERO,
        };
        self.touched = true;
        let since = *self.trouble_since.get_or_insert(now);
        let left = patience.saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() || told > left {
            return None;
        }
        let doublings = self.attempts.min(MAX_DOUBLINGS);
        self.attempts = self.attempts.saturating_add(1);
        let longest = FIRST_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE);
        // At least half of it, so that many clients do not come back at once.
        let pause = (longest / 2).saturating_add((longest / 2).mul_f64(share(random)));
        Some(pause.max(told).min(left))
    }
}

/// A number from 0 to 1.
fn share(random: u32) -> f64 {
    f64::from(random) / f64::from(u32::MAX)
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
    pub(crate) fn new(resume: Resume, call: Call, execution_id: String) -> Self {
        Self {
            retry: Retry::new(resume),
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
                self.broke.get_or_insert_with(|| error.to_string());
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

/// Any number. Without chance the pauses are the longest ones.
fn random() -> u32 {
    let mut bytes = [0xff; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => u32::MAX,
    }
}

#[cfg(test)]
mod tests;
