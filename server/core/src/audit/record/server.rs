//! What is recorded of the server itself: its life, its callers, its log.

use serde::{Deserialize, Serialize};

use super::super::digest::Digest;

/// The operator's policy was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReloaded {
    /// Name of the operator's policy from here on.
    pub policy: String,
    /// Hash of the operator's policy from here on.
    pub policy_hash: Digest,
    /// The profile that it narrows, like `ssh:web`; empty for the one of all targets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// What is wrong with the new one, which was left alone; empty where it is in force.
    pub error: String,
}

/// A caller could not prove who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthFailure {
    /// The RPC asked for.
    pub method: String,
    /// Where the call came from.
    pub peer: String,
    /// What was wrong; never the credential itself.
    pub reason: String,
}

/// The server began to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStarted {
    /// The server's version.
    pub version: String,
    /// Hash of the effective configuration, secrets left out.
    pub config_hash: Digest,
    /// The key that signs heads of the log from here on, as verifiers read it; empty where
    /// nothing is signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verifier_key: String,
}

/// The server ended in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStopped {
    /// Why, e.g. `SIGTERM`.
    pub reason: String,
}

/// The log was opened after an end that was not in good order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Bytes of incomplete records that were set aside.
    pub torn_bytes: u64,
    /// Intents closed as abandoned just before this record.
    pub abandoned_executions: u64,
    /// Sessions closed as lost just before this record.
    pub lost_sessions: u64,
    /// Intents about checkpoints closed as failed just before this record.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub abandoned_checkpoints: u64,
}

/// The audit log was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRead {
    /// The RPC, as `/package.Service/Method`.
    pub method: String,
    /// Lowest sequence that was returned; 0 for none.
    pub first_sequence: u64,
    /// Highest sequence that was returned; 0 for none.
    pub last_sequence: u64,
}

/// An operator is about to end what is somebody else's. The record's principal is the
/// operator, its session and execution are the owner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervened {
    /// The principal whose it is.
    pub owner: String,
    /// The RPC, as `/package.Service/Method`.
    pub method: String,
    /// What it is done to, where that is neither a session nor an execution.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
}

/// Old records were removed; what is left still verifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionApplied {
    /// Lowest sequence that is still there.
    pub first_sequence: u64,
    /// Hash of the last record that was removed.
    pub kept_hash: Digest,
    /// Why.
    pub reason: RetentionReason,
}

/// Why records were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetentionReason {
    /// They were older than the operator keeps them.
    Age,
    /// The log was larger than the operator allows.
    Bytes,
    /// A newer server's.
    #[serde(other)]
    Unknown,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field over by reference"
)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
