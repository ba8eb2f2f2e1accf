//! In which steps one state becomes another. What is to be written has been put aside on the
//! target before the first step, so that a full disk is met before anything has changed; the
//! steps then only remove, rename, and set modes.

use std::collections::BTreeMap;

use super::changes::Change;
use super::object::ObjectId;
use super::path::TreePath;
use super::tree::FileKind;

/// What a directory's owner needs to change what is in it.
const OWNER: u32 = 0o700;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Gives something a mode.
    Mode {
        /// What.
        path: TreePath,
        /// Its permission bits from here on.
        mode: u32,
    },
    /// Removes a file or a link.
    Remove {
        /// Which.
        path: TreePath,
    },
    /// Removes a directory, which is empty by now.
    RemoveDirectory {
        /// Which.
        path: TreePath,
    },
    /// Makes a directory that its owner can use; its mode follows.
    MakeDirectory {
        /// Where.
        path: TreePath,
    },
    /// Puts a file in its place, in one step where there was one.
    Place {
        /// Where.
        path: TreePath,
        /// Its permission bits.
        mode: u32,
        /// Its content.
        id: ObjectId,
    },
    /// The same with a link.
    Link {
        /// Where.
        path: TreePath,
        /// Where it leads.
        id: ObjectId,
    },
}

/// The steps that make these changes. `mode_of` tells the present mode of a directory.
pub fn steps(changes: &[Change], mode_of: impl Fn(&TreePath) -> Option<u32>) -> Vec<Step> {
    let locked = locked(changes, mode_of);
    let mut steps: Vec<Step> = locked
        .iter()
        .map(|(path, mode)| Step::Mode {
            path: path.clone(),
            mode: mode | OWNER,
        })
        .collect();
    steps.extend(changes.iter().rev().filter_map(removal));
    steps.extend(changes.iter().filter_map(addition));
    steps.extend(final_modes(changes, locked));
    steps
}

/// The directories in which something changes and that their owner cannot use as they are.
fn locked(
    changes: &[Change],
    mode_of: impl Fn(&TreePath) -> Option<u32>,
) -> BTreeMap<TreePath, u32> {
    let mut locked = BTreeMap::new();
    for parent in changes.iter().flat_map(|change| change.path.parents()) {
        match mode_of(&parent) {
            Some(mode) if mode & OWNER != OWNER => drop(locked.insert(parent, mode)),
            Some(_) | None => {}
        }
    }
    locked
}

fn kinds(change: &Change) -> (Option<FileKind>, Option<FileKind>) {
    (
        change.before.map(|state| state.kind),
        change.after.map(|state| state.kind),
    )
}

fn removal(change: &Change) -> Option<Step> {
    let path = change.path.clone();
    match kinds(change) {
        (Some(before), after) if after.is_none_or(|after| after != before) => match before {
            FileKind::Directory => Some(Step::RemoveDirectory { path }),
            // What takes its place does so in one step.
            FileKind::File | FileKind::Link
                if matches!(after, Some(FileKind::File | FileKind::Link)) =>
            {
                None
            }
            FileKind::File | FileKind::Link => Some(Step::Remove { path }),
        },
        _ => None,
    }
}

fn addition(change: &Change) -> Option<Step> {
    let path = change.path.clone();
    let after = change.after?;
    let same = change
        .before
        .is_some_and(|before| (before.kind, before.id) == (after.kind, after.id));
    match (after.kind, change.before.map(|before| before.kind)) {
        (FileKind::Directory, Some(FileKind::Directory)) => None,
        (FileKind::Directory, _) => Some(Step::MakeDirectory { path }),
        (FileKind::File, _) if same => Some(Step::Mode {
            path,
            mode: after.mode,
        }),
        (FileKind::File, _) => Some(Step::Place {
            path,
            mode: after.mode,
            id: after.id,
        }),
        (FileKind::Link, _) if same => None,
        (FileKind::Link, _) => Some(Step::Link { path, id: after.id }),
    }
}

/// The modes of directories, the deepest first: once one is locked nothing below it can be
/// reached.
fn final_modes(changes: &[Change], locked: BTreeMap<TreePath, u32>) -> Vec<Step> {
    let mut modes = locked;
    for change in changes {
        match change.after {
            Some(after) if after.kind == FileKind::Directory => {
                modes.insert(change.path.clone(), after.mode);
            }
            _ => drop(modes.remove(&change.path)),
        }
    }
    let modes = modes.into_iter().rev();
    modes
        .map(|(path, mode)| Step::Mode { path, mode })
        .collect()
}
