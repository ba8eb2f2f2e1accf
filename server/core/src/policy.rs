//! What may run. A policy is a list of rules over the commands of a script; a stack
//! of policies allows only what every layer allows.
//!
//! ```text
//! script ─► scout.rs (own scanner: limits, gate, command positions)
//!        ─► walk.rs  (shuck's tree: commands, words)      ── they must agree ──┐
//!        ─► wrappers.rs (env, sudo, sh -c, find -exec, …: both layers judged) ◄┘
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
mod judge;
mod programs;
mod rules;
mod scout;
mod walk;
mod words;
mod wrappers;

use std::ops::Range;
use std::sync::Arc;

pub use self::programs::{ProgramFate, ProgramRules};
use self::rules::Compiled;
pub use self::rules::{DefaultEffect, Effect, PolicyError, PolicyRules, Rule, UnresolvedEffect};

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

    /// A policy from its text.
    ///
    /// # Errors
    /// When the text is no policy: unknown keys, duplicate ids, an example that fails.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let rules = toml::from_str(text).map_err(|error| PolicyError::Syntax {
            line: error.span().map(|span| rules::line_of(text, span.start)),
            reason: error.message().to_owned(),
        })?;
        Self::from_rules(rules)
    }

    /// A policy from its rules.
    ///
    /// # Errors
    /// When ids collide, a rule matches nothing by construction, or an example fails.
    pub fn from_rules(rules: PolicyRules) -> Result<Self, PolicyError> {
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

    /// Whether this allows everything without reading it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.compiled.open
    }

    /// Judges a script for bash.
    #[must_use]
    pub fn judge_script(&self, script: &str) -> Verdict {
        self.judge_script_for(Dialect::Bash, script)
    }

    /// Judges a script for a shell that reads `dialect`.
    #[must_use]
    pub fn judge_script_for(&self, dialect: Dialect, script: &str) -> Verdict {
        if self.is_open() {
            return Verdict::Allowed(Allowed::default());
        }
        judge::script(&self.compiled, dialect, script)
    }

    /// Judges one program with its arguments, run without a shell. Spans count in the
    /// arguments joined by single blanks.
    #[must_use]
    pub fn judge_argv(&self, argv: &[String]) -> Verdict {
        if self.is_open() {
            return Verdict::Allowed(Allowed::default());
        }
        judge::argv(&self.compiled, argv)
    }

    /// Runs each rule's examples: a `match` must be decided by its rule, a `not_match`
    /// must not.
    fn check_examples(&self) -> Result<(), PolicyError> {
        for rule in &self.compiled.rules.rule {
            let examples = rule.matches.iter().map(|example| (example, true));
            for (example, wanted) in examples.chain(rule.not_match.iter().map(|e| (e, false))) {
                let decided = match self.judge_script(example) {
                    Verdict::Denied(denial) => denial.rule == rule.id,
                    Verdict::Allowed(allowed) => allowed.rule.as_ref() == Some(&rule.id),
                };
                if decided != wanted {
                    let (rule, example) = (rule.id.clone(), example.clone());
                    return Err(PolicyError::Example {
                        rule,
                        example,
                        wanted,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Layers of policy, the operator's first: all of them must allow. A layer can only
/// narrow what the ones before it allow.
#[derive(Debug, Clone)]
pub struct PolicyStack(Vec<Policy>);

impl PolicyStack {
    /// The operator's policy alone.
    #[must_use]
    pub fn new(operator: Policy) -> Self {
        Self(vec![operator])
    }

    /// These layers and one more below them.
    #[must_use]
    pub fn narrowed_by(&self, layer: Policy) -> Self {
        Self(self.0.iter().cloned().chain([layer]).collect())
    }

    /// The layers, the operator's first.
    #[must_use]
    pub fn layers(&self) -> &[Policy] {
        &self.0
    }

    /// SHA-256 over the layers' hashes, for audit records.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        rules::hash_of(self.0.iter().map(Policy::content_hash))
    }

    /// The layers' names, the operator's first, joined by `+`.
    #[must_use]
    pub fn name(&self) -> String {
        self.0
            .iter()
            .map(Policy::name)
            .collect::<Vec<_>>()
            .join("+")
    }

    /// Judges a script for bash.
    #[must_use]
    pub fn judge_script(&self, script: &str) -> Verdict {
        self.judge_script_for(Dialect::Bash, script)
    }

    /// Judges a script for a shell that reads `dialect`.
    #[must_use]
    pub fn judge_script_for(&self, dialect: Dialect, script: &str) -> Verdict {
        self.judge(|policy| policy.judge_script_for(dialect, script))
    }

    /// Judges one program with its arguments, run without a shell.
    #[must_use]
    pub fn judge_argv(&self, argv: &[String]) -> Verdict {
        self.judge(|policy| policy.judge_argv(argv))
    }

    /// The first denial, or else what the last layer that read it found.
    fn judge(&self, judge: impl Fn(&Policy) -> Verdict) -> Verdict {
        let mut found = Allowed::default();
        for policy in &self.0 {
            match judge(policy) {
                Verdict::Allowed(allowed) if policy.is_open() => drop(allowed),
                Verdict::Allowed(allowed) => found = allowed,
                denied @ Verdict::Denied(_) => return denied,
            }
        }
        Verdict::Allowed(found)
    }
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Allowed(Allowed),
    /// It must not.
    Denied(Denial),
}

impl Verdict {
    /// Whether it may run.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Why something may run. An open policy reads nothing and so finds no commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// The allow rule of the first command that has one.
    pub rule: Option<String>,
    /// The simple commands found, wrapped ones after their wrapper.
    pub commands: Vec<FoundCommand>,
}

/// A simple command in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCommand {
    /// The program's name without its directory; `None` where only the shell will know.
    pub program: Option<String>,
    /// The words, quotes removed; those only the shell can know as they were written.
    pub argv: Vec<String>,
    /// Where it stands, in bytes of the judged text.
    pub span: Range<usize>,
}

/// Why something must not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Name of the layer that denies.
    pub policy: String,
    /// Id of the rule; `default` or `unresolved` where no rule decided.
    pub rule: String,
    /// The offending bytes of the judged text.
    pub span: Range<usize>,
    /// Those bytes, shortened to [`MAX_EXCERPT_BYTES`]. Not redacted.
    pub excerpt: String,
    /// Why, for the agent.
    pub reason: String,
    /// What to do instead.
    pub suggestion: Option<String>,
    /// What could not be read, when that was the reason.
    pub unresolved: Option<String>,
}

/// Longest excerpt in a denial, in bytes: enough to recognise the command.
pub const MAX_EXCERPT_BYTES: usize = 200;

#[cfg(test)]
mod tests;
