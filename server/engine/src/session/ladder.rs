//! The ladder from a friendly interrupt to the end: what to do next with a command that
//! must stop, and when. Pure: `now` is an argument.
//!
//! ```text
//! SIGINT to the foreground ── 1 s ── SIGTERM to what the command started, and SIGINT again
//! ── 1 s ── SIGKILL to the same, and SIGINT again ── 1 s ── the shell itself
//! ```
//!
//! From the second rung on each is taken several times: a shell that loops over short
//! commands is only stopped by a SIGINT that meets it between two of them, or that a child
//! dies of; and what is killed may have started something else meanwhile.

use std::time::Duration;

use tokio::time::Instant;

/// When each rung is due, in milliseconds after the first: a second for a program to clean
/// up after SIGINT, another after SIGTERM.
const SCHEDULE: [(u64, Rung); 16] = [
    (0, Rung::Interrupt),
    (1000, Rung::Terminate),
    (1250, Rung::Terminate),
    (1500, Rung::Terminate),
    (1750, Rung::Terminate),
    (2000, Rung::Kill),
    (2100, Rung::Kill),
    (2200, Rung::Kill),
    (2300, Rung::Kill),
    (2400, Rung::Kill),
    (2500, Rung::Kill),
    (2600, Rung::Kill),
    (2700, Rung::Kill),
    (2800, Rung::Kill),
    (2900, Rung::Kill),
    (3000, Rung::EndShell),
];

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
    foot: Instant,
    /// Rungs taken.
    taken: usize,
}

impl Ladder {
    /// A ladder that is climbed from `deadline` on.
    pub(super) fn from(deadline: Instant) -> Self {
        Self {
            foot: deadline,
            taken: 0,
        }
    }

    /// When the next rung is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (after, _) = SCHEDULE.get(self.taken)?;
        Some(self.foot + Duration::from_millis(*after))
    }

    /// The rung to take now, if one is due.
    pub(super) fn climb(&mut self, now: Instant) -> Option<Rung> {
        let due = self.due()?;
        if now < due {
            return None;
        }
        let (_, rung) = SCHEDULE.get(self.taken)?;
        self.taken += 1;
        Some(*rung)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lies_between_the_first_rungs_of_each_kind() {
        let start = Instant::now();
        let mut ladder = Ladder::from(start + Duration::from_secs(1));
        let mut taken: Vec<(u32, Rung)> = Vec::new();
        for tenths in 0..60 {
            if let Some(rung) = ladder.climb(start + Duration::from_millis(100) * tenths)
                && taken.last().is_none_or(|(_, last)| *last != rung)
            {
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
