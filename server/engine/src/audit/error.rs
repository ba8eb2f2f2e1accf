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
    /// The disk is full; what is left of it is for what runs.
    #[error("record in {}: no space is left for what is to begin", dir.display())]
    NoSpace {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The log ends before a head that was signed.
    #[error(
        "open the audit log {}: it ends with record {last}, and a head of record {signed} was signed",
        dir.display()
    )]
    Truncated {
        /// The log's directory.
        dir: PathBuf,
        /// Its last record.
        last: u64,
        /// The record that was the last when the head was signed.
        signed: u64,
    },
    /// The log is not the one that its head was signed for.
    #[error(
        "read the audit log {}: its records up to {signed} are not those that were signed",
        dir.display()
    )]
    HeadMismatch {
        /// The log's directory.
        dir: PathBuf,
        /// The record of the head.
        signed: u64,
    },
    /// A head that was kept elsewhere is older than what is kept here.
    #[error("check a head of record {size}: the log begins with record {first}")]
    HeadTooOld {
        /// The record of the head.
        size: u64,
        /// The first record that is kept.
        first: u64,
    },
    /// The index for queries failed; it is made anew.
    #[error("use the audit index: {problem}")]
    Index {
        /// What SQLite said.
        problem: String,
    },
    /// The store does not sign.
    #[error("sign the audit log: there is no key")]
    NotSigned,
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

    /// As [`Self::io`], for the index.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "map_err hands the error over"
    )]
    pub(super) fn index(error: rusqlite::Error) -> Self {
        Self::Index {
            problem: error.to_string(),
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
