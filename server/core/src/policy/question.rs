//! What a policy is asked, and what it answers.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Dialect, Layer, SessionNames};

/// Longest excerpt in a denial, in bytes: enough to recognise the command.
pub const MAX_EXCERPT_BYTES: usize = 200;

/// Most commands that a judgement lists: the API's own bound.
pub const MAX_COMMANDS: usize = 1000;

/// Most unresolved parts that a judgement lists: the first decides, some more explain.
pub const MAX_UNRESOLVED: usize = 20;

/// What is to be judged.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A script for a shell that reads this language.
    Script(Dialect, &'a str),
    /// A program with its arguments, run without a shell. Spans count in the arguments
    /// joined by single blanks.
    Argv(&'a [String]),
}

/// A question to a policy.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is to be judged.
    pub asked: Asked<'a>,
    /// The names that the session's shell has of its own.
    pub names: &'a SessionNames,
    /// Variables set for this command alone.
    pub env: &'a BTreeMap<String, String>,
}

/// What a fresh session has.
static NO_NAMES: std::sync::LazyLock<SessionNames> =
    std::sync::LazyLock::new(SessionNames::default);
static NO_ENV: BTreeMap<String, String> = BTreeMap::new();

impl<'a> Question<'a> {
    /// A script in a fresh session.
    #[must_use]
    pub fn script(dialect: Dialect, script: &'a str) -> Self {
        Self {
            asked: Asked::Script(dialect, script),
            names: &NO_NAMES,
            env: &NO_ENV,
        }
    }

    /// A program with its arguments.
    #[must_use]
    pub fn argv(words: &'a [String]) -> Self {
        Self {
            asked: Asked::Argv(words),
            names: &NO_NAMES,
            env: &NO_ENV,
        }
    }
}

/// The whole answer. That of an open policy has found nothing: it reads nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// Whether it may run.
    pub verdict: Verdict,
    /// The layer that decided.
    pub layer: Layer,
    /// The simple commands found, wrapped ones after their wrapper; at most
    /// [`MAX_COMMANDS`].
    pub commands: Vec<FoundCommand>,
    /// What could not be read, whether or not that decided.
    pub unresolved: Vec<Unresolved>,
    /// Names that it defines for the session, if it runs.
    pub defined: SessionNames,
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Allowed(Allowed),
    /// It must not.
    Denied(Denial),
}

impl Default for Verdict {
    fn default() -> Self {
        Self::Allowed(Allowed::default())
    }
}

impl Verdict {
    /// Whether it may run.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Why something may run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// The allow rule of the first command that has one.
    pub rule: Option<String>,
}

/// A simple command in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCommand {
    /// The program's name without its directory; `None` where only the shell will know.
    pub program: Option<String>,
    /// The words, the program first.
    pub words: Vec<FoundWord>,
    /// Variables that are set for it or by it.
    pub assignments: Vec<(String, FoundWord)>,
    /// Its redirections: operator and target.
    pub redirects: Vec<(&'static str, FoundWord)>,
    /// What it stands in, outermost first.
    pub contexts: Vec<Context>,
    /// The wrappers it was found behind, outermost first.
    pub wrappers: Vec<String>,
    /// Where it stands, in bytes of the judged text.
    pub span: Range<usize>,
    /// How it was judged by itself.
    pub decision: Decision,
    /// The rule that decided that; `default` where none did.
    pub rule: String,
    /// It runs code that no policy can judge: what happens below it is not enforceable.
    pub beyond: bool,
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundWord {
    /// Its value, quotes removed; as it is written where only the shell can know.
    pub text: String,
    /// How much of the value is known.
    pub knowledge: Knowledge,
}

/// How much of a word's value is known before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// All of it.
    Literal,
    /// A part.
    Partial,
    /// Nothing.
    Unknown,
}

/// How a command is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may run.
    Allow,
    /// It must not.
    Deny,
}

/// A construct that a command stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// A pipeline.
    Pipeline,
    /// A command or process substitution.
    Substitution,
    /// A subshell.
    Subshell,
    /// The body of a function.
    Function,
    /// A background job.
    Background,
    /// A branch or loop.
    Compound,
}

/// A part that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// Its bytes.
    pub span: Range<usize>,
    /// Why.
    pub reason: String,
}

/// Why something must not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Name of the policy that denies.
    pub policy: String,
    /// Whose policy that is.
    pub layer: Layer,
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
