//! Registered values: the ones that are promised never to leave. Finds every
//! occurrence, overlapping ones too, and the beginning of one at the buffer's end.

use aho_corasick::{AhoCorasick, MatchKind};
use zeroize::Zeroizing;

use super::secret::Secret;

/// Shortest value in bytes that can be registered: shorter ones occur by chance in
/// any output, and hiding those shows more than it hides.
pub const MIN_VALUE_BYTES: usize = 4;

/// Longest stretch in bytes searched for as one: longer values, such as key files,
/// are searched for piece by piece, which keeps the hold-back small.
pub const MAX_VALUE_BYTES: usize = 4096;

/// One occurrence of a registered value in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundValue {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Which name, as an index for [`Values::name`].
    pub(super) name: usize,
}

/// The registered values, compiled.
#[derive(Default)]
pub(super) struct Values {
    registered: Vec<(String, Secret)>,
    compiled: Option<Compiled>,
}

struct Compiled {
    automaton: AhoCorasick,
    /// Name of each pattern of the automaton.
    names: Vec<usize>,
    /// All patterns, sorted.
    sorted: Vec<Zeroizing<Vec<u8>>>,
    /// Which bytes begin a pattern.
    first: [bool; 256],
    longest: usize,
}

impl Values {
    /// These and the `added` ones.
    pub(super) fn with(&self, added: impl Iterator<Item = (String, Secret)>) -> Self {
        let registered: Vec<_> = self.registered.iter().cloned().chain(added).collect();
        let mut patterns: Vec<(Zeroizing<Vec<u8>>, usize)> = Vec::new();
        for (name, (_, secret)) in registered.iter().enumerate() {
            patterns.extend(forms(secret).into_iter().map(|form| (form, name)));
        }
        patterns.sort_by(|a, b| a.0.as_slice().cmp(b.0.as_slice()).then(a.1.cmp(&b.1)));
        patterns.dedup_by(|a, b| a.0 == b.0);
        let compiled = (!patterns.is_empty()).then(|| Compiled::new(patterns));
        Self {
            registered,
            compiled,
        }
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.registered
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.registered
            .get(index)
            .map_or("value", |(name, _)| name.as_str())
    }

    /// Every occurrence in `buffer`, sorted by start.
    pub(super) fn find(&self, buffer: &[u8]) -> Vec<FoundValue> {
        let Some(compiled) = &self.compiled else {
            return Vec::new();
        };
        // The plain search has a prefilter, the overlapping one does not.
        if !compiled.automaton.is_match(buffer) {
            return Vec::new();
        }
        let mut found: Vec<FoundValue> = compiled
            .automaton
            .find_overlapping_iter(buffer)
            .map(|hit| FoundValue {
                start: hit.start(),
                end: hit.end(),
                name: compiled
                    .names
                    .get(hit.pattern().as_usize())
                    .copied()
                    .unwrap_or(usize::MAX),
            })
            .collect();
        found.sort_by_key(|value| (value.start, std::cmp::Reverse(value.end), value.name));
        found
    }

    /// Where the longest beginning of a value that reaches the end of `buffer`
    /// starts; its length if there is none.
    pub(super) fn live_prefix(&self, buffer: &[u8]) -> usize {
        let Some(compiled) = &self.compiled else {
            return buffer.len();
        };
        let from = buffer
            .len()
            .saturating_sub(compiled.longest.saturating_sub(1));
        let tail = buffer.get(from..).unwrap_or_default();
        let begins = |at: usize| {
            tail.get(at..)
                .is_some_and(|rest| compiled.begins_with(rest))
        };
        (0..tail.len())
            .find(|at| begins(*at))
            .map_or(buffer.len(), |at| from + at)
    }
}

impl Compiled {
    #[expect(
        clippy::expect_used,
        reason = "fails only beyond two billion bytes of values, which cannot be registered"
    )]
    fn new(patterns: Vec<(Zeroizing<Vec<u8>>, usize)>) -> Self {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(patterns.iter().map(|(form, _)| form.as_slice()))
            .expect("registered values fit an automaton");
        let mut first = [false; 256];
        for byte in patterns.iter().filter_map(|(form, _)| form.first()) {
            if let Some(flag) = first.get_mut(usize::from(*byte)) {
                *flag = true;
            }
        }
        let longest = patterns
            .iter()
            .map(|(form, _)| form.len())
            .max()
            .unwrap_or(0);
        let (sorted, names) = patterns.into_iter().unzip();
        Self {
            automaton,
            names,
            sorted,
            first,
            longest,
        }
    }

    /// Whether some value begins with `rest` and goes on.
    fn begins_with(&self, rest: &[u8]) -> bool {
        let begins = rest
            .first()
            .and_then(|byte| self.first.get(usize::from(*byte)));
        if begins != Some(&true) {
            return false;
        }
        // Sorted: the first value greater than `rest` is the one that extends it.
        let next = self.sorted.partition_point(|form| form.as_slice() <= rest);
        self.sorted
            .get(next)
            .is_some_and(|form| form.starts_with(rest))
    }
}

/// The byte strings under which a value is searched for. Its encodings join here.
fn forms(secret: &Secret) -> Vec<Zeroizing<Vec<u8>>> {
    let value = secret.expose();
    // The line end of a secret's file is not part of the secret.
    let end = value
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
        .map_or(0, |at| at + 1);
    let value = value.get(..end).unwrap_or_default();
    let mut forms = pieces(value);
    if value.contains(&b'\n') {
        // A terminal turns every line end into two bytes.
        let mut terminal = Zeroizing::new(Vec::with_capacity(value.len() * 2));
        for byte in value {
            if *byte == b'\n' && terminal.last() != Some(&b'\r') {
                terminal.push(b'\r');
            }
            terminal.push(*byte);
        }
        forms.extend(pieces(&terminal));
    }
    forms
}

/// `value` in pieces of equal size, none above the maximum.
fn pieces(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    if value.len() < MIN_VALUE_BYTES {
        return Vec::new();
    }
    let count = value.len().div_ceil(MAX_VALUE_BYTES);
    let size = value.len().div_ceil(count);
    value
        .chunks(size)
        .map(|piece| Zeroizing::new(piece.to_vec()))
        .collect()
}
