//! Sessions on this machine: who their processes are, where they start, and what is in
//! their environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::fence::{FenceProfile, FenceSettings, Network};
use crate::launcher::{Identity, Setup};

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
    /// What the server's processes are known by, on this machine: letters and digits that no
    /// other server has. What an earlier server of this mark left is ended at the start.
    pub mark: String,
    /// The environment of every session, already picked from the server's own.
    pub env: BTreeMap<String, String>,
    /// What the kernel keeps their processes from.
    pub fence: FenceSettings,
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
    /// What a launcher is told first, for a session of this profile.
    pub(crate) fn setup(&self, profile: &FenceProfile) -> Setup {
        Setup {
            identity: self.user.as_ref().map(|user| Identity {
                uid: user.uid,
                gid: user.gid,
            }),
            hidden: self.hidden.clone(),
            mark: self.mark.clone(),
            no_network: profile.network == Network::None,
            limits: profile.limits.clone(),
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
