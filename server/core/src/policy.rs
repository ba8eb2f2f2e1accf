//! What may run. A policy is a list of rules over the commands of a script; a stack
//! of policies allows only what every layer allows.
//!
//! ```text
//! script ─► scout.rs (own scanner: limits, gate, command positions)
//!        ─► walk.rs  (shuck's tree: commands, words)      ── they must agree ──┐
//!        ─► wrappers.rs  (env, sudo, sh -c, find -exec, …: both layers judged) ◄┤
//!        ─► code.rs      (python -c, awk, sed, make: what code of others starts) │
//!        ─► variables.rs, names.rs, files.rs (what makes names mean other things)◄┘
//!        ─► rules.rs (deny wins, then allow, then the default)
//! ```
//!
//! What cannot be read for certain (a parse error, a limit, a disagreement, a
//! command word that is not literal) is *unresolved*, and denied unless the policy
//! says otherwise. One exception: a text that does not parse and in which nothing
//! stands that could run (`if then fi`) is allowed, so that the shell itself says
//! what is wrong with it.
//!
//! This room judges text. It must not start, look up or wait for anything, and a
//! hostile script must neither crash nor stall it.

mod args;
mod code;
mod files;
mod judge;
mod names;
mod programs;
mod question;
mod rules;
mod scout;
mod stack;
mod variables;
mod walk;
mod words;
mod wrappers;

use std::sync::Arc;

pub use self::names::SessionNames;
pub use self::programs::{ProgramFate, ProgramRules};
pub use self::question::{
    Allowed, Asked, Context, Decision, Denial, FoundCommand, FoundWord, Judgement, Knowledge,
    MAX_COMMANDS, MAX_EXCERPT_BYTES, MAX_UNRESOLVED, Question, Unresolved, Verdict,
};
use self::rules::Compiled;
pub use self::rules::{DefaultEffect, Effect, PolicyError, PolicyRules, Rule, UnresolvedEffect};
pub use self::stack::{Layer, PolicyStack};

/// Most bytes of code that are read under a policy; more is unresolved. What stands in
/// single quotes and in heredocs with a quoted delimiter is data and does not count:
/// that is how agents write files.
pub const MAX_CODE_BYTES: usize = 16 * 1024;

/// Longest script in bytes that is read under a policy, data included: more than any
/// file written by hand, little enough to be read in milliseconds.
pub const MAX_SCRIPT_BYTES: usize = 1024 * 1024;

/// Deepest nesting of quotes, substitutions and compound commands that is read.
pub const MAX_NESTING: usize = 64;

/// Deepest chain of scripts within scripts (`sh -c "sh -c …"`) that is read.
pub const MAX_SCRIPT_DEPTH: usize = 4;

/// The rules that ship as `guard`.
const GUARD: &str = include_str!("policy/guard.toml");

/// The rules that ship as `strict`.
const STRICT: &str = include_str!("policy/strict.toml");

/// The language a shell reads. What is a test or arithmetic to bash can be commands
/// to the others: `[[ a || reboot ]]`, `((reboot))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// bash.
    #[default]
    Bash,
    /// dash, busybox ash, and whatever `sh` is: what only bash understands is
    /// unresolved.
    Posix,
}

/// One layer of rules, compiled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Policy {
    compiled: Arc<Compiled>,
}

impl Policy {
    /// Allows everything, without reading it.
    #[must_use]
    pub fn open() -> Self {
        Self {
            compiled: Arc::new(Compiled::open()),
        }
    }

    /// The shipped default: everything but the plainly destructive and the disguised.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the text is a constant, compiled in every test"
    )]
    pub fn guard() -> Self {
        Self::from_toml(GUARD).expect("the shipped policy compiles")
    }

    /// A shipped allow-list for read-only work.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the text is a constant, compiled in every test"
    )]
    pub fn strict() -> Self {
        Self::from_toml(STRICT).expect("the shipped policy compiles")
    }

    /// A policy from its text.
    ///
    /// # Errors
    /// When the text is no policy: unknown keys, duplicate ids, an example that fails.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let rules = toml::from_str(text).map_err(|error| PolicyError::Syntax {
            line: error.span().map(|span| rules::line_of(text, span.start)),
            reason: error.message().to_owned(),
        })?;
        Self::compile(rules).map_err(|(index, error)| error.located(text, index))
    }

    /// A policy from its rules.
    ///
    /// # Errors
    /// When ids collide, a rule matches nothing by construction, or an example fails.
    pub fn from_rules(rules: PolicyRules) -> Result<Self, PolicyError> {
        Self::compile(rules).map_err(|(_, error)| error)
    }

    fn compile(rules: PolicyRules) -> Result<Self, (usize, PolicyError)> {
        let policy = Self {
            compiled: Arc::new(Compiled::new(rules)?),
        };
        policy.check_examples()?;
        Ok(policy)
    }

    /// A policy from two lists of program names, each of which may hold `*`: with an
    /// `allow` list everything else is denied, with only a `deny` list everything
    /// else is allowed, and `deny` wins.
    ///
    /// # Errors
    /// When a name is empty or holds a slash or a blank.
    pub fn lists(allow: &[String], deny: &[String]) -> Result<Self, PolicyError> {
        Self::from_rules(PolicyRules::lists(allow, deny))
    }

    /// SHA-256 of the rules, the same for the same rules however they were written.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        self.compiled.hash
    }

    /// What denials and audit records call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.compiled.rules.name
    }

    /// How many rules it has, and how many examples.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let rules = &self.compiled.rules.rule;
        let examples = rules
            .iter()
            .map(|rule| rule.matches.len() + rule.not_match.len());
        (rules.len(), examples.sum())
    }

    /// Whether this allows everything without reading it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.compiled.open
    }

    /// Judges a script for bash, as a fresh session would.
    #[must_use]
    pub fn judge_script(&self, script: &str) -> Verdict {
        self.judge(&Question::script(Dialect::Bash, script)).verdict
    }

    /// Judges a question in full.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Judgement {
        if self.is_open() {
            return Judgement::default();
        }
        judge::judge(&self.compiled, question)
    }

    /// Runs each rule's examples: a `match` must be decided by its rule, a `not_match`
    /// must not.
    fn check_examples(&self) -> Result<(), (usize, PolicyError)> {
        for (index, rule) in self.compiled.rules.rule.iter().enumerate() {
            let examples = rule.matches.iter().map(|example| (example, true));
            for (example, wanted) in examples.chain(rule.not_match.iter().map(|e| (e, false))) {
                let decided = match self.judge_script(example) {
                    Verdict::Denied(denial) => denial.rule == rule.id,
                    Verdict::Allowed(allowed) => allowed.rule.as_ref() == Some(&rule.id),
                };
                if decided != wanted {
                    let error = PolicyError::Example {
                        line: None,
                        rule: rule.id.clone(),
                        example: example.clone(),
                        wanted,
                    };
                    return Err((index, error));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
