//! Checkpoints: saved states of a session's workspace, and the way back to them.
//!
//! ```text
//! files (a program beside the shell) ─► index ─► repository (git objects, on the server)
//!   look, read                           what changed    └─► catalogue: who, when, why
//!   stage, apply ◄── steps ◄── compare ◄─────────────────────┘
//! ```
//!
//! The store is the server's, whatever the target: the agent can neither read nor change it,
//! it outlives session and target, and no target needs git. There is one store for each
//! workspace (of a principal on a target), and one task at a time works with it.

mod access;
mod apart;
mod capture;
mod catalogue;
mod compare;
mod files;
pub(crate) mod found;
mod index;
mod repository;
mod restore;
pub(crate) mod retention;
mod space;
pub(crate) mod wire;
mod workspace;

mod session;

use std::time::Duration;

use execgate_core::ids::CheckpointId;

pub use access::{
    CreateCheckpoint, Difference, Differences, RestoreCheckpoint, Restored, UnknownFiles,
};
pub use catalogue::{Checkpoint, CheckpointTrigger, OmittedFile};
pub use compare::{FileChange, FileState, Summary};
pub(crate) use session::{Before, Prepared, Preparing, preparing};
pub(crate) use space::Checkpoints;
pub(crate) use workspace::{Presence, Workspace, WorkspaceParts};

/// When to ask again where a workspace is being worked with.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Where checkpoints are kept, and how many.
#[derive(Debug, Clone)]
pub struct CheckpointSettings {
    /// The directory of all stores.
    pub directory: std::path::PathBuf,
    /// Largest file that is kept, in bytes.
    pub max_file_bytes: u64,
    /// Most files of one workspace.
    pub max_files: usize,
    /// Most checkpoints of one workspace.
    pub keep: usize,
    /// How long a checkpoint is kept.
    pub keep_for: Duration,
    /// Most bytes of one workspace's store.
    pub max_bytes: u64,
    /// Most bytes of all stores.
    pub max_total_bytes: u64,
    /// Patterns that are left out of every checkpoint, beside those of a request.
    pub ignore: Vec<String>,
}

/// When checkpoints are made by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CheckpointMode {
    /// Never.
    #[default]
    Off,
    /// Before each command that may write.
    Auto,
    /// Before each command.
    Every,
}

/// What became of a command's checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The checkpoint that holds the files as they are now.
    pub(crate) checkpoint: CheckpointId,
    /// Whether it was made now.
    pub(crate) new: bool,
}
