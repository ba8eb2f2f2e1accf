//! The TOML file: its keys, and errors that say where.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;
use super::audit::Audit;
use super::checkpoints::Checkpoints;
use super::connections::Connections;
use super::docker::Docker;
use super::drain::Drain;
use super::fence::Fence;
use super::identity::{Identity, Tls};
use super::listen::ListenAddress;
use super::principals::PrincipalKeys;
use super::quotas::Quotas;
use super::secret::NamedSecretKeys;
use super::sections::{Executions, Limits, Local, Policy, RedactionKeys, Sessions};
use super::ssh::Ssh;
use super::telemetry::TelemetryKeys;

/// Bytes of the file at most: it has a page of keys, not a database.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The keys of the configuration file. All may be missing; no other may be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// Where to listen; empty for the default.
    pub listen: Vec<ListenAddress>,
    /// Lets other machines call without TLS: whoever is in between reads and changes all.
    pub insecure_plaintext_listeners: bool,
    /// Where data is kept.
    pub data_dir: Option<PathBuf>,
    /// How many sessions, and for how long.
    pub sessions: Sessions,
    /// What each principal may have.
    pub quotas: Quotas,
    /// Bounds on single executions.
    pub limits: Limits,
    /// What is kept of executions.
    pub executions: Executions,
    /// How many connections, and what one may do.
    pub connections: Connections,
    /// How the server ends.
    pub drain: Drain,
    /// What is kept of workspaces.
    pub checkpoints: Checkpoints,
    /// Sessions on this machine.
    pub local: Local,
    /// Sessions in containers.
    pub docker: Docker,
    /// What may run.
    pub policy: Policy,
    /// What the kernel keeps local sessions from.
    pub fence: Fence,
    /// What is hidden.
    pub redaction: RedactionKeys,
    /// What sessions may have without being told it.
    pub secrets: BTreeMap<String, NamedSecretKeys>,
    /// The audit log.
    pub audit: Audit,
    /// Machines reached through SSH.
    pub ssh: Ssh,
    /// What the server tells of itself.
    pub telemetry: TelemetryKeys,
    /// How TCP is protected.
    pub tls: Option<Tls>,
    /// Who callers may be.
    pub identity: Identity,
    /// What callers may do.
    pub principals: BTreeMap<String, PrincipalKeys>,
}

impl FileConfig {
    /// Reads and parses `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        use std::io::Read;
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut text = String::new();
        file.take(MAX_FILE_BYTES.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            let source = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
            return Err(failed(source));
        }
        Self::parse(path, &text)
    }

    /// Parses `text`; `path` is for the error only.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let problem = |error: &toml::de::Error, key: String| {
            let (line, column) = position(text, error.span());
            let problem = error.message().to_owned();
            ConfigError::File {
                path: path.to_owned(),
                line,
                column,
                key,
                problem,
            }
        };
        let document = toml::Deserializer::parse(text)
            .map_err(|error| problem(&error, key_at(text, error.span())))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let key = error.path().to_string();
            problem(error.inner(), key)
        })
    }
}

/// Line and column of the beginning of `span`, both from 1.
fn position(text: &str, span: Option<Range<usize>>) -> (usize, usize) {
    let before = text
        .get(..span.map_or(0, |span| span.start))
        .unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
    let column = before
        .get(start..)
        .unwrap_or_default()
        .chars()
        .count()
        .saturating_add(1);
    (line, column)
}

/// What stands before the `=` in the line of `span`: a syntax error has no key yet.
fn key_at(text: &str, span: Option<Range<usize>>) -> String {
    let (line, _) = position(text, span);
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line.split('=').next().unwrap_or_default().trim().to_owned()
}
