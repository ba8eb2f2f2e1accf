//! The server's configuration: one TOML file, the environment and flags, put
//! together and validated once. After [`Config::load`] every value is good and
//! nothing below checks it again.
//!
//! Precedence: flag, then variable (`EXECGATE_*`, and `OTEL_*` for telemetry), then file, then default. Flags
//! and variables arrive as [`Overrides`]; the file's keys are [`FileConfig`].
//! Unknown keys are refused. This room opens no socket and makes no directory.

mod audit;
mod checkpoints;
mod connections;
mod docker;
mod drain;
mod duration;
mod error;
mod fence;
mod file;
mod identity;
mod listen;
mod otel;
mod principals;
mod quotas;
mod secret;
mod sections;
mod ssh;
mod telemetry;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use execgate_core::audit::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::logging::LogFormat;

pub use audit::Audit;
pub use checkpoints::Checkpoints;
pub use connections::Connections;
pub use docker::{AllowedRisk, Docker, DockerProfile, PullPolicy};
pub use drain::Drain;
pub use duration::{HumanDuration, Lifetime};
pub use error::ConfigError;
pub use fence::{Fence, NetworkAccess, NetworkWord, Profile, RequiredControl};
pub use file::FileConfig;
pub use identity::{ClientCertificatesWord, Identity, Jwt, Tls};
pub use listen::{DEFAULT_TCP_PORT, ListenAddress};
pub use principals::{PrincipalKeys, RoleWord};
pub use quotas::{QuotaKeys, Quotas};
pub use secret::{InjectedSecret, NamedSecretKeys, RegisteredSecret, SecretSource, SecretText};
pub use sections::{
    Executions, Limits, Local, Policy, PolicyName, Redaction, Sessions, TokenAlphabet,
    TokenRuleEntry,
};
pub use ssh::{Ssh, SshHost, Trust};
pub use telemetry::{Header, Protocol, Ratio, Sampler, ShownCommands, Telemetry, TelemetryKeys};

/// Name of the socket that a server listens on by default, in its data directory.
const SOCKET_NAME: &str = "execgate.sock";
/// Name of the data directory in the user's state directory.
const STATE_NAME: &str = "execgate";

/// The effective configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where the server listens.
    pub listen: Vec<ListenAddress>,
    /// Whether other machines may call without TLS.
    pub insecure_plaintext_listeners: bool,
    /// Where it keeps its token, keys and audit log.
    pub data_dir: PathBuf,
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
    pub redaction: Redaction,
    /// What sessions may have in their environment without being told it.
    pub secrets: BTreeMap<String, InjectedSecret>,
    /// The audit log.
    pub audit: Audit,
    /// Machines reached through SSH.
    pub ssh: Ssh,
    /// What the server tells of itself.
    pub telemetry: Telemetry,
    /// How TCP is protected; not, where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who callers may be.
    pub identity: Identity,
    /// What callers may do.
    pub principals: BTreeMap<String, PrincipalKeys>,
}

/// What flags and variables say, over what the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces the file's `listen` if not empty.
    pub listen: Vec<ListenAddress>,
    /// Replaces `data_dir`.
    pub data_dir: Option<PathBuf>,
    /// Replaces `policy.name`, and sets `policy.file` aside.
    pub policy: Option<PolicyName>,
    /// Replaces `telemetry.log`.
    pub log: Option<String>,
    /// Replaces `telemetry.log_format`.
    pub log_format: Option<LogFormat>,
    /// Sets `insecure_plaintext_listeners`.
    pub insecure_plaintext_listeners: bool,
}

/// Looks a variable up; a parameter, so that tests need not change their own.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Config {
    /// Reads the file, if there is one, and puts everything together.
    pub fn load(
        path: Option<&Path>,
        overrides: Overrides,
        variables: Variables<'_>,
    ) -> Result<Self, ConfigError> {
        let file = path.map(FileConfig::read).transpose()?.unwrap_or_default();
        Self::resolve(file, overrides, variables)
    }

    /// Puts a parsed file and the overrides together.
    pub fn resolve(
        file: FileConfig,
        overrides: Overrides,
        variables: Variables<'_>,
    ) -> Result<Self, ConfigError> {
        let data_dir = match overrides.data_dir.or(file.data_dir) {
            Some(dir) => absolute(&dir)?,
            None => default_data_dir(variables)?,
        };
        let policy = match overrides.policy {
            Some(name) => Policy { name, file: None },
            None => file.policy,
        };
        let listen = [overrides.listen, file.listen]
            .into_iter()
            .find(|given| !given.is_empty());
        let mut telemetry = file.telemetry.load(variables)?;
        if let Some(log) = overrides.log {
            telemetry.log = log;
        }
        if let Some(format) = overrides.log_format {
            telemetry.log_format = format;
        }
        let config = Self {
            listen: match listen {
                Some(listen) => listen,
                None => default_listen(&data_dir)?,
            },
            insecure_plaintext_listeners: file.insecure_plaintext_listeners
                || overrides.insecure_plaintext_listeners,
            data_dir,
            sessions: file.sessions,
            quotas: file.quotas,
            limits: file.limits,
            executions: file.executions,
            connections: file.connections,
            drain: file.drain,
            checkpoints: file.checkpoints,
            local: file.local,
            docker: file.docker.with_variables(variables),
            policy,
            fence: file.fence,
            redaction: file.redaction.load(variables)?,
            secrets: named_secrets(file.secrets, variables)?,
            audit: file.audit,
            ssh: file.ssh.load(variables)?,
            telemetry,
            tls: file.tls,
            identity: file.identity,
            principals: file.principals,
        };
        config.validate()?;
        Ok(config)
    }

    /// The configuration as TOML, secrets left out: what `--print-config` shows.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|source| ConfigError::Print { source })
    }

    /// Hash of the configuration, secrets left out.
    pub fn digest(&self) -> Result<Digest, ConfigError> {
        Ok(Digest(Sha256::digest(self.to_toml()?).into()))
    }

    /// The names that the operator has given to secrets and to rules of redaction.
    pub(crate) fn redaction_names(&self) -> HashSet<String> {
        let secrets = self.redaction.secret.iter().map(|secret| &secret.name);
        let rules = self.redaction.rule.iter().map(|rule| &rule.name);
        let names = self.secrets.keys().chain(secrets).chain(rules);
        names.cloned().collect()
    }

    /// What no single value can say about itself.
    fn validate(&self) -> Result<(), ConfigError> {
        self.sessions.validate()?;
        self.limits.validate()?;
        self.executions.validate()?;
        self.connections.validate()?;
        self.check_retained()?;
        self.checkpoints.validate()?;
        self.ssh.validate()?;
        self.docker.validate()?;
        self.fence.validate()?;
        self.audit.validate()?;
        self.telemetry.validate()?;
        self.identity.validate()?;
        PrincipalKeys::validate(&self.principals)?;
        if let Some(tls) = &self.tls {
            tls.validate()?;
        }
        self.check_plaintext()?;
        for (index, address) in self.listen.iter().enumerate() {
            if self
                .listen
                .iter()
                .take(index)
                .any(|earlier| earlier == address)
            {
                let problem = format!("`{address}` is there twice");
                return Err(ConfigError::Value {
                    key: "listen",
                    problem,
                });
            }
        }
        Ok(())
    }
}

impl Config {
    /// An execution fits where it is to be.
    fn check_retained(&self) -> Result<(), ConfigError> {
        let one = self.limits.retained_output_bytes.get();
        match self.rooms().find(|(_, room)| *room < one) {
            None => Ok(()),
            Some((key, room)) => {
                let problem = format!("{room} is less than limits.retained_output_bytes");
                Err(ConfigError::Value { key, problem })
            }
        }
    }

    /// Nobody listens in plaintext where others can reach it, unless that was said in as many
    /// words.
    fn check_plaintext(&self) -> Result<(), ConfigError> {
        let open = self.listen.iter().find(|address| address.is_remote());
        match (open, &self.tls, self.insecure_plaintext_listeners) {
            (Some(address), None, false) => Err(ConfigError::Value {
                key: "listen",
                problem: format!(
                    "`{address}` is not a loopback address: without `[tls]` the server listens on \
                     127.0.0.1, [::1] or a Unix socket only"
                ),
            }),
            _ => Ok(()),
        }
    }
}

fn named_secrets(
    keys: BTreeMap<String, NamedSecretKeys>,
    variables: Variables<'_>,
) -> Result<BTreeMap<String, InjectedSecret>, ConfigError> {
    keys.into_iter()
        .map(|(name, keys)| {
            let secret = keys.load(&name, variables)?;
            Ok((name, secret))
        })
        .collect()
}

/// `$XDG_STATE_HOME/execgate`, else `~/.local/state/execgate`.
fn default_data_dir(variables: Variables<'_>) -> Result<PathBuf, ConfigError> {
    // The XDG specification has relative paths ignored.
    let absolute = |name| {
        variables(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join(STATE_NAME))
        .ok_or(ConfigError::NoHome)
}

fn default_listen(data_dir: &Path) -> Result<Vec<ListenAddress>, ConfigError> {
    let socket =
        ListenAddress::unix(data_dir.join(SOCKET_NAME)).map_err(|problem| ConfigError::Value {
            key: "data_dir",
            problem,
        })?;
    Ok(vec![socket, ListenAddress::default_tcp()])
}

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
