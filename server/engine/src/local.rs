//! Sessions on this machine: who their processes are, where they start, what is in their
//! environment, and what they are kept from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::launcher::{Identity, ProbeResult, Setup};

/// How local sessions are run; made by the operator's configuration.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// The program that becomes a launcher: see [`crate::launcher`].
    pub launcher: PathBuf,
    /// Whose processes a session's are; nothing for the server's own user.
    pub user: Option<LocalUser>,
    /// The user's home: HOME of a session, and where its shell starts.
    pub home: String,
    /// Directories that sessions must not see, the data directory first.
    pub hidden: Vec<PathBuf>,
    /// The environment of every session, already picked from the server's own.
    pub env: BTreeMap<String, String>,
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalUser {
    /// Name, as in USER and LOGNAME.
    pub name: String,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
}

impl LocalSettings {
    /// What a launcher is told first.
    pub(crate) fn setup(&self) -> Setup {
        Setup {
            identity: self.user.as_ref().map(|user| Identity {
                uid: user.uid,
                gid: user.gid,
            }),
            hidden: self.hidden.clone(),
        }
    }

    /// What every session finds in its environment: the allowed part of the server's, and
    /// who its user is.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        if let Some(user) = &self.user {
            env.insert("USER".to_owned(), user.name.clone());
            env.insert("LOGNAME".to_owned(), user.name.clone());
        }
        env
    }
}

/// What keeps a local session from the gate itself, as tried at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The rows of the report.
    pub controls: Vec<Control>,
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// What is controlled, such as `data_dir`.
    pub name: &'static str,
    /// Whether it holds.
    pub level: ControlLevel,
    /// By what means.
    pub mechanism: &'static str,
}

/// Whether a control holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlLevel {
    /// The forbidden action was tried and refused.
    Enforced,
    /// The forbidden action worked: nothing but good behaviour stands in the way.
    Advisory,
}

impl Isolation {
    /// The report for what a probe could do.
    #[must_use]
    pub fn from_probe(probe: ProbeResult, settings: &LocalSettings) -> Self {
        let level = |reachable| match reachable {
            true => ControlLevel::Advisory,
            false => ControlLevel::Enforced,
        };
        let (files, memory) = match settings.user {
            Some(_) => ("another user", "another user, landlock domain"),
            None => ("mount namespace", "landlock domain"),
        };
        let control = |name, reachable, mechanism| Control {
            name,
            level: level(reachable),
            mechanism,
        };
        Self {
            controls: vec![
                control("data_dir", probe.data_file, files),
                control("server_memory", probe.server_memory, memory),
                control("signals", probe.server_signal, memory),
                Control {
                    name: "privilege",
                    level: ControlLevel::Enforced,
                    mechanism: "no_new_privs",
                },
                Control {
                    name: "kill",
                    level: ControlLevel::Enforced,
                    mechanism: "child subreaper",
                },
            ],
        }
    }
}
