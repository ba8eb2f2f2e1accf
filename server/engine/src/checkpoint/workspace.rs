//! The files of one session: who may work with them when, and the checkpoints that are made
//! of them, asked for or before commands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use execgate_core::audit::{
    AuditBody, CheckpointDeleted, CheckpointFailed, CheckpointIntent, CheckpointOperation,
};
use execgate_core::checkpoint::{Rules, Scope, TreePath};
use execgate_core::ids::{CheckpointId, ExecutionId, Principal, SessionId};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedRwLockReadGuard};

use super::access::CreateCheckpoint;
use super::apart::apart;
use super::capture::{Reason, Wanted};
use super::catalogue::{Checkpoint, CheckpointTrigger};
use super::files::Files;
use super::space::{Checkpoints, Key, Space, Work};
use super::{BUSY_RETRY, CheckpointMode, Saved};
use crate::audit::Durability;
use crate::error::Error;
use crate::session::{Recorder, SessionRedaction};
use crate::transport::Transport;

/// How long a request waits for another one on the same workspace: most take less.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// The files of a session.
pub(crate) struct Workspace {
    pub(crate) directory: String,
    pub(super) mode: CheckpointMode,
    pub(super) principal: Principal,
    pub(super) session: SessionId,
    /// The way to its target, until the session is over: whoever reads of it later holds none.
    pub(super) transport: Mutex<Option<Arc<dyn Transport>>>,
    pub(super) recorder: Recorder,
    pub(super) redaction: Arc<SessionRedaction>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) space: Arc<Space>,
    /// The program that looks after them, and which one it is.
    pub(super) files: AsyncMutex<Option<(Files, u64)>>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// What a workspace is made of.
pub(crate) struct WorkspaceParts {
    pub(crate) directory: String,
    pub(crate) mode: CheckpointMode,
    pub(crate) principal: Principal,
    pub(crate) session: SessionId,
    /// What records call the target.
    pub(crate) target: String,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) recorder: Recorder,
    pub(crate) redaction: Arc<SessionRedaction>,
}

/// A command's hold on the workspace that it runs in: no restore begins meanwhile.
pub(crate) type Presence = OwnedRwLockReadGuard<()>;

impl Workspace {
    pub(crate) fn new(checkpoints: &Arc<Checkpoints>, parts: WorkspaceParts) -> Self {
        let space = checkpoints.space(Key {
            principal: parts.principal.to_string(),
            target: parts.target,
            workspace: parts.directory.clone(),
        });
        Self {
            directory: parts.directory,
            mode: parts.mode,
            principal: parts.principal,
            session: parts.session,
            transport: Mutex::new(Some(parts.transport)),
            recorder: parts.recorder,
            redaction: parts.redaction,
            checkpoints: Arc::clone(checkpoints),
            space,
            files: AsyncMutex::new(None),
        }
    }

    /// The way to its target; nothing when the session is over.
    pub(super) fn transport(&self) -> Option<Arc<dyn Transport>> {
        let transport = self.transport.lock();
        transport.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of the way to its target, and of what that holds: a session that has ended can
    /// be read for a long time.
    pub(super) fn let_go(&self) {
        let transport = self.transport.lock();
        drop(transport.unwrap_or_else(PoisonError::into_inner).take());
    }

    /// When checkpoints are made by themselves.
    pub(crate) fn mode(&self) -> CheckpointMode {
        self.mode
    }

    /// Waits until no restore runs; none begins while the answer is held.
    pub(crate) async fn enter(&self) -> Presence {
        Arc::clone(&self.space.gate).read_owned().await
    }

    /// Saves the files before a command, if they are not saved as they are.
    pub(crate) async fn save_before(
        self: &Arc<Self>,
        execution: ExecutionId,
    ) -> Result<Saved, Error> {
        let this = Arc::clone(self);
        apart(async move {
            let mut work = this.work().await?;
            let wanted = this.wanted(&[], &[], false)?;
            let reason = Reason {
                trigger: CheckpointTrigger::BeforeExecution,
                execution: Some(execution.to_string()),
                description: String::new(),
                labels: BTreeMap::new(),
            };
            let (checkpoint, new) = this.save(&mut work, &wanted, reason).await?;
            this.tidy_later(new, work);
            Ok(Saved {
                checkpoint: checkpoint.id.clone(),
                new,
            })
        })
        .await
    }

    /// Makes a checkpoint that somebody asked for.
    pub(super) async fn create(
        self: Arc<Self>,
        asked: CreateCheckpoint,
    ) -> Result<(Arc<Checkpoint>, bool), Error> {
        let mut work = self.work().await?;
        let settings = &self.checkpoints.settings;
        let wanted = self.wanted(&asked.ignore, &asked.paths, true)?;
        let requested = self.space.list().into_iter().filter(|c| !c.is_automatic());
        if requested.count() >= settings.keep {
            return Err(Error::CheckpointLimit {
                what: "checkpoints",
                limit: settings.keep as u64,
            });
        }
        let reason = Reason {
            trigger: CheckpointTrigger::Requested,
            execution: None,
            description: asked.description,
            labels: asked.labels,
        };
        let parent = self.space.newest_like(|_any| true);
        let captured = self.capture(&mut work, &wanted).await?;
        let unchanged = parent.is_some_and(|parent| {
            parent.tree == captured.tree
                && parent.covers_like(&wanted.scope, wanted.rules.patterns())
        });
        let checkpoint = self.list(captured, &wanted, reason).await?;
        self.tidy_later(true, work);
        Ok((checkpoint, unchanged))
    }

    /// Saves what is wanted, unless the newest checkpoint of all is of the same; whether it
    /// was new.
    pub(super) async fn save(
        &self,
        work: &mut Work,
        wanted: &Wanted,
        reason: Reason,
    ) -> Result<(Arc<Checkpoint>, bool), Error> {
        let captured = match self.capture(work, wanted).await {
            Err(Error::CheckpointLimit { .. }) if self.make_room(work).await => {
                self.capture(work, wanted).await?
            }
            captured => captured?,
        };
        let tree = captured.tree;
        // Only the newest: an older one would soon be too old to be a way back.
        let newest = self
            .space
            .newest_like(|one| one.covers_like(&wanted.scope, wanted.rules.patterns()));
        let same = newest.filter(|newest| newest.tree == tree);
        match same {
            Some(same) => {
                captured.finish()?;
                Ok((same, false))
            }
            None => Ok((self.list(captured, wanted, reason).await?, true)),
        }
    }

    /// Forgets the older half of what nobody asked for; whether there was any.
    async fn make_room(&self, work: &mut Work) -> bool {
        let mut automatic = self.space.list();
        automatic.retain(|checkpoint| checkpoint.is_automatic());
        automatic.sort_by_key(|checkpoint| checkpoint.created);
        let half = automatic.len().div_ceil(2);
        for checkpoint in automatic.iter().take(half) {
            if self.forget(checkpoint, "bytes").await.is_err() {
                return false;
            }
        }
        *work = Work::default();
        half > 0 && self.space.collect(None).is_ok()
    }

    /// Has a checkpoint be gone, on record.
    pub(super) async fn forget(&self, checkpoint: &Checkpoint, why: &str) -> Result<(), Error> {
        forget(&self.space, &self.recorder, &self.shown(), checkpoint, why).await
    }

    /// The rules and the part that are meant.
    pub(super) fn wanted(
        &self,
        ignore: &[String],
        paths: &[TreePath],
        complete: bool,
    ) -> Result<Wanted, Error> {
        let own = self.checkpoints.settings.ignore.iter();
        let patterns: Vec<String> = own.chain(ignore).cloned().collect();
        let rules = Rules::new(&patterns).map_err(|error| Error::InvalidField {
            field: "ignore",
            reason: error.to_string(),
        })?;
        Ok(Wanted {
            rules,
            scope: Scope::new(paths.to_vec()),
            complete,
        })
    }

    /// The right to work with the store, when nobody else does.
    pub(super) async fn work(&self) -> Result<OwnedMutexGuard<Work>, Error> {
        let work = Arc::clone(&self.space.work).lock_owned();
        let got = tokio::time::timeout(WAIT, work).await;
        got.map_err(|_elapsed| busy())
    }

    /// Frees room and forgets what is old, while nobody waits for it.
    fn tidy_later(self: &Arc<Self>, changed: bool, work: OwnedMutexGuard<Work>) {
        if changed {
            let this = Arc::clone(self);
            tokio::spawn(apart(async move {
                this.expire(&work, &this.checkpoints.settings).await;
            }));
        }
    }

    pub(super) async fn note_failed(
        &self,
        operation: CheckpointOperation,
        checkpoint: &CheckpointId,
        error: &impl ToString,
    ) {
        let failed = AuditBody::CheckpointFailed(CheckpointFailed {
            operation,
            checkpoint_id: checkpoint.to_string(),
            reason: self.redaction.redact(&error.to_string()),
        });
        self.recorder.note(None, failed).await;
    }
}

/// Has a checkpoint be gone, on record.
pub(super) async fn forget(
    space: &Space,
    recorder: &Recorder,
    shown: &str,
    checkpoint: &Checkpoint,
    why: &str,
) -> Result<(), Error> {
    let intent = AuditBody::CheckpointIntent(CheckpointIntent {
        operation: CheckpointOperation::Delete,
        checkpoint_id: checkpoint.id.to_string(),
        workspace: shown.to_owned(),
    });
    recorder.record(None, intent, Durability::Synced).await?;
    let removed = space.remove(checkpoint);
    let body = match &removed {
        Ok(()) => AuditBody::CheckpointDeleted(CheckpointDeleted {
            checkpoint_id: checkpoint.id.to_string(),
            reason: why.to_owned(),
        }),
        Err(error) => AuditBody::CheckpointFailed(CheckpointFailed {
            operation: CheckpointOperation::Delete,
            checkpoint_id: checkpoint.id.to_string(),
            reason: error.to_string(),
        }),
    };
    recorder.note(None, body).await;
    Ok(removed?)
}

pub(super) fn busy() -> Error {
    Error::CheckpointBusy {
        retry_after: BUSY_RETRY,
    }
}
