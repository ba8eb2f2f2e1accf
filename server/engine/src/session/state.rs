//! What others may know of where a session stands.

use std::time::SystemTime;

use execgate_core::audit::SessionLoss;
use execgate_core::ids::ExecutionId;

use crate::transport::WindowSize;

/// Where a session is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// No command runs.
    Ready,
    /// A command runs.
    Running(ExecutionId),
    /// The connection broke; the target is being reached again. Commands wait.
    Reconnecting,
    /// Its processes are being ended.
    Closing,
    /// It is over.
    Closed(CloseReason),
    /// Its shell is gone for good.
    Lost {
        /// Why.
        loss: SessionLoss,
        /// Why, for people.
        reason: String,
    },
}

/// Why a session was closed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Its owner asked for it.
    Owner,
    /// Nobody used it.
    Idle,
    /// It was as old as it may become.
    Lifetime,
    /// The server stops.
    Shutdown,
}

impl CloseReason {
    /// In words, as records have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "closed by its owner",
            Self::Idle => "it was idle",
            Self::Lifetime => "its lifetime is over",
            Self::Shutdown => "server shutdown",
        }
    }
}

/// What is known of a session now.
#[derive(Debug, Clone)]
pub struct SessionSnapshot {
    /// Where it is in its life.
    pub state: SessionState,
    /// Counts the session's shells from 1.
    pub generation: u64,
    /// The shell's working directory, as last seen.
    pub cwd: String,
    /// The size of its terminal, where it has one.
    pub terminal: Option<WindowSize>,
    /// When a command last started or ended.
    pub last_active: SystemTime,
    /// When it ended, where it has.
    pub ended: Option<SystemTime>,
}
