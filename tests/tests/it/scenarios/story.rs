//! What a story may say (tests/scenarios/README.md), and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// Keys beside a verb, and keys of what is expected of it.
const VERBS: [(&str, &[&str], &[&str]); 13] = [
    ("run", &["with"], RESULT),
    ("exec", &["with"], RESULT),
    ("start", &["with"], &[]),
    ("attach", &[], RESULT),
    ("read", &["until"], &[]),
    ("finish", &[], RESULT),
    ("drop", &[], &[]),
    ("write", &["data", "eof"], &["next_offset"]),
    ("signal", &["name"], &[]),
    (
        "evaluate",
        &[],
        &[
            "decision",
            "rule",
            "layer",
            "reason",
            "suggestion",
            "excerpt",
        ],
    ),
    ("put", &["data", "mode"], &["size"]),
    ("get", &[], &["data", "mode"]),
    ("close", &[], &["ended"]),
];

/// Keys of an expected result.
const RESULT: &[&str] = &[
    "stdout",
    "stderr",
    "terminal",
    "exit_code",
    "possible_signal",
    "signal",
    "launch_failure",
    "lost",
    "cause",
    "observed_by",
    "timed_out",
    "truncated",
    "deduplicated",
    "command",
    "cwd",
    "generation",
    "notices",
    "totals",
    "budgets",
    "events",
];

/// A story as it is written; what it may not say is an error.
pub(crate) fn read(text: &str) -> Result<Story, String> {
    let table: toml::Table = text.parse().map_err(|e| format!("{e}"))?;
    let steps = table.get("step").and_then(toml::Value::as_array);
    for step in steps.into_iter().flatten() {
        let step = step.as_table().ok_or("a step is a table")?;
        let said: Vec<_> = VERBS
            .iter()
            .filter(|(verb, ..)| step.contains_key(*verb))
            .collect();
        let [(verb, keys, expected)] = said[..] else {
            return Err(format!("a step has one verb: {step}"));
        };
        let allowed = |key: &str| key == *verb || key == "expect" || keys.contains(&key);
        if let Some(key) = step.keys().find(|key| !allowed(key)) {
            return Err(format!("`{verb}` has no {key:?}: {step}"));
        }
        let expect = step.get("expect").and_then(toml::Value::as_table);
        let allowed = |key: &str| key == "error" || expected.contains(&key);
        if let Some(key) = expect.and_then(|e| e.keys().find(|key| !allowed(key))) {
            return Err(format!("of `{verb}` no {key:?} is expected: {step}"));
        }
        if expect.is_some_and(|e| e.contains_key("error") && e.len() > 1) {
            return Err(format!("an error has nothing beside it: {step}"));
        }
    }
    toml::from_str(text).map_err(|e| format!("{e}"))
}

/// Alone in place of a string: any that is not empty.
pub(crate) const ANY: &str = "@any@";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Story {
    /// For people.
    #[serde(rename = "about")]
    pub(crate) _about: String,
    #[serde(default)]
    pub(crate) session: Settings,
    pub(crate) step: Vec<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) shell: Option<String>,
    pub(crate) cwd: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) terminal: Option<(u32, u32)>,
    pub(crate) timeout: Option<Span>,
    pub(crate) on_shell_exit: Option<String>,
    pub(crate) allow: Vec<String>,
    pub(crate) deny: Vec<String>,
    pub(crate) budget: Option<Budget>,
}

/// One step; exactly one verb is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) run: Option<Given>,
    pub(crate) exec: Option<Given>,
    pub(crate) start: Option<Given>,
    pub(crate) attach: Option<String>,
    pub(crate) read: Option<String>,
    pub(crate) finish: Option<String>,
    pub(crate) drop: Option<String>,
    pub(crate) write: Option<String>,
    pub(crate) signal: Option<String>,
    pub(crate) evaluate: Option<Given>,
    pub(crate) put: Option<String>,
    pub(crate) get: Option<String>,
    pub(crate) close: Option<bool>,

    #[serde(default)]
    pub(crate) with: With,
    pub(crate) until: Option<Text>,
    #[serde(default)]
    pub(crate) data: Text,
    #[serde(default)]
    pub(crate) eof: bool,
    pub(crate) name: Option<String>,
    pub(crate) mode: Option<String>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

/// A command: a script, or a program with its arguments.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Given {
    Script(String),
    Argv(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct With {
    pub(crate) id: Option<String>,
    pub(crate) timeout: Option<Span>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<String>,
    pub(crate) stdin: Option<Input>,
    pub(crate) queue: bool,
    pub(crate) generation: Option<u64>,
    pub(crate) on_disconnect: Option<String>,
    pub(crate) budget: Option<Budget>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Input {
    Open(OpenInput),
    Bytes(Text),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenInput {
    pub(crate) open: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Budget {
    pub(crate) max_bytes: Option<u64>,
    pub(crate) head: Option<u64>,
    pub(crate) tail: Option<u64>,
    pub(crate) grep: Option<String>,
    pub(crate) before: u32,
    pub(crate) after: u32,
    pub(crate) invert: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) error: Option<ExpectedError>,

    pub(crate) stdout: Text,
    pub(crate) stderr: Text,
    pub(crate) terminal: Text,
    pub(crate) exit_code: Option<i32>,
    pub(crate) possible_signal: Option<String>,
    pub(crate) signal: Option<String>,
    pub(crate) launch_failure: Option<String>,
    pub(crate) lost: bool,
    pub(crate) cause: Option<String>,
    pub(crate) observed_by: Option<String>,
    pub(crate) timed_out: Option<bool>,
    pub(crate) truncated: bool,
    pub(crate) deduplicated: bool,
    pub(crate) command: Option<String>,
    pub(crate) cwd: Option<String>,
    pub(crate) generation: Option<u64>,
    pub(crate) notices: Vec<String>,
    pub(crate) totals: BTreeMap<String, ExpectedTotals>,
    pub(crate) budgets: BTreeMap<String, Report>,
    pub(crate) events: Option<Vec<ExpectedEvent>>,

    pub(crate) next_offset: Option<u64>,
    pub(crate) decision: Option<String>,
    pub(crate) rule: String,
    pub(crate) layer: String,
    pub(crate) reason: String,
    pub(crate) suggestion: String,
    pub(crate) excerpt: String,
    pub(crate) size: Option<u64>,
    pub(crate) data: Text,
    pub(crate) mode: Option<String>,
    pub(crate) ended: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedError {
    pub(crate) code: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) fields: Vec<String>,
    #[serde(default)]
    pub(crate) retry: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExpectedTotals {
    pub(crate) bytes: Option<u64>,
    pub(crate) lines: Option<u64>,
    pub(crate) redactions: Option<u64>,
    pub(crate) sha256: Option<String>,
}

/// What a budget did to a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) total_bytes: u64,
    pub(crate) total_lines: u64,
    pub(crate) kept_bytes: u64,
    pub(crate) kept_lines: u64,
    pub(crate) omitted_bytes: u64,
    pub(crate) matched_lines: u64,
    pub(crate) truncated: bool,
}

/// One thing between start and end; exactly one key is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ExpectedEvent {
    Stdout(Text),
    Stderr(Text),
    Terminal(Text),
    Notice(String),
}

/// Bytes, however they are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Utf8(String),
    Hex(Hex),
    Repeat(Repeat),
    Joined(Vec<Text>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hex {
    hex: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    repeat: Box<Text>,
    times: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self::Utf8(String::new())
    }
}

impl Text {
    /// Whether any bytes will do.
    pub(crate) fn is_any(&self) -> bool {
        matches!(self, Self::Utf8(text) if text == ANY)
    }

    /// The bytes, in a story about this directory.
    pub(crate) fn bytes(&self, dir: &str) -> Vec<u8> {
        match self {
            Self::Utf8(text) => at(dir, text).into_bytes(),
            Self::Hex(Hex { hex }) => (0..hex.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal digits"))
                .collect(),
            Self::Repeat(Repeat { repeat, times }) => repeat.bytes(dir).repeat(*times),
            Self::Joined(parts) => parts.iter().flat_map(|part| part.bytes(dir)).collect(),
        }
    }
}

/// A string of a story about this directory.
pub(crate) fn at(dir: &str, text: &str) -> String {
    text.replace("@dir@", dir)
}

/// A span of time, as a number and `ms`, `s` or `m`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let split = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let number: u64 = number.parse().map_err(D::Error::custom)?;
        match unit {
            "ms" => Ok(Self(Duration::from_millis(number))),
            "s" => Ok(Self(Duration::from_secs(number))),
            "m" => Ok(Self(Duration::from_secs(number * 60))),
            _ => Err(D::Error::custom(format!("{text:?} is no duration"))),
        }
    }
}
