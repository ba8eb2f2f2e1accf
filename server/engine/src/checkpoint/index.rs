//! What is known of a workspace: every file that a checkpoint would hold, by what a change of
//! it would be noticed, and the object that its content is. A look is laid over it; what has
//! changed is read; and directories are written anew only where something in them is new.
//! The cost of a checkpoint so follows what changed.

use std::collections::BTreeMap;
use std::io;

use execgate_core::checkpoint::{
    FileKind, LINK_MODE, ObjectId, ObjectKind, Omission, Scope, Tree, TreeEntry, TreePath,
};

use super::found::{Found, Listing, Looked, OmittedName, Signature};

/// What changed less than this before it was looked at may change again without a new time:
/// the kernel's clock for files goes by up to ten milliseconds, in nanoseconds.
const TICK: i64 = 20_000_000;

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// A workspace as it is known.
#[derive(Debug, Default)]
pub(super) struct Index {
    root: Directory,
}

#[derive(Debug, Default, Clone)]
struct Directory {
    mode: u32,
    entries: BTreeMap<Vec<u8>, Node>,
    omitted: Vec<OmittedName>,
    /// What it was written as, if nothing in it is new since.
    written: Option<Written>,
}

/// A directory that has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    /// Files and links below it.
    pub(super) files: u64,
    /// Bytes of those files.
    pub(super) bytes: u64,
    /// What is left out below it.
    pub(super) omitted: u64,
}

/// Something that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Omitted {
    pub(super) path: TreePath,
    pub(super) reason: Omission,
    /// Whether it is a directory, with all that is in it.
    pub(super) directory: bool,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    id: ObjectId,
    totals: Totals,
}

#[derive(Debug, Clone)]
enum Node {
    File(File),
    Link(Vec<u8>),
    Directory(Box<Directory>),
}

#[derive(Debug, Clone)]
struct File {
    mode: u32,
    /// Nothing where it has to be read whatever it looks like.
    signature: Option<Signature>,
    size: u64,
    content: Option<ObjectId>,
}

/// Where objects go.
pub(super) type Sink<'a> = dyn FnMut(ObjectKind, &[u8]) -> io::Result<ObjectId> + 'a;

impl Index {
    /// Takes in what a look has found.
    pub(super) fn take(&mut self, looked: Looked) {
        if looked.complete && looked.listings.is_empty() {
            // The workspace is not there: nothing is in it.
            self.root = Directory::default();
        }
        for listing in looked.listings {
            let path = listing.path.clone();
            let Some(directory) = self.root.at(&path) else {
                continue;
            };
            if directory.take(listing, looked.clock) {
                self.root.touch(&path);
            }
        }
    }

    /// The files whose content is not known.
    pub(super) fn unread(&self) -> Vec<TreePath> {
        let mut paths = Vec::new();
        self.root.unread(&TreePath::default(), &mut paths);
        paths
    }

    /// A file has been read.
    pub(super) fn set_content(
        &mut self,
        path: &TreePath,
        (signature, mode, clock): (Signature, u32, i64),
        content: ObjectId,
    ) {
        if let Some((directory, name)) = self.place(path) {
            let file = File {
                mode,
                signature: settled(signature, clock),
                size: signature.size,
                content: Some(content),
            };
            directory.entries.insert(name, Node::File(file));
        }
    }

    /// A file cannot be had, or is gone.
    pub(super) fn leave_out(&mut self, path: &TreePath, reason: Option<Omission>) {
        if let Some((directory, name)) = self.place(path) {
            directory.entries.remove(&name);
            directory.omitted.extend(reason.map(|reason| OmittedName {
                name,
                reason,
                directory: false,
            }));
        }
        self.root.touch(
            &path
                .split()
                .map_or_else(TreePath::default, |(parent, _)| parent),
        );
    }

    fn place(&mut self, path: &TreePath) -> Option<(&mut Directory, Vec<u8>)> {
        let (parent, name) = path.split()?;
        Some((self.root.at(&parent)?, name.to_vec()))
    }

    /// Writes what is meant, as far as it is new; the object that it is.
    pub(super) fn write(
        &mut self,
        scope: &Scope,
        sink: &mut Sink<'_>,
    ) -> io::Result<(ObjectId, Totals)> {
        let written = match scope.is_all() {
            true => self.root.write(true, sink)?,
            false => self.root.write_part(&TreePath::default(), scope, sink)?,
        };
        Ok((written.id, written.totals))
    }

    /// What is left out of what is meant, at most so many.
    pub(super) fn omitted(&self, scope: &Scope, most: usize) -> Vec<Omitted> {
        let mut omitted = Vec::new();
        self.root
            .omitted(&TreePath::default(), scope, most, &mut omitted);
        omitted
    }

    /// The mode of a directory; nothing where there is none.
    pub(super) fn directory_mode(&self, path: &TreePath) -> Option<u32> {
        self.root.find(path).map(|directory| directory.mode)
    }

    /// Whether something is left out below this directory.
    pub(super) fn holds_omitted(&self, path: &TreePath) -> bool {
        self.root
            .find(path)
            .is_some_and(|directory| directory.has_omitted())
    }

    /// Whether this very name, or a directory that it would be in, is left out.
    pub(super) fn is_omitted(&self, path: &TreePath) -> bool {
        let mut at = &self.root;
        for name in path.names() {
            if at.omitted.iter().any(|omitted| omitted.name == name) {
                return true;
            }
            match at.entries.get(name) {
                Some(Node::Directory(next)) => at = next,
                _ => return false,
            }
        }
        false
    }
}

/// What a file looks like, if it cannot change and look the same.
fn settled(signature: Signature, clock: i64) -> Option<Signature> {
    // Some file systems count in seconds.
    let tick = match signature.changed % SECOND {
        0 => SECOND + TICK,
        _ => TICK,
    };
    (signature.changed < clock.saturating_sub(tick)).then_some(signature)
}

impl Directory {
    fn at(&mut self, path: &TreePath) -> Option<&mut Self> {
        let mut at = self;
        for name in path.names() {
            match at.entries.get_mut(name) {
                Some(Node::Directory(next)) => at = next,
                _ => return None,
            }
        }
        Some(at)
    }

    fn find(&self, path: &TreePath) -> Option<&Self> {
        let mut at = self;
        for name in path.names() {
            match at.entries.get(name) {
                Some(Node::Directory(next)) => at = next,
                _ => return None,
            }
        }
        Some(at)
    }

    /// Something in this directory is new.
    fn touch(&mut self, path: &TreePath) {
        let mut at = self;
        at.written = None;
        for name in path.names() {
            match at.entries.get_mut(name) {
                Some(Node::Directory(next)) => at = next,
                _ => return,
            }
            at.written = None;
        }
    }

    /// Takes in one listing; whether anything is new.
    fn take(&mut self, listing: Listing, clock: i64) -> bool {
        let mut before = std::mem::take(&mut self.entries);
        let mut new = self.mode != listing.mode
            || self.omitted != listing.omitted
            || before.len() != listing.found.len();
        self.mode = listing.mode;
        self.omitted = listing.omitted;
        for found in listing.found {
            let (node, same) = Node::of(&found, before.remove(&found.name), clock);
            new |= !same;
            self.entries.insert(found.name, node);
        }
        new
    }

    fn unread(&self, path: &TreePath, paths: &mut Vec<TreePath>) {
        if self.written.is_some() {
            return;
        }
        for (name, node) in &self.entries {
            match node {
                Node::File(File { content: None, .. }) => paths.push(path.join(name)),
                Node::Directory(directory) => directory.unread(&path.join(name), paths),
                Node::File(_) | Node::Link(_) => {}
            }
        }
    }

    fn write(&mut self, root: bool, sink: &mut Sink<'_>) -> io::Result<Written> {
        if let Some(written) = self.written {
            return Ok(written);
        }
        let mut totals = Totals {
            omitted: self.omitted.len() as u64,
            ..Totals::default()
        };
        let mut tree = self.empty_tree(root);
        for (name, node) in &mut self.entries {
            let entry = match node {
                Node::Directory(directory) => {
                    let written = directory.write(false, sink)?;
                    totals.add(written.totals);
                    directory_entry(written.id)
                }
                other => other.write(&mut totals, sink)?,
            };
            tree.entries.insert(name.clone(), entry);
        }
        let id = write_tree(&tree, sink)?;
        Ok(*self.written.insert(Written { id, totals }))
    }

    /// Writes only what is meant; nothing of that is remembered.
    fn write_part(
        &mut self,
        path: &TreePath,
        scope: &Scope,
        sink: &mut Sink<'_>,
    ) -> io::Result<Written> {
        let mut totals = Totals::default();
        let mut tree = self.empty_tree(path.is_root());
        for omitted in &self.omitted {
            totals.omitted += u64::from(scope.contains(&path.join(&omitted.name)));
        }
        for (name, node) in &mut self.entries {
            let path = path.join(name);
            let entry = match node {
                Node::Directory(directory) if scope.contains(&path) => {
                    let written = directory.write(false, sink)?;
                    totals.add(written.totals);
                    directory_entry(written.id)
                }
                Node::Directory(directory) if scope.reaches(&path) => {
                    let written = directory.write_part(&path, scope, sink)?;
                    totals.add(written.totals);
                    directory_entry(written.id)
                }
                other if scope.contains(&path) => other.write(&mut totals, sink)?,
                _ => continue,
            };
            tree.entries.insert(name.clone(), entry);
        }
        let id = write_tree(&tree, sink)?;
        Ok(Written { id, totals })
    }

    /// The mode of a workspace itself is its owner's business.
    fn empty_tree(&self, root: bool) -> Tree {
        Tree {
            mode: match root {
                true => execgate_core::checkpoint::DIRECTORY_MODE,
                false => self.mode,
            },
            entries: BTreeMap::new(),
        }
    }

    fn omitted(&self, path: &TreePath, scope: &Scope, most: usize, into: &mut Vec<Omitted>) {
        let none = self
            .written
            .is_some_and(|written| written.totals.omitted == 0);
        if none || !scope.reaches(path) {
            return;
        }
        for omitted in &self.omitted {
            let path = path.join(&omitted.name);
            if into.len() < most && scope.contains(&path) {
                into.push(Omitted {
                    path,
                    reason: omitted.reason,
                    directory: omitted.directory,
                });
            }
        }
        for (name, node) in &self.entries {
            if let Node::Directory(directory) = node
                && into.len() < most
            {
                directory.omitted(&path.join(name), scope, most, into);
            }
        }
    }

    fn has_omitted(&self) -> bool {
        match self.written {
            Some(written) => written.totals.omitted > 0,
            None => {
                !self.omitted.is_empty()
                    || self.entries.values().any(|node| match node {
                        Node::Directory(directory) => directory.has_omitted(),
                        Node::File(_) | Node::Link(_) => false,
                    })
            }
        }
    }
}

impl Node {
    /// What has been found, and whether it is what was there before.
    fn of(found: &Found, before: Option<Self>, clock: i64) -> (Self, bool) {
        match (found.kind, before) {
            (FileKind::File, Some(Self::File(file)))
                if file.signature == Some(found.signature) && file.mode == found.mode =>
            {
                let known = file.content.is_some();
                (Self::File(file), known)
            }
            (FileKind::File, Some(Self::File(file)))
                if file.signature == Some(found.signature) && file.content.is_some() =>
            {
                let mode = found.mode;
                (Self::File(File { mode, ..file }), false)
            }
            (FileKind::File, _) => {
                let file = File {
                    mode: found.mode,
                    signature: settled(found.signature, clock),
                    size: found.signature.size,
                    content: None,
                };
                (Self::File(file), false)
            }
            (FileKind::Link, before) => {
                let same = matches!(&before, Some(Self::Link(leads)) if *leads == found.leads);
                (Self::Link(found.leads.clone()), same)
            }
            (FileKind::Directory, Some(Self::Directory(mut directory))) => {
                let same = directory.mode == found.mode;
                directory.mode = found.mode;
                if !same {
                    directory.written = None;
                }
                (Self::Directory(directory), same)
            }
            (FileKind::Directory, _) => {
                let directory = Directory {
                    mode: found.mode,
                    ..Directory::default()
                };
                (Self::Directory(Box::new(directory)), false)
            }
        }
    }

    fn write(&self, totals: &mut Totals, sink: &mut Sink<'_>) -> io::Result<TreeEntry> {
        totals.files += 1;
        match self {
            Self::File(file) => {
                totals.bytes += file.size;
                Ok(TreeEntry {
                    kind: FileKind::File,
                    mode: file.mode,
                    id: file.content.ok_or(io::ErrorKind::NotFound)?,
                })
            }
            Self::Link(leads) => Ok(TreeEntry {
                kind: FileKind::Link,
                mode: LINK_MODE,
                id: sink(ObjectKind::Blob, leads)?,
            }),
            Self::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.omitted += other.omitted;
    }
}

/// The mode of a directory stands in its own tree; here stands the one that git has.
fn directory_entry(id: ObjectId) -> TreeEntry {
    TreeEntry {
        kind: FileKind::Directory,
        mode: execgate_core::checkpoint::DIRECTORY_MODE,
        id,
    }
}

fn write_tree(tree: &Tree, sink: &mut Sink<'_>) -> io::Result<ObjectId> {
    let notes = tree.notes();
    let notes = notes
        .map(|notes| sink(ObjectKind::Blob, &notes))
        .transpose()?;
    sink(ObjectKind::Tree, &tree.encode(notes))
}
