//! A path below a workspace: bytes, as Linux has them, and nothing that leads outside.

use std::fmt;

/// Longest path, in bytes: Linux's PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;

/// Deepest directory below a workspace. What lies deeper is left out and named.
pub const MAX_DEPTH: usize = 256;

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It is not below anything.
    #[error("is absolute")]
    Absolute,
    /// It leads somewhere else.
    #[error("holds `.` or `..`")]
    Leads,
    /// No system takes it.
    #[error("is too long or holds a NUL byte")]
    Unusable,
}

/// A path relative to a workspace; the workspace itself is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// A path as somebody gave it; a `/` at the end and doubled ones go.
    ///
    /// # Errors
    /// Where it is absolute, leads elsewhere, is too long or holds a NUL byte.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidPath> {
        if text.first() == Some(&b'/') {
            return Err(InvalidPath::Absolute);
        }
        if text.len() > MAX_PATH_BYTES || text.contains(&0) {
            return Err(InvalidPath::Unusable);
        }
        let mut path = Self::default();
        for name in text.split(|byte| *byte == b'/').filter(|n| !n.is_empty()) {
            match name {
                b"." | b".." => return Err(InvalidPath::Leads),
                name => path = path.join(name),
            }
        }
        match path.depth() > MAX_DEPTH {
            true => Err(InvalidPath::Unusable),
            false => Ok(path),
        }
    }

    /// The path of something in this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// The directory it is in and its name there; nothing for the workspace itself.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        let at = self.0.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = match at {
            None => (&[][..], self.0.as_slice()),
            Some(at) => (
                self.0.get(..at).unwrap_or_default(),
                self.0.get(at + 1..).unwrap_or_default(),
            ),
        };
        Some((Self(parent.to_vec()), name))
    }

    /// The directories it is in, the workspace first, without itself.
    pub fn parents(&self) -> impl Iterator<Item = Self> + '_ {
        let root = (!self.0.is_empty()).then(Self::default);
        let ends = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        root.into_iter()
            .chain(ends.map(|(at, _)| Self(self.0.get(..at).unwrap_or_default().to_vec())))
    }

    /// The names it is made of.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
    }

    /// Whether it is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.0.is_empty()
            || self
                .0
                .strip_prefix(other.0.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
    }

    /// How many names it has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// Whether it is the workspace itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_workspace() {
        let parse = |text: &str| TreePath::parse(text.as_bytes());
        assert_eq!(parse("a//b/").unwrap().as_bytes(), b"a/b");
        assert!(parse("").unwrap().is_root());
        assert_eq!(parse("/etc"), Err(InvalidPath::Absolute));
        for leads in ["..", "a/../b", ".", "a/./b"] {
            assert_eq!(parse(leads), Err(InvalidPath::Leads), "{leads}");
        }
        assert_eq!(parse("a\0"), Err(InvalidPath::Unusable));
    }

    #[test]
    fn a_path_knows_its_directories() {
        let path = TreePath::parse(b"a/b/c").unwrap();
        let parents: Vec<_> = path.parents().map(|p| p.as_bytes().to_vec()).collect();
        assert_eq!(parents, [b"".to_vec(), b"a".to_vec(), b"a/b".to_vec()]);
        let within = |other: &[u8]| path.is_within(&TreePath::parse(other).unwrap());
        assert!(within(b"") && within(b"a/b") && within(b"a/b/c"));
        assert!(!within(b"a/b/c/d") && !within(b"a/bc") && !within(b"b"));
    }
}
