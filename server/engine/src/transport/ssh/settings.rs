//! Which machines are reached through SSH, and how: what the operator's configuration
//! says, and what a caller may add. Values only; nothing is read or opened here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use execgate_core::redact::Secret;

use super::openssh::OpenSshConfig;

/// How machines are reached through SSH.
#[derive(Debug, Clone, Default)]
pub struct SshSettings {
    /// The operator's host profiles, by name.
    pub hosts: BTreeMap<String, Host>,
    /// Where names that are no profile are looked up, if the operator wants that.
    pub openssh: Option<OpenSshConfig>,
    /// Whether callers may describe hosts of their own; their keys are judged by this
    /// host's trust and known hosts.
    pub inline: Option<Trust>,
    /// Where keys that were trusted on first use are kept.
    pub learned_hosts: PathBuf,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// What to log in with, tried in this order.
    pub credentials: Vec<Credential>,
    /// How its key is judged.
    pub trust: Trust,
    /// The host to go through.
    pub jump: Option<Jump>,
    /// Time between two questions whether the connection is alive; it counts as broken
    /// after [`KEEPALIVE_MISSES`] without an answer.
    pub keepalive: Duration,
    /// Limit of connecting, exchanging keys and logging in together.
    pub connect_timeout: Duration,
    /// What every program of a session is run by there, with that as its last words; the
    /// first is an absolute path. Empty: by nothing.
    pub wrapper: Vec<String>,
}

impl Host {
    /// What opens it, as far as that is known here.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for credential in &self.credentials {
            match credential {
                Credential::Agent(_) => {}
                Credential::KeyFile { passphrase, .. } => secrets.extend(passphrase),
                Credential::Key { text, passphrase } => {
                    secrets.push(text);
                    secrets.extend(passphrase);
                }
                Credential::Password(password) => secrets.push(password),
            }
        }
        secrets
            .into_iter()
            .map(|text| Secret::new(text.expose()))
            .collect()
    }
}

/// A host on the way to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jump {
    /// A host profile.
    Profile(String),
    /// A host that OpenSSH's configuration names.
    Host(Box<Host>),
}

/// Port of SSH.
pub const DEFAULT_PORT: u16 = 22;

/// Time between keep-alives: a silent partition shows within four of them.
pub const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(5);

/// Keep-alives without an answer after which a connection counts as broken.
pub const KEEPALIVE_MISSES: usize = 3;

/// Limit of connecting, exchanging keys and logging in.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Something to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The keys of the agent behind this socket.
    Agent(PathBuf),
    /// A private key, in OpenSSH or PEM format, read when it is needed.
    KeyFile {
        /// Where it stands.
        path: PathBuf,
        /// Its passphrase.
        passphrase: Option<Password>,
        /// An OpenSSH certificate for it.
        certificate: Option<PathBuf>,
    },
    /// A private key that the caller brought.
    Key {
        /// The key's text.
        text: Password,
        /// Its passphrase.
        passphrase: Option<Password>,
    },
    /// A password; also the answer to a single keyboard-interactive question.
    Password(Password),
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// How a host's key is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// What happens where nothing is known of the host.
    pub unknown: UnknownHost,
    /// Files in OpenSSH's format.
    pub known_hosts: Vec<PathBuf>,
    /// Fingerprint that the key must have, `SHA256:...`; known hosts are then not asked.
    pub fingerprint: Option<String>,
    /// The name by which known hosts know it, instead of its own.
    pub known_as: Option<String>,
}

/// What happens with a host of which no key is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownHost {
    /// It is refused.
    #[default]
    Refuse,
    /// Its key is remembered and must be the same from then on.
    Learn,
    /// Any key will do, also another one than the known one: whoever is in between can
    /// read and change everything.
    AcceptAny,
}
