//! `[ssh]`: which machines sessions may run on, and with which keys. Secrets are named
//! here (a variable, a file), fetched at the server's start, and never printed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use execgate_engine::transport::ssh as engine;
use serde::{Deserialize, Serialize};

use super::duration::HumanDuration;
use super::secret::{SecretSource, SecretText, fetch};
use super::{ConfigError, Policy, Variables};

/// Hosts that one may be reached through, one after another.
const MAX_JUMPS: usize = 4;

/// `[ssh]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ssh {
    /// Whether callers may name a host and bring credentials of their own.
    pub allow_inline: bool,
    /// How the keys of hosts are judged that callers name.
    pub inline_trust: Trust,
    /// Files of known hosts, where a profile has none of its own.
    pub known_hosts: Vec<PathBuf>,
    /// Names that are looked up in OpenSSH's configuration, by `ssh -G`, where no profile has
    /// them; `*` and `?` stand for any letters.
    pub config_hosts: Vec<String>,
    /// The file that is read for them, instead of the user's and the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// Where that configuration finds the server's user.
    #[serde(skip)]
    user: ServerUser,
    /// `[ssh.hosts.NAME]`: the machines, by the names that callers use.
    pub hosts: BTreeMap<String, SshHost>,
}

/// `[ssh.hosts.NAME]`: one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshHost {
    /// Its name or address.
    pub host: String,
    /// Its port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// The socket of an agent whose keys are tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<PathBuf>,
    /// A private key, tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The key's passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_passphrase: Option<SecretSource>,
    /// An OpenSSH certificate for the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// A password, tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
    /// Files of known hosts, instead of `ssh.known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<Vec<PathBuf>>,
    /// The fingerprint that its key must have, `SHA256:...`; known hosts are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// What happens where its key is not known.
    #[serde(default)]
    pub trust: Trust,
    /// The host profile to go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// Time between two questions whether the connection is alive.
    #[serde(default = "default_keepalive")]
    pub keepalive: HumanDuration,
    /// Limit of connecting, exchanging keys and logging in.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: HumanDuration,
    /// What narrows the operator's policy there; SIGHUP reads it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// What every program of a session is run by there, with the program as its last words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrap: Vec<String>,
    /// The secrets, fetched.
    #[serde(skip)]
    secrets: Secrets,
}

/// What OpenSSH's client takes from its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ServerUser {
    home: PathBuf,
    agent: Option<PathBuf>,
    path: String,
}

/// What a profile's secrets turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Secrets {
    key_passphrase: Option<SecretText>,
    password: Option<SecretText>,
}

/// What happens with a host whose key is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It is refused.
    #[default]
    Strict,
    /// Its key is learned, and must be the same from then on.
    FirstUse,
    /// Any key will do: whoever is in between can read and change everything.
    InsecureAcceptAny,
}

impl From<Trust> for engine::UnknownHost {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Strict => Self::Refuse,
            Trust::FirstUse => Self::Learn,
            Trust::InsecureAcceptAny => Self::AcceptAny,
        }
    }
}

const fn default_port() -> u16 {
    engine::DEFAULT_PORT
}

const fn default_keepalive() -> HumanDuration {
    HumanDuration::from_secs(engine::DEFAULT_KEEPALIVE.as_secs())
}

const fn default_connect_timeout() -> HumanDuration {
    HumanDuration::from_secs(engine::DEFAULT_CONNECT_TIMEOUT.as_secs())
}

impl Ssh {
    /// Fetches the secrets.
    pub(super) fn load(mut self, variables: Variables<'_>) -> Result<Self, ConfigError> {
        for (name, host) in &mut self.hosts {
            let load = |field: &str, source: &Option<SecretSource>| {
                let fetched = source.as_ref().map(|source| fetch(source, variables));
                fetched.transpose().map_err(|problem| ConfigError::Secret {
                    name: format!("ssh.hosts.{name}.{field}"),
                    problem,
                })
            };
            host.secrets = Secrets {
                key_passphrase: load("key_passphrase", &host.key_passphrase)?,
                password: load("password", &host.password)?,
            };
        }
        self.user = ServerUser {
            home: variables("HOME").unwrap_or_default().into(),
            agent: variables("SSH_AUTH_SOCK").map(PathBuf::from),
            path: variables("PATH")
                .and_then(|path| path.into_string().ok())
                .unwrap_or_default(),
        };
        Ok(self)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let names = self.config_hosts.iter();
        if let Some(name) = names.clone().find(|name| !is_pattern(name)) {
            return Err(ConfigError::Value {
                key: "ssh.config_hosts",
                problem: format!("{name:?} is not made of 1 to 64 of [A-Za-z0-9._*?-]"),
            });
        }
        if self.config_file.is_some() && names.len() == 0 {
            return Err(ConfigError::Value {
                key: "ssh.config_file",
                problem: "nothing is looked up in it without `ssh.config_hosts`".to_owned(),
            });
        }
        for (name, host) in &self.hosts {
            self.check(name, host)
                .map_err(|problem| ConfigError::Value {
                    key: "ssh.hosts",
                    problem: format!("{name}: {problem}"),
                })?;
        }
        Ok(())
    }

    fn check(&self, name: &str, host: &SshHost) -> Result<(), String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err("a name is 1 to 64 of [A-Za-z0-9._-]".to_owned());
        }
        if host.host.is_empty() || host.user.is_empty() || host.port == 0 {
            return Err("`host`, `user` and `port` cannot be empty".to_owned());
        }
        if let Some(print) = &host.host_key
            && !print.starts_with("SHA256:")
        {
            return Err("`host_key` is no fingerprint like `SHA256:...`".to_owned());
        }
        if host.key.is_none() && (host.certificate.is_some() || host.key_passphrase.is_some()) {
            return Err("`certificate` and `key_passphrase` are nothing without `key`".to_owned());
        }
        if let Some(first) = host.wrap.first()
            && !first.starts_with('/')
        {
            // A name would be looked up where nobody has said.
            return Err("`wrap` begins with a program's absolute path".to_owned());
        }
        let mut at = host;
        for _ in 0..MAX_JUMPS {
            let Some(jump) = &at.jump else { return Ok(()) };
            let found = self.hosts.get(jump);
            at = found.ok_or_else(|| format!("`jump` names {jump}, which is no profile"))?;
        }
        match at.jump {
            None => Ok(()),
            Some(_) => Err(format!("`jump` leads through more than {MAX_JUMPS} hosts")),
        }
    }

    /// The secrets by name, for the redactor.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (String, &str)> {
        self.hosts.iter().flat_map(|(name, host)| {
            let secrets = [
                ("key_passphrase", &host.secrets.key_passphrase),
                ("password", &host.secrets.password),
            ];
            secrets.into_iter().filter_map(move |(field, secret)| {
                let secret = secret.as_ref()?;
                Some((format!("ssh.{name}.{field}"), secret.expose()))
            })
        })
    }

    /// What the engine is told; keys that are learned go to this file.
    pub(crate) fn settings(&self, learned_hosts: PathBuf) -> engine::SshSettings {
        let hosts = self.hosts.iter();
        engine::SshSettings {
            hosts: hosts
                .map(|(name, host)| (name.clone(), host.settings(&self.known_hosts)))
                .collect(),
            openssh: (!self.config_hosts.is_empty()).then(|| engine::OpenSshConfig {
                names: self.config_hosts.clone(),
                file: self.config_file.clone(),
                home: self.user.home.clone(),
                agent: self.user.agent.clone(),
                path: self.user.path.clone(),
            }),
            inline: self.allow_inline.then(|| engine::Trust {
                unknown: self.inline_trust.into(),
                known_hosts: self.known_hosts.clone(),
                fingerprint: None,
                known_as: None,
            }),
            learned_hosts,
        }
    }
}

fn is_pattern(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*?".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-')
}

impl SshHost {
    fn settings(&self, known_hosts: &[PathBuf]) -> engine::Host {
        let secret = |text: &Option<SecretText>| {
            text.as_ref()
                .map(|text| engine::Password::new(text.expose()))
        };
        let agent = self.agent.clone().map(engine::Credential::Agent);
        let key = self.key.clone().map(|path| engine::Credential::KeyFile {
            path,
            passphrase: secret(&self.secrets.key_passphrase),
            certificate: self.certificate.clone(),
        });
        let password = secret(&self.secrets.password).map(engine::Credential::Password);
        engine::Host {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            credentials: [agent, key, password].into_iter().flatten().collect(),
            trust: engine::Trust {
                unknown: self.trust.into(),
                known_hosts: self
                    .known_hosts
                    .clone()
                    .unwrap_or_else(|| known_hosts.to_vec()),
                fingerprint: self.host_key.clone(),
                known_as: None,
            },
            jump: self.jump.clone().map(engine::Jump::Profile),
            keepalive: self.keepalive.get(),
            connect_timeout: self.connect_timeout.get(),
            wrapper: self.wrap.clone(),
        }
    }
}
