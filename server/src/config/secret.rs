//! Secrets of the configuration: values that must never leave a session in clear
//! (`[[redaction.secret]]`), and those that sessions may have in their environment besides
//! (`[secrets.NAME]`).

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use execgate_core::redact::is_marker_name;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{ConfigError, Variables};

/// Bytes of a secret at least: hiding a shorter one would shred the output
/// without hiding anything.
const MIN_SECRET_BYTES: usize = 6;
/// Bytes of a secret at most: more than any key file has.
const MAX_SECRET_BYTES: usize = 64 * 1024;
/// What is shown instead of a secret.
const HIDDEN: &str = "<secret>";

/// Text that is never shown, not by `Debug`, not by `--print-config`, and wiped when
/// dropped.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
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
        let source = one_source(&name, value, env, file)?;
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

/// Targets where a secret may be used when its entry does not say: all but machines that
/// callers name themselves.
const DEFAULT_TARGETS: [&str; 3] = ["local", "ssh:*", "docker:*"];

/// `[secrets.NAME]` as it stands in the file: exactly one source, and where it may be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSecretKeys {
    value: Option<SecretText>,
    env: Option<String>,
    file: Option<PathBuf>,
    targets: Option<Vec<String>>,
}

/// A secret that sessions may have in their environment, its value at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InjectedSecret {
    /// Where it came from.
    #[serde(flatten)]
    pub source: SecretSource,
    /// Targets whose sessions may have it.
    pub targets: Vec<String>,
    /// The secret.
    #[serde(skip)]
    pub value: SecretText,
}

impl NamedSecretKeys {
    /// Fetches the value of the secret `name`.
    pub(super) fn load(
        self,
        name: &str,
        variables: Variables<'_>,
    ) -> Result<InjectedSecret, ConfigError> {
        let problem = |problem| ConfigError::Secret {
            name: name.to_owned(),
            problem,
        };
        if !is_marker_name(name) {
            return Err(problem(
                "its name is not 1 to 64 of [A-Za-z0-9_.-]".to_owned(),
            ));
        }
        let source = one_source(name, self.value, self.env, self.file).map_err(problem)?;
        let value = fetch(&source, variables).and_then(check_length);
        let value = value.map_err(problem)?;
        if value.expose().contains('\0') {
            return Err(problem(
                "it holds a NUL byte, which no variable can".to_owned(),
            ));
        }
        Ok(InjectedSecret {
            source,
            targets: self
                .targets
                .unwrap_or_else(|| DEFAULT_TARGETS.map(str::to_owned).to_vec()),
            value,
        })
    }
}

/// The one source that is given.
pub(super) fn one_source(
    name: &str,
    value: Option<SecretText>,
    env: Option<String>,
    file: Option<PathBuf>,
) -> Result<SecretSource, String> {
    match (value, env, file) {
        (Some(value), None, None) => Ok(SecretSource::Value(value)),
        (None, Some(env), None) => Ok(SecretSource::Env(env)),
        (None, None, Some(file)) => Ok(SecretSource::File(file)),
        _ => Err(format!(
            "secret `{name}` needs exactly one of `value`, `env`, `file`"
        )),
    }
}

fn from_variable(variable: &str, variables: Variables<'_>) -> Result<SecretText, String> {
    let value = variables(variable).ok_or_else(|| format!("{variable} is not set"))?;
    value
        .into_string()
        .map(SecretText::from)
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
    Ok(SecretText::from(text))
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
