//! Checkpoints as far as they are a function of bytes: how a state of files is written as
//! git objects ([`Tree`], [`pack`]), which files are left out ([`Rules`]), how two states
//! differ ([`compare`]) and in which steps one becomes the other ([`steps()`]).
//!
//! Nothing here reads a file, and nothing here runs git: the objects are git's, so that any
//! git can read a store, and no hook, filter or setting has a place where it could act.

mod changes;
mod ignore;
mod object;
pub mod pack;
mod patch;
mod path;
mod steps;
mod tree;

pub use changes::{Change, ChangeKind, FileState, Objects, Scope, compare};
pub use ignore::{Omission, Rules, RulesError};
pub use object::{ObjectId, ObjectKind, commit};
pub use patch::{MAX_TEXT_BYTES, Patch, is_text, patch};
pub use path::{InvalidPath, MAX_DEPTH, TreePath};
pub use steps::{Step, steps};
pub use tree::{DIRECTORY_MODE, FILE_MODE, FileKind, LINK_MODE, Tree, TreeEntry, TreeError};
