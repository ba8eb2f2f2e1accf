//! What is found in a workspace: the words in which a target tells of its files.

use std::io;

use execgate_core::checkpoint::{FileKind, Omission, TreePath};

/// By what it is noticed that a file may have changed. The last two cannot be set by anybody
/// who can only write files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Signature {
    /// Bytes.
    pub(crate) size: u64,
    /// When its content changed, in nanoseconds since 1970.
    pub(crate) modified: i64,
    /// When anything of it changed.
    pub(crate) changed: i64,
    /// Its number in its file system.
    pub(crate) inode: u64,
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: FileKind,
    /// Its permission bits.
    pub(crate) mode: u32,
    pub(crate) signature: Signature,
    /// Where a link leads.
    pub(crate) leads: Vec<u8>,
}

/// One directory, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Listing {
    pub(crate) path: TreePath,
    /// Its permission bits.
    pub(crate) mode: u32,
    pub(crate) found: Vec<Found>,
    /// What is left out of it.
    pub(crate) omitted: Vec<OmittedName>,
}

/// A name that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OmittedName {
    pub(crate) name: Vec<u8>,
    pub(crate) reason: Omission,
    /// Whether it is a directory, with all that is in it.
    pub(crate) directory: bool,
}

/// What a look at a workspace has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Looked {
    /// Whether every directory is listed, and not only those in which something happened.
    pub(crate) complete: bool,
    /// Whether the next look will know what happened since this one.
    pub(crate) watching: bool,
    /// The target's clock before the look, in nanoseconds since 1970.
    pub(crate) clock: i64,
    /// Each directory before those in it.
    pub(crate) listings: Vec<Listing>,
}

/// What reading a file gave.
#[derive(Debug)]
pub(crate) enum Content {
    /// What is in it, and how it was when that was read.
    Read {
        signature: Signature,
        mode: u32,
        /// The target's clock before it was read.
        clock: i64,
        bytes: Vec<u8>,
    },
    /// It cannot be had.
    Left(Omission),
    /// It is gone, or something else.
    Gone,
}

/// Why files cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// The program that looks after them is gone or does not make sense.
    #[error("reach the workspace: {reason}")]
    Unreachable { reason: String },
    /// The target lacks a program.
    #[error("use the target: it has no usable {program}")]
    Missing { program: String },
    /// Something could not be done to a file; what was to come after it was not tried.
    #[error("{action} {}: {source}", String::from_utf8_lossy(.path.as_bytes()))]
    Refused {
        action: String,
        path: TreePath,
        source: io::Error,
    },
    /// There are more files than a checkpoint may have.
    #[error("look at the workspace: it holds more than {limit} files")]
    TooMany { limit: usize },
}
