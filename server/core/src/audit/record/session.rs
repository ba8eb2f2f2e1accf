//! What is recorded of a session: its beginning, its shells, its end.

use serde::{Deserialize, Serialize};

use super::super::digest::Digest;

/// A session is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreated {
    /// Where it runs: `local`, `ssh:HOST`, `docker:CONTAINER`.
    pub target: String,
    /// The shell in use, e.g. `bash`.
    pub shell: String,
    /// Hash of the policy that judges it.
    pub policy_hash: Digest,
    /// How far the session is kept from the gate, one word per means.
    pub isolation: Vec<String>,
    /// Names of the operator's secrets in its environment; never a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// A session was closed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClosed {
    /// Why: `requested`, `idle`, `max_lifetime`, `server_stopping`.
    pub reason: String,
    /// How many processes were ended with it.
    pub killed: u32,
}

/// A session ended by accident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLost {
    /// What was found.
    pub reason: String,
    /// The same for programs; records of older servers have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<SessionLoss>,
}

/// Why a session ended by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionLoss {
    /// The shell ended by itself and was not to be restarted.
    ShellExited,
    /// The shell no longer answered.
    ShellBroken,
    /// The connection to the target broke.
    TransportLost,
    /// The container or machine stopped, or had no memory left.
    TargetStopped,
    /// The server ended without closing it.
    ServerRestarted,
    /// A newer server's.
    #[serde(other)]
    Unknown,
}

/// A session's shell was replaced by a new process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellRestarted {
    /// The session's generation from now on.
    pub generation: u64,
    /// Why.
    pub reason: String,
}

/// A host showed another key than the known one; nothing was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeyMismatch {
    /// The target, e.g. `ssh:build`.
    pub target: String,
    /// Fingerprints that were expected.
    pub expected: String,
    /// The fingerprint that was shown.
    pub got: String,
}
