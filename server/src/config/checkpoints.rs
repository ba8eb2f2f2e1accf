//! `[checkpoints]`: what is kept of workspaces, and how much.

use std::num::NonZeroU32;
use std::path::PathBuf;

use execgate_core::checkpoint::Rules;
use execgate_engine::checkpoint::CheckpointSettings;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::duration::HumanDuration;

/// Largest file that may be kept, in bytes: one is held in memory while it is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024 * 1024;

/// `[checkpoints]`: what is kept of workspaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoints {
    /// Larger files are left out, and named.
    pub max_file_bytes: u64,
    /// Files of one workspace at most.
    pub max_files: NonZeroU32,
    /// Checkpoints of one workspace at most. Beyond it the oldest go that nobody asked for.
    pub keep: NonZeroU32,
    /// A checkpoint is forgotten after this.
    pub keep_for: HumanDuration,
    /// Bytes kept of one workspace.
    pub max_bytes: u64,
    /// Bytes kept of all workspaces.
    pub max_total_bytes: u64,
    /// Patterns that are left out of every checkpoint, as in a .gitignore.
    pub ignore: Vec<String>,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self {
            max_file_bytes: 32 * 1024 * 1024,
            max_files: const { NonZeroU32::new(500_000).unwrap() },
            keep: const { NonZeroU32::new(200).unwrap() },
            keep_for: HumanDuration::from_secs(30 * 24 * 60 * 60),
            max_bytes: 2 * 1024 * 1024 * 1024,
            max_total_bytes: 20 * 1024 * 1024 * 1024,
            ignore: Vec::new(),
        }
    }
}

impl Checkpoints {
    /// What the engine is told.
    #[must_use]
    pub fn settings(&self, directory: PathBuf) -> CheckpointSettings {
        let number = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
        CheckpointSettings {
            directory,
            max_file_bytes: self.max_file_bytes,
            max_files: number(self.max_files),
            keep: number(self.keep),
            keep_for: self.keep_for.get(),
            max_bytes: self.max_bytes,
            max_total_bytes: self.max_total_bytes,
            ignore: self.ignore.clone(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let (key, problem) = match Rules::new(&self.ignore) {
            Err(error) => ("checkpoints.ignore", error.to_string()),
            Ok(_) if self.max_file_bytes > MAX_FILE_BYTES => (
                "checkpoints.max_file_bytes",
                format!("{} is more than {MAX_FILE_BYTES}", self.max_file_bytes),
            ),
            Ok(_) if self.max_bytes > self.max_total_bytes => (
                "checkpoints.max_bytes",
                format!(
                    "{} is more than checkpoints.max_total_bytes",
                    self.max_bytes
                ),
            ),
            Ok(_) => return Ok(()),
        };
        Err(ConfigError::Value { key, problem })
    }
}
