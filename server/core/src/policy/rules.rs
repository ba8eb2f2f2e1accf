//! The rules as they are written, checked and compiled.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::args::{self, ArgPattern};
use super::words::Word;

/// A policy as it is written in TOML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRules {
    /// What denials and audit records call it.
    #[serde(default = "unnamed")]
    pub name: String,
    /// What becomes of a command that no rule decides.
    pub default: DefaultEffect,
    /// What becomes of a text that cannot be read for certain.
    #[serde(default)]
    pub unresolved: UnresolvedEffect,
    /// The rules; their order is of no importance, deny wins.
    #[serde(default)]
    pub rule: Vec<Rule>,
}

fn unnamed() -> String {
    "unnamed".to_owned()
}

/// What becomes of a command that no rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultEffect {
    /// It may run.
    Allow,
    /// It must not.
    Deny,
}

/// What becomes of a text that cannot be read for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnresolvedEffect {
    /// It is denied: something could hide in it.
    #[default]
    Deny,
    /// It may run, if nothing that could be read is denied.
    Allow,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Allows the command, unless another rule denies it.
    Allow,
    /// Denies the command.
    Deny,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub id: String,
    /// What it does.
    pub effect: Effect,
    /// Name of the program, without directory; `*` stands for any text.
    pub program: String,
    /// What must stand among the arguments, each somewhere. `|` separates
    /// alternatives; `-r` is also found in `-fr`, `--recursive` also as `--rec`; in
    /// anything else `*` stands for any text. No `args`: any arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Why, for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggest: Option<String>,
    /// Scripts that this rule must decide; run when the policy is loaded.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
    /// Scripts that this rule must not decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_match: Vec<String>,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The text is no policy.
    #[error("policy{}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Syntax {
        /// Where, counted from one.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// A rule cannot be used.
    #[error("rule {rule:?}, {field}: {reason}")]
    Rule {
        /// Its id.
        rule: String,
        /// The offending key.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An example of a rule turned out otherwise.
    #[error("rule {rule:?}, example {example:?}: {}", if *wanted { "is not decided by it" } else { "is decided by it" })]
    Example {
        /// The rule's id.
        rule: String,
        /// The example.
        example: String,
        /// Whether it should have been decided by the rule.
        wanted: bool,
    },
}

impl PolicyRules {
    /// The rules behind [`super::Policy::lists`].
    #[must_use]
    pub fn lists(allow: &[String], deny: &[String]) -> Self {
        let rule = |effect: Effect, word: &str, program: &String| Rule {
            id: format!("{word}-{program}"),
            effect,
            program: program.clone(),
            args: Vec::new(),
            reason: None,
            suggest: None,
            matches: Vec::new(),
            not_match: Vec::new(),
        };
        let denied = deny
            .iter()
            .map(|program| rule(Effect::Deny, "deny", program));
        let allowed = allow
            .iter()
            .map(|program| rule(Effect::Allow, "allow", program));
        Self {
            name: "lists".to_owned(),
            default: if allow.is_empty() {
                DefaultEffect::Allow
            } else {
                DefaultEffect::Deny
            },
            unresolved: UnresolvedEffect::Deny,
            rule: denied.chain(allowed).collect(),
        }
    }
}

/// Checked rules, ready to judge.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) rules: PolicyRules,
    pub(super) hash: [u8; 32],
    /// Nothing is read, everything is allowed.
    pub(super) open: bool,
    /// Argument patterns of each rule.
    args: Vec<Vec<ArgPattern>>,
}

impl Compiled {
    pub(super) fn open() -> Self {
        let rules = PolicyRules {
            name: "open".to_owned(),
            default: DefaultEffect::Allow,
            unresolved: UnresolvedEffect::Allow,
            rule: Vec::new(),
        };
        Self {
            hash: hash_of([content(&rules)]),
            rules,
            open: true,
            args: Vec::new(),
        }
    }

    pub(super) fn new(rules: PolicyRules) -> Result<Self, PolicyError> {
        let mut args = Vec::new();
        for (index, rule) in rules.rule.iter().enumerate() {
            let wrong = |field, reason: &str| {
                let reason = reason.to_owned();
                Err(PolicyError::Rule {
                    rule: rule.id.clone(),
                    field,
                    reason,
                })
            };
            if rule.id.is_empty() || matches!(rule.id.as_str(), "default" | "unresolved") {
                return wrong("id", "must not be empty, \"default\" or \"unresolved\"");
            }
            if rules
                .rule
                .iter()
                .take(index)
                .any(|other| other.id == rule.id)
            {
                return wrong("id", "is used twice");
            }
            if rule.program.is_empty() || rule.program.contains([' ', '\t', '\n', '/']) {
                return wrong("program", "must be a name without directory and blanks");
            }
            if rule.args.iter().any(String::is_empty) {
                return wrong("args", "must not hold an empty pattern");
            }
            args.push(
                rule.args
                    .iter()
                    .map(|pattern| ArgPattern::new(pattern))
                    .collect(),
            );
        }
        Ok(Self {
            hash: hash_of([content(&rules)]),
            rules,
            open: false,
            args,
        })
    }

    /// Whether a rule decides by the program's name alone.
    pub(super) fn is_bare(rule: &Rule) -> bool {
        rule.args.is_empty()
    }

    /// The rule that decides about `program`: the first deny rule that matches, or
    /// else the first allow rule.
    pub(super) fn rule_for(&self, program: &str, arguments: &[Word]) -> Option<&Rule> {
        let matching = || {
            self.rules
                .rule
                .iter()
                .zip(&self.args)
                .filter(|(rule, args)| {
                    args::matches(&rule.program, program)
                        && args.iter().all(|pattern| pattern.is_in(arguments))
                })
        };
        matching()
            .find(|(rule, _)| rule.effect == Effect::Deny)
            .or_else(|| matching().next())
            .map(|(rule, _)| rule)
    }
}

fn content(rules: &PolicyRules) -> [u8; 32] {
    // The shape of these types cannot fail to serialise; if it did, the debug form
    // still tells two policies apart.
    let text = serde_json::to_string(rules).unwrap_or_else(|_| format!("{rules:?}"));
    Sha256::digest(text.as_bytes()).into()
}

/// SHA-256 over hashes.
pub(super) fn hash_of(parts: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The line of `offset` in `text`, counted from one.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}
