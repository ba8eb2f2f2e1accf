//! Tells a busy shell from one that will never answer. Pure: it is told what was seen
//! and says what to do.
//!
//! While a command runs, its trailer lies unread in the shell's input (bash reads a byte
//! at a time), or the shell has read it ahead and runs something. A shell that has read
//! everything, sleeps without a child, and says nothing may be waiting for its next line: then a
//! second trailer is sent. If that is swallowed too and still no marker comes, the shell
//! is broken: a command has redefined what the framing needs.

use std::time::Duration;

use tokio::time::Instant;

use crate::transport::Inspection;

/// Silence after which a running shell is looked at for the first time.
const FIRST_LOOK: Duration = Duration::from_millis(300);

/// Time between two looks while something is odd.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// Time between two looks at a shell that is simply busy: a look costs some reads of /proc.
const ROUTINE_LOOK: Duration = Duration::from_secs(2);

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is wrong.
    Busy,
    /// The shell was stopped by a signal: let it go on.
    Continue,
    /// Send the trailer once more and look again.
    Probe,
    /// The shell will not answer.
    Broken,
}

/// The watch over one command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watchdog {
    next: Instant,
    probed: bool,
}

impl Watchdog {
    /// A watch over a command that starts now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now + FIRST_LOOK,
            probed: false,
        }
    }

    /// Something came out: what follows may be a prompt, which is worth an early look.
    pub(super) fn heard(&mut self, now: Instant) {
        self.next = self.next.min(now + FIRST_LOOK);
    }

    /// When to look.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// What a look says.
    pub(super) fn judge(&mut self, now: Instant, seen: &Inspection) -> Verdict {
        let quiet = seen.sleeping && seen.children == 0 && seen.unread_input == Some(0);
        let verdict = match (seen.stopped, quiet, self.probed) {
            (true, _, _) => Verdict::Continue,
            (false, false, _) => Verdict::Busy,
            (false, true, false) => Verdict::Probe,
            (false, true, true) => Verdict::Broken,
        };
        self.probed |= verdict == Verdict::Probe;
        self.next = now
            + match verdict {
                Verdict::Busy => ROUTINE_LOOK,
                Verdict::Continue | Verdict::Probe | Verdict::Broken => SECOND_LOOK,
            };
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(stopped: bool, children: usize, unread: usize) -> Inspection {
        Inspection {
            stopped,
            sleeping: !stopped,
            children,
            unread_input: Some(unread),
        }
    }

    #[test]
    fn a_shell_that_swallows_two_trailers_without_a_child_is_broken() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(now);
        assert_eq!(watchdog.judge(now, &look(false, 0, 0)), Verdict::Probe);
        assert_eq!(watchdog.judge(now, &look(false, 0, 0)), Verdict::Broken);
    }

    #[test]
    fn a_shell_that_does_not_read_the_probe_is_busy() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(now);
        assert_eq!(watchdog.judge(now, &look(false, 0, 0)), Verdict::Probe);
        assert_eq!(watchdog.judge(now, &look(false, 0, 40)), Verdict::Busy);
        assert_eq!(watchdog.judge(now, &look(false, 1, 0)), Verdict::Busy);
    }

    #[test]
    fn a_shell_that_computes_is_busy_whatever_it_has_read() {
        let now = Instant::now();
        let computing = Inspection {
            sleeping: false,
            ..look(false, 0, 0)
        };
        let mut watchdog = Watchdog::new(now);
        for _ in 0..3 {
            assert_eq!(watchdog.judge(now, &computing), Verdict::Busy);
        }
    }

    #[test]
    fn a_stopped_shell_is_continued() {
        let now = Instant::now();
        assert_eq!(
            Watchdog::new(now).judge(now, &look(true, 0, 40)),
            Verdict::Continue
        );
    }
}
