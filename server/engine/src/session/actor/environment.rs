//! What the shell exports: asked while it rests, for the programs beside it and for the
//! shell that may have to take its place.

use std::time::Duration;

use execgate_core::environment::Variable;
use execgate_core::pipeline::PipelineEvent;
use tokio::time::Instant;

use super::Actor;

/// How long a shell has to be idle before it is asked what it exports: an agent that
/// sends one command after another never waits for that.
const REST: Duration = Duration::from_millis(50);

/// What is known of the shell's environment.
#[derive(Debug, Default)]
pub(super) struct Rested {
    /// What it exported, once it has said so.
    exported: Option<Vec<Variable>>,
    /// A command has run since.
    pub(super) is_stale: bool,
}

impl Actor {
    /// The environment that the shell had when it last rested; the session's own until it
    /// has.
    pub(super) fn exported(&self) -> &[Variable] {
        self.rested.exported.as_deref().unwrap_or(&self.spec.env)
    }

    /// When the shell will have rested long enough to be asked.
    pub(super) fn rest_end(&self) -> Option<Instant> {
        let asks = self.rested.is_stale && self.running.is_none() && self.shell.is_some();
        asks.then(|| self.last_active + REST)
    }

    pub(super) fn rest_is_over(&self, now: Instant) -> bool {
        self.rest_end().is_some_and(|end| now >= end)
    }

    /// Asks an idle shell what it exports, if a command has run since it last said so.
    pub(super) async fn learn_environment(&mut self, events: &mut Vec<PipelineEvent>) {
        if !self.rested.is_stale || self.running.is_some() {
            return;
        }
        let Some(shell) = self.shell.as_mut() else {
            return;
        };
        // One that does not answer is asked again after its next command.
        self.rested.is_stale = false;
        match shell.environment(events).await {
            Ok(Some(exported)) => self.rested.exported = Some(exported),
            Ok(None) => tracing::debug!(session.id = %self.session.id, "no environment came"),
            Err(error) => tracing::warn!(%error, "ask a shell for its environment"),
        }
        self.absorb(events).await;
    }
}
