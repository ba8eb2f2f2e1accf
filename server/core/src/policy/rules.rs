//! The rules as they are written, checked and compiled.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::args::{self, ArgPattern, Glob};
use super::walk::Redirected;
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

fn any() -> String {
    "*".to_owned()
}

fn is_any(program: &str) -> bool {
    program == "*"
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
    /// Name of the program, without directory; `|` separates alternatives, `*` stands for
    /// any text. Without it the rule is about every command.
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub program: String,
    /// The program as it is called, with its directory. A rule that has it does not
    /// match a bare name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What must stand among the arguments, each somewhere. `|` separates
    /// alternatives; `-r` is also found in `-fr`, `--recursive` also as `--rec`; in
    /// anything else `*` stands for any text. No `args`: any arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Redirections that must all be there, as operator, blank, target: `> /etc/*`.
    /// `/dev/null` and copies of descriptors (`2>&1`) are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<String>,
    /// Variables that must all be set for the command or by it: `LD_PRELOAD=*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
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
    #[error("{}rule {rule:?}, {field}: {reason}", place(*line))]
    Rule {
        /// Where, counted from one, as far as that is known.
        line: Option<usize>,
        /// Its id.
        rule: String,
        /// The offending key.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An example of a rule turned out otherwise.
    #[error("{}rule {rule:?}, example {example:?}: {}", place(*line), if *wanted { "is not decided by it" } else { "is decided by it" })]
    Example {
        /// Where, counted from one, as far as that is known.
        line: Option<usize>,
        /// The rule's id.
        rule: String,
        /// The example.
        example: String,
        /// Whether it should have been decided by the rule.
        wanted: bool,
    },
}

fn place(line: Option<usize>) -> String {
    line.map(|line| format!("policy, line {line}: "))
        .unwrap_or_default()
}

impl PolicyError {
    /// Where in the policy's text, counted from one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax { line, .. } | Self::Rule { line, .. } | Self::Example { line, .. } => {
                *line
            }
        }
    }

    /// The same with its line, found in the text: `index` counts the rules.
    pub(super) fn located(mut self, text: &str, index: usize) -> Self {
        let header = |line: &str| line.split('#').next().unwrap_or_default().trim() == "[[rule]]";
        let lines = || text.lines().enumerate();
        let start = lines().filter(|(_, line)| header(line)).nth(index);
        let Some((start, _)) = start else {
            return self;
        };
        let within = || {
            let rest = lines().skip(start + 1);
            rest.take_while(|(_, line)| !header(line))
        };
        let found = match &self {
            Self::Rule { field, .. } => {
                within().find(|(_, line)| line.trim_start().starts_with(field))
            }
            Self::Example { example, .. } => {
                let escaped = serde_json::to_string(example).unwrap_or_default();
                let escaped = escaped.trim_matches('"');
                let first = example.lines().next().unwrap_or_default();
                within().find(|(_, line)| line.contains(escaped) || line.contains(first))
            }
            Self::Syntax { .. } => None,
        };
        let at = found.map_or(start, |(at, _)| at) + 1;
        match &mut self {
            Self::Rule { line, .. } | Self::Example { line, .. } => *line = Some(at),
            Self::Syntax { .. } => {}
        }
        self
    }
}

impl PolicyRules {
    /// The rules behind [`super::Policy::lists`].
    #[must_use]
    pub fn lists(allow: &[String], deny: &[String]) -> Self {
        let rule = |effect: Effect, word: &str, program: &String| Rule {
            id: format!("{word}-{program}"),
            effect,
            program: program.clone(),
            path: None,
            args: Vec::new(),
            redirects: Vec::new(),
            env: Vec::new(),
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
    /// The patterns of each rule.
    patterns: Vec<Patterns>,
}

#[derive(Debug)]
struct Patterns {
    program: Glob,
    path: Option<Glob>,
    args: Vec<ArgPattern>,
    redirects: Vec<Glob>,
    env: Vec<Glob>,
}

/// What rules are asked about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts<'a> {
    /// The program's name; none where a statement has no command.
    pub(super) program: Option<&'a str>,
    /// The program as it is written.
    pub(super) called: &'a str,
    pub(super) arguments: &'a [Word],
    pub(super) redirects: &'a [Redirected],
    pub(super) assignments: &'a [(String, Word)],
}

/// Directories of the system's own programs.
const SYSTEM_DIRS: [&str; 6] = [
    "/bin",
    "/usr/bin",
    "/sbin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
];

/// The name of a program of the system, from its path.
pub(super) fn system_program(path: &str) -> Option<&str> {
    let (dir, name) = path.rsplit_once('/')?;
    let here = |dir: &str| SYSTEM_DIRS.contains(&dir);
    let known = here(dir) || here(&args::tidy_path(dir));
    (known && !name.is_empty()).then_some(name)
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
            patterns: Vec::new(),
        }
    }

    /// Checks and compiles; an error comes with the number of its rule.
    pub(super) fn new(rules: PolicyRules) -> Result<Self, (usize, PolicyError)> {
        let mut patterns = Vec::new();
        for (index, rule) in rules.rule.iter().enumerate() {
            let others = rules.rule.iter().take(index);
            check(rule, others).map_err(|(field, reason)| {
                let error = PolicyError::Rule {
                    line: None,
                    rule: rule.id.clone(),
                    field,
                    reason: reason.to_owned(),
                };
                (index, error)
            })?;
            patterns.push(Patterns {
                program: Glob::new(&rule.program),
                path: rule.path.as_deref().map(Glob::new),
                args: rule.args.iter().map(|text| ArgPattern::new(text)).collect(),
                redirects: rule.redirects.iter().map(|text| Glob::new(text)).collect(),
                env: rule.env.iter().map(|text| Glob::new(text)).collect(),
            });
        }
        Ok(Self {
            hash: hash_of([content(&rules)]),
            rules,
            open: false,
            patterns,
        })
    }

    /// Whether a rule decides by the program's name alone.
    pub(super) fn is_bare(rule: &Rule) -> bool {
        rule.args.is_empty()
            && rule.path.is_none()
            && rule.redirects.is_empty()
            && rule.env.is_empty()
    }

    /// The rule that decides: the first deny rule that matches, or else the first allow
    /// rule.
    pub(super) fn rule_for(&self, facts: &Facts<'_>) -> Option<&Rule> {
        let mut allowing = None;
        for (rule, patterns) in self.rules.rule.iter().zip(&self.patterns) {
            match rule.effect {
                Effect::Allow if allowing.is_some() => {}
                Effect::Allow if !patterns.match_all(facts) => {}
                Effect::Allow => {
                    // An allowed name means the system's program of that name, not a
                    // file of that name somewhere.
                    let bare = !facts.called.contains('/');
                    if bare || rule.path.is_some() || system_program(facts.called).is_some() {
                        allowing = Some(rule);
                    }
                }
                Effect::Deny if patterns.match_all(facts) => return Some(rule),
                Effect::Deny => {}
            }
        }
        allowing
    }

    /// The rule that denies a program whatever its arguments are.
    pub(super) fn bare_denial(&self, program: &str) -> Option<&Rule> {
        let rules = self.rules.rule.iter().zip(&self.patterns);
        let mut bare = rules.filter(|(rule, _)| rule.effect == Effect::Deny && Self::is_bare(rule));
        bare.find(|(_, patterns)| patterns.program.matches(program))
            .map(|(rule, _)| rule)
    }
}

impl Patterns {
    fn match_all(&self, facts: &Facts<'_>) -> bool {
        let program = match facts.program {
            Some(program) => self.program.matches(program),
            // A statement without a command is only for rules about its other parts.
            None => !(self.redirects.is_empty() && self.env.is_empty()),
        };
        program
            && self.path.as_ref().is_none_or(|path| {
                let called = facts.called;
                called.contains('/')
                    && (path.matches(called) || path.matches(&args::tidy_path(called)))
            })
            && self
                .args
                .iter()
                .all(|pattern| pattern.is_in(facts.arguments))
            && self
                .redirects
                .iter()
                .all(|pattern| redirected(pattern, facts.redirects))
            && self.env.iter().all(|pattern| {
                let set = |(name, value): &(String, Word)| {
                    pattern.matches(&format!("{name}={}", value.text()))
                };
                facts.assignments.iter().any(set)
            })
    }
}

fn redirected(pattern: &Glob, redirects: &[Redirected]) -> bool {
    redirects.iter().any(|redirect| {
        let text = redirect.target.text();
        // Nothing is read or written there: `2>&1`, `>/dev/null`.
        let descriptor = text == "-" || text.bytes().all(|byte| byte.is_ascii_digit());
        if text == "/dev/null" || (redirect.operator.ends_with('&') && descriptor) {
            return false;
        }
        let tidy = args::tidy_path(text);
        // `&>` and `>|` write as `>` does.
        let operators = match redirect.operator {
            ">|" | "&>" => [redirect.operator, ">"],
            same => [same, same],
        };
        let spelled = operators.into_iter();
        let mut spelled = spelled.flat_map(|op| [format!("{op} {text}"), format!("{op} {tidy}")]);
        spelled.any(|spelled| pattern.matches(&spelled))
    })
}

/// Whether a rule can be used.
fn check<'r>(
    rule: &Rule,
    mut others: impl Iterator<Item = &'r Rule>,
) -> Result<(), (&'static str, &'static str)> {
    if rule.id.is_empty() || matches!(rule.id.as_str(), "default" | "unresolved") {
        return Err(("id", "must not be empty, \"default\" or \"unresolved\""));
    }
    if others.any(|other| other.id == rule.id) {
        return Err(("id", "is used twice"));
    }
    if rule.program.is_empty() || rule.program.contains([' ', '\t', '\n', '/']) {
        return Err(("program", "must be a name without directory and blanks"));
    }
    let nothing = rule.program == "*" && Compiled::is_bare(rule);
    if nothing {
        return Err((
            "program",
            "is missing, and nothing else says what the rule is about",
        ));
    }
    if rule.path.as_ref().is_some_and(|path| !path.contains('/')) {
        return Err((
            "path",
            "must hold a slash; a bare name belongs into `program`",
        ));
    }
    if rule.args.iter().any(String::is_empty) {
        return Err(("args", "must not hold an empty pattern"));
    }
    if rule.redirects.iter().any(|pattern| !pattern.contains(' ')) {
        return Err((
            "redirects",
            "must be an operator, a blank and a target, like \"> /etc/*\"",
        ));
    }
    if rule.env.iter().any(|pattern| !pattern.contains('=')) {
        return Err(("env", "must be a name and a value, like \"LD_PRELOAD=*\""));
    }
    Ok(())
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
