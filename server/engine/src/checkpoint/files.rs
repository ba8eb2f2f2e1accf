//! The files of a workspace, wherever they are: looked at, read, and brought into another
//! state by a program beside the shell, as the session's user. On this machine that is a
//! program of our own; on others the target's.

mod helper;
mod shell;

use std::io;
use std::sync::Arc;

use execgate_core::checkpoint::{ObjectId, Rules, TreePath};

use super::found::{Content, FilesError, Looked};
use super::wire::Order;
use crate::transport::Transport;
use helper::Helper;
use shell::Shell;

/// What to look for.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    /// Whether to go through everything, whatever was told.
    pub(super) complete: bool,
    pub(super) rules: &'a Rules,
    pub(super) max_file_bytes: u64,
    pub(super) max_files: usize,
}

/// A file that is to be put aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Put {
    pub(super) what: PutKind,
    pub(super) id: ObjectId,
}

/// What is put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PutKind {
    /// A file of this mode.
    File(u32),
    /// A link.
    Link,
}

/// Where contents come from.
pub(super) type Load<'a> = dyn Fn(&ObjectId) -> io::Result<Vec<u8>> + Sync + 'a;

/// Where contents go, with the place of their file in the question.
pub(super) type Take<'a> = dyn FnMut(usize, Content) -> io::Result<()> + Send + 'a;

/// A program that looks after files. Dropping it ends it.
pub(super) enum Files {
    /// Ours.
    Helper(Box<Helper>),
    /// The target's.
    Shell(Box<Shell>),
}

impl Files {
    /// Starts the program for this workspace.
    pub(super) async fn start(
        transport: &Arc<dyn Transport>,
        workspace: &str,
    ) -> Result<Self, FilesError> {
        let started = transport.files(workspace).await;
        match started.map_err(|error| unreachable(&error))? {
            Some(process) => Ok(Self::Helper(Box::new(Helper::new(process)))),
            None => {
                let shell = Shell::start(Arc::clone(transport), workspace).await?;
                Ok(Self::Shell(Box::new(shell)))
            }
        }
    }

    /// Looks at the workspace.
    pub(super) async fn look(&mut self, question: &Question<'_>) -> Result<Looked, FilesError> {
        match self {
            Self::Helper(helper) => helper.look(question).await,
            Self::Shell(shell) => shell.look(question).await,
        }
    }

    /// Reads files.
    pub(super) async fn read(
        &mut self,
        paths: &[TreePath],
        take: &mut Take<'_>,
    ) -> Result<(), FilesError> {
        match self {
            Self::Helper(helper) => helper.read(paths, take).await,
            Self::Shell(shell) => shell.read(paths, take).await,
        }
    }

    /// Puts files aside in the workspace, under this name. Whatever comes of it, it has to be
    /// finished.
    pub(super) async fn stage(
        &mut self,
        name: &str,
        puts: &[Put],
        load: &Load<'_>,
    ) -> Result<(), FilesError> {
        match self {
            Self::Helper(helper) => helper.stage(name, puts, load).await,
            Self::Shell(shell) => shell.stage(name, puts, load).await,
        }
    }

    /// Does what is ordered, up to the first that fails.
    pub(super) async fn apply(&mut self, orders: Vec<Order>) -> Result<(), FilesError> {
        match self {
            Self::Helper(helper) => helper.apply(orders).await,
            Self::Shell(shell) => shell.apply(orders).await,
        }
    }

    /// Clears up; says what failed.
    pub(super) async fn finish(&mut self) -> Result<(), FilesError> {
        match self {
            Self::Helper(helper) => helper.finish().await,
            Self::Shell(shell) => shell.finish().await,
        }
    }
}

fn unreachable(error: &impl ToString) -> FilesError {
    FilesError::Unreachable {
        reason: error.to_string(),
    }
}
