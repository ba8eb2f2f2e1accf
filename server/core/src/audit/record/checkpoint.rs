//! What is recorded of checkpoints: what is about to be done, and what came of it.
//!
//! ```text
//! checkpoint_intent ── checkpoint_created | checkpoint_restored | checkpoint_deleted
//!                  └── checkpoint_failed
//! ```

use serde::{Deserialize, Serialize};

/// What is done with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointOperation {
    /// It is made.
    Create,
    /// A directory is put back to it.
    Restore,
    /// It is forgotten.
    Delete,
    /// A newer server's.
    #[serde(other)]
    Unknown,
}

/// Something is about to be done with a checkpoint. On stable storage before it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointIntent {
    /// What.
    pub operation: CheckpointOperation,
    /// The checkpoint.
    pub checkpoint_id: String,
    /// The directory concerned, redacted.
    pub workspace: String,
}

/// A checkpoint was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointCreated {
    /// The checkpoint.
    pub checkpoint_id: String,
    /// The directory it covers, redacted.
    pub workspace: String,
    /// Identity of its content, hex.
    pub content_digest: String,
}

/// A checkpoint was restored, or that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRestored {
    /// The checkpoint.
    pub checkpoint_id: String,
    /// The directory restored to, redacted.
    pub workspace: String,
    /// Checkpoint of the state before; empty where there is none.
    pub pre_restore_checkpoint_id: String,
    /// How many files changed.
    pub changed_files: u64,
    /// Whether it was done to the end; if not, a repeat finishes it.
    pub complete: bool,
}

/// A checkpoint was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDeleted {
    /// The checkpoint.
    pub checkpoint_id: String,
    /// Why: `requested`, `age`, `count`, `bytes`.
    pub reason: String,
}

/// What was to be done with a checkpoint was not, or nobody knows how far it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFailed {
    /// What was to be done.
    pub operation: CheckpointOperation,
    /// The checkpoint.
    pub checkpoint_id: String,
    /// What was in the way, redacted.
    pub reason: String,
}
