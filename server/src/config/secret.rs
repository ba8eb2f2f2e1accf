//! Registered secrets: values that must never leave a session in clear.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::{ConfigError, Variables};

/// Bytes of a secret at least: hiding a shorter one would shred the output
/// without hiding anything.
const MIN_SECRET_BYTES: usize = 6;
/// Bytes of a secret at most: more than any key file has.
const MAX_SECRET_BYTES: usize = 64 * 1024;
/// What is shown instead of a secret.
const HIDDEN: &str = "<secret>";

/// Text that is never shown: not by `Debug`, not by `--print-config`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// It stands in the configuration.
    Value(SecretText),
    /// It is the value of this variable.
    Env(String),
    /// It is the content of this file, without the line end.
    File(PathBuf),
}

/// A secret as the file registers it: a name and exactly one source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SecretKeys")]
pub(super) struct SecretEntry {
    name: String,
    source: SecretSource,
}

/// The keys of one `[[redaction.secret]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretKeys {
    name: String,
    value: Option<SecretText>,
    env: Option<String>,
    file: Option<PathBuf>,
}

impl TryFrom<SecretKeys> for SecretEntry {
    type Error = String;

    fn try_from(keys: SecretKeys) -> Result<Self, Self::Error> {
        let SecretKeys {
            name,
            value,
            env,
            file,
        } = keys;
        let source = match (value, env, file) {
            (Some(value), None, None) => SecretSource::Value(value),
            (None, Some(env), None) => SecretSource::Env(env),
            (None, None, Some(file)) => SecretSource::File(file),
            _ => {
                return Err(format!(
                    "secret `{name}` needs exactly one of `value`, `env`, `file`"
                ));
            }
        };
        if name.is_empty() {
            return Err("a secret needs a name".to_owned());
        }
        Ok(Self { name, source })
    }
}

/// A secret, its value at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegisteredSecret {
    /// What a redaction calls it.
    pub name: String,
    /// Where it came from.
    #[serde(flatten)]
    pub source: SecretSource,
    /// The secret.
    #[serde(skip)]
    pub value: SecretText,
}

impl SecretEntry {
    /// Fetches the value.
    pub(super) fn load(self, variables: Variables<'_>) -> Result<RegisteredSecret, ConfigError> {
        let Self { name, source } = self;
        let value = fetch(&source, variables);
        match value.and_then(check_length) {
            Ok(value) => Ok(RegisteredSecret {
                name,
                source,
                value,
            }),
            Err(problem) => Err(ConfigError::Secret { name, problem }),
        }
    }
}

/// What a source holds, whatever its length.
pub(super) fn fetch(source: &SecretSource, variables: Variables<'_>) -> Result<SecretText, String> {
    match source {
        SecretSource::Value(value) => Ok(value.clone()),
        SecretSource::Env(variable) => from_variable(variable, variables),
        SecretSource::File(path) => from_file(path),
    }
}

fn from_variable(variable: &str, variables: Variables<'_>) -> Result<SecretText, String> {
    let value = variables(variable).ok_or_else(|| format!("{variable} is not set"))?;
    value
        .into_string()
        .map(SecretText)
        .map_err(|_| format!("{variable} is not UTF-8"))
}

fn from_file(path: &Path) -> Result<SecretText, String> {
    let failed = |error| format!("{}: {error}", path.display());
    let mut text = String::new();
    // One byte and a line end over the limit are enough to see that it is.
    let limit = MAX_SECRET_BYTES.saturating_add(3) as u64;
    File::open(path)
        .map_err(failed)?
        .take(limit)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(SecretText(text))
}

fn check_length(value: SecretText) -> Result<SecretText, String> {
    if value.expose() == HIDDEN {
        return Err(format!(
            "`{HIDDEN}` is what --print-config shows in its place"
        ));
    }
    match value.expose().len() {
        MIN_SECRET_BYTES..=MAX_SECRET_BYTES => Ok(value),
        bytes => Err(format!(
            "it has {bytes} bytes, and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} can be hidden"
        )),
    }
}
