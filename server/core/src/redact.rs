//! Streaming redaction: bytes go in as they come, and what comes out holds no
//! registered secret and no string of a known secret's shape.
//!
//! ```text
//!            values.rs  registered values in all their forms ───┐
//! push ─► ┤                                                     ├─► spans ─► emit.rs ─► out
//!            scan.rs    anchors ─► shapes (tokens, names, …)   ─┘
//! ```
//!
//! Both finders work on the raw bytes and know what they cannot decide yet: those
//! bytes, and no others, are held back. So any chunking gives the same output, a
//! clean line leaves at once, and a prompt leaves at [`Redactor::flush_idle`].
//! Bytes that are no secret pass unchanged, whatever they are.
//!
//! This room must not do I/O, log, or keep what it has let go.

mod counts;
mod emit;
mod forms;
mod header;
mod learn;
mod logins;
mod look;
mod marker;
mod named;
mod own;
mod placeholder;
mod private_key;
mod scan;
mod secret;
mod shapes;
mod tokens;
mod values;
mod view;
mod work;

use std::sync::Arc;

use bytes::Bytes;

use crate::audit::HashKey;

pub use self::counts::{MAX_COUNTED_NAMES, RedactionCounts};
use self::emit::{Emitter, Found, Piece};
pub use self::learn::{MIN_LEARNED_BYTES, assigned_secrets, given_secrets, secret_variables};
use self::look::End;
use self::marker::MarkerKey;
use self::own::OwnTokens;
pub use self::own::{
    Alphabet, MAX_PREFIX_BYTES, MAX_TOKEN_BYTES, MIN_PREFIX_BYTES, TokenRule, is_marker_name,
};
use self::scan::Scanner;
pub use self::secret::Secret;
use self::shapes::Shapes;
pub use self::tokens::kinds;
use self::values::{FoundValue, Patience, Values};
pub use self::values::{MAX_VALUE_BYTES, MIN_VALUE_BYTES};

/// The most bytes a redactor holds back: the longest undecided shape (a name, its
/// separator and the first KiB of its value) or the
/// longest registered value but one byte, whichever starts first.
pub const HOLD_BACK_MAX: usize = 8 * 1024;

/// What is secret: known shapes and registered values. Cheap to clone, shared by
/// every redactor made from it.
#[derive(Clone, Default)]
pub struct RedactionRules {
    inner: Arc<Rules>,
}

#[derive(Default)]
struct Rules {
    shapes: Option<&'static Shapes>,
    values: Values,
    tokens: OwnTokens,
    key: Option<MarkerKey>,
}

impl Rules {
    /// Where registered values and added tokens stand in `buffer`, sorted.
    fn find(&self, buffer: &[u8]) -> Vec<FoundValue> {
        let mut found = self.values.find(buffer);
        self.tokens.find(buffer, &mut found);
        found.sort_by_key(|found| (found.start, std::cmp::Reverse(found.end), found.what));
        found
    }

    /// Where the bytes start that more bytes could make one of.
    fn live_prefix(&self, buffer: &[u8], patience: Patience) -> usize {
        let values = self.values.live_prefix(buffer, patience);
        match patience {
            Patience::Busy => values.min(self.tokens.live_prefix(buffer)),
            Patience::Idle => values,
        }
    }
}

impl RedactionRules {
    /// The shapes of the common tokens, keys, headers and named values.
    #[must_use]
    pub fn builtin() -> Self {
        let rules = Rules {
            shapes: Some(Shapes::shared()),
            ..Rules::default()
        };
        Self {
            inner: Arc::new(rules),
        }
    }

    /// No rule at all: everything passes.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These rules with tags in their markers, made with this key.
    #[must_use]
    pub fn with_key(&self, key: HashKey) -> Self {
        let rules = Rules {
            key: Some(MarkerKey(key)),
            ..self.copy()
        };
        Self {
            inner: Arc::new(rules),
        }
    }

    /// These rules and those tokens. They only ever add up. Rules with a
    /// [`TokenRule::problem`] are left out: whoever takes them refuses those.
    #[must_use]
    pub fn with_tokens(&self, added: impl IntoIterator<Item = TokenRule>) -> Self {
        let rules = Rules {
            tokens: self.inner.tokens.with(added.into_iter()),
            ..self.copy()
        };
        Self {
            inner: Arc::new(rules),
        }
    }

    fn copy(&self) -> Rules {
        let Rules {
            shapes,
            values,
            tokens,
            key,
        } = &*self.inner;
        Rules {
            shapes: *shapes,
            values: values.clone(),
            tokens: tokens.clone(),
            key: key.clone(),
        }
    }

    /// Whether secrets that commands are given are to be learned: not where the shapes are
    /// off, since then only what is registered is hidden.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.inner.shapes.is_some()
    }

    /// Whether `secret` is a registered value.
    #[must_use]
    pub fn knows(&self, secret: &Secret) -> bool {
        self.inner.values.knows(secret)
    }

    /// These rules and the registered `values`, each under the name its marker shows.
    /// They only ever add up. Values below [`MIN_VALUE_BYTES`] are left out, since
    /// hiding every `a` hides nothing: whoever registers values refuses those.
    #[must_use]
    pub fn with_values<N: Into<String>>(
        &self,
        values: impl IntoIterator<Item = (N, Secret)>,
    ) -> Self {
        let added = values
            .into_iter()
            .map(|(name, secret)| (name.into(), secret));
        let rules = Rules {
            values: self.inner.values.with(added),
            ..self.copy()
        };
        Self {
            inner: Arc::new(rules),
        }
    }
}

impl std::fmt::Debug for RedactionRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedactionRules")
            .field("shapes", &self.inner.shapes.is_some())
            .field("values", &self.inner.values.names())
            .finish()
    }
}

/// Redacts one stream.
pub struct Redactor {
    rules: Arc<Rules>,
    /// Undecided bytes; the first of them is at `emitter.base()` in the stream.
    held: Vec<u8>,
    scanner: Scanner,
    emitter: Emitter,
}

impl Redactor {
    /// A redactor at the start of a stream.
    #[must_use]
    pub fn new(rules: &RedactionRules) -> Self {
        Self {
            rules: Arc::clone(&rules.inner),
            held: Vec::new(),
            scanner: Scanner::default(),
            emitter: Emitter::default(),
        }
    }

    /// Goes on under other rules. What has been decided stays as it is; what is held back
    /// is judged anew.
    pub fn set_rules(&mut self, rules: &RedactionRules) {
        self.rules = Arc::clone(&rules.inner);
    }

    /// Takes the next bytes of the stream and appends to `out` what is decided.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let decided = self.decide(input, End::Open, &mut |piece| append(out, input, &piece));
            self.held
                .extend_from_slice(input.get(decided..).unwrap_or_default());
        } else {
            self.held.extend_from_slice(input);
            let mut buffer = std::mem::take(&mut self.held);
            let decided = self.decide(&buffer, End::Open, &mut |piece| {
                append(out, &buffer, &piece)
            });
            buffer.drain(..decided);
            self.held = buffer;
        }
    }

    /// Like [`Redactor::push`], without copying: clean ranges leave as slices of `input`.
    pub fn push_bytes(&mut self, input: Bytes, out: &mut Vec<Bytes>) {
        let buffer = if self.held.is_empty() {
            input
        } else {
            self.held.extend_from_slice(&input);
            Bytes::from(std::mem::take(&mut self.held))
        };
        let decided = self.decide(&buffer, End::Open, &mut |piece| match piece {
            Piece::Plain(range) => out.push(buffer.slice(range)),
            Piece::Marker(marker) => out.push(Bytes::from(marker)),
        });
        self.held
            .extend_from_slice(buffer.get(decided..).unwrap_or_default());
    }

    /// Releases what is held back only because its end has not come, such as a
    /// prompt. A beginning of a registered value stays, and so does what is already
    /// certain to be a token. What was released still counts as context: if a token
    /// turns out to have begun in it, its rest is hidden.
    pub fn flush_idle(&mut self, out: &mut Vec<u8>) {
        let values = self.rules.find(&self.held);
        let live = self.rules.live_prefix(&self.held, Patience::Idle);
        let certain = self.scanner.certain_from(self.rules.shapes, &self.held);
        let value = values.first().map_or(self.held.len(), |value| value.start);
        let showable = live.min(certain).min(value);
        let (marker, showable) = self.emitter.show(showable, self.rules.key.as_ref());
        out.extend_from_slice(marker.unwrap_or_default().as_bytes());
        out.extend_from_slice(self.held.get(showable).unwrap_or_default());
    }

    /// Ends the stream and releases the rest.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let buffer = std::mem::take(&mut self.held);
        self.decide(&buffer, End::Closed, &mut |piece| {
            append(out, &buffer, &piece)
        });
        let key = self.rules.key.as_ref();
        self.emitter
            .close(key, &mut |piece| append(out, &[], &piece));
    }

    /// How many secrets were replaced so far.
    #[must_use]
    pub fn redactions(&self) -> u64 {
        self.emitter.counts().total()
    }

    /// How often what was replaced.
    #[must_use]
    pub fn counts(&self) -> &RedactionCounts {
        self.emitter.counts()
    }

    /// How many bytes were taken and neither released nor replaced yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len().saturating_sub(self.emitter.already_shown())
    }

    /// Decides what can be decided of `buffer`, hands it to `sink` and returns how
    /// many bytes that was.
    fn decide(&mut self, buffer: &[u8], end: End, sink: &mut dyn FnMut(Piece)) -> usize {
        let values = self.rules.find(buffer);
        let scanned = self.scanner.scan(self.rules.shapes, buffer, end);
        let decided = match end {
            End::Open => {
                let live = self.rules.live_prefix(buffer, Patience::Busy);
                self.rules.values.cut(buffer, scanned.min(live))
            }
            End::Closed => buffer.len(),
        };
        let found = Found {
            buffer,
            values: &self.rules.values,
            tokens: &self.rules.tokens,
            places: &values,
            key: self.rules.key.as_ref(),
        };
        self.emitter.emit(&mut self.scanner, &found, decided, sink);
        self.scanner.forget(buffer, decided);
        decided
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor")
            .field("held", &self.held())
            .field("redactions", &self.redactions())
            .finish_non_exhaustive()
    }
}

fn append(out: &mut Vec<u8>, buffer: &[u8], piece: &Piece) {
    match piece {
        Piece::Plain(range) => out.extend_from_slice(buffer.get(range.clone()).unwrap_or_default()),
        Piece::Marker(marker) => out.extend_from_slice(marker.as_bytes()),
    }
}

/// Redacts a whole text: a command for the audit log, an error message.
#[must_use]
pub fn redact_text(rules: &RedactionRules, text: &str) -> String {
    let mut redactor = Redactor::new(rules);
    let mut out = Vec::with_capacity(text.len());
    // Nothing comes after it: what it ends with begins nothing.
    redactor.held.extend_from_slice(text.as_bytes());
    redactor.finish(&mut out);
    match String::from_utf8(out) {
        Ok(text) => text,
        // A registered value need not end at a character's boundary.
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;
