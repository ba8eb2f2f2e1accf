//! How much of what executions wrote is kept, where, and for how long. The operator says
//! it once; every execution of the server shares the room on disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::spill::SpillStore;

/// Output that one execution keeps in memory if the operator does not say, in bytes:
/// enough for a reader to catch up with a fast command, little enough for 64 sessions on
/// a small machine.
pub const RETAINED_BYTES: usize = 4 * 1024 * 1024;

/// Output that one execution keeps on disk beyond that, in bytes: the log of a long build.
pub const SPILLED_BYTES: u64 = 256 * 1024 * 1024;

/// Output that all executions keep on disk, in bytes: what a small disk can spare.
pub const SPILLED_BYTES_IN_ALL: u64 = 2 * 1024 * 1024 * 1024;

/// Finished executions that a session keeps for late readers.
pub const KEPT_EXECUTIONS: usize = 256;

/// How long a session keeps a finished execution: an agent that was away for a day
/// finds what it left.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The operator's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Output of one execution in memory, in bytes.
    pub memory_bytes: usize,
    /// Output of one execution on disk, in bytes.
    pub spill_bytes: u64,
    /// Output of all executions on disk, in bytes.
    pub spill_total_bytes: u64,
    /// Finished executions of one session.
    pub keep_count: usize,
    /// How long a finished execution is kept.
    pub keep_for: Duration,
}

impl Default for RetentionLimits {
    fn default() -> Self {
        Self {
            memory_bytes: RETAINED_BYTES,
            spill_bytes: SPILLED_BYTES,
            spill_total_bytes: SPILLED_BYTES_IN_ALL,
            keep_count: KEPT_EXECUTIONS,
            keep_for: KEPT_FOR,
        }
    }
}

/// Where the output of executions is kept. Cheap to clone; clones share the disk's room.
#[derive(Debug, Clone)]
pub struct Retention {
    limits: RetentionLimits,
    store: Option<Arc<SpillStore>>,
}

impl Retention {
    /// Output is kept in memory alone.
    #[must_use]
    pub fn in_memory(limits: RetentionLimits) -> Self {
        Self {
            limits,
            store: None,
        }
    }

    /// Output that memory does not hold goes into `directory`, which is made if need be
    /// and emptied: it belongs to nobody else, and what is in it is of an earlier server.
    ///
    /// # Errors
    /// Where the directory cannot be made, emptied or opened.
    pub fn spilling(limits: RetentionLimits, directory: &Path) -> io::Result<Self> {
        let store = match limits.spill_bytes.min(limits.spill_total_bytes) {
            0 => {
                SpillStore::clear(directory)?;
                None
            }
            _ => Some(SpillStore::open(directory, limits.spill_total_bytes)?),
        };
        Ok(Self { limits, store })
    }

    /// The operator's bounds.
    #[must_use]
    pub fn limits(&self) -> &RetentionLimits {
        &self.limits
    }

    /// Bytes on disk that one execution may use.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        match self.store {
            Some(_) => self.limits.spill_bytes.min(self.limits.spill_total_bytes),
            None => 0,
        }
    }

    /// Bytes that are on disk now.
    #[must_use]
    pub fn disk_bytes_used(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.used())
    }

    pub(super) fn store(&self) -> Option<&Arc<SpillStore>> {
        self.store.as_ref()
    }
}
