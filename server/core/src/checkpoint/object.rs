//! Git objects: what they are called and how they are named. Repositories of ours use
//! SHA-256: of SHA-1 somebody who writes files can make two with one name, and one of them
//! would then come back as the other.

use std::fmt;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The name of an object: SHA-256 of its header and its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; 32]);

impl ObjectId {
    /// The name of this content.
    #[must_use]
    pub fn of(kind: ObjectKind, content: &[u8]) -> Self {
        let header = format!("{} {}\0", kind.name(), content.len());
        let digest = Sha256::new().chain_update(header).chain_update(content);
        Self(digest.finalize().into())
    }

    /// Reads 64 lower-case hex digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// One state, with what is known of it.
    Commit,
    /// A directory.
    Tree,
    /// The content of a file or a link.
    Blob,
}

impl ObjectKind {
    /// Its name in an object's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }

    /// Its number in a pack.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Tree => 2,
            Self::Blob => 3,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Commit),
            2 => Some(Self::Tree),
            3 => Some(Self::Blob),
            _ => None,
        }
    }
}

/// A commit of a tree. It has no parent: what was forgotten must not be kept by what came
/// after it.
#[must_use]
pub fn commit(tree: ObjectId, time: SystemTime, message: &str) -> Vec<u8> {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let who = format!("execgate <execgate@localhost> {seconds} +0000");
    format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n{message}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_git_names_them() {
        // printf 'hello\n' | git hash-object --stdin, in a repository of SHA-256
        assert_eq!(
            ObjectId::of(ObjectKind::Blob, b"hello\n").to_string(),
            "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"
        );
    }
}
