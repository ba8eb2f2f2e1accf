//! Whether a call that failed is made again, and when. Knows neither clock nor chance: both
//! are handed to it.
//!
//! Two questions decide. What failed: only what passes by itself ([`Setback`]). And whether a
//! repeat is harmless ([`Repeat`]): a call that was refused did nothing; one that was cut may
//! have done all of it, and is repeated only if that makes no difference.
//!
//! The pauses are those of [`RetryPolicy`], also for what [`Resume`](crate::Resume) repeats: one
//! function of a few lines, so that no crate is asked for it.

use std::time::{Duration, Instant};

use tonic::Code;

use crate::error::Error;

/// Doublings after which a pause is the longest one, whatever the first one is.
const MAX_DOUBLINGS: u32 = 30;

/// How a call is repeated that failed in a way that passes, where a repeat is harmless.
///
/// Pauses double from the first to the longest one, with some chance in them; where the server
/// says when to come again, no pause is shorter than that. What becomes of a command's call once
/// it was begun is said by [`Resume`](crate::Resume), which takes the pauses from here.
///
/// ```
/// use std::time::Duration;
/// use execgate_client::RetryPolicy;
///
/// let patient = RetryPolicy::default().max_attempts(20).total(Duration::from_secs(300));
/// let never = RetryPolicy::none();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct RetryPolicy {
    max_attempts: u32,
    pub(crate) initial_backoff: Duration,
    pub(crate) max_backoff: Duration,
    total: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            total: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// Every call is made once.
    pub fn none() -> Self {
        Self::default().max_attempts(1)
    }

    /// How often a call is made at most, the first time included. Default: 8.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The first pause. Default: 100 ms.
    pub fn initial_backoff(mut self, pause: Duration) -> Self {
        self.initial_backoff = pause;
        self
    }

    /// The longest pause, unless the server asks for a longer one. Default: 5 s.
    pub fn max_backoff(mut self, pause: Duration) -> Self {
        self.max_backoff = pause;
        self
    }

    /// Longest time from the first attempt to the last. Default: 30 s.
    pub fn total(mut self, time: Duration) -> Self {
        self.total = time;
        self
    }

    /// The pause after `count` others. `random` is any number.
    pub(crate) fn pause(&self, count: u32, random: u32) -> Duration {
        let doubled = 2_u32.pow(count.min(MAX_DOUBLINGS));
        let longest = self.initial_backoff.saturating_mul(doubled);
        let half = longest.min(self.max_backoff) / 2;
        // At least half of it, so that many clients do not come back at once.
        half.saturating_add(half.mul_f64(share(random)))
    }
}

/// A number from 0 to 1.
fn share(random: u32) -> f64 {
    f64::from(random) / f64::from(u32::MAX)
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
    /// The server did nothing, and asks to come again after this time.
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

/// Whether a call may be made again that may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads, or says how things are to be, or has an id: twice is as good as once.
    Always,
    /// Twice is not once: only where it is certain that nothing was done.
    Refused,
}

/// The attempts at one call, from its first.
#[derive(Debug)]
pub(crate) struct Tries {
    policy: RetryPolicy,
    repeat: Repeat,
    began: Instant,
    made: u32,
}

impl Tries {
    pub(crate) fn new(policy: RetryPolicy, repeat: Repeat, now: Instant) -> Self {
        Self {
            policy,
            repeat,
            began: now,
            made: 0,
        }
    }

    /// The pause before the next attempt; `None` gives up. `random` is any number.
    pub(crate) fn pause(
        &mut self,
        setback: Setback,
        now: Instant,
        random: u32,
    ) -> Option<Duration> {
        self.made = self.made.saturating_add(1);
        let told = match (setback, self.repeat) {
            (Setback::Final, _) | (Setback::Cut, Repeat::Refused) => return None,
            (Setback::Later(time), _) => time,
            (Setback::Unreached, _) | (Setback::Cut, Repeat::Always) => Duration::ZERO,
        };
        if self.made >= self.policy.max_attempts {
            return None;
        }
        let pause = self
            .policy
            .pause(self.made.saturating_sub(1), random)
            .max(told);
        let elapsed = now.saturating_duration_since(self.began);
        (elapsed.saturating_add(pause) <= self.policy.total).then_some(pause)
    }
}

/// Any number. Without chance the pauses are the longest ones.
pub(crate) fn random() -> u32 {
    let mut bytes = [0xff; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => u32::MAX,
    }
}

#[cfg(test)]
mod tests;
