//! How two states differ. Directories of one name (of content) are equal and not looked
//! into, so the cost follows what differs and not what is there.

use std::collections::BTreeSet;

use super::object::ObjectId;
use super::path::TreePath;
use super::tree::{FileKind, LINK_MODE, Tree, TreeEntry};

/// Where directories are read from.
pub trait Objects {
    /// Why one cannot be read.
    type Error;

    /// Reads one directory.
    ///
    /// # Errors
    /// Where it is not there or is damaged.
    fn tree(&self, id: &ObjectId) -> Result<Tree, Self::Error>;
}

/// Which part of a workspace is meant. Nothing in it means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Vec<TreePath>);

impl Scope {
    /// These paths, and all that is below them.
    #[must_use]
    pub fn new(paths: Vec<TreePath>) -> Self {
        match paths.iter().any(TreePath::is_root) {
            true => Self::default(),
            false => Self(paths),
        }
    }

    /// What is meant by both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        if self.is_all() || other.is_all() {
            let one = if self.is_all() { other } else { self };
            return Some(one.clone());
        }
        let inner = |a: &Self, b: &Self| -> Vec<TreePath> {
            let within = a.0.iter().filter(|path| b.contains(path));
            within.cloned().collect()
        };
        let mut both = inner(self, other);
        both.extend(inner(other, self));
        both.sort();
        both.dedup();
        (!both.is_empty()).then_some(Self(both))
    }

    /// Whether all is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths.
    #[must_use]
    pub fn paths(&self) -> &[TreePath] {
        &self.0
    }

    /// Whether this path is meant.
    #[must_use]
    pub fn contains(&self, path: &TreePath) -> bool {
        self.is_all() || self.0.iter().any(|meant| path.is_within(meant))
    }

    /// Whether something in this directory is meant, or it itself.
    #[must_use]
    pub fn reaches(&self, directory: &TreePath) -> bool {
        self.contains(directory) || self.0.iter().any(|meant| meant.is_within(directory))
    }
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// What it is.
    pub kind: FileKind,
    /// Its permission bits.
    pub mode: u32,
    /// Its content.
    pub id: ObjectId,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: TreePath,
    /// How it was; nothing where it was not.
    pub before: Option<FileState>,
    /// How it is; nothing where it is not.
    pub after: Option<FileState>,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content is another.
    Modified,
    /// It is gone.
    Deleted,
    /// Only its mode is another.
    Mode,
    /// It is something else.
    Type,
}

impl Change {
    /// How it differs.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match (&self.before, &self.after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Deleted,
            (Some(before), Some(after)) if before.kind != after.kind => ChangeKind::Type,
            (Some(before), Some(after)) => {
                let same = before.id == after.id || before.kind == FileKind::Directory;
                if same {
                    ChangeKind::Mode
                } else {
                    ChangeKind::Modified
                }
            }
        }
    }
}

/// What differs between two states, each directory before what is in it. A state that is not
/// there is empty.
///
/// # Errors
/// Where a directory cannot be read.
pub fn compare<A, B, E>(
    (before, before_root): (&A, Option<ObjectId>),
    (after, after_root): (&B, Option<ObjectId>),
    scope: &Scope,
) -> Result<Vec<Change>, E>
where
    A: Objects<Error = E>,
    B: Objects<Error = E>,
{
    let mut comparison = Comparison {
        before,
        after,
        scope,
        changes: Vec::new(),
    };
    comparison.directory(&TreePath::default(), before_root, after_root)?;
    Ok(comparison.changes)
}

struct Comparison<'a, A, B> {
    before: &'a A,
    after: &'a B,
    scope: &'a Scope,
    changes: Vec<Change>,
}

impl<A, B, E> Comparison<'_, A, B>
where
    A: Objects<Error = E>,
    B: Objects<Error = E>,
{
    fn directory(
        &mut self,
        path: &TreePath,
        before: Option<ObjectId>,
        after: Option<ObjectId>,
    ) -> Result<(), E> {
        if before == after || !self.scope.reaches(path) {
            return Ok(());
        }
        let old = before.map(|id| self.before.tree(&id)).transpose()?;
        let new = after.map(|id| self.after.tree(&id)).transpose()?;
        let at = self.changes.len();
        self.itself(path, (before, old.as_ref()), (after, new.as_ref()));
        self.entries(path, old.as_ref(), new.as_ref())?;
        // A directory on the way to what is meant counts only where something is in it.
        let alone = self.changes.len() == at + 1 && !self.scope.contains(path);
        if alone
            && self
                .changes
                .last()
                .is_some_and(|change| change.path == *path)
        {
            self.changes.pop();
        }
        Ok(())
    }

    /// A directory's own change. That of a workspace is nobody's business but its owner's.
    fn itself(
        &mut self,
        path: &TreePath,
        (before, old): (Option<ObjectId>, Option<&Tree>),
        (after, new): (Option<ObjectId>, Option<&Tree>),
    ) {
        let state = |id: Option<ObjectId>, tree: Option<&Tree>| {
            Some(FileState {
                kind: FileKind::Directory,
                mode: tree?.mode,
                id: id?,
            })
        };
        let same = old.map(|tree| tree.mode) == new.map(|tree| tree.mode);
        if same || path.is_root() {
            return;
        }
        let change = Change {
            path: path.clone(),
            before: state(before, old),
            after: state(after, new),
        };
        let appears = change.before.is_none() && change.after.is_some();
        if appears || self.scope.contains(path) {
            self.changes.push(change);
        }
    }

    fn entries(
        &mut self,
        path: &TreePath,
        old: Option<&Tree>,
        new: Option<&Tree>,
    ) -> Result<(), E> {
        let names = |tree: Option<&Tree>| -> BTreeSet<Vec<u8>> {
            tree.map(|tree| tree.entries.keys().cloned().collect())
                .unwrap_or_default()
        };
        for name in names(old).union(&names(new)) {
            let (was, is) = (
                old.and_then(|tree| tree.entries.get(name)),
                new.and_then(|tree| tree.entries.get(name)),
            );
            if was != is {
                self.entry(path.join(name), was, is)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: TreePath,
        was: Option<&TreeEntry>,
        is: Option<&TreeEntry>,
    ) -> Result<(), E> {
        let directory = |entry: Option<&TreeEntry>| {
            entry
                .filter(|entry| entry.kind == FileKind::Directory)
                .map(|entry| entry.id)
        };
        let other = |entry: Option<&TreeEntry>| {
            let entry = entry.filter(|entry| entry.kind != FileKind::Directory)?;
            Some(FileState {
                kind: entry.kind,
                mode: if entry.kind == FileKind::Link {
                    LINK_MODE
                } else {
                    entry.mode
                },
                id: entry.id,
            })
        };
        let (from, to) = (directory(was), directory(is));
        let (old, new) = (other(was), other(is));
        if from.is_none() && to.is_none() {
            self.add(path, old, new);
            return Ok(());
        }
        // A file that became a directory, or the other way: one change, and what is in it.
        let at = self.changes.len();
        self.directory(&path, from, to)?;
        let on_the_way = to.is_some() && self.changes.len() > at;
        if old.or(new).is_some() && (on_the_way || self.scope.contains(&path)) {
            match self
                .changes
                .get_mut(at)
                .filter(|change| change.path == path)
            {
                Some(change) => {
                    change.before = change.before.or(old);
                    change.after = change.after.or(new);
                }
                None => self.changes.insert(
                    at,
                    Change {
                        path,
                        before: old,
                        after: new,
                    },
                ),
            }
        }
        Ok(())
    }

    fn add(&mut self, path: TreePath, before: Option<FileState>, after: Option<FileState>) {
        if self.scope.contains(&path) {
            self.changes.push(Change {
                path,
                before,
                after,
            });
        }
    }
}
