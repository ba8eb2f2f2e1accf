//! What is fuzzed: everything in core that reads bytes of others. Each target says what has
//! to hold for any bytes, and panics where it does not.

mod files;
mod judging;
mod records;
mod streams;
mod words;

/// A target: panics where a promise does not hold.
pub(crate) type Target = fn(&[u8]);

/// The targets by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("framing", streams::framing),
    ("pipeline", streams::pipeline),
    ("redactor", streams::redactor),
    ("environment", words::environment),
    ("budget", streams::budget),
    ("policy_script", judging::script),
    ("policy_argv", judging::argv),
    ("policy_rules", judging::rules),
    ("audit_line", records::line),
    ("audit_chain", records::chain),
    ("audit_note", records::note),
    ("pack", files::pack),
    ("tree", files::tree),
    ("ignore", files::ignore),
    ("patch", files::patch),
    ("ids", words::ids),
    ("trace", words::trace),
];

/// The target of this name.
pub(crate) fn find(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no target {name:?}")).1
}

/// What an input says, piece by piece; nothing but zeros when it is used up.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Up to 255 bytes, after their number.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Cuts bytes up at places that `seed` decides: into single bytes, short pieces or long ones.
pub(crate) fn cut(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let most = match seed % 4 {
        0 => 1,
        1 => 3,
        2 => 40,
        _ => 4000,
    };
    let mut state = u32::from(seed) + 1;
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = 1 + (state >> 16) as usize % most;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
