//! The ladder from a friendly interrupt to the end: what to do next with a command that
//! must stop, and when. Pure: `now` is an argument.
//!
//! ```text
//! SIGINT to the foreground ── grace ── SIGTERM to what the command started, and SIGINT again
//! ── grace ── SIGKILL to the same, and SIGINT again ── 1 s ── the shell itself
//! ```
//!
//! From the second rung on each is taken several times: a shell that loops over short
//! commands is only stopped by a SIGINT that meets it between two of them, or that a child
//! dies of; and what is killed may have started something else meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::execution::TimeoutAction;

/// How often SIGTERM is sent, spread over its grace.
const TERMINATE_TIMES: u32 = 4;

/// How often SIGKILL is sent.
const KILL_TIMES: u32 = 10;

/// Time between two SIGKILLs: long enough for what is killed to be buried.
const KILL_PAUSE: Duration = Duration::from_millis(100);

/// How long a command may run on after a limit that only tells: as long as a limit can be.
const TOLD_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rung {
    /// Only say that the time limit was reached.
    Tell,
    /// SIGINT to the foreground group: an interactive shell survives it.
    Interrupt,
    /// SIGTERM to what the command started, not to the shell.
    Terminate,
    /// SIGKILL to what the command started, not to the shell.
    Kill,
    /// Nothing helped: the shell itself must go.
    EndShell,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ladder {
    foot: Instant,
    action: TimeoutAction,
    grace: Duration,
    /// Rungs taken.
    taken: u32,
}

impl Ladder {
    /// A ladder that is climbed from `deadline` on.
    pub(super) fn from(deadline: Instant, action: TimeoutAction, grace: Duration) -> Self {
        Self {
            foot: deadline,
            action,
            grace,
            taken: 0,
        }
    }

    /// Forgets the deadline and is climbed from now on, rung by rung.
    pub(super) fn climb_now(&mut self, now: Instant) {
        *self = Self::from(now, TimeoutAction::Ladder, self.grace);
    }

    /// When the next rung is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (after, _) = self.next()?;
        Some(self.foot + after)
    }

    /// The rung to take now, if one is due.
    pub(super) fn climb(&mut self, now: Instant) -> Option<Rung> {
        let (after, rung) = self.next()?;
        if now < self.foot + after {
            return None;
        }
        self.taken += 1;
        Some(rung)
    }

    /// The next rung, and how long after the foot it is due.
    fn next(&self) -> Option<(Duration, Rung)> {
        match (self.action, self.taken) {
            (TimeoutAction::Kill, taken) => kills(Duration::ZERO, taken),
            (TimeoutAction::Tell, 0) => Some((Duration::ZERO, Rung::Tell)),
            (TimeoutAction::Tell, taken) => self.rung(TOLD_LIMIT, taken - 1),
            (TimeoutAction::Ladder, taken) => self.rung(Duration::ZERO, taken),
        }
    }

    fn rung(&self, start: Duration, taken: u32) -> Option<(Duration, Rung)> {
        match taken {
            0 => Some((start, Rung::Interrupt)),
            1..=TERMINATE_TIMES => {
                let spread = self.grace * (taken - 1) / TERMINATE_TIMES;
                Some((start + self.grace + spread, Rung::Terminate))
            }
            _ => kills(start + 2 * self.grace, taken - 1 - TERMINATE_TIMES),
        }
    }
}

fn kills(start: Duration, taken: u32) -> Option<(Duration, Rung)> {
    match taken {
        0..KILL_TIMES => Some((start + KILL_PAUSE * taken, Rung::Kill)),
        KILL_TIMES => Some((start + KILL_PAUSE * KILL_TIMES, Rung::EndShell)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lies_between_the_first_rungs_of_each_kind() {
        let second = Duration::from_secs(1);
        let ladder = Ladder::from(Instant::now() + second, TimeoutAction::Ladder, second);
        let expected = [
            (10, Rung::Interrupt),
            (20, Rung::Terminate),
            (30, Rung::Kill),
            (40, Rung::EndShell),
        ];
        assert_eq!(climbed(ladder, second), expected);
    }

    #[test]
    fn a_limit_that_kills_asks_nobody() {
        let second = Duration::from_secs(1);
        let ladder = Ladder::from(Instant::now() + second, TimeoutAction::Kill, second);
        assert_eq!(
            climbed(ladder, second),
            [(10, Rung::Kill), (20, Rung::EndShell)]
        );
    }

    #[test]
    fn a_limit_that_only_tells_lets_run_on_until_it_must_stop() {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        let mut ladder = Ladder::from(now + second, TimeoutAction::Tell, 2 * second);
        assert_eq!(climbed(ladder, second), [(10, Rung::Tell)]);
        ladder.climb_now(now);
        assert_eq!(
            climbed(ladder, Duration::ZERO),
            [
                (0, Rung::Interrupt),
                (20, Rung::Terminate),
                (40, Rung::Kill),
                (50, Rung::EndShell)
            ]
        );
    }

    /// The first rung of each kind, and how many tenths of a second after the beginning it
    /// is taken; the foot stands `foot` after that.
    fn climbed(mut ladder: Ladder, foot: Duration) -> Vec<(u32, Rung)> {
        let start = ladder.foot - foot;
        let mut taken: Vec<(u32, Rung)> = Vec::new();
        for tenths in 0..60 {
            while let Some(rung) = ladder.climb(start + Duration::from_millis(100) * tenths) {
                if taken.last().is_none_or(|(_, last)| *last != rung) {
                    taken.push((tenths, rung));
                }
            }
        }
        taken
    }
}
