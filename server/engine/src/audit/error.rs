//! What can go wrong with the audit store. Cloneable, because one failed sync
//! answers a whole group.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use execgate_core::audit::ChainFault;

/// Why the audit store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A system call failed. If it was a write, the store stays closed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was attempted, e.g. `sync`.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another server holds the log.
    #[error("open the audit log {}: another server uses it", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The directory is open to others.
    #[error("open the audit log {}: {problem}", dir.display())]
    Insecure {
        /// The log's directory.
        dir: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A record that had been durable is damaged.
    #[error("read the audit log {}: record {sequence}: {fault}", segment.display())]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// The place in the chain.
        sequence: u64,
        /// What is wrong with it.
        fault: ChainFault,
    },
    /// The record cannot be encoded; the store itself is well.
    #[error("record the event: {problem}")]
    Refused {
        /// What is wrong with it.
        problem: String,
    },
    /// The store has been closed.
    #[error("use the audit log: it is closed")]
    Closed,
}

impl AuditError {
    /// Makes the closure that `map_err` wants.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    /// As [`Self::io`], for rustix's error.
    pub(super) fn errno(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::io(operation, path)(errno.into())
    }
}
