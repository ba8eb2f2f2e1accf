//! Registered values: the ones that are promised never to leave. Finds every
//! occurrence in each of a value's forms, overlapping ones too, and the beginning of one
//! at the buffer's end.

use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use zeroize::Zeroizing;

use super::forms::{Form, Writing, forms};
use super::secret::Secret;
use super::view::{self, Escapes, View};

/// Shortest value in bytes that can be registered: shorter ones occur by chance in
/// any output, and hiding those shows more than it hides.
pub const MIN_VALUE_BYTES: usize = 4;

/// Longest stretch in bytes searched for as one: longer values, such as key files,
/// are searched for piece by piece, which keeps the hold-back small.
pub const MAX_VALUE_BYTES: usize = 4096;

/// Longest stretch of output in bytes in which a value is found, with the line ends and
/// escape sequences in it.
const MAX_FOUND_BYTES: usize = super::HOLD_BACK_MAX;

/// Most bytes that an idle stream gives up of an encoded value, or of a value before a
/// line end: there are so many encodings that most letters begin one, and a line must not
/// wait for the next one because of its last letter.
const MAX_GIVEN_UP: usize = 3;

/// Most bytes in all forms for which the fast automaton is built; beyond, it would take
/// megabytes, and a compact one is taken.
const MAX_FAST_BYTES: usize = 8 * 1024;

/// Who waits for the bytes behind a beginning of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// More bytes are on their way.
    Busy,
    /// The stream is silent, and somebody may wait for its last line.
    Idle,
}

/// One occurrence of a registered value in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundValue {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) what: What,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A registered value, as an index for [`Values::named`].
    Value(usize),
    /// A token of a rule that was added, by the rule's index.
    Token(usize),
}

/// Most bytes of values in a layer that takes more: what is added to a larger one gets a
/// layer of its own, so that adding costs little however much is registered already.
const MAX_GROWING_BYTES: usize = 4 * 1024;

/// The registered values, in layers that are compiled each once.
#[derive(Clone, Default)]
pub(super) struct Values {
    layers: Vec<Arc<Layer>>,
}

/// Some registered values, compiled.
struct Layer {
    /// Values in the layers before this one.
    before: usize,
    registered: Vec<Registered>,
    bytes: usize,
    compiled: Option<Compiled>,
}

/// One registered value and what stands for it.
#[derive(Clone)]
struct Registered {
    name: String,
    secret: Secret,
}

struct Compiled {
    automaton: AhoCorasick,
    /// Name of each pattern of the automaton, and whether a line end may stand in it.
    patterns: Vec<(usize, bool)>,
    /// All patterns, sorted.
    sorted: Vec<Zeroizing<Vec<u8>>>,
    /// Those that are values as they are.
    plain: Vec<Zeroizing<Vec<u8>>>,
    /// Which bytes begin a pattern.
    first: [bool; 256],
    longest: usize,
}

impl Values {
    /// These and those of the `added` ones that are not among them.
    pub(super) fn with(&self, added: impl Iterator<Item = (String, Secret)>) -> Self {
        let mut layers = self.layers.clone();
        let mut new: Vec<Registered> = Vec::new();
        for (name, secret) in added {
            if !self.knows(&secret) && !new.iter().any(|known| known.secret == secret) {
                new.push(Registered { name, secret });
            }
        }
        if new.is_empty() {
            return Self { layers };
        }
        let grows = |layer: &&Arc<Layer>| layer.bytes <= MAX_GROWING_BYTES;
        let registered = match layers.last().filter(grows).cloned() {
            Some(last) => {
                layers.pop();
                last.registered.iter().cloned().chain(new).collect()
            }
            None => new,
        };
        let before = layers.iter().map(|layer| layer.registered.len()).sum();
        layers.push(Arc::new(Layer::new(before, registered)));
        Self { layers }
    }

    /// Whether `secret` is registered.
    pub(super) fn knows(&self, secret: &Secret) -> bool {
        self.registered().any(|known| known.secret == *secret)
    }

    fn registered(&self) -> impl Iterator<Item = &Registered> {
        self.layers.iter().flat_map(|layer| &layer.registered)
    }

    /// Where `buffer` may be cut at or before `at`.
    pub(super) fn cut(&self, buffer: &[u8], at: usize) -> usize {
        match self.layers.is_empty() {
            true => at,
            false => view::before_escape(buffer, at),
        }
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.registered().map(|known| known.name.as_str()).collect()
    }

    /// The name and the value that a [`FoundValue`] means.
    pub(super) fn named(&self, index: usize) -> (&str, &Secret) {
        static NONE: LazyLock<Secret> = LazyLock::new(|| Secret::new(Vec::new()));
        self.registered()
            .nth(index)
            .map_or(("value", &NONE), |known| (&known.name, &known.secret))
    }

    fn compiled(&self) -> impl Iterator<Item = (&Compiled, usize)> {
        let layers = self.layers.iter();
        layers.filter_map(|layer| Some((layer.compiled.as_ref()?, layer.before)))
    }

    /// Every occurrence in `buffer`, sorted by start.
    pub(super) fn find(&self, buffer: &[u8]) -> Vec<FoundValue> {
        let mut found = Vec::new();
        if self.layers.is_empty() {
            return found;
        }
        for view in views(buffer) {
            for (compiled, before) in self.compiled() {
                compiled.find(buffer, &view, before, &mut found);
            }
        }
        found
    }

    /// Where the bytes start that the end of `buffer` leaves open: the longest beginning
    /// of a value, or an escape sequence that may stand in one. Its length if there are
    /// none.
    pub(super) fn live_prefix(&self, buffer: &[u8], patience: Patience) -> usize {
        if self.layers.is_empty() {
            return buffer.len();
        }
        let from = buffer.len().saturating_sub(MAX_FOUND_BYTES - 1);
        let tail = buffer.get(from..).unwrap_or_default();
        let mut live = buffer.len();
        for view in views(tail) {
            for (compiled, _) in self.compiled() {
                live = live.min(from + compiled.live_prefix(tail, &view, patience));
            }
        }
        live
    }
}

impl Layer {
    fn new(before: usize, registered: Vec<Registered>) -> Self {
        let mut patterns: Vec<(Form, usize)> = Vec::new();
        for (name, known) in registered.iter().enumerate() {
            patterns.extend(forms(&known.secret).into_iter().map(|form| (form, name)));
        }
        patterns.sort_by(|(a, an), (b, bn)| {
            let first = (a.bytes.as_slice(), a.writing, !a.wraps, an);
            first.cmp(&(b.bytes.as_slice(), b.writing, !b.wraps, bn))
        });
        patterns.dedup_by(|a, b| a.0.bytes == b.0.bytes);
        Self {
            before,
            bytes: registered
                .iter()
                .map(|known| known.secret.expose().len())
                .sum(),
            registered,
            compiled: (!patterns.is_empty()).then(|| Compiled::new(patterns)),
        }
    }
}

/// The views of `buffer` that have to be looked at to see everything.
fn views(buffer: &[u8]) -> impl Iterator<Item = View> {
    let escapes = View::has_escapes(buffer).then_some(Escapes::Dropped);
    std::iter::once(Escapes::Kept)
        .chain(escapes)
        .map(|escapes| View::new(buffer, escapes))
}

impl Compiled {
    #[expect(
        clippy::expect_used,
        reason = "fails only beyond two billion bytes of values, which cannot be registered"
    )]
    fn new(forms: Vec<(Form, usize)>) -> Self {
        let bytes: usize = forms.iter().map(|(form, _)| form.bytes.len()).sum();
        let kind = match bytes <= MAX_FAST_BYTES {
            true => AhoCorasickKind::DFA,
            false => AhoCorasickKind::ContiguousNFA,
        };
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(kind))
            .build(forms.iter().map(|(form, _)| form.bytes.as_slice()))
            .expect("registered values fit an automaton");
        let mut first = [false; 256];
        for byte in forms.iter().filter_map(|(form, _)| form.bytes.first()) {
            if let Some(flag) = first.get_mut(usize::from(*byte)) {
                *flag = true;
            }
        }
        let longest = forms.iter().map(|(form, _)| form.bytes.len()).max();
        let plain = forms
            .iter()
            .filter(|(form, _)| form.writing == Writing::Plain)
            .map(|(form, _)| form.bytes.clone())
            .collect();
        let (sorted, patterns) = forms
            .into_iter()
            .map(|(form, name)| (form.bytes, (name, form.wraps)))
            .unzip();
        Self {
            automaton,
            patterns,
            sorted,
            plain,
            first,
            longest: longest.unwrap_or(0),
        }
    }

    fn find(&self, buffer: &[u8], view: &View, before: usize, found: &mut Vec<FoundValue>) {
        // Most buffers hold no value, and the plain search is the faster one.
        if !self.automaton.is_match(&view.bytes) {
            return;
        }
        for hit in self.automaton.find_overlapping_iter(&view.bytes) {
            let Some((name, wraps)) = self.patterns.get(hit.pattern().as_usize()) else {
                continue;
            };
            let start = view.place(hit.start());
            let end = view.place(hit.end().saturating_sub(1)) + 1;
            let wrapped = || {
                let place = buffer.get(start..end).unwrap_or_default();
                memchr::memchr(b'\n', place).is_some()
            };
            let what = What::Value(before + *name);
            if end - start <= MAX_FOUND_BYTES && (*wraps || !wrapped()) {
                found.push(FoundValue { start, end, what });
            }
        }
    }

    fn live_prefix(&self, buffer: &[u8], view: &View, patience: Patience) -> usize {
        let shortest = view
            .bytes
            .len()
            .saturating_sub(self.longest.saturating_sub(1));
        let given_up = |at: usize, rest: &[u8]| {
            patience == Patience::Idle
                && rest.len() <= MAX_GIVEN_UP
                && (!begins_one_of(&self.plain, rest) || {
                    let shown = buffer.get(view.place(at)..).unwrap_or_default();
                    memchr::memchr(b'\n', shown).is_some()
                })
        };
        let live = (shortest..view.bytes.len()).find(|at| {
            let rest = view.bytes.get(*at..).unwrap_or_default();
            self.begins_with(rest) && !given_up(*at, rest)
        });
        let live = live.map_or(buffer.len(), |at| view.place(at));
        match (patience, view.cut_escape) {
            (Patience::Busy, Some(cut)) => live.min(cut),
            _ => live,
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
        begins_one_of(&self.sorted, rest)
    }
}

/// Whether one of the `sorted` patterns begins with `rest` and goes on.
fn begins_one_of(sorted: &[Zeroizing<Vec<u8>>], rest: &[u8]) -> bool {
    // The first pattern greater than `rest` is the one that extends it.
    let next = sorted.partition_point(|form| form.as_slice() <= rest);
    sorted.get(next).is_some_and(|form| form.starts_with(rest))
}
