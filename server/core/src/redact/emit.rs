//! Merges the spans of both finders and turns decided bytes into plain ranges and
//! markers. Overlapping spans become one marker, named after the first. A marker with a
//! tag leaves when its secret has ended: the tag is made of the whole of it.

use std::ops::Range;

use super::counts::RedactionCounts;
use super::marker::{Marker, MarkerKey};
use super::own::OwnTokens;
use super::scan::Scanner;
use super::values::{FoundValue, Values, What};

/// A part of the output.
pub(super) enum Piece {
    /// A range of the buffer, unchanged.
    Plain(Range<usize>),
    /// What stands for a secret.
    Marker(String),
}

/// What spans are measured against while they are emitted.
pub(super) struct Found<'a> {
    /// The bytes from the emitter's base on.
    pub(super) buffer: &'a [u8],
    pub(super) values: &'a Values,
    pub(super) tokens: &'a OwnTokens,
    /// Where both of these stand in the buffer, sorted.
    pub(super) places: &'a [FoundValue],
    pub(super) key: Option<&'a MarkerKey>,
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
    /// The marker of a secret that may go on.
    open: Option<Marker>,
    counts: RedactionCounts,
}

impl Emitter {
    pub(super) fn counts(&self) -> &RedactionCounts {
        &self.counts
    }

    /// How many of the buffer's first bytes were released or hidden early.
    pub(super) fn already_shown(&self) -> usize {
        let ahead = self.shown.max(self.covered).saturating_sub(self.base);
        usize::try_from(ahead).unwrap_or(usize::MAX)
    }

    /// Marks the buffer up to `limit` as released, and returns what of it was not yet, and
    /// the marker that stands before that.
    pub(super) fn show(
        &mut self,
        limit: usize,
        key: Option<&MarkerKey>,
    ) -> (Option<String>, Range<usize>) {
        let from = self.already_shown();
        if limit <= from {
            return (None, from..from);
        }
        self.shown = self.base + limit as u64;
        (self.open.take().map(|open| open.text(key)), from..limit)
    }

    /// Hands the first `decided` bytes of the buffer to `sink`.
    pub(super) fn emit(
        &mut self,
        scanner: &mut Scanner,
        found: &Found<'_>,
        decided: usize,
        sink: &mut dyn FnMut(Piece),
    ) {
        let limit = self.base + decided as u64;
        let offset = |at: usize| self.base + at as u64;
        let mut places = found
            .places
            .iter()
            .map(|value| (offset(value.start), offset(value.end), value.what))
            .take_while(|value| value.0 < limit)
            .collect::<Vec<_>>()
            .into_iter()
            .peekable();
        loop {
            let other = places.peek().map(|value| value.0);
            if let Some(span) = scanner.next_span(limit, other) {
                match span.kind {
                    Some(kind) if span.start >= self.covered => {
                        let marker = Marker::of_shape(kind);
                        self.mark(span.start, span.end, marker, found, sink);
                        self.hash(span.start, span.end, found);
                    }
                    Some(_) => {}
                    None => self.hash(span.start, span.end, found),
                }
                self.covered = self.covered.max(span.end);
            } else if let Some((start, end, what)) = places.next() {
                if start >= self.covered {
                    self.place(start, end, what, found, sink);
                }
                self.covered = self.covered.max(end);
            } else {
                break;
            }
        }
        if !scanner.goes_on() {
            self.close(found.key, sink);
        }
        self.plain_to(limit, found.key, sink);
        self.base = limit;
        self.shown = self.shown.max(limit);
    }

    /// Lets the last marker go: no more of its secret will come.
    pub(super) fn close(&mut self, key: Option<&MarkerKey>, sink: &mut dyn FnMut(Piece)) {
        if let Some(open) = self.open.take() {
            sink(Piece::Marker(open.text(key)));
        }
    }

    fn place(
        &mut self,
        start: u64,
        end: u64,
        what: What,
        found: &Found<'_>,
        sink: &mut dyn FnMut(Piece),
    ) {
        match what {
            What::Value(index) => {
                let (name, secret) = found.values.named(index);
                let marker = Marker::of_value(name, secret);
                self.mark(start, end, marker, found, sink);
            }
            What::Token(index) => {
                let marker = Marker::of_shape(found.tokens.name(index));
                self.mark(start, end, marker, found, sink);
                self.hash(start, end, found);
            }
        }
    }

    /// Begins a marker, unless all of its secret was released before.
    fn mark(
        &mut self,
        start: u64,
        end: u64,
        marker: Marker,
        found: &Found<'_>,
        sink: &mut dyn FnMut(Piece),
    ) {
        self.close(found.key, sink);
        self.plain_to(start, found.key, sink);
        if end > self.shown {
            self.counts.add(marker.name());
            self.open = Some(marker);
        }
    }

    /// Adds these bytes of the secret to what its tag is made of.
    fn hash(&mut self, start: u64, end: u64, found: &Found<'_>) {
        let index =
            |offset: u64| usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        if let (Some(open), Some(_)) = (&mut self.open, found.key) {
            let bytes = found.buffer.get(index(start)..index(end));
            open.add(bytes.unwrap_or_default());
        }
    }

    fn plain_to(&mut self, end: u64, key: Option<&MarkerKey>, sink: &mut dyn FnMut(Piece)) {
        let from = self.base.max(self.covered).max(self.shown);
        if from < end {
            self.close(key, sink);
            let index = |offset: u64| usize::try_from(offset - self.base).unwrap_or(usize::MAX);
            sink(Piece::Plain(index(from)..index(end)));
        }
    }
}
