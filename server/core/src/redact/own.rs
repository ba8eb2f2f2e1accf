//! Tokens that the operator or a session describes: a prefix and what follows it. They
//! are found beside the built-in shapes, not among them, so that no rule of a session can
//! stand in the way of one of the operator's.

use aho_corasick::{AhoCorasick, MatchKind};

use super::look::{self, Class, End};
use super::values::{FoundValue, What};

/// Shortest prefix of a rule in bytes: a shorter one begins half of the words.
pub const MIN_PREFIX_BYTES: usize = 3;

/// Longest prefix of a rule in bytes.
pub const MAX_PREFIX_BYTES: usize = 64;

/// Most bytes of a token that are hidden: it is held back until it is seen whole.
pub const MAX_TOKEN_BYTES: usize = 2048;

/// What a token consists of behind its prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Alphabet {
    /// Letters and digits.
    Alnum,
    /// Letters, digits, `_` and `-`.
    #[default]
    Base64Url,
    /// Letters, digits, `+`, `/`, `=`, `_` and `-`.
    Base64,
    /// Whatever is neither blank nor quote nor backslash.
    Printable,
}

impl Alphabet {
    fn class(self) -> Class {
        match self {
            Self::Alnum => Class::Alnum,
            Self::Base64Url => Class::Base64Url,
            Self::Base64 => Class::Base64,
            Self::Printable => Class::Credential,
        }
    }
}

/// A kind of token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRule {
    /// What markers call it.
    pub name: String,
    /// What it begins with.
    pub prefix: String,
    /// What follows.
    pub alphabet: Alphabet,
    /// Fewest bytes behind the prefix.
    pub min_length: usize,
}

impl TokenRule {
    /// What is wrong with it, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let bytes = self.prefix.len();
        if !is_marker_name(&self.name) {
            return Some("its name is not 1 to 64 of [A-Za-z0-9_.-]".to_owned());
        }
        if !(MIN_PREFIX_BYTES..=MAX_PREFIX_BYTES).contains(&bytes) {
            return Some(format!(
                "its prefix has {bytes} bytes, not {MIN_PREFIX_BYTES} to {MAX_PREFIX_BYTES}"
            ));
        }
        if !self.prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some("its prefix is not printable ASCII".to_owned());
        }
        let fits = self.min_length > 0 && bytes + self.min_length <= MAX_TOKEN_BYTES;
        (!fits).then(|| format!("its length is not 1 to {}", MAX_TOKEN_BYTES - bytes))
    }
}

/// Whether a marker can show this name.
#[must_use]
pub fn is_marker_name(name: &str) -> bool {
    /// Longest name in bytes.
    const MAX_NAME: usize = 64;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// Such rules, compiled.
#[derive(Clone, Default)]
pub(super) struct OwnTokens {
    rules: Vec<TokenRule>,
    automaton: Option<AhoCorasick>,
}

impl OwnTokens {
    /// These and the `added` ones.
    pub(super) fn with(&self, added: impl Iterator<Item = TokenRule>) -> Self {
        let mut rules = self.rules.clone();
        rules.extend(added.filter(|rule| rule.problem().is_none()));
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(rules.iter().map(|rule| &rule.prefix));
        Self {
            automaton: automaton.ok().filter(|_| !rules.is_empty()),
            rules,
        }
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.rules.get(index).map_or("token", |rule| &rule.name)
    }

    /// Adds every token in `buffer`.
    pub(super) fn find(&self, buffer: &[u8], found: &mut Vec<FoundValue>) {
        self.each(buffer, |index, rule, start, end| {
            let end = end.min(start + MAX_TOKEN_BYTES);
            if end - start >= rule.prefix.len() + rule.min_length {
                let what = What::Token(index);
                found.push(FoundValue { start, end, what });
            }
        });
    }

    /// Where the first token starts that goes on behind the buffer, or may.
    pub(super) fn live_prefix(&self, buffer: &[u8]) -> usize {
        let mut live = self.partial_prefix(buffer);
        self.each(buffer, |_, _, start, end| {
            if end == buffer.len() && end - start < MAX_TOKEN_BYTES {
                live = live.min(start);
            }
        });
        live
    }

    /// Calls `visit` with each place of a prefix and the end of the run behind it. A run is
    /// measured once, however many prefixes stand in it.
    fn each(&self, buffer: &[u8], mut visit: impl FnMut(usize, &TokenRule, usize, usize)) {
        let Some(automaton) = &self.automaton else {
            return;
        };
        let mut runs: Vec<(Alphabet, std::ops::Range<usize>)> = Vec::new();
        for hit in automaton.find_overlapping_iter(buffer) {
            let index = hit.pattern().as_usize();
            let Some(rule) = self.rules.get(index) else {
                continue;
            };
            let at = hit.end();
            let known = runs
                .iter()
                .position(|(alphabet, _)| *alphabet == rule.alphabet);
            let end = match known.and_then(|known| runs.get(known)) {
                Some((_, run)) if run.contains(&at) => run.end,
                _ => {
                    let run = look::whole_run(buffer, at, rule.alphabet.class(), End::Closed);
                    if let Some(known) = known {
                        runs.swap_remove(known);
                    }
                    runs.push((rule.alphabet, at..run.end));
                    run.end
                }
            };
            visit(index, rule, hit.start(), end);
        }
    }

    /// Where a beginning of a prefix starts that the buffer's end cuts.
    fn partial_prefix(&self, buffer: &[u8]) -> usize {
        let from = buffer.len().saturating_sub(MAX_PREFIX_BYTES - 1);
        let cut = |at: &usize| {
            let rest = buffer.get(*at..).unwrap_or_default();
            let begins = |rule: &TokenRule| {
                rule.prefix.len() > rest.len() && rule.prefix.as_bytes().starts_with(rest)
            };
            self.rules.iter().any(begins)
        };
        (from..buffer.len()).find(cut).unwrap_or(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{RedactionRules, Redactor, redact_text};

    fn rule(name: &str, prefix: &str, min_length: usize) -> TokenRule {
        TokenRule {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            alphabet: Alphabet::Base64Url,
            min_length,
        }
    }

    fn rules() -> RedactionRules {
        RedactionRules::builtin().with_tokens([rule("acme", "acme_", 8), rule("zz", "zzz", 600)])
    }

    #[test]
    fn own_tokens_are_hidden_from_their_shortest_on() {
        for (text, expected) in [
            ("a acme_12345678 b", "a [REDACTED:acme] b"),
            ("a acme_1234567 b", "a acme_1234567 b"),
            (
                "xacme_123456789,acme_12345678",
                "x[REDACTED:acme],[REDACTED:acme]",
            ),
            ("acme_acme_12345678", "[REDACTED:acme]"),
        ] {
            assert_eq!(redact_text(&rules(), text), expected);
        }
    }

    #[test]
    fn a_rule_of_ones_own_hides_no_less_of_the_others() {
        let rules = RedactionRules::builtin().with_tokens([rule("mine", "ghp_a", 1000)]);
        let token = "ghp_a8Kd0Xz3Qm7Rt2Vb9Lc4a8Kd0Xz3Qm7Rt2Vb9Lc4";
        assert_eq!(redact_text(&rules, token), "[REDACTED:github-token]");
    }

    #[test]
    fn any_chunking_of_own_tokens_gives_the_same_bytes() {
        let text = format!(
            "acme_12345678 acme_ zzz{} zzz{} acmeacme_abcdefghij\nzz",
            "z".repeat(700),
            "q".repeat(5000)
        );
        let whole = redact_text(&rules(), &text);
        for size in [1, 2, 7, 100, 2000] {
            let mut redactor = Redactor::new(&rules());
            let mut out = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                redactor.push(chunk, &mut out);
                assert!(redactor.held() <= crate::redact::HOLD_BACK_MAX);
            }
            redactor.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn rules_that_cannot_be_kept_say_why() {
        let problem = |rule: TokenRule| rule.problem().unwrap_or_default();
        assert_eq!(problem(rule("a", "abc", 1)), "");
        assert_eq!(
            problem(rule("a]", "abc", 1)),
            "its name is not 1 to 64 of [A-Za-z0-9_.-]"
        );
        assert_eq!(
            problem(rule("a", "ab", 1)),
            "its prefix has 2 bytes, not 3 to 64"
        );
        assert_eq!(
            problem(rule("a", "ab c", 1)),
            "its prefix is not printable ASCII"
        );
        assert_eq!(
            problem(rule("a", "abc", 3000)),
            "its length is not 1 to 2045"
        );
    }
}
