//! The sections of the configuration, with their defaults. Each field is the
//! key of the same name.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use execgate_core::redact::{Alphabet, TokenRule};
use execgate_engine::execution::{KEPT_FOR, SPILLED_BYTES, SPILLED_BYTES_IN_ALL};
use serde::{Deserialize, Serialize};

use super::duration::{HumanDuration, Lifetime};
use super::secret::{RegisteredSecret, SecretEntry};
use super::{ConfigError, Variables};

/// `[sessions]`: how many, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// Sessions open at once, of all principals.
    pub max: NonZeroU32,
    /// A session without a running command is closed after this.
    pub idle_ttl: HumanDuration,
    /// A session is closed after this, whatever it does; `none` for never.
    pub max_lifetime: Lifetime,
    /// A command's time limit when its request names none.
    pub default_timeout: HumanDuration,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            max: const { NonZeroU32::new(96).unwrap() },
            idle_ttl: HumanDuration::from_secs(30 * 60),
            max_lifetime: Lifetime::Limited(HumanDuration::from_secs(24 * 60 * 60)),
            default_timeout: HumanDuration::from_secs(30 * 60),
        }
    }
}

impl Sessions {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let Some(limit) = self.max_lifetime.limit() else {
            return Ok(());
        };
        let longer = [
            ("sessions.idle_ttl", self.idle_ttl),
            ("sessions.default_timeout", self.default_timeout),
        ];
        match longer
            .into_iter()
            .find(|(_, duration)| duration.get() > limit)
        {
            None => Ok(()),
            Some((key, duration)) => {
                let problem = format!("{duration} is longer than sessions.max_lifetime");
                Err(ConfigError::Value { key, problem })
            }
        }
    }
}

/// Finished executions that a session may keep: as many as ids that it remembers of
/// forgotten ones.
const MAX_KEPT: u32 = 65_536;

/// Least memory for an execution's output, in bytes: as much as one event holds.
const MIN_RETAINED_BYTES: u64 = 64 * 1024;

/// `[limits]`: bounds on single executions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one command.
    pub max_command_bytes: NonZeroU64,
    /// Bytes of each stream that a Run answers with, when its request does not say.
    pub output_budget_bytes: NonZeroU64,
    /// Bytes of output kept in memory for each execution.
    pub retained_output_bytes: NonZeroU64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_command_bytes: const { NonZeroU64::new(1024 * 1024).unwrap() },
            output_budget_bytes: const { NonZeroU64::new(100_000).unwrap() },
            retained_output_bytes: const { NonZeroU64::new(4 * 1024 * 1024).unwrap() },
        }
    }
}

/// Shortest silence before a KeepAlive: more often would be noise.
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// `[executions]`: what is kept of them, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Executions {
    /// Executions that run or wait for their turn at once, of all principals.
    pub max: NonZeroU32,
    /// Bytes of all executions' output in memory. A running one counts as much as it may
    /// come to hold, `limits.retained_output_bytes`.
    pub retained_total_bytes: NonZeroU64,
    /// Bytes of one execution's output kept on disk beyond `limits.retained_output_bytes`;
    /// 0 for none.
    pub spill_bytes: u64,
    /// Bytes of all executions' output kept on disk.
    pub spill_total_bytes: u64,
    /// Finished executions that a session keeps.
    pub keep: NonZeroU32,
    /// A finished execution is forgotten after this; its id is not run again.
    pub keep_for: HumanDuration,
    /// Silence after which a stream carries a KeepAlive event: proxies cut silent ones after
    /// 30 or 60 seconds.
    pub keep_alive: HumanDuration,
}

impl Default for Executions {
    fn default() -> Self {
        Self {
            max: const { NonZeroU32::new(256).unwrap() },
            retained_total_bytes: const { NonZeroU64::new(1024 * 1024 * 1024).unwrap() },
            spill_bytes: SPILLED_BYTES,
            spill_total_bytes: SPILLED_BYTES_IN_ALL,
            keep: const { NonZeroU32::new(256).unwrap() },
            keep_for: HumanDuration::from_secs(KEPT_FOR.as_secs()),
            keep_alive: HumanDuration::from_secs(10),
        }
    }
}

impl Executions {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let spill = self.spill_bytes;
        let problem = match self.keep.get() {
            _ if spill > self.spill_total_bytes => (
                "executions.spill_bytes",
                format!("{spill} is more than executions.spill_total_bytes"),
            ),
            keep if keep > MAX_KEPT => {
                ("executions.keep", format!("{keep} is more than {MAX_KEPT}"))
            }
            _ if self.keep_alive.get() < MIN_KEEP_ALIVE => (
                "executions.keep_alive",
                format!(
                    "is less than {}",
                    humantime::format_duration(MIN_KEEP_ALIVE)
                ),
            ),
            _ => return Ok(()),
        };
        let (key, problem) = problem;
        Err(ConfigError::Value { key, problem })
    }
}

/// `[local]`: sessions on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Local {
    /// Who sessions run as when the server is root: a name or a number. Without
    /// it the engine takes an unprivileged user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The server's variables that sessions see; a final `*` stands for anything.
    pub env_allow: Vec<String>,
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let retained = self.retained_output_bytes.get();
        if retained >= MIN_RETAINED_BYTES {
            return Ok(());
        }
        Err(ConfigError::Value {
            key: "limits.retained_output_bytes",
            problem: format!("{retained} is less than {MIN_RETAINED_BYTES}, one event's output"),
        })
    }
}

/// The variables that sessions see by default: what programs need to find each
/// other and to speak the user's language, and nothing that opens doors.
const ENV_ALLOW: [&str; 8] = [
    "PATH", "HOME", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "USER",
];

impl Default for Local {
    fn default() -> Self {
        Self {
            user: None,
            env_allow: ENV_ALLOW.map(str::to_owned).to_vec(),
        }
    }
}

/// A policy that comes with the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PolicyName {
    /// Refuses what destroys machines and what it cannot understand.
    #[default]
    Guard,
    /// Allows read-only work, and nothing else.
    Strict,
    /// Refuses nothing.
    Open,
}

/// `[policy]`: what may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The policy that comes with the server.
    pub name: PolicyName,
    /// A policy file; replaces the named policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// `[redaction]` as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionKeys {
    enabled: bool,
    secret: Vec<SecretEntry>,
    rule: Vec<TokenRuleEntry>,
}

impl Default for RedactionKeys {
    fn default() -> Self {
        Self {
            enabled: true,
            secret: Vec::new(),
            rule: Vec::new(),
        }
    }
}

impl RedactionKeys {
    /// Fetches the secrets.
    pub(super) fn load(self, variables: Variables<'_>) -> Result<Redaction, ConfigError> {
        let secrets = self.secret.into_iter().map(|entry| entry.load(variables));
        Ok(Redaction {
            enabled: self.enabled,
            secret: secrets.collect::<Result<_, _>>()?,
            rule: self.rule,
        })
    }
}

/// `[redaction]`: what is hidden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redaction {
    /// Whether common token shapes are hidden. Registered secrets always are.
    pub enabled: bool,
    /// `[[redaction.secret]]`: secrets to hide wherever they appear.
    pub secret: Vec<RegisteredSecret>,
    /// `[[redaction.rule]]`: kinds of tokens to hide.
    pub rule: Vec<TokenRuleEntry>,
}

/// Fewest bytes behind a prefix where a rule does not say.
const DEFAULT_TOKEN_BYTES: usize = 16;

/// `[[redaction.rule]]`: a token that says by its beginning what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TokenRuleKeys")]
pub struct TokenRuleEntry {
    /// What a redaction calls it.
    pub name: String,
    /// What it begins with.
    pub prefix: String,
    /// What follows.
    pub alphabet: TokenAlphabet,
    /// Fewest bytes behind the prefix.
    pub min_length: usize,
}

/// What a token consists of behind its prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenAlphabet {
    /// Letters and digits.
    Alnum,
    /// Letters, digits, `_` and `-`.
    #[default]
    Base64url,
    /// Letters, digits, `+`, `/`, `=`, `_` and `-`.
    Base64,
    /// Printable characters without blanks, quotes and backslashes.
    Printable,
}

/// The keys of one `[[redaction.rule]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRuleKeys {
    name: String,
    prefix: String,
    #[serde(default)]
    alphabet: TokenAlphabet,
    min_length: Option<usize>,
}

impl TryFrom<TokenRuleKeys> for TokenRuleEntry {
    type Error = String;

    fn try_from(keys: TokenRuleKeys) -> Result<Self, Self::Error> {
        let entry = Self {
            name: keys.name,
            prefix: keys.prefix,
            alphabet: keys.alphabet,
            min_length: keys.min_length.unwrap_or(DEFAULT_TOKEN_BYTES),
        };
        match entry.rule().problem() {
            None => Ok(entry),
            Some(problem) => Err(format!("rule `{}` is no good: {problem}", entry.name)),
        }
    }
}

impl TokenRuleEntry {
    /// The rule as the redactor takes it.
    #[must_use]
    pub fn rule(&self) -> TokenRule {
        TokenRule {
            name: self.name.clone(),
            prefix: self.prefix.clone(),
            alphabet: match self.alphabet {
                TokenAlphabet::Alnum => Alphabet::Alnum,
                TokenAlphabet::Base64url => Alphabet::Base64Url,
                TokenAlphabet::Base64 => Alphabet::Base64,
                TokenAlphabet::Printable => Alphabet::Printable,
            },
            min_length: self.min_length,
        }
    }
}
