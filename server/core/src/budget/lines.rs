//! Lines of a stream and the choices made among them, as ranges of line numbers.
//! Knows nothing of bounds in bytes.

use std::ops::Range;

use memchr::memchr_iter;

use super::{Grep, Select};

/// Where each line of a stream starts; a line includes its line end.
pub(super) struct Lines {
    /// Start of each line, and the stream's length at the end.
    starts: Vec<usize>,
}

/// What a grep found.
pub(super) struct Found {
    /// Kept lines, context included: sorted, not touching.
    pub(super) kept: Vec<Range<usize>>,
    /// Lines that matched.
    pub(super) matched: usize,
}

/// What a selection by position left.
pub(super) struct Selected {
    /// Kept lines: sorted, not touching.
    pub(super) lines: Vec<Range<usize>>,
    /// Whether it left any line out.
    pub(super) truncated: bool,
}

impl Lines {
    pub(super) fn of(stream: &[u8]) -> Self {
        let mut starts = vec![0];
        starts.extend(memchr_iter(b'\n', stream).map(|end| end + 1));
        if starts.last() != Some(&stream.len()) {
            starts.push(stream.len());
        }
        Self { starts }
    }

    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The lines that `grep` lets through; all of them without one.
    pub(super) fn found_by(&self, stream: &[u8], grep: Option<&Grep>) -> Found {
        let count = self.count();
        let Some(grep) = grep else {
            let kept = if count == 0 {
                Vec::new()
            } else {
                std::iter::once(0..count).collect()
            };
            return Found {
                kept,
                matched: count,
            };
        };
        let mut kept: Vec<Range<usize>> = Vec::new();
        let mut matched = 0;
        for number in 0..count {
            if !grep.keeps(self.text(stream, number)) {
                continue;
            }
            matched += 1;
            let wanted = number.saturating_sub(grep.before)
                ..number
                    .saturating_add(grep.after)
                    .saturating_add(1)
                    .min(count);
            match kept.last_mut() {
                Some(last) if wanted.start <= last.end => last.end = last.end.max(wanted.end),
                _ => kept.push(wanted),
            }
        }
        Found { kept, matched }
    }

    /// One line without its line end.
    fn text<'a>(&self, stream: &'a [u8], number: usize) -> &'a [u8] {
        let line = stream
            .get(self.bytes(&(number..number + 1)))
            .unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    fn bytes(&self, lines: &Range<usize>) -> Range<usize> {
        let at = |number: usize| self.starts.get(number).copied().unwrap_or(0);
        at(lines.start)..at(lines.end)
    }

    /// Line ranges as byte ranges.
    pub(super) fn byte_ranges(&self, lines: &[Range<usize>]) -> Vec<Range<usize>> {
        lines.iter().map(|range| self.bytes(range)).collect()
    }

    /// How many lines have a byte in `ranges`, which are sorted.
    pub(super) fn touched_by(&self, ranges: &[Range<usize>]) -> usize {
        let mut next = 0;
        let mut touched = 0;
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let first = self.line_at(range.start).max(next);
            let end = self.line_at(range.end - 1) + 1;
            touched += end.saturating_sub(first);
            next = next.max(end);
        }
        touched
    }

    /// How many lines have their end in `range`, or are the unended last line.
    pub(super) fn within(&self, range: &Range<usize>) -> usize {
        self.touched_by(std::slice::from_ref(range))
    }

    /// The number of the line that holds the byte at `offset`.
    fn line_at(&self, offset: usize) -> usize {
        self.starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }
}

/// Chooses by position among `kept`.
pub(super) fn select(kept: &[Range<usize>], select: Select) -> Selected {
    let total: usize = kept.iter().map(Range::len).sum();
    let (head, tail) = match select {
        Select::All => (total, 0),
        Select::Head { lines } => (lines, 0),
        Select::Tail { lines } => (0, lines),
        Select::HeadTail { head, tail } => (head, tail),
    };
    if head.saturating_add(tail) >= total {
        return Selected {
            lines: kept.to_vec(),
            truncated: false,
        };
    }
    let mut lines = first(kept, head);
    lines.extend(last(kept, tail));
    Selected {
        lines,
        truncated: true,
    }
}

fn first(kept: &[Range<usize>], mut wanted: usize) -> Vec<Range<usize>> {
    let mut chosen = Vec::new();
    for range in kept {
        let take = wanted.min(range.len());
        if take == 0 {
            break;
        }
        chosen.push(range.start..range.start + take);
        wanted -= take;
    }
    chosen
}

fn last(kept: &[Range<usize>], mut wanted: usize) -> Vec<Range<usize>> {
    let mut chosen = Vec::new();
    for range in kept.iter().rev() {
        let take = wanted.min(range.len());
        if take == 0 {
            break;
        }
        chosen.push(range.end - take..range.end);
        wanted -= take;
    }
    chosen.reverse();
    chosen
}
