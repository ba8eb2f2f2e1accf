//! What a session is asked to be, and when two requests ask for the same.

use std::collections::BTreeMap;
use std::time::Duration;

use execgate_core::audit::Origin;
use execgate_core::budget::OutputBudget;
use execgate_core::ids::CheckpointId;
use execgate_core::policy::Policy;

use super::redaction::AddedRedaction;
use crate::checkpoint::CheckpointMode;
use crate::isolation::Demand;
use crate::secrets::SecretReference;
use crate::target::Target;
use crate::transport::{Leftovers, WindowSize};

/// What a session was created with.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Where it runs.
    pub target: Target,
    /// The shell asked for.
    pub shell: WantedShell,
    /// Where the shell starts; the user's home where there is none.
    pub cwd: Option<String>,
    /// Variables added to the session's environment.
    pub env: BTreeMap<String, String>,
    /// The operator's secrets in the session's environment.
    pub secrets: Vec<SecretReference>,
    /// What is hidden beyond what the operator hides.
    pub redaction: AddedRedaction,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<WindowSize>,
    /// The session's own policy; it can only narrow the operator's.
    pub policy: Option<Policy>,
    /// How much output Run returns where the request does not say.
    pub output_budget: OutputBudget,
    /// How long a command may run where it does not say.
    pub default_timeout: Duration,
    /// How long the session may be idle.
    pub idle_ttl: Duration,
    /// How long the session may live.
    pub max_lifetime: Option<Duration>,
    /// What to do when the shell ends by itself.
    pub on_shell_exit: OnShellExit,
    /// What to do when the connection to the target breaks.
    pub on_transport_loss: OnTransportLoss,
    /// What to do with background processes at close.
    pub leftovers: Leftovers,
    /// How it has to be kept apart.
    pub fence: Demand,
    /// The client's own notes.
    pub labels: BTreeMap<String, String>,
    /// The directory whose files checkpoints cover.
    pub workspace: Option<String>,
    /// When checkpoints are made by themselves.
    pub checkpoints: CheckpointMode,
    /// The checkpoint that the workspace begins with.
    pub from_checkpoint: Option<CheckpointId>,
    /// Where the request came from.
    pub origin: Origin,
}

impl SessionSettings {
    /// Whether a request with these settings repeats one with `other`.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        let policy = |settings: &Self| settings.policy.as_ref().map(Policy::content_hash);
        // Debug prints every field, quoted and in order; policies have a hash for that, and
        // values to be hidden are compared.
        let text = |settings: &Self| {
            format!(
                "{:?}",
                Self {
                    policy: None,
                    origin: Origin::default(),
                    ..settings.clone()
                }
            )
        };
        self.target == other.target
            && self.redaction == other.redaction
            && policy(self) == policy(other)
            && text(self) == text(other)
    }
}

/// The shell that a session is asked to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedShell {
    /// The first that is found.
    Best,
    /// This one, a path or a name.
    Named(String),
    /// None: the session takes programs only.
    Nothing,
}

impl WantedShell {
    /// The path or name asked for.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(program) => Some(program),
            Self::Best | Self::Nothing => None,
        }
    }
}

/// What to do when a shell ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnShellExit {
    /// Start another one and say what was lost.
    Restart,
    /// The session is lost.
    Lose,
}

/// What to do when the connection to a session's target breaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnTransportLoss {
    /// The session is lost.
    #[default]
    Lose,
    /// Connect again and start another shell.
    Reconnect,
}
