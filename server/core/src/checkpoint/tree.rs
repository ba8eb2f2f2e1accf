//! A directory as a git tree. Git keeps three modes of files and no empty directory, and
//! refuses entries called `.git`. So a tree of ours may hold one entry more, a blob called
//! `.execgate` with the modes that git has no word for, which also keeps an empty directory;
//! and names that mean something to git get a `%` at the end, which comes off again.

use std::collections::BTreeMap;

use super::object::ObjectId;

/// The mode of a directory of which nothing is noted.
pub const DIRECTORY_MODE: u32 = 0o755;
/// The same for a file that cannot be executed.
pub const FILE_MODE: u32 = 0o644;
/// The same for one that can.
const PROGRAM_MODE: u32 = 0o755;
/// The mode of every link: Linux has no other.
pub const LINK_MODE: u32 = 0o777;
/// Bits that count as a mode: permissions, and the three above them.
const MODE_BITS: u32 = 0o7777;

/// The entry with what git has no word for.
const NOTES: &[u8] = b".execgate";
/// Names that mean something to git, or to us, in any spelling of letters.
const SPECIAL: [&[u8]; 5] = [b".git", b"git~1", b".gitmodules", b".gitattributes", NOTES];
/// What such a name has at its end.
const MARK: u8 = b'%';

/// What something in a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A directory.
    Directory,
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// What it is.
    pub kind: FileKind,
    /// Its permission bits; [`LINK_MODE`] for a link.
    pub mode: u32,
    /// Its content.
    pub id: ObjectId,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its own permission bits.
    pub mode: u32,
    /// What is in it, by name.
    pub entries: BTreeMap<Vec<u8>, TreeEntry>,
}

/// Why something is no tree of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read a directory: it is damaged")]
pub struct TreeError;

impl Tree {
    /// What git has no word for, if there is anything: the content of a blob.
    #[must_use]
    pub fn notes(&self) -> Option<Vec<u8>> {
        let mut notes = Vec::new();
        let mut note = |mode: u32, name: &[u8]| {
            notes.extend_from_slice(format!("{mode:04o} ").as_bytes());
            notes.extend_from_slice(name);
            notes.push(0);
        };
        if self.mode != DIRECTORY_MODE || self.entries.is_empty() {
            note(self.mode, b".");
        }
        for (name, entry) in &self.entries {
            let plain = matches!(entry.mode, FILE_MODE | PROGRAM_MODE);
            if entry.kind == FileKind::File && !plain {
                note(entry.mode, name);
            }
        }
        (!notes.is_empty()).then_some(notes)
    }

    /// The tree's content; `notes` is the name of the blob that [`Tree::notes`] became.
    #[must_use]
    pub fn encode(&self, notes: Option<ObjectId>) -> Vec<u8> {
        let mut rows: Vec<(Vec<u8>, &str, ObjectId)> = self
            .entries
            .iter()
            .map(|(name, entry)| (escape(name), word(entry), entry.id))
            .collect();
        rows.extend(notes.map(|id| (NOTES.to_vec(), "100644", id)));
        // Git sorts a directory as if its name ended in a slash.
        rows.sort_by(|(a, of_a, _), (b, of_b, _)| key(a, of_a).cmp(key(b, of_b)));
        let mut content = Vec::with_capacity(rows.len() * 64);
        for (name, word, id) in rows {
            content.extend_from_slice(word.as_bytes());
            content.push(b' ');
            content.extend_from_slice(&name);
            content.push(0);
            content.extend_from_slice(&id.0);
        }
        content
    }

    /// The name of the blob with the notes of the tree of this content.
    ///
    /// # Errors
    /// Where the content is no tree.
    pub fn notes_id(content: &[u8]) -> Result<Option<ObjectId>, TreeError> {
        let rows = Rows(content).collect::<Result<Vec<_>, _>>()?;
        let notes = rows.into_iter().find(|(_, name, _)| *name == NOTES);
        Ok(notes.map(|(_, _, id)| id))
    }

    /// Reads a tree and the blob with its notes.
    ///
    /// # Errors
    /// Where either is damaged.
    pub fn decode(content: &[u8], notes: Option<&[u8]>) -> Result<Self, TreeError> {
        let mut tree = Self {
            mode: DIRECTORY_MODE,
            entries: BTreeMap::new(),
        };
        for row in Rows(content) {
            let (word, name, id) = row?;
            if name == NOTES {
                continue;
            }
            let (kind, mode) = match word {
                b"40000" => (FileKind::Directory, DIRECTORY_MODE),
                b"100644" => (FileKind::File, FILE_MODE),
                b"100755" => (FileKind::File, PROGRAM_MODE),
                b"120000" => (FileKind::Link, LINK_MODE),
                _ => return Err(TreeError),
            };
            tree.entries
                .insert(unescape(name).to_vec(), TreeEntry { kind, mode, id });
        }
        for note in notes.unwrap_or_default().split(|byte| *byte == 0) {
            if !note.is_empty() {
                tree.take_note(note)?;
            }
        }
        Ok(tree)
    }

    fn take_note(&mut self, note: &[u8]) -> Result<(), TreeError> {
        let (mode, name) = note.split_at_checked(5).ok_or(TreeError)?;
        let mode = std::str::from_utf8(mode).map_err(|_| TreeError)?;
        let mode = u32::from_str_radix(mode.trim_end(), 8).map_err(|_| TreeError)?;
        match (name, self.entries.get_mut(name)) {
            (b".", _) => self.mode = mode & MODE_BITS,
            (_, Some(entry)) => entry.mode = mode & MODE_BITS,
            (_, None) => return Err(TreeError),
        }
        Ok(())
    }
}

/// The rows of a tree's content: mode, name, object.
struct Rows<'a>(&'a [u8]);

impl<'a> Iterator for Rows<'a> {
    type Item = Result<(&'a [u8], &'a [u8], ObjectId), TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let row = self.row();
        if row.is_none() {
            self.0 = &[];
        }
        Some(row.ok_or(TreeError))
    }
}

impl<'a> Rows<'a> {
    fn row(&mut self) -> Option<(&'a [u8], &'a [u8], ObjectId)> {
        let rest = self.0;
        let space = memchr::memchr(b' ', rest)?;
        let (word, rest) = (rest.get(..space)?, rest.get(space + 1..)?);
        let end = memchr::memchr(0, rest)?;
        let (name, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
        let (id, rest) = rest.split_at_checked(32)?;
        let valid = !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..";
        self.0 = rest;
        valid.then_some(())?;
        Some((word, name, ObjectId(id.try_into().ok()?)))
    }
}

/// Git's word for what an entry is.
fn word(entry: &TreeEntry) -> &'static str {
    match entry.kind {
        FileKind::Directory => "40000",
        FileKind::Link => "120000",
        FileKind::File if entry.mode & 0o111 != 0 => "100755",
        FileKind::File => "100644",
    }
}

fn key<'a>(name: &'a [u8], word: &str) -> impl Iterator<Item = u8> + 'a + use<'a> {
    let slash = (word == "40000").then_some(b'/');
    name.iter().copied().chain(slash)
}

/// Whether a name, without the marks at its end, means something to git.
fn is_special(name: &[u8]) -> bool {
    let marks = name.iter().rev().take_while(|byte| **byte == MARK).count();
    let bare = name.get(..name.len() - marks).unwrap_or_default();
    SPECIAL.iter().any(|word| bare.eq_ignore_ascii_case(word))
}

fn escape(name: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    if is_special(&name) {
        name.push(MARK);
    }
    name
}

fn unescape(name: &[u8]) -> &[u8] {
    match name.strip_suffix(&[MARK]) {
        Some(bare) if is_special(bare) => bare,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = TreeEntry> {
        let kind = prop_oneof![
            Just(FileKind::File),
            Just(FileKind::Link),
            Just(FileKind::Directory)
        ];
        (kind, 0_u32..0o10000, any::<[u8; 32]>()).prop_map(|(kind, mode, id)| TreeEntry {
            kind,
            mode: match kind {
                FileKind::File => mode,
                FileKind::Link => LINK_MODE,
                FileKind::Directory => DIRECTORY_MODE,
            },
            id: ObjectId(id),
        })
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        let odd = [
            ".git",
            ".GIT",
            ".git%",
            ".execgate",
            ".execgate%%",
            "git~1",
            ".gitmodules",
        ];
        prop_oneof![
            prop::sample::select(odd.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..5)
                .prop_map(|name| name.into_iter().filter(|b| !b"\0/".contains(b)).collect())
                .prop_filter("a name", |name: &Vec<u8>| {
                    !name.is_empty() && name != b"." && name != b".."
                }),
        ]
    }

    proptest! {
        #[test]
        fn a_tree_comes_back_as_it_was(
            mode in 0_u32..0o10000,
            entries in prop::collection::btree_map(name(), entry(), 0..12),
        ) {
            let tree = Tree { mode, entries };
            let notes = tree.notes();
            let id = notes.as_ref().map(|_| ObjectId([7; 32]));
            let content = tree.encode(id);
            prop_assert_eq!(Tree::notes_id(&content).unwrap(), id);
            prop_assert_eq!(Tree::decode(&content, notes.as_deref()).unwrap(), tree);
        }

        #[test]
        fn damaged_trees_are_refused_or_read(content in prop::collection::vec(any::<u8>(), 0..99)) {
            let _read = Tree::decode(&content, Some(&content));
        }
    }

    #[test]
    fn an_ordinary_directory_needs_no_notes() {
        let file = |mode| TreeEntry {
            kind: FileKind::File,
            mode,
            id: ObjectId([1; 32]),
        };
        let entries = [("a", 0o644), ("b", 0o755)];
        let tree = Tree {
            mode: DIRECTORY_MODE,
            entries: entries
                .map(|(n, m)| (n.as_bytes().to_vec(), file(m)))
                .into(),
        };
        assert_eq!(tree.notes(), None);
        let entries = [("a", 0o600), ("b", 0o755)];
        let tree = Tree {
            mode: 0o700,
            entries: entries
                .map(|(n, m)| (n.as_bytes().to_vec(), file(m)))
                .into(),
        };
        assert_eq!(tree.notes().unwrap(), b"0700 .\x000600 a\0");
    }
}
