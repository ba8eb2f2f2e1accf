//! Walks the raw bytes from anchor to anchor and collects the spans of what the
//! shapes recognise.
//!
//! ```text
//! Clean ──hit, finished──► Clean
//!   │ ──hit, still going──► Swallow(class) ──other byte──► Clean
//!   └───key begins────────► PrivateKey ──END line, or no key body──► Clean
//! ```

use std::collections::VecDeque;

use super::look::{self, Answer, Class, End, Hit, Then};
use super::marker;
use super::private_key::{self, Step};
use super::shapes::Shapes;

/// A secret's place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    /// `None` when this goes on with the span before.
    pub(super) kind: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Mode {
    #[default]
    Clean,
    Swallow(Class),
    PrivateKey {
        /// Bytes of the key so far.
        length: usize,
    },
}

/// The state between two buffers.
#[derive(Debug, Clone, Default)]
pub(super) struct Scanner {
    /// Stream offset of the buffer's first byte.
    base: u64,
    /// How far the buffer was scanned.
    at: usize,
    /// The byte before the buffer.
    before: Option<u8>,
    mode: Mode,
    spans: VecDeque<Span>,
}

impl Scanner {
    /// Removes and returns the next span if it starts before `limit` and not behind
    /// `other`, the start of the next registered value.
    pub(super) fn next_span(&mut self, limit: u64, other: Option<u64>) -> Option<Span> {
        let span = *self.spans.front()?;
        // On a tie a continuation goes first, a value before any other shape.
        let first = other
            .is_none_or(|other| span.start < other || (span.start == other && span.kind.is_none()));
        (span.start < limit && first).then(|| self.spans.pop_front())?
    }

    /// Whether the last span may be continued.
    pub(super) fn goes_on(&self) -> bool {
        let waits = self.spans.front().is_some_and(|span| span.kind.is_none());
        waits || !matches!(self.mode, Mode::Clean)
    }

    /// Scans on. Returns where the undecided bytes start.
    pub(super) fn scan(&mut self, shapes: Option<&Shapes>, buffer: &[u8], end: End) -> usize {
        let Some(shapes) = shapes else {
            self.at = buffer.len();
            return self.at;
        };
        while self.step(shapes, buffer, end) {}
        self.at
    }

    /// Where the first byte is that would be hidden if the stream ended here.
    pub(super) fn certain_from(&self, shapes: Option<&Shapes>, buffer: &[u8]) -> usize {
        let mut ended = self.clone();
        ended.scan(shapes, buffer, End::Closed);
        let hidden = ended
            .spans
            .front()
            .map(|span| span.start.saturating_sub(self.base));
        hidden
            .and_then(|at| usize::try_from(at).ok())
            .unwrap_or(buffer.len())
            .min(buffer.len())
    }

    /// Forgets the first `decided` bytes of the buffer.
    pub(super) fn forget(&mut self, buffer: &[u8], decided: usize) {
        if let Some(last) = decided.checked_sub(1) {
            self.before = buffer.get(last).copied();
        }
        self.base += decided as u64;
        self.at = self.at.saturating_sub(decided);
    }

    /// One step; `false` when there is nothing more to decide.
    fn step(&mut self, shapes: &Shapes, buffer: &[u8], end: End) -> bool {
        match self.mode {
            Mode::Clean => self.seek(shapes, buffer, end),
            Mode::Swallow(class) => {
                let run = look::whole_run(buffer, self.at, class, end);
                self.hide(self.at, run.end, None);
                self.at = run.end;
                if !run.open {
                    self.mode = Mode::Clean;
                }
                !run.open
            }
            Mode::PrivateKey { length } => self.step_key(buffer, end, length),
        }
    }

    fn step_key(&mut self, buffer: &[u8], end: End, length: usize) -> bool {
        let step = private_key::step(buffer, self.at, end, length);
        let (to, mode) = match step {
            Step::More => return false,
            Step::Body { end } => (
                end,
                Mode::PrivateKey {
                    length: length + end.saturating_sub(self.at),
                },
            ),
            Step::Last { end } => (end, Mode::Clean),
            Step::Broken => (self.at, Mode::Clean),
        };
        self.hide(self.at, to, None);
        self.at = to;
        self.mode = mode;
        true
    }

    /// Goes to the next anchor and asks its shape.
    fn seek(&mut self, shapes: &Shapes, buffer: &[u8], end: End) -> bool {
        let Some(anchor) = shapes.next_anchor(buffer, self.at) else {
            self.at = match end {
                End::Open => shapes.partial_anchor(buffer, self.at),
                End::Closed => buffer.len(),
            };
            return false;
        };
        let start = anchor.start;
        if end == End::Open && shapes.is_partial(buffer, start) {
            self.at = start;
            return false;
        }
        let before = match start.checked_sub(1) {
            Some(last) => buffer.get(last).copied(),
            None => self.before,
        };
        match shapes.ask(&anchor, buffer, before, end) {
            Answer::No => self.at = start + 1,
            Answer::More => {
                self.at = start;
                return false;
            }
            Answer::Secret(hit) if is_hidden(buffer, &hit) => self.at = start + 1,
            Answer::Secret(hit) => {
                self.hide(hit.start, hit.end, Some(hit.kind));
                self.at = hit.end;
                self.mode = match hit.then {
                    Then::Done => Mode::Clean,
                    Then::Swallow(class) => Mode::Swallow(class),
                    Then::PrivateKey => Mode::PrivateKey {
                        length: hit.end - hit.start,
                    },
                };
            }
        }
        true
    }

    fn hide(&mut self, start: usize, end: usize, kind: Option<&'static str>) {
        if start < end {
            let (start, end) = (self.base + start as u64, self.base + end as u64);
            self.spans.push_back(Span { start, end, kind });
        }
    }
}

/// Whether a marker stands where the secret would.
fn is_hidden(buffer: &[u8], hit: &Hit) -> bool {
    let text = buffer.get(hit.start..).unwrap_or_default();
    marker::is_marker(text, hit.end - hit.start)
}
