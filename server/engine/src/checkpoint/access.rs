//! What can be asked of checkpoints: in sessions, where their files are, and beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use execgate_core::audit::Origin;
use execgate_core::checkpoint::{ObjectId, Rules, Scope, TreePath, compare};
use execgate_core::ids::{CheckpointId, Principal, SessionId};
use tokio::sync::mpsc;

use super::apart::apart;
use super::capture::Wanted;
use super::catalogue::Checkpoint;
use super::compare::{FileChange, Sides, Summary};
use super::space::Space;
use super::workspace::{WAIT, Workspace, busy, forget};
use crate::authority::{Owner, Steward};
use crate::engine::Engine;
use crate::error::Error;
use crate::intervention::DELETE_CHECKPOINT;
use crate::session::{Recorder, Session};

/// Differences that wait for a slow reader.
const DIFFERENCES: usize = 16;

/// A checkpoint to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateCheckpoint {
    /// What it is for.
    pub description: String,
    /// The client's own notes.
    pub labels: BTreeMap<String, String>,
    /// Which part of the workspace.
    pub paths: Vec<TreePath>,
    /// Patterns of files to leave out.
    pub ignore: Vec<String>,
}

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The checkpoint to compare from.
    pub from: CheckpointId,
    /// The checkpoint to compare to; the files as they are now where there is none.
    pub to: Option<CheckpointId>,
    /// A session with these files; the one that made the checkpoint where there is none.
    pub session: Option<SessionId>,
    /// Which part.
    pub paths: Vec<TreePath>,
    /// Most bytes of text for each file.
    pub max_patch_bytes: usize,
}

/// Differences as they are found.
#[derive(Debug)]
pub struct Differences {
    /// How many there are.
    pub summary: Summary,
    /// Each of them, or why there are no more.
    pub changes: mpsc::Receiver<Result<FileChange, Error>>,
}

/// What a restore does to files that its checkpoint does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownFiles {
    /// Removes them.
    #[default]
    Remove,
    /// Leaves them.
    Keep,
}

/// What to bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreCheckpoint {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// A session with this workspace; the one that made the checkpoint where there is none.
    pub session: Option<SessionId>,
    /// Which part.
    pub paths: Vec<TreePath>,
    /// Whether to say what would change, and change nothing.
    pub dry_run: bool,
    /// What happens to files that it does not know.
    pub unknown: UnknownFiles,
    /// Whether it is done although commands run in the workspace.
    pub while_running: bool,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What changed.
    pub changes: Vec<FileChange>,
    /// How many files changed.
    pub summary: Summary,
    /// The state before; nothing of a dry run.
    pub pre_restore: Option<CheckpointId>,
    /// What differs from the checkpoint and was left alone, because no checkpoint could have
    /// saved it.
    pub left_alone: Vec<TreePath>,
    /// How many such there are.
    pub left_alone_count: u64,
}

impl Session {
    /// The files that checkpoints cover.
    pub(crate) fn files(&self) -> Result<Arc<Workspace>, Error> {
        let workspace = self.workspace.as_ref().map(Arc::clone);
        workspace.ok_or_else(|| Error::WorkspaceRequired {
            session: self.id.clone(),
        })
    }
}

impl Engine {
    /// Saves the files of a session; whether nothing had changed.
    ///
    /// # Errors
    /// Where there is no such session, it has no workspace, another checkpoint or restore
    /// works with it, there are too many, or its files cannot be read.
    pub async fn create_checkpoint(
        &self,
        principal: &Owner,
        session: &SessionId,
        asked: CreateCheckpoint,
    ) -> Result<(Arc<Checkpoint>, bool), Error> {
        let workspace = self.session(principal, session)?.files()?;
        apart(workspace.create(asked)).await
    }

    /// One checkpoint.
    ///
    /// # Errors
    /// Where the principal has none of this id.
    pub fn checkpoint(
        &self,
        principal: &Principal,
        id: &CheckpointId,
    ) -> Result<Arc<Checkpoint>, Error> {
        self.find_checkpoint(principal, id)
            .map(|(_, checkpoint)| checkpoint)
    }

    /// The principal's checkpoints, in any order.
    #[must_use]
    pub fn checkpoints(&self, principal: &Principal) -> Vec<Arc<Checkpoint>> {
        self.checkpoints.list(principal)
    }

    /// Forgets a checkpoint; its room is freed later.
    ///
    /// # Errors
    /// Where the principal has none of this id, or it cannot be removed.
    pub async fn delete_checkpoint(
        &self,
        principal: &Steward,
        id: &CheckpointId,
    ) -> Result<Arc<Checkpoint>, Error> {
        let (space, checkpoint) = self.find_checkpoint(principal, id)?;
        let session = SessionId::parse(&checkpoint.session).map_err(|_| gone(id))?;
        let act = (DELETE_CHECKPOINT, id.as_str());
        self.intervene(principal, (&session, None), act).await?;
        let recorder = self.recorder_of(principal, &checkpoint)?;
        let deleted = Arc::clone(&checkpoint);
        apart(async move {
            let work = Arc::clone(&space.work).lock_owned();
            let work = tokio::time::timeout(WAIT, work).await;
            let work = work.map_err(|_elapsed| busy())?;
            forget(&space, &recorder, &deleted.workspace, &deleted, "requested").await?;
            space.tidy(work.tree)?;
            Ok(())
        })
        .await?;
        Ok(checkpoint)
    }

    /// What differs.
    ///
    /// # Errors
    /// Where the principal has no such checkpoints or session, they are of different
    /// workspaces, or the files cannot be read.
    pub async fn compare_checkpoint(
        &self,
        principal: &Principal,
        asked: Difference,
    ) -> Result<Differences, Error> {
        let (space, from) = self.find_checkpoint(principal, &asked.from)?;
        let scope = Scope::new(asked.paths);
        let Some(scope) = from.scope.and(&scope) else {
            return Ok(nothing());
        };
        let (after, rules, to) = match &asked.to {
            Some(id) => {
                let (after, to) = self.find_checkpoint(principal, id)?;
                let rules = self.settings.redaction.clone();
                (
                    after.repository()?,
                    rules,
                    To::Tree(to.tree, to.scope.clone()),
                )
            }
            None => {
                let workspace = self.workspace_of(principal, &from, asked.session.as_ref())?;
                let rules = workspace.redaction.rules();
                (workspace.space.repository()?, rules, To::Now(workspace))
            }
        };
        let before = space.repository()?;
        let (send, changes) = mpsc::channel(DIFFERENCES);
        apart(async move {
            let (tree, scope) = match to {
                To::Tree(tree, other) => match scope.and(&other) {
                    Some(scope) => (tree, scope),
                    None => return Ok(nothing()),
                },
                To::Now(workspace) => {
                    let mut work = workspace.work().await?;
                    let wanted = Wanted {
                        rules: Rules::new(&from.ignore).unwrap_or_default(),
                        scope: Scope::default(),
                        complete: true,
                    };
                    let captured = workspace.capture(&mut work, &wanted).await?;
                    (captured.finish()?, scope)
                }
            };
            let found = compare((&*before, Some(from.tree)), (&*after, Some(tree)), &scope)?;
            let summary = Summary::of(&found);
            tokio::task::spawn_blocking(move || {
                let sides = Sides {
                    before: &before,
                    after: &after,
                };
                for change in &found {
                    let explained = sides.explain(change, asked.max_patch_bytes, &rules);
                    if send.blocking_send(explained.map_err(Error::from)).is_err() {
                        return;
                    }
                }
            });
            Ok(Differences { summary, changes })
        })
        .await
    }

    /// Brings files back to a checkpoint.
    ///
    /// # Errors
    /// Where the principal has no such checkpoint or session, commands run, another
    /// checkpoint or restore works with the workspace, or the files cannot be changed.
    pub async fn restore_checkpoint(
        &self,
        principal: &Owner,
        asked: RestoreCheckpoint,
    ) -> Result<Restored, Error> {
        let (source, checkpoint) = self.find_checkpoint(principal, &asked.checkpoint)?;
        let workspace = self.workspace_of(principal, &checkpoint, asked.session.as_ref())?;
        let running = match asked.session.as_ref() {
            Some(session) => self.session(principal, session)?,
            None => self.session(
                principal,
                &SessionId::parse(&checkpoint.session).map_err(|_| gone(&checkpoint.id))?,
            )?,
        };
        let running = running.running_execution();
        apart(workspace.restore(source, checkpoint, asked, running)).await
    }

    /// Has a new session's workspace begin with a checkpoint, of whatever workspace.
    pub(crate) async fn begin_from(
        &self,
        principal: &Principal,
        workspace: &Arc<Workspace>,
        checkpoint: &CheckpointId,
    ) -> Result<(), Error> {
        let (source, checkpoint) = self.find_checkpoint(principal, checkpoint)?;
        let asked = RestoreCheckpoint {
            checkpoint: checkpoint.id.clone(),
            session: None,
            paths: Vec::new(),
            dry_run: false,
            unknown: UnknownFiles::Remove,
            while_running: false,
        };
        let restored = Arc::clone(workspace).restore(source, checkpoint, asked, None);
        apart(restored).await.map(drop)
    }

    /// Where it is recorded what is done with a checkpoint beside its session.
    fn recorder_of(
        &self,
        principal: &Principal,
        checkpoint: &Checkpoint,
    ) -> Result<Recorder, Error> {
        let session = SessionId::parse(&checkpoint.session).map_err(|_| gone(&checkpoint.id))?;
        let store = Arc::clone(&self.audit);
        Ok(Recorder::new(
            store,
            principal.clone(),
            session,
            Origin::default(),
        ))
    }

    pub(crate) fn find_checkpoint(
        &self,
        principal: &Principal,
        id: &CheckpointId,
    ) -> Result<(Arc<Space>, Arc<Checkpoint>), Error> {
        self.checkpoints.find(principal, id).ok_or_else(|| gone(id))
    }

    /// The files of a live session that a checkpoint is of.
    fn workspace_of(
        &self,
        principal: &Principal,
        checkpoint: &Checkpoint,
        session: Option<&SessionId>,
    ) -> Result<Arc<Workspace>, Error> {
        let session = match session {
            Some(session) => self.session(principal, session)?,
            None => {
                let made =
                    SessionId::parse(&checkpoint.session).map_err(|_| gone(&checkpoint.id))?;
                self.session(principal, &made)?
            }
        };
        let workspace = session.files()?;
        let key = &workspace.space.key;
        match (&key.target, &key.workspace) == (&checkpoint.target, &checkpoint.workspace) {
            true => Ok(workspace),
            false => Err(Error::InvalidField {
                field: "session_id",
                reason: format!(
                    "is of {} on {}, and the checkpoint of {} on {}",
                    key.workspace, key.target, checkpoint.workspace, checkpoint.target
                ),
            }),
        }
    }
}

/// What is compared to.
enum To {
    Tree(ObjectId, Scope),
    Now(Arc<Workspace>),
}

fn nothing() -> Differences {
    let (_none, changes) = mpsc::channel(1);
    Differences {
        summary: Summary::default(),
        changes,
    }
}

fn gone(id: &CheckpointId) -> Error {
    Error::CheckpointNotFound {
        checkpoint: id.clone(),
    }
}
