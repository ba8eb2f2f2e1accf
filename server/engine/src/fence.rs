//! The fence of local sessions: what the kernel keeps their processes from, as the
//! operator's profile and the policy's rules about programs say.
//!
//! ```text
//! profile ─┐                                     ┌─ ruleset (Landlock) ─► launcher: each
//! policy ──┴─► programs (which files are withheld)┘                        process, before
//! profile ─────────────────────────────────────────► namespaces, groups ─► it is executed
//! ```
//!
//! This room decides and prepares; the launcher applies (`launcher/confine`). What holds in
//! the end is not assumed: a confined process tries the forbidden, and `report` says what
//! came of it.

mod fences;
mod programs;
mod report;
mod ruleset;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use fences::Fences;
use programs::{Search, Withheld};
use report::isolation;
use ruleset::{build, landlock_abi};

/// Name of the profile that sessions have which ask for none.
pub const DEFAULT_PROFILE: &str = "default";

/// Processes and threads of one session where the profile does not say: enough for a
/// parallel build, and no fork bomb.
pub const DEFAULT_PROCESSES: u64 = 2048;

/// What the operator fences local sessions with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceSettings {
    /// Profiles by name; [`DEFAULT_PROFILE`] is always there.
    pub profiles: BTreeMap<String, FenceProfile>,
}

impl Default for FenceSettings {
    fn default() -> Self {
        let profile = (DEFAULT_PROFILE.to_owned(), FenceProfile::default());
        Self {
            profiles: BTreeMap::from([profile]),
        }
    }
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceProfile {
    /// Trees whose files may be read; the root for all.
    pub read: Vec<PathBuf>,
    /// Trees in which files may be made, changed and removed; the root for all.
    pub write: Vec<PathBuf>,
    /// Trees whose programs may be executed; the root for all.
    pub execute: Vec<PathBuf>,
    /// The network.
    pub network: Network,
    /// How much of the machine.
    pub limits: Limits,
}

impl Default for FenceProfile {
    fn default() -> Self {
        let all = || vec![PathBuf::from("/")];
        Self {
            read: all(),
            write: all(),
            execute: all(),
            network: Network::Open,
            limits: Limits::default(),
        }
    }
}

/// What of the network a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// All of it.
    Open,
    /// TCP connections to these ports, and listening on them.
    Tcp(Vec<u16>),
    /// Nothing but a loopback of its own.
    None,
}

/// How much of the machine a session may use; nothing for no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Memory of all its processes, in bytes.
    pub memory_bytes: Option<u64>,
    /// Share of the processors, in thousandths of one.
    pub milli_cpus: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// Largest file that a process may write, in bytes.
    pub file_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: Some(DEFAULT_PROCESSES),
            memory_bytes: None,
            milli_cpus: None,
            open_files: None,
            file_bytes: None,
        }
    }
}

/// Whether these trees are everything.
fn is_all(trees: &[PathBuf]) -> bool {
    trees.iter().any(|tree| tree == Path::new("/"))
}
