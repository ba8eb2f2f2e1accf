//! Where a session runs: what can be asked for, and what a transport to it brings along.
//! Nothing here reaches out; the engine does, once for each session.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use execgate_core::outcome::ObservedBy;
use execgate_core::redact::{RedactionRules, Secret};

use crate::isolation::{Control, ControlKind as Kind, ControlLevel, Isolation};
use crate::transport::Transport;
use crate::transport::docker::DEFAULT_PROFILE;
use crate::transport::ssh::Host;

/// PATH of sessions where the target says nothing better.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a session is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Target {
    /// This machine.
    #[default]
    Local,
    /// A machine reached through SSH.
    Ssh(SshTarget),
    /// A container.
    Docker(DockerTarget),
}

impl Target {
    /// What the operator's lists of targets call it: `local`, `ssh:PROFILE`, `ssh-inline`,
    /// `docker:PROFILE`.
    pub(crate) fn label(&self) -> String {
        match (self, self.profile()) {
            (_, Some(profile)) => profile.to_string(),
            (Self::Ssh(_), None) => "ssh-inline".to_owned(),
            (Self::Local | Self::Docker(_), None) => "local".to_owned(),
        }
    }

    /// The operator's profile that it falls under, if any.
    #[must_use]
    pub fn profile(&self) -> Option<TargetProfile> {
        match self {
            Self::Local | Self::Ssh(SshTarget::Inline(_)) => None,
            Self::Ssh(SshTarget::Profile(name)) => Some(TargetProfile::Ssh(name.clone())),
            Self::Docker(target) => {
                let name = target.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
                Some(TargetProfile::Docker(name.to_owned()))
            }
        }
    }
}

/// A name under which the operator describes targets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetProfile {
    /// A host profile.
    Ssh(String),
    /// A profile of containers.
    Docker(String),
}

impl fmt::Display for TargetProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh(name) => write!(f, "ssh:{name}"),
            Self::Docker(name) => write!(f, "docker:{name}"),
        }
    }
}

/// A machine reached through SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshTarget {
    /// One of the operator's host profiles, by name.
    Profile(String),
    /// A host that the caller describes, where the operator lets it.
    Inline(Arc<Host>),
}

/// A container, and as whom to be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerTarget {
    /// Which container.
    pub source: DockerSource,
    /// User inside, `name`, `uid` or `uid:gid`; the profile's or the container's where
    /// there is none.
    pub user: Option<String>,
    /// The operator's profile; the default one where there is none.
    pub profile: Option<String>,
}

/// Which container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerSource {
    /// One that runs, by name or id.
    Container(String),
    /// A new one from this image, removed with the session.
    Image(String),
}

/// A target that has been reached: all that a session needs to know of where it is.
#[derive(Debug)]
pub(crate) struct Place {
    /// The way to its processes.
    pub(crate) transport: Arc<dyn Transport>,
    /// What records call it: `local`, `ssh:HOST`, `docker:CONTAINER`.
    pub(crate) name: String,
    /// HOME of its sessions.
    pub(crate) home: String,
    /// Where shells start when nobody says; at home where there is nothing.
    pub(crate) start: Option<String>,
    /// What every program there finds in its environment.
    pub(crate) env: BTreeMap<String, String>,
    /// How its sessions are kept from the gate.
    pub(crate) isolation: Isolation,
    /// What must never be shown of its sessions' output: what they were opened with.
    pub(crate) secrets: Vec<Secret>,
    /// Who sees how processes end there.
    pub(crate) observer: ObservedBy,
}

impl Place {
    /// What is hidden in its sessions.
    pub(crate) fn redaction(&self, rules: &RedactionRules) -> RedactionRules {
        let secrets = self.secrets.iter();
        rules.with_values(secrets.map(|secret| ("credential", secret.clone())))
    }

    /// The environment of a session: a fixed base, the target's, the session's own.
    pub(crate) fn environment(
        &self,
        own: &BTreeMap<String, String>,
        terminal: bool,
        shell: &str,
    ) -> Vec<(String, String)> {
        let mut env = BTreeMap::from(
            [
                ("PATH", DEFAULT_PATH),
                ("TERM", if terminal { "xterm-256color" } else { "dumb" }),
                // A pager would wait for keys that nobody presses.
                ("PAGER", "cat"),
                ("GIT_PAGER", "cat"),
                ("GIT_TERMINAL_PROMPT", "0"),
                // Pipes make programs hold their output back; python can be told not to.
                ("PYTHONUNBUFFERED", "1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        env.extend(self.env.clone());
        env.insert("HOME".to_owned(), self.home.clone());
        if !shell.is_empty() {
            env.insert("SHELL".to_owned(), shell.to_owned());
        }
        env.extend(own.clone());
        env.into_iter().collect()
    }
}

impl Target {
    /// What is promised of isolation on a target that is not this machine: nothing is
    /// tried there, so nothing is called enforced.
    #[must_use]
    pub fn remote_isolation() -> Isolation {
        let advisory = |kind, mechanism: &'static str, detail: &'static str| {
            Control::new(kind, ControlLevel::Advisory, mechanism, detail)
        };
        let rows = [
            advisory(
                Kind::ProgramExecution,
                "policy",
                "judged before it runs, not withheld by the target's kernel",
            ),
            advisory(Kind::Privilege, "the target's user", ""),
            advisory(Kind::Kill, "environment marker and parentage", ""),
            advisory(
                Kind::StreamIntegrity,
                "streams of the connection",
                "code of the session's own user can trace its own shell",
            ),
            advisory(
                Kind::ExitIntegrity,
                "random token in every marker",
                "the shell itself reports how its commands end",
            ),
            advisory(Kind::Gate, "another machine or container", "not tried"),
        ];
        Isolation::of(String::new(), rows)
    }
}
