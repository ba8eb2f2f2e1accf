//! Brings a workspace back to a checkpoint.
//!
//! ```text
//! look ─► compare ─► save what is ─► journal, record ─► put aside ─► steps ─► look again
//!            └ dry run ends here                            │          │         │
//!                 failed: nothing has changed ◄─────────────┘          │         │
//!                 failed: back to what was saved, or incomplete ◄──────┘         │
//!                 as asked: journal away, record; else incomplete ◄──────────────┘
//! ```
//!
//! Where the server ends on the way, the journal stays: the next restore removes what was put
//! aside, and finishes, since each compares with what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use execgate_core::audit::{AuditBody, CheckpointOperation, CheckpointRestored};
use execgate_core::checkpoint::{Change, ObjectId, Rules, Scope, Step, TreePath, compare, steps};
use execgate_core::ids::{CheckpointId, ExecutionId};
use tokio::sync::OwnedRwLockWriteGuard;

use super::access::{RestoreCheckpoint, Restored, UnknownFiles};
use super::capture::{Reason, Wanted};
use super::catalogue::{Checkpoint, CheckpointTrigger};
use super::compare::{Sides, Summary};
use super::files::{Put, PutKind};
use super::repository::Repository;
use super::space::{Journal, Space, Work};
use super::wire::Order;
use super::workspace::{Workspace, busy};
use crate::error::Error;
use crate::random;

/// What the directory of files that were put aside is called, and random letters.
const ASIDE: &str = ".execgate-restore-";

/// Changes that are listed at most.
const MAX_LISTED: usize = 10_000;

/// Paths left alone that are listed at most.
const MAX_LEFT_ALONE: usize = 1000;

/// What a restore works with.
struct Restore<'a> {
    workspace: &'a Workspace,
    source: Arc<Repository>,
    own: Arc<Repository>,
    checkpoint: &'a Checkpoint,
    scope: Scope,
    wanted: Wanted,
    unknown: UnknownFiles,
    aside: String,
}

/// What stands between a workspace and a state.
struct Plan {
    /// What it is now.
    tree: ObjectId,
    changes: Vec<Change>,
    left_alone: Vec<TreePath>,
}

impl Workspace {
    /// Restores a checkpoint of `source`, which may be of another workspace. `running` is what
    /// runs in the session that it is asked of.
    pub(super) async fn restore(
        self: Arc<Self>,
        source: Arc<Space>,
        checkpoint: Arc<Checkpoint>,
        asked: RestoreCheckpoint,
        running: Option<ExecutionId>,
    ) -> Result<Restored, Error> {
        let _alone = self.alone(&asked, running)?;
        let Ok(mut work) = Arc::clone(&self.space.work).try_lock_owned() else {
            return Err(busy());
        };
        let scope = Scope::new(asked.paths.clone()).and(&checkpoint.scope);
        let Some(scope) = scope else {
            return Err(Error::InvalidField {
                field: "paths",
                reason: "are none of the checkpoint's".to_owned(),
            });
        };
        let random: [u8; 8] = random::bytes()?;
        let restore = Restore {
            workspace: &self,
            source: source.repository()?,
            own: self.space.repository()?,
            checkpoint: &checkpoint,
            scope,
            wanted: Wanted {
                rules: Rules::new(&checkpoint.ignore).unwrap_or_default(),
                scope: Scope::default(),
                complete: true,
            },
            unknown: asked.unknown,
            aside: format!("{ASIDE}{}", HEXLOWER.encode(&random)),
        };
        match asked.dry_run {
            true => {
                let plan = restore.plan(&mut work, checkpoint.tree).await?;
                restore.report(&plan, None)
            }
            false => restore.run(&mut work, &asked).await,
        }
    }

    /// Keeps commands away from the workspace, if none runs.
    fn alone(
        &self,
        asked: &RestoreCheckpoint,
        running: Option<ExecutionId>,
    ) -> Result<Option<OwnedRwLockWriteGuard<()>>, Error> {
        match Arc::clone(&self.space.gate).try_write_owned() {
            Ok(alone) => Ok(Some(alone)),
            Err(_) if asked.dry_run || asked.while_running => Ok(None),
            Err(_) => match running {
                Some(running) => Err(Error::SessionBusy {
                    session: self.session.clone(),
                    running,
                }),
                // Another session's command, or another restore.
                None => Err(busy()),
            },
        }
    }
}

impl Restore<'_> {
    /// What has to change to become this state of the source.
    async fn plan(&self, work: &mut Work, target: ObjectId) -> Result<Plan, Error> {
        self.plan_from(&self.source, work, target, &self.scope)
            .await
    }

    async fn plan_from(
        &self,
        source: &Repository,
        work: &mut Work,
        target: ObjectId,
        scope: &Scope,
    ) -> Result<Plan, Error> {
        let captured = self.workspace.capture(work, &self.wanted).await?;
        let tree = captured.finish()?;
        let changes = compare((&*self.own, Some(tree)), (source, Some(target)), scope)?;
        let (changes, left_alone) = self.possible(work, changes);
        Ok(Plan {
            tree,
            changes,
            left_alone,
        })
    }

    /// The changes that are to be made, and what is left alone: nothing is removed or
    /// overwritten that no checkpoint could save.
    fn possible(&self, work: &Work, changes: Vec<Change>) -> (Vec<Change>, Vec<TreePath>) {
        let Some(index) = &work.index else {
            return (changes, Vec::new());
        };
        let mut left_alone = Vec::new();
        let mut blocked: Vec<TreePath> = Vec::new();
        let mut possible = Vec::new();
        for change in changes {
            let path = &change.path;
            if blocked.iter().any(|blocked| path.is_within(blocked)) || index.is_omitted(path) {
                left_alone.push(path.clone());
                continue;
            }
            let goes = change.after.is_none();
            if goes && self.unknown == UnknownFiles::Keep {
                continue;
            }
            let directory = execgate_core::checkpoint::FileKind::Directory;
            let replaced = change.before.is_some_and(|before| before.kind == directory)
                && change.after.is_none_or(|after| after.kind != directory);
            if replaced && index.holds_omitted(path) {
                // It stays, with what is left out of checkpoints in it.
                if !goes {
                    left_alone.push(path.clone());
                }
                continue;
            }
            if replaced && !goes && self.unknown == UnknownFiles::Keep {
                // What is in it is not known to the checkpoint, and is to stay.
                blocked.push(path.clone());
                left_alone.push(path.clone());
                continue;
            }
            possible.push(change);
        }
        (possible, left_alone)
    }

    fn report(&self, plan: &Plan, pre_restore: Option<CheckpointId>) -> Result<Restored, Error> {
        let sides = Sides {
            before: &self.own,
            after: &self.source,
        };
        let listed = plan.changes.iter().take(MAX_LISTED);
        let listed = listed.map(|change| sides.describe(change));
        Ok(Restored {
            changes: listed.collect::<Result<_, _>>()?,
            summary: Summary::of(&plan.changes),
            pre_restore,
            left_alone: plan
                .left_alone
                .iter()
                .take(MAX_LEFT_ALONE)
                .cloned()
                .collect(),
            left_alone_count: plan.left_alone.len() as u64,
        })
    }

    async fn run(&self, work: &mut Work, asked: &RestoreCheckpoint) -> Result<Restored, Error> {
        let request = format!("{} {:?} {:?}", asked.checkpoint, asked.paths, asked.unknown);
        let earlier = self.workspace.space.journal();
        if let Some(earlier) = &earlier {
            self.sweep(&earlier.aside).await?;
        }
        let plan = self.plan(work, self.checkpoint.tree).await?;
        let saved = self.save(work, &plan).await?;
        // A repeat of one that did not end leads back to where that one began.
        let way_back = match earlier.filter(|earlier| earlier.request == request) {
            Some(earlier) => CheckpointId::parse(&earlier.pre_restore).unwrap_or(saved),
            None => saved,
        };
        let journal = Journal {
            checkpoint: self.checkpoint.id.to_string(),
            pre_restore: way_back.to_string(),
            aside: self.aside.clone(),
            request,
        };
        let report = self.report(&plan, Some(way_back.clone()))?;
        self.workspace.space.begin(&journal)?;
        let begun = self.begin().await;
        if begun.is_err() {
            self.workspace.space.end()?;
        }
        begun?;
        if let Err(failure) = self.carry_out(work, &plan).await {
            return Err(self.undo(work, plan.tree, failure, &way_back).await);
        }
        self.check(work, &way_back, &plan).await?;
        self.workspace.space.end()?;
        self.note(&way_back, plan.changes.len(), true).await;
        Ok(report)
    }

    async fn begin(&self) -> Result<(), Error> {
        let id = &self.checkpoint.id;
        self.workspace
            .intend(CheckpointOperation::Restore, id)
            .await
    }

    /// Saves the state before.
    async fn save(&self, work: &mut Work, plan: &Plan) -> Result<CheckpointId, Error> {
        let reason = Reason {
            trigger: CheckpointTrigger::BeforeRestore,
            execution: None,
            description: format!("before the restore of {}", self.checkpoint.id),
            labels: BTreeMap::new(),
        };
        // What has just been looked at is what is about to be changed.
        let wanted = Wanted {
            complete: false,
            ..self.wanted.clone()
        };
        let (saved, _) = self.workspace.save(work, &wanted, reason).await?;
        match saved.tree == plan.tree {
            true => Ok(saved.id.clone()),
            false => Err(Error::CheckpointFailed {
                reason: "something writes to the workspace at the same time".to_owned(),
            }),
        }
    }

    /// Removes what a restore that did not end has put aside.
    async fn sweep(&self, aside: &str) -> Result<(), Error> {
        let mut files = self.workspace.files.lock().await;
        let (files, _) = self.workspace.reach(&mut files).await?;
        let none: &[Put] = &[];
        let nothing = |_: &ObjectId| Ok(Vec::new());
        let begun = files.stage(aside, none, &nothing).await;
        files.finish().await?;
        Ok(begun?)
    }

    /// Puts aside, then does all steps.
    async fn carry_out(&self, work: &Work, plan: &Plan) -> Result<(), Failure> {
        self.steps_to(&self.source, work, &plan.changes).await
    }

    async fn steps_to(
        &self,
        source: &Repository,
        work: &Work,
        changes: &[Change],
    ) -> Result<(), Failure> {
        let index = work.index.as_ref();
        let steps = steps(changes, |path| match path.is_root() {
            true => None,
            false => index.and_then(|index| index.directory_mode(path)),
        });
        let (puts, orders) = orders(steps);
        let mut files = self.workspace.files.lock().await;
        let (files, _) = self
            .workspace
            .reach(&mut files)
            .await
            .map_err(Failure::before)?;
        let load = |id: &ObjectId| source.read(id).map(|(_, content)| content);
        let staged = files.stage(&self.aside, &puts, &load).await;
        if let Err(error) = staged {
            // What was put aside goes; nothing else has happened.
            let _cleared = files.finish().await;
            return Err(Failure::before(error.into()));
        }
        let applied = files.apply(orders).await;
        let finished = files.finish().await;
        applied.and(finished).map_err(|error| Failure {
            changed: true,
            error: error.into(),
        })
    }

    /// A step failed: back to how it was.
    async fn undo(
        &self,
        work: &mut Work,
        before: ObjectId,
        failure: Failure,
        way_back: &CheckpointId,
    ) -> Error {
        let undone = match failure.changed {
            false => Ok(()),
            true => self.return_to(work, before).await,
        };
        let operation = CheckpointOperation::Restore;
        match undone {
            Ok(()) => {
                let id = &self.checkpoint.id;
                self.workspace
                    .note_failed(operation, id, &failure.error)
                    .await;
                // Should this fail, the next restore finds nothing to sweep.
                let _left = self.workspace.space.end();
                failure.error
            }
            Err(again) => {
                self.note(way_back, 0, false).await;
                let reason = format!("{}; on the way back: {again}", failure.error);
                self.incomplete(reason, way_back)
            }
        }
    }

    async fn return_to(&self, work: &mut Work, before: ObjectId) -> Result<(), Error> {
        let all = Scope::default();
        let plan = self.plan_from(&self.own, work, before, &all).await?;
        let own = Arc::clone(&self.own);
        let done = self.steps_to(&own, work, &plan.changes).await;
        done.map_err(|failure| failure.error)?;
        let left = self.plan_from(&self.own, work, before, &all).await?;
        match left.changes.is_empty() {
            true => Ok(()),
            false => Err(Error::CheckpointFailed {
                reason: "it is not as it was".to_owned(),
            }),
        }
    }

    /// Looks again: it is done when it is seen.
    async fn check(
        &self,
        work: &mut Work,
        way_back: &CheckpointId,
        done: &Plan,
    ) -> Result<(), Error> {
        let left = match self.plan(work, self.checkpoint.tree).await {
            Ok(left) => left.changes,
            Err(error) => {
                self.note(way_back, done.changes.len(), false).await;
                return Err(self.incomplete(error.to_string(), way_back));
            }
        };
        let Some(first) = left.first() else {
            return Ok(());
        };
        self.note(way_back, done.changes.len(), false).await;
        let path = String::from_utf8_lossy(first.path.as_bytes()).into_owned();
        let reason = format!("{path} is not as it should be: something else writes to it");
        Err(self.incomplete(reason, way_back))
    }

    async fn note(&self, way_back: &CheckpointId, changed: usize, complete: bool) {
        let restored = AuditBody::CheckpointRestored(CheckpointRestored {
            checkpoint_id: self.checkpoint.id.to_string(),
            workspace: self.workspace.shown(),
            pre_restore_checkpoint_id: way_back.to_string(),
            changed_files: changed as u64,
            complete,
        });
        self.workspace.recorder.note(None, restored).await;
    }

    fn incomplete(&self, reason: String, way_back: &CheckpointId) -> Error {
        Error::RestoreIncomplete {
            reason: self.workspace.redaction.redact(&reason),
            pre_restore: way_back.clone(),
        }
    }
}

/// Why a restore stopped.
struct Failure {
    /// Whether anything had been changed by then.
    changed: bool,
    error: Error,
}

impl Failure {
    fn before(error: Error) -> Self {
        Self {
            changed: false,
            error,
        }
    }
}

/// What is to be put aside, and the orders that use it. Each content is put aside as often as
/// it is used: a file has one place.
fn orders(steps: Vec<Step>) -> (Vec<Put>, Vec<Order>) {
    let mut puts = Vec::new();
    let mut orders = Vec::new();
    for step in steps {
        let (path, what, id) = match step {
            Step::Place { path, mode, id } => (path, PutKind::File(mode), id),
            Step::Link { path, id } => (path, PutKind::Link, id),
            plain => {
                orders.extend(Order::plain(&plain));
                continue;
            }
        };
        let number = u32::try_from(puts.len()).unwrap_or(u32::MAX);
        puts.push(Put { what, id });
        orders.push(Order::Place { path, number });
    }
    (puts, orders)
}
