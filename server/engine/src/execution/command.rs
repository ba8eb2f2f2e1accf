//! What a client asks for: a command and how it is to be run. Valid, and no more than that.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use execgate_core::audit::{CommandKind, Origin};
use execgate_core::framing;

use crate::checkpoint::CheckpointMode;
use crate::secrets::SecretReference;

/// A command as a client asked for it; valid, but not yet judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// What to run.
    pub line: CommandLine,
    /// Its standard input.
    pub stdin: Stdin,
    /// Its own time limit; the session's default where there is none.
    pub timeout: Option<Duration>,
    /// What happens at the limit.
    pub timeout_action: TimeoutAction,
    /// Time between two steps of the ladder.
    pub grace: Duration,
    /// Variables for this command alone.
    pub env: BTreeMap<String, String>,
    /// The operator's secrets in the environment of this command alone.
    pub secrets: Vec<SecretReference>,
    /// Working directory for this command alone.
    pub cwd: Option<String>,
    /// The session's generation that the caller means.
    pub expected_generation: Option<u64>,
    /// Whether to wait for the running execution instead of being refused.
    pub queue_if_busy: bool,
    /// What happens when its output exceeds what is kept.
    pub overflow: Overflow,
    /// Whether files are saved before it; as the session says where it does not.
    pub checkpoint: Option<CheckpointMode>,
    /// Where the request came from.
    pub origin: Origin,
}

/// What happens when output exceeds what is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The command is slowed: what no reader has had is not let go until the command is
    /// being ended. Where nobody reads, it waits for a reader, or for its time limit.
    #[default]
    Backpressure,
    /// The oldest output is let go, which later readers see as a gap.
    Evict,
}

/// What a command says, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CommandLine {
    /// A text for the session's shell.
    Script(String),
    /// A program and its arguments, run beside the shell; at least one word.
    Argv(Vec<String>),
}

impl CommandLine {
    /// The command as one text: arguments are quoted as a shell would need them.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Script(script) => Cow::Borrowed(script),
            Self::Argv(words) => Cow::Owned(framing::join(words)),
        }
    }

    /// What the audit log calls it.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Script(_) => CommandKind::Script,
            Self::Argv(_) => CommandKind::Argv,
        }
    }
}

/// What happens when a command reaches its time limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TimeoutAction {
    /// SIGINT, a grace, SIGTERM, a grace, SIGKILL.
    #[default]
    Ladder,
    /// SIGKILL at once.
    Kill,
    /// Nothing but a notice.
    Tell,
}

/// Time between two steps of the ladder where a command does not say: enough for a program
/// to clean up.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(1);

/// What a command can read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Stdin {
    /// Nothing.
    #[default]
    Closed,
    /// These bytes.
    Inline(Bytes),
    /// What is written while it runs.
    Open,
}
