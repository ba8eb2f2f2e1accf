//! Saves a workspace: look, read what is new, write objects, and list the checkpoint. Between
//! the look and the listing nothing of it counts, so a failure leaves nothing but room to be
//! freed.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use execgate_core::audit::{AuditBody, CheckpointCreated, CheckpointIntent, CheckpointOperation};
use execgate_core::checkpoint::{ObjectId, ObjectKind, Omission, Rules, Scope, TreePath, commit};
use execgate_core::ids::CheckpointId;

use super::CheckpointSettings;
use super::catalogue::{Checkpoint, CheckpointTrigger, OmittedFile};
use super::files::{Files, Question};
use super::found::{Content, FilesError};
use super::index::{Index, Totals};
use super::repository::PackWriter;
use super::space::Work;
use super::workspace::Workspace;
use crate::audit::Durability;
use crate::error::Error;
use crate::random;

/// Files that are asked for at once.
const READ_FILES: usize = 1024;

/// What is left out and listed at most.
const MAX_OMITTED: usize = 1000;

/// The next program that looks after files.
static NEXT_LOOKER: AtomicU64 = AtomicU64::new(1);

/// Which state is meant.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) rules: Rules,
    pub(super) scope: Scope,
    /// Whether to go through everything, whatever was told.
    pub(super) complete: bool,
}

/// A state that has been read, and is not listed.
pub(super) struct Captured {
    pub(super) tree: ObjectId,
    pub(super) totals: Totals,
    pub(super) omitted: Vec<OmittedFile>,
    writer: PackWriter,
}

impl Captured {
    /// Has its objects be there without a checkpoint: to be compared with.
    pub(super) fn finish(self) -> io::Result<ObjectId> {
        self.writer.finish()?;
        Ok(self.tree)
    }
}

/// What a checkpoint is made for.
#[derive(Debug, Clone)]
pub(super) struct Reason {
    pub(super) trigger: CheckpointTrigger,
    pub(super) execution: Option<String>,
    pub(super) description: String,
    pub(super) labels: BTreeMap<String, String>,
}

impl Workspace {
    /// Reads the workspace as far as it is not known.
    pub(super) async fn capture(
        &self,
        work: &mut Work,
        wanted: &Wanted,
    ) -> Result<Captured, Error> {
        let mut files = self.files.lock().await;
        let captured = self.try_capture(&mut files, work, wanted).await;
        if captured.is_err() {
            // What has been told since the last look is lost with it.
            *work = Work::default();
            *files = None;
        }
        captured
    }

    async fn try_capture(
        &self,
        files: &mut Option<(Files, u64)>,
        work: &mut Work,
        wanted: &Wanted,
    ) -> Result<Captured, Error> {
        let settings = &self.checkpoints.settings;
        let (files, looker) = self.reach(files).await?;
        let patterns = wanted.rules.patterns();
        let known = work.index.is_some() && work.looker == looker && work.patterns == patterns;
        let looked = files
            .look(&Question {
                complete: wanted.complete || !known,
                rules: &wanted.rules,
                max_file_bytes: settings.max_file_bytes,
                max_files: settings.max_files,
            })
            .await?;
        let mut index = work.index.take().unwrap_or_default();
        index.take(looked);
        let repository = self.space.repository()?;
        let mut writer = repository.writer();
        work.repository = Some(repository);
        loop {
            let unread = index.unread();
            if unread.is_empty() {
                break;
            }
            self.read(files, &unread, &mut index, &mut writer).await?;
        }
        let mut sink = |kind: ObjectKind, content: &[u8]| writer.add(kind, content);
        let (tree, totals) = index.write(&wanted.scope, &mut sink)?;
        let omitted = index.omitted(&wanted.scope, MAX_OMITTED).into_iter();
        let omitted = omitted.map(|omitted| OmittedFile {
            path: shown(&omitted.path, omitted.directory),
            reason: omitted.reason,
        });
        let omitted = omitted.collect();
        work.index = Some(index);
        work.patterns = wanted.rules.patterns().to_vec();
        work.looker = looker;
        work.tree = wanted.scope.is_all().then_some(tree);
        Ok(Captured {
            tree,
            totals,
            omitted,
            writer,
        })
    }

    /// The program that looks after the files, started where it does not run.
    pub(super) async fn reach<'a>(
        &self,
        files: &'a mut Option<(Files, u64)>,
    ) -> Result<(&'a mut Files, u64), Error> {
        if files.is_none() {
            let transport = self.transport().ok_or_else(|| Error::CheckpointFailed {
                reason: "its session is over".to_owned(),
            })?;
            let started = Files::start(&transport, &self.directory).await?;
            let looker = NEXT_LOOKER.fetch_add(1, Ordering::Relaxed);
            *files = Some((started, looker));
        }
        match files {
            Some((files, looker)) => Ok((files, *looker)),
            None => Err(Error::CheckpointFailed {
                reason: "its program did not start".to_owned(),
            }),
        }
    }

    async fn read(
        &self,
        files: &mut Files,
        unread: &[TreePath],
        index: &mut Index,
        writer: &mut PackWriter,
    ) -> Result<(), Error> {
        let settings = &self.checkpoints.settings;
        let room = settings.max_bytes.saturating_sub(self.space.bytes());
        let room = room.min(
            settings
                .max_total_bytes
                .saturating_sub(self.checkpoints.bytes()),
        );
        for batch in unread.chunks(READ_FILES) {
            let mut take = |number: usize, content: Content| -> io::Result<()> {
                let Some(path) = batch.get(number) else {
                    return Ok(());
                };
                match content {
                    Content::Read { bytes, .. } if bytes.len() as u64 > settings.max_file_bytes => {
                        index.leave_out(path, Some(Omission::TooLarge));
                    }
                    Content::Read {
                        signature,
                        mode,
                        clock,
                        bytes,
                    } => {
                        let id = writer.add(ObjectKind::Blob, &bytes)?;
                        index.set_content(path, (signature, mode, clock), id);
                    }
                    Content::Left(reason) => index.leave_out(path, Some(reason)),
                    Content::Gone => index.leave_out(path, None),
                }
                match writer.bytes() > room {
                    true => Err(io::ErrorKind::QuotaExceeded.into()),
                    false => Ok(()),
                }
            };
            let read = files.read(batch, &mut take).await;
            if writer.bytes() > room {
                return Err(Error::CheckpointLimit {
                    what: "checkpoint bytes",
                    limit: settings.max_bytes,
                });
            }
            read?;
        }
        Ok(())
    }

    /// Lists a checkpoint of what has been captured.
    pub(super) async fn list(
        &self,
        captured: Captured,
        wanted: &Wanted,
        reason: Reason,
    ) -> Result<std::sync::Arc<Checkpoint>, Error> {
        let parent = self.space.newest_like(|_any| true);
        let checkpoint = Checkpoint {
            id: CheckpointId::from_random(random::bytes()?),
            principal: self.principal.clone(),
            session: self.session.to_string(),
            target: self.space.key.target.clone(),
            workspace: self.space.key.workspace.clone(),
            created: now(),
            trigger: reason.trigger,
            execution: reason.execution,
            description: reason.description,
            labels: reason.labels,
            parent: parent.map(|parent| parent.id.clone()),
            files: captured.totals.files,
            bytes: captured.totals.bytes,
            tree: captured.tree,
            omitted: captured.omitted,
            omitted_count: captured.totals.omitted,
            scope: wanted.scope.clone(),
            ignore: wanted.rules.patterns().to_vec(),
        };
        self.intend(CheckpointOperation::Create, &checkpoint.id)
            .await?;
        let mut writer = captured.writer;
        let message = String::from_utf8_lossy(&checkpoint.to_json()?).into_owned();
        let text = commit(checkpoint.tree, checkpoint.created, &message);
        let written = writer.add(ObjectKind::Commit, &text);
        let added = written.and_then(|commit| {
            writer.finish()?;
            self.space.add(checkpoint.clone(), &commit)
        });
        match added {
            Ok(added) => {
                let created = AuditBody::CheckpointCreated(CheckpointCreated {
                    checkpoint_id: added.id.to_string(),
                    workspace: self.shown(),
                    content_digest: added.tree.to_string(),
                });
                self.recorder.note(None, created).await;
                Ok(added)
            }
            Err(error) => {
                let operation = CheckpointOperation::Create;
                self.note_failed(operation, &checkpoint.id, &error).await;
                Err(error.into())
            }
        }
    }

    /// What is about to be done is on stable storage before it is.
    pub(super) async fn intend(
        &self,
        operation: CheckpointOperation,
        checkpoint: &CheckpointId,
    ) -> Result<(), Error> {
        let intent = AuditBody::CheckpointIntent(CheckpointIntent {
            operation,
            checkpoint_id: checkpoint.to_string(),
            workspace: self.shown(),
        });
        let recorded = self.recorder.record(None, intent, Durability::Synced).await;
        Ok(recorded?)
    }

    /// The workspace as records name it.
    pub(super) fn shown(&self) -> String {
        self.redaction.redact(&self.directory)
    }

    /// Forgets what is too old or too much; frees room where that is due.
    pub(super) async fn expire(&self, work: &Work, settings: &CheckpointSettings) {
        let expired = self.space.expired(settings, SystemTime::now());
        for (checkpoint, reason) in &expired {
            if let Err(error) = self.forget(checkpoint, reason).await {
                tracing::warn!(%error, "an old checkpoint was not forgotten");
                return;
            }
        }
        if let Err(error) = self.space.tidy(work.tree) {
            tracing::warn!(%error, "a store of checkpoints was not tidied");
        }
    }
}

impl From<FilesError> for Error {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::TooMany { limit } => Self::CheckpointLimit {
                what: "checkpoint files",
                limit: limit as u64,
            },
            FilesError::Missing { program } => Self::CheckpointProgramMissing { program },
            other => Self::CheckpointFailed {
                reason: other.to_string(),
            },
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::CheckpointFailed {
            reason: format!("use the store: {error}"),
        }
    }
}

/// The time, as exactly as it is kept.
fn now() -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

/// A path as reports name it.
pub(super) fn shown(path: &TreePath, directory: bool) -> Vec<u8> {
    let mut shown = path.as_bytes().to_vec();
    if directory {
        shown.push(b'/');
    }
    shown
}
