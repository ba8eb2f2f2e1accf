//! `[docker]`: which Docker engine there is, and what sessions may do with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use execgate_engine::transport::docker::{self, DockerHost, Pull, Risk, RootFiles};
use serde::{Deserialize, Serialize};

use super::{ConfigError, Policy, Variables};

/// `[docker]`: the engine, and profiles for its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Docker {
    /// Where the engine answers, as in `DOCKER_HOST`, which counts where this is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Directory with `ca.pem`, `cert.pem` and `key.pem` for TLS on TCP; else
    /// `DOCKER_CERT_PATH` where `DOCKER_TLS_VERIFY` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_path: Option<PathBuf>,
    /// `[docker.profiles.NAME]`: what sessions can ask for.
    pub profiles: BTreeMap<String, DockerProfile>,
}

/// One profile: what its containers are like, and which ones may be entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerProfile {
    /// Images that containers may be made of; a final `*` stands for anything.
    pub images: Vec<String>,
    /// Running containers that may be entered, by name; a final `*` stands for anything.
    pub containers: Vec<String>,
    /// Whether an image that is not there is fetched.
    pub pull: PullPolicy,
    /// User of sessions in new containers whose image names none but root.
    pub user: String,
    /// Network of new containers, as Docker names it.
    pub network: String,
    /// Whether the image's own files cannot be changed.
    pub read_only: bool,
    /// Where sessions begin in new containers: a file system in memory.
    pub workspace: String,
    /// Its size.
    pub workspace_bytes: NonZeroU64,
    /// Memory of a new container.
    pub memory_bytes: NonZeroU64,
    /// Its processes and threads.
    pub pids: NonZeroU32,
    /// Its share of processors, in thousandths of one.
    pub milli_cpus: NonZeroU32,
    /// What is let through that would be refused otherwise.
    pub allow: Vec<AllowedRisk>,
    /// What narrows the operator's policy there; SIGHUP reads it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// Whether an image that is not there is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// It is not.
    Never,
    /// It is.
    Missing,
}

/// What makes a container more than a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedRisk {
    /// Privileged containers, wide capabilities, devices.
    Privileged,
    /// Containers that share namespaces with their host.
    HostNamespaces,
    /// Containers that can reach the engine's socket.
    EngineSocket,
    /// Sessions as root where they would not be otherwise.
    Root,
}

impl Default for DockerProfile {
    fn default() -> Self {
        let profile = docker::DockerProfile::default();
        Self {
            images: profile.images,
            containers: profile.containers,
            pull: PullPolicy::Never,
            user: profile.user,
            network: profile.network,
            read_only: profile.root == RootFiles::ReadOnly,
            workspace: profile.workspace,
            workspace_bytes: NonZeroU64::new(profile.workspace_bytes).unwrap_or(NonZeroU64::MIN),
            memory_bytes: NonZeroU64::new(profile.memory_bytes).unwrap_or(NonZeroU64::MIN),
            pids: NonZeroU32::new(profile.pids).unwrap_or(NonZeroU32::MIN),
            milli_cpus: NonZeroU32::new(profile.milli_cpus).unwrap_or(NonZeroU32::MIN),
            allow: Vec::new(),
            policy: None,
        }
    }
}

impl DockerProfile {
    /// The profile as the engine takes it.
    #[must_use]
    pub fn settings(&self) -> docker::DockerProfile {
        docker::DockerProfile {
            images: self.images.clone(),
            containers: self.containers.clone(),
            pull: match self.pull {
                PullPolicy::Never => Pull::Never,
                PullPolicy::Missing => Pull::Missing,
            },
            user: self.user.clone(),
            network: self.network.clone(),
            root: match self.read_only {
                true => RootFiles::ReadOnly,
                false => RootFiles::Writable,
            },
            workspace: self.workspace.clone(),
            workspace_bytes: self.workspace_bytes.get(),
            memory_bytes: self.memory_bytes.get(),
            pids: self.pids.get(),
            milli_cpus: self.milli_cpus.get(),
            allow: self.allow.iter().map(|risk| risk.settings()).collect(),
        }
    }
}

impl AllowedRisk {
    fn settings(self) -> Risk {
        match self {
            Self::Privileged => Risk::Privileged,
            Self::HostNamespaces => Risk::HostNamespaces,
            Self::EngineSocket => Risk::EngineSocket,
            Self::Root => Risk::Root,
        }
    }
}

impl Docker {
    /// Takes in what the environment says where the file says nothing.
    pub(super) fn with_variables(mut self, variables: Variables<'_>) -> Self {
        let text = |name: &str| {
            let value = variables(name).and_then(|value: OsString| value.into_string().ok());
            value.filter(|value| !value.is_empty())
        };
        if self.host.is_none() {
            self.host = text("DOCKER_HOST");
            // Elsewhere the environment's certificates are another engine's.
            if self.cert_path.is_none() && text("DOCKER_TLS_VERIFY").is_some() {
                self.cert_path = text("DOCKER_CERT_PATH").map(PathBuf::from);
            }
        }
        self
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.engine_host()?;
        let workspaces = self.profiles.values().map(|profile| &profile.workspace);
        for workspace in workspaces {
            if !workspace.starts_with('/') || workspace.trim_end_matches('/').is_empty() {
                let problem = format!("{workspace:?} is not a directory below the root");
                return Err(ConfigError::Value {
                    key: "docker.profiles.workspace",
                    problem,
                });
            }
        }
        Ok(())
    }

    /// Where the engine answers.
    pub fn engine_host(&self) -> Result<DockerHost, ConfigError> {
        let problem = |problem: String| ConfigError::Value {
            key: "docker.host",
            problem,
        };
        let Some(host) = &self.host else {
            return Ok(DockerHost::default());
        };
        match (host.split_once("://"), &self.cert_path) {
            (Some(("unix", path)), _) if path.starts_with('/') => {
                Ok(DockerHost::Unix(PathBuf::from(path)))
            }
            (Some(("tcp" | "https", address)), Some(certificates)) if !address.is_empty() => {
                Ok(DockerHost::Tls(address.to_owned(), certificates.clone()))
            }
            (Some(("https", _)), None) => Err(problem(format!("`{host}` needs docker.cert_path"))),
            (Some(("tcp" | "http", address)), None) if !address.is_empty() => {
                Ok(DockerHost::Tcp(address.to_owned()))
            }
            _ => Err(problem(format!(
                "`{host}` is neither unix:///PATH nor tcp://HOST:PORT"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, certificates: Option<&str>) -> Option<DockerHost> {
        let docker = Docker {
            host: Some(host.to_owned()),
            cert_path: certificates.map(PathBuf::from),
            ..Docker::default()
        };
        docker.engine_host().ok()
    }

    #[test]
    fn hosts_are_named_as_docker_names_them() {
        let unix = DockerHost::Unix("/run/docker.sock".into());
        assert_eq!(host("unix:///run/docker.sock", None), Some(unix));
        let tcp = DockerHost::Tcp("build:2375".to_owned());
        assert_eq!(host("tcp://build:2375", None), Some(tcp));
        let tls = DockerHost::Tls("build:2376".to_owned(), "/certs".into());
        assert_eq!(host("tcp://build:2376", Some("/certs")), Some(tls));
        for wrong in [
            "build:2375",
            "ssh://build",
            "unix://docker.sock",
            "https://build:2376",
        ] {
            assert_eq!(host(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn the_environment_counts_where_the_file_says_nothing() {
        let variables = |name: &str| {
            Some(OsString::from(match name {
                "DOCKER_HOST" => "tcp://build:2376",
                "DOCKER_TLS_VERIFY" => "1",
                "DOCKER_CERT_PATH" => "/certs",
                _ => return None,
            }))
        };
        let found = Docker::default().with_variables(&variables).engine_host();
        let tls = DockerHost::Tls("build:2376".to_owned(), "/certs".into());
        assert_eq!(found.ok(), Some(tls));
        let own = Docker {
            host: Some("unix:///run/docker.sock".to_owned()),
            ..Docker::default()
        };
        assert_eq!(own.clone().with_variables(&variables), own);
    }

    #[test]
    fn an_empty_profile_is_the_engines_default() {
        assert_eq!(
            DockerProfile::default().settings(),
            docker::DockerProfile::default()
        );
    }
}
