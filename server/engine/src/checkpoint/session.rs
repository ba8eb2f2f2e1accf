//! What comes before a command in a session with a workspace: no restore runs, and its files
//! are saved where that is wanted.

use std::sync::{Arc, LazyLock};

use execgate_core::ids::ExecutionId;
use execgate_core::policy::{Policy, PolicyStack, Verdict};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::workspace::{Presence, Workspace};
use super::{CheckpointMode, Saved};
use crate::error::Error;
use crate::execution::{Command, EventKind, Execution, Notice};
use crate::session::Session;
use crate::telemetry::StageTimer;

/// The policy of those who only read: what it allows changes no file.
static READING: LazyLock<PolicyStack> = LazyLock::new(|| PolicyStack::new(Policy::strict()));

/// What is being done before a command.
pub(crate) type Preparing = BoxFuture<'static, Prepared>;

/// What was done before a command, or why it cannot run.
pub(crate) struct Prepared {
    pub(crate) execution: ExecutionId,
    pub(crate) before: Result<Before, Error>,
}

/// What was done before a command.
pub(crate) struct Before {
    pub(crate) presence: Presence,
    pub(crate) saved: Option<Saved>,
}

impl Saved {
    /// Has an execution that has started tell of it.
    pub(crate) fn tell(self, execution: &Execution) {
        let Self { checkpoint, new } = self;
        // Nothing else sets it.
        let _first = execution.checkpoint.set(checkpoint.clone());
        if new {
            let notice = Notice::CheckpointMade { checkpoint };
            execution.log.push(EventKind::Notice(notice));
        }
    }
}

impl Workspace {
    /// Does what comes before a command; `saving` takes the time where its files are saved.
    pub(crate) fn prepare(
        self: Arc<Self>,
        execution: ExecutionId,
        saving: Option<StageTimer>,
    ) -> Preparing {
        async move {
            let presence = self.enter().await;
            let saved = match &saving {
                Some(_) => self.save_before(execution.clone()).await.map(Some),
                None => Ok(None),
            };
            drop(saving);
            Prepared {
                execution,
                before: saved.map(|saved| Before { presence, saved }),
            }
        }
        .boxed()
    }

    /// The session is over: its program ends, and what it knew goes with it.
    pub(crate) fn leave(self: Arc<Self>) {
        tokio::spawn(async move {
            let mut files = self.files.lock().await;
            self.let_go();
            *files = None;
            drop(files);
            self.checkpoints.leave(&self.space).await;
        });
    }
}

/// The end of what comes before a command; never, where there is nothing.
pub(crate) async fn preparing(preparing: Option<&mut Preparing>) -> Prepared {
    match preparing {
        Some(preparing) => preparing.await,
        None => std::future::pending().await,
    }
}

impl Session {
    /// Whether files are saved before this command.
    pub(crate) fn saves(&self, command: &Command) -> bool {
        let Some(workspace) = &self.workspace else {
            return false;
        };
        match command.checkpoint.unwrap_or(workspace.mode()) {
            CheckpointMode::Off => false,
            CheckpointMode::Every => true,
            CheckpointMode::Auto => {
                let judged = self.judge(&READING, &command.line, &command.env);
                matches!(judged.verdict, Verdict::Denied(_))
            }
        }
    }
}

impl Command {
    /// Whether it asks for what only a session with a workspace has.
    pub(crate) fn needs_workspace(&self) -> bool {
        matches!(
            self.checkpoint,
            Some(CheckpointMode::Auto | CheckpointMode::Every)
        )
    }
}
