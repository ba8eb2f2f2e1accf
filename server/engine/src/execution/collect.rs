//! Makes one result of an execution's events: for callers who want no stream.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use execgate_core::budget::{BudgetReport, OutputBudget};
use execgate_core::outcome::{Cause, Channel, Ending};

use super::{EventKind, Follower, Notice};

/// Most output of one stream that a budget is applied to, in bytes; of longer streams
/// the first and the last half are looked at, and the rest is reported as omitted.
const COLLECTED_BYTES: usize = 16 * 1024 * 1024;

/// A finished execution in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// How it ended. Nothing where the log was closed without an end.
    pub ending: Option<Arc<Ending>>,
    /// Standard output, or the terminal's.
    pub stdout: CollectedStream,
    /// Standard error.
    pub stderr: CollectedStream,
    /// Output that came from background jobs, before this command.
    pub background: CollectedStream,
    /// What happened around it.
    pub notices: Vec<Notice>,
}

impl ExecResult {
    /// Whether the command's own time limit ended it.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.ending
            .as_ref()
            .is_some_and(|ending| ending.cause == Cause::Timeout)
    }
}

/// One stream, under a budget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectedStream {
    /// What the budget left.
    pub bytes: Bytes,
    /// What it took.
    pub report: BudgetReport,
}

impl Follower {
    /// Follows to the end and makes one result of it.
    pub async fn result(mut self, budget: &OutputBudget) -> ExecResult {
        let (mut stdout, mut stderr) = (Window::default(), Window::default());
        let mut background = Window::default();
        let (mut ending, mut notices) = (None, Vec::new());
        while let Some(event) = self.next().await {
            match event.kind {
                EventKind::Output { channel, data, .. } => match channel {
                    Channel::Stdout | Channel::Terminal => stdout.push(data),
                    Channel::Stderr => stderr.push(data),
                    Channel::Background => background.push(data),
                },
                EventKind::Notice(notice) => notices.push(notice),
                EventKind::Finished(finished) => ending = Some(finished),
                EventKind::Gap {
                    channel, from, to, ..
                } => match channel {
                    Channel::Stdout | Channel::Terminal => stdout.omit(to - from),
                    Channel::Stderr => stderr.omit(to - from),
                    Channel::Background => background.omit(to - from),
                },
                EventKind::Started => {}
            }
        }
        ExecResult {
            ending,
            stdout: stdout.under(budget),
            stderr: stderr.under(budget),
            background: background.under(budget),
            notices,
        }
    }
}

/// The first and the last part of a stream.
#[derive(Debug, Default)]
pub(super) struct Window {
    head: Vec<Bytes>,
    head_bytes: usize,
    /// Something is missing behind the head: it grows no more.
    head_ends: bool,
    tail: VecDeque<Bytes>,
    tail_bytes: usize,
    omitted: u64,
    omitted_lines: u64,
}

impl Window {
    pub(super) fn push(&mut self, data: Bytes) {
        if self.head_bytes < COLLECTED_BYTES / 2 && !self.head_ends {
            self.head_bytes += data.len();
            self.head.push(data);
            return;
        }
        self.tail_bytes += data.len();
        self.tail.push_back(data);
        while self.tail_bytes > COLLECTED_BYTES / 2 {
            let Some(oldest) = self.tail.pop_front() else {
                return;
            };
            self.tail_bytes -= oldest.len();
            self.omitted += oldest.len() as u64;
            self.omitted_lines += memchr::memchr_iter(b'\n', &oldest).count() as u64;
        }
    }

    /// So many bytes are missing here; how many lines, nobody knows. What stands between
    /// two such places goes too, so that the omission is one.
    pub(super) fn omit(&mut self, bytes: u64) {
        self.head_ends = true;
        self.omitted += bytes;
        while let Some(between) = self.tail.pop_front() {
            self.tail_bytes -= between.len();
            self.omitted += between.len() as u64;
            self.omitted_lines += memchr::memchr_iter(b'\n', &between).count() as u64;
        }
    }

    pub(super) fn under(mut self, budget: &OutputBudget) -> CollectedStream {
        let mut whole = Vec::with_capacity(self.head_bytes + self.tail_bytes);
        self.head
            .iter()
            .for_each(|data| whole.extend_from_slice(data));
        if self.omitted > 0 {
            whole.extend_from_slice(
                format!(
                    "\n[… {} bytes omitted: more than is kept or can be looked at …]\n",
                    self.omitted
                )
                .as_bytes(),
            );
        }
        self.tail
            .make_contiguous()
            .iter()
            .for_each(|data| whole.extend_from_slice(data));
        let budgeted = budget.apply(&whole);
        let mut report = budgeted.report;
        report.total_bytes += self.omitted;
        report.omitted_bytes += self.omitted;
        report.total_lines += self.omitted_lines;
        report.truncated |= self.omitted > 0;
        CollectedStream {
            bytes: budgeted.bytes.into(),
            report,
        }
    }
}
