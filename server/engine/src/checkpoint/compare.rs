//! What differs, in words for whoever asks: with sizes, and with texts where they are wanted.
//! Texts of files pass the session's redaction like any output.

use std::io;

use execgate_core::checkpoint::{
    self, Change, ChangeKind, FileKind, ObjectId, Patch, TreePath, patch,
};
use execgate_core::redact::{RedactionRules, Redactor};

use super::repository::Repository;

/// How one file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// What it is.
    pub kind: FileKind,
    /// Its permission bits.
    pub mode: u32,
    /// Its bytes; of a link, those of what it points to.
    pub size: u64,
}

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Where.
    pub path: TreePath,
    /// How.
    pub kind: ChangeKind,
    /// How it was.
    pub before: Option<FileState>,
    /// How it is.
    pub after: Option<FileState>,
    /// What differs in its text, redacted.
    pub patch: Vec<u8>,
    /// Whether that was cut, or left out because the text is too large.
    pub patch_truncated: bool,
    /// Whether either side is no text.
    pub binary: bool,
}

/// How many files differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// New ones.
    pub added: u64,
    /// Those with another content, mode or type.
    pub modified: u64,
    /// Those that are gone.
    pub deleted: u64,
}

impl Summary {
    /// Of these.
    pub(super) fn of(changes: &[Change]) -> Self {
        let mut summary = Self::default();
        for change in changes {
            match change.kind() {
                ChangeKind::Added => summary.added += 1,
                ChangeKind::Deleted => summary.deleted += 1,
                ChangeKind::Modified | ChangeKind::Mode | ChangeKind::Type => {
                    summary.modified += 1;
                }
            }
        }
        summary
    }
}

/// Both sides of a comparison.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    pub(super) before: &'a Repository,
    pub(super) after: &'a Repository,
}

impl Sides<'_> {
    /// A change without its text.
    pub(super) fn describe(&self, change: &Change) -> io::Result<FileChange> {
        let state = |of: &Repository, state: Option<checkpoint::FileState>| {
            let Some(state) = state else { return Ok(None) };
            let size = match state.kind {
                FileKind::Directory => 0,
                FileKind::File | FileKind::Link => of.size(&state.id)?,
            };
            Ok::<_, io::Error>(Some(FileState {
                kind: state.kind,
                mode: state.mode,
                size,
            }))
        };
        Ok(FileChange {
            path: change.path.clone(),
            kind: change.kind(),
            before: state(self.before, change.before)?,
            after: state(self.after, change.after)?,
            patch: Vec::new(),
            patch_truncated: false,
            binary: false,
        })
    }

    /// A change with as much of its text as is wanted.
    pub(super) fn explain(
        &self,
        change: &Change,
        max_patch_bytes: usize,
        rules: &RedactionRules,
    ) -> io::Result<FileChange> {
        let mut described = self.describe(change)?;
        if max_patch_bytes == 0 || change.kind() == ChangeKind::Mode {
            return Ok(described);
        }
        let text = |state: Option<checkpoint::FileState>| {
            let file = state.filter(|state| state.kind != FileKind::Directory);
            file.map(|state| state.id)
        };
        let (old, new) = (text(change.before), text(change.after));
        if old.is_none() && new.is_none() {
            return Ok(described);
        }
        let largest = [described.before, described.after].into_iter().flatten();
        if largest.map(|state| state.size).max() > Some(checkpoint::MAX_TEXT_BYTES as u64) {
            described.patch_truncated = true;
            return Ok(described);
        }
        // Before they are compared: a secret of several lines is none any more behind signs.
        let old_text = redacted(rules, content(self.before, old)?);
        let new_text = redacted(rules, content(self.after, new)?);
        match patch(&old_text, &new_text) {
            Patch::Binary => described.binary = true,
            Patch::TooLarge => described.patch_truncated = true,
            Patch::Text(hunks) => {
                let mut text = header(b"---", b"a/", old, &change.path);
                text.extend(header(b"+++", b"b/", new, &change.path));
                text.extend(hunks);
                described.patch_truncated = text.len() > max_patch_bytes;
                described.patch = cut(text, max_patch_bytes);
            }
        }
        Ok(described)
    }
}

fn content(of: &Repository, id: Option<ObjectId>) -> io::Result<Vec<u8>> {
    match id {
        Some(id) => of.read(&id).map(|(_, content)| content),
        None => Ok(Vec::new()),
    }
}

fn header(sign: &[u8], side: &[u8], id: Option<ObjectId>, path: &TreePath) -> Vec<u8> {
    let name = match id {
        Some(_) => [side, path.as_bytes()].concat(),
        None => b"/dev/null".to_vec(),
    };
    [sign, b" ", &name, b"\n"].concat()
}

/// A text as it may be shown; what is no text stays so.
fn redacted(rules: &RedactionRules, text: Vec<u8>) -> Vec<u8> {
    if !checkpoint::is_text(&text) {
        return text;
    }
    let mut redactor = Redactor::new(rules);
    let mut out = Vec::with_capacity(text.len());
    redactor.push(&text, &mut out);
    redactor.finish(&mut out);
    out
}

/// The beginning of a text, whole lines where there are any.
fn cut(mut text: Vec<u8>, most: usize) -> Vec<u8> {
    if text.len() > most {
        text.truncate(most);
        if let Some(end) = text.iter().rposition(|byte| *byte == b'\n') {
            text.truncate(end + 1);
        }
    }
    text
}
