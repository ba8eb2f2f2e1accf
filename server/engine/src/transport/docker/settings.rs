//! Which Docker engine there is, and what its containers may be; made by the operator's
//! configuration. Nothing here reaches out.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Name of the profile of a session that names none.
pub const DEFAULT_PROFILE: &str = "default";

/// Docker, as the operator lets sessions use it.
#[derive(Debug, Clone, Default)]
pub struct DockerSettings {
    /// Where the engine answers.
    pub host: DockerHost,
    /// Marks the containers of this server, so that those which an earlier one left can
    /// be found.
    pub instance: String,
    /// What sessions can ask for, by name. [`DEFAULT_PROFILE`] is there without being
    /// named.
    pub profiles: BTreeMap<String, DockerProfile>,
}

impl DockerSettings {
    /// The profile of this name; the default one where there is no name.
    #[must_use]
    pub fn profile(&self, name: Option<&str>) -> Option<DockerProfile> {
        let name = name.unwrap_or(DEFAULT_PROFILE);
        match self.profiles.get(name) {
            None if name == DEFAULT_PROFILE => Some(DockerProfile::default()),
            found => found.cloned(),
        }
    }
}

impl DockerSettings {
    /// The names of the profiles that sessions can ask for.
    #[must_use]
    pub fn profile_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.profiles.keys().cloned().collect();
        if !self.profiles.contains_key(DEFAULT_PROFILE) {
            names.insert(0, DEFAULT_PROFILE.to_owned());
        }
        names
    }
}

/// Where a Docker engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerHost {
    /// On a Unix socket.
    Unix(PathBuf),
    /// On TCP, as `host:port`, unprotected.
    Tcp(String),
    /// On TCP with TLS, as `host:port`, and the directory with `ca.pem`, `cert.pem` and
    /// `key.pem`.
    Tls(String, PathBuf),
}

impl DockerHost {
    /// Why no engine can answer there, as far as that shows without asking.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        match self {
            Self::Unix(path) if !path.exists() => {
                Some(format!("there is no socket {}", path.display()))
            }
            Self::Unix(_) | Self::Tcp(_) | Self::Tls(..) => None,
        }
    }
}

impl Default for DockerHost {
    fn default() -> Self {
        Self::Unix(PathBuf::from("/var/run/docker.sock"))
    }
}

/// What a session's container is like, and which ones a session may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerProfile {
    /// Images that containers may be made of; a final `*` stands for anything.
    pub images: Vec<String>,
    /// Running containers that may be entered, by name; a final `*` stands for anything.
    pub containers: Vec<String>,
    /// Whether an image that is not there is fetched.
    pub pull: Pull,
    /// User inside of a container made from an image, where neither the session nor the
    /// image names one that is not root.
    pub user: String,
    /// Network of a container made from an image, as Docker names it.
    pub network: String,
    /// Whether the image's own files can be changed in the container.
    pub root: RootFiles,
    /// Where sessions in containers made from an image begin: a file system in memory.
    pub workspace: String,
    /// Its size in bytes; /tmp has another of this size.
    pub workspace_bytes: u64,
    /// Memory of a container made from an image, in bytes.
    pub memory_bytes: u64,
    /// Its processes and threads.
    pub pids: u32,
    /// Its share of processors, in thousandths of one.
    pub milli_cpus: u32,
    /// What is let through that would be refused otherwise.
    pub allow: Vec<Risk>,
}

impl Default for DockerProfile {
    fn default() -> Self {
        Self {
            images: vec!["*".to_owned()],
            containers: Vec::new(),
            pull: Pull::Never,
            // The system's `nobody`.
            user: "65534:65534".to_owned(),
            network: "none".to_owned(),
            root: RootFiles::ReadOnly,
            workspace: "/workspace".to_owned(),
            workspace_bytes: 512 * 1024 * 1024,
            memory_bytes: 1024 * 1024 * 1024,
            pids: 512,
            milli_cpus: 2000,
            allow: Vec::new(),
        }
    }
}

impl DockerProfile {
    pub(super) fn allows(&self, risk: Risk) -> bool {
        self.allow.contains(&risk)
    }
}

/// Whether an image that is not there is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// It is not; the session is refused.
    Never,
    /// It is, from where the engine gets its images.
    Missing,
}

/// Whether the image's own files can be changed in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootFiles {
    /// Only what is mounted can be written.
    ReadOnly,
    /// Changes live as long as the container.
    Writable,
}

/// What makes a container more than a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// It is privileged, or has capabilities or devices beyond Docker's own.
    Privileged,
    /// It shares processes, network, memory or users with its host.
    HostNamespaces,
    /// It can reach the engine's own socket.
    EngineSocket,
    /// Sessions are root in a container where they would not be otherwise.
    Root,
}

impl Risk {
    /// The word for it in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::HostNamespaces => "host_namespaces",
            Self::EngineSocket => "engine_socket",
            Self::Root => "root",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_is_there_unnamed_and_no_other() {
        let settings = DockerSettings::default();
        assert_eq!(settings.profile(None), Some(DockerProfile::default()));
        assert_eq!(settings.profile(Some("default")), settings.profile(None));
        assert_eq!(settings.profile(Some("wide")), None);
    }
}
