//! The ladder from a friendly interrupt to the end: what to do next with a command that
//! must stop, and when. Pure: `now` is an argument.
//!
//! ```text
//! Climbing ── SIGINT to the foreground ── 1 s ── SIGTERM ── 1 s ── SIGKILL to what the
//! command started ── 1 s ── the shell itself
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// Time between two rungs: enough for a program to clean up after SIGINT or SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rung {
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
    next: Option<Rung>,
    at: Instant,
}

impl Ladder {
    /// A ladder that is climbed from `deadline` on.
    pub(super) fn from(deadline: Instant) -> Self {
        Self {
            next: Some(Rung::Interrupt),
            at: deadline,
        }
    }

    /// When the next rung is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.map(|_| self.at)
    }

    /// The rung to take now, if one is due.
    pub(super) fn climb(&mut self, now: Instant) -> Option<Rung> {
        let rung = self.next.filter(|_| now >= self.at)?;
        self.at = now + GRACE;
        self.next = match rung {
            Rung::Interrupt => Some(Rung::Terminate),
            Rung::Terminate => Some(Rung::Kill),
            Rung::Kill => Some(Rung::EndShell),
            Rung::EndShell => None,
        };
        Some(rung)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rung_is_taken_once_a_second_after_the_one_before() {
        let start = Instant::now();
        let mut ladder = Ladder::from(start + GRACE);
        let mut taken = Vec::new();
        for tenths in 0..60 {
            if let Some(rung) = ladder.climb(start + Duration::from_millis(100) * tenths) {
                taken.push((tenths, rung));
            }
        }
        let expected = vec![
            (10, Rung::Interrupt),
            (20, Rung::Terminate),
            (30, Rung::Kill),
            (40, Rung::EndShell),
        ];
        assert_eq!(taken, expected);
        assert_eq!(ladder.due(), None);
    }
}
