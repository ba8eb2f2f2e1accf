//! Merges the spans of both finders and turns decided bytes into plain ranges and
//! markers. Overlapping spans become one marker, named after the first.

use std::ops::Range;

use super::scan::Scanner;
use super::values::{FoundValue, Values};

/// A part of the output.
pub(super) enum Piece {
    /// A range of the buffer, unchanged.
    Plain(Range<usize>),
    /// What stands for a secret.
    Marker(String),
}

/// The state between two buffers; offsets are those of the raw stream.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    /// Stream offset of the buffer's first byte.
    base: u64,
    /// Everything before this is hidden or shown.
    covered: u64,
    /// Everything before this that is not hidden was released early.
    shown: u64,
    markers: u64,
}

impl Emitter {
    pub(super) fn markers(&self) -> u64 {
        self.markers
    }

    /// How many of the buffer's first bytes were released or hidden early.
    pub(super) fn already_shown(&self) -> usize {
        let ahead = self.shown.max(self.covered).saturating_sub(self.base);
        usize::try_from(ahead).unwrap_or(usize::MAX)
    }

    /// Marks the buffer up to `limit` as released, and returns what of it was not yet.
    pub(super) fn show(&mut self, limit: usize) -> Range<usize> {
        let from = self.already_shown();
        if limit > from {
            self.shown = self.base + limit as u64;
        }
        from..limit.max(from)
    }

    /// Hands the first `decided` bytes of the buffer to `sink`.
    pub(super) fn emit(
        &mut self,
        scanner: &mut Scanner,
        found: &[FoundValue],
        decided: usize,
        values: &Values,
        sink: &mut dyn FnMut(Piece),
    ) {
        let limit = self.base + decided as u64;
        let mut found = found
            .iter()
            .map(|value| {
                (
                    self.base + value.start as u64,
                    self.base + value.end as u64,
                    value.name,
                )
            })
            .take_while(|value| value.0 < limit)
            .collect::<Vec<_>>()
            .into_iter()
            .peekable();
        loop {
            let other = found.peek().map(|value| value.0);
            if let Some(span) = scanner.next_span(limit, other) {
                self.span(span.start, span.end, span.kind, sink);
            } else if let Some((start, end, name)) = found.next() {
                self.span(start, end, Some(values.name(name)), sink);
            } else {
                break;
            }
        }
        self.plain_to(limit, sink);
        self.base = limit;
        self.shown = self.shown.max(limit);
    }

    fn span(&mut self, start: u64, end: u64, kind: Option<&str>, sink: &mut dyn FnMut(Piece)) {
        if let Some(kind) = kind
            && start >= self.covered
        {
            self.plain_to(start, sink);
            if end > self.shown {
                self.markers += 1;
                sink(Piece::Marker(format!("[REDACTED:{kind}]")));
            }
        }
        self.covered = self.covered.max(end);
    }

    fn plain_to(&self, end: u64, sink: &mut dyn FnMut(Piece)) {
        let from = self.base.max(self.covered).max(self.shown);
        if from < end {
            let index = |offset: u64| usize::try_from(offset - self.base).unwrap_or(usize::MAX);
            sink(Piece::Plain(index(from)..index(end)));
        }
    }
}
