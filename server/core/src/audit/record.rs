//! What one audit record says: its envelope, and one body per kind of event.
//!
//! Types only: nothing here hashes, stores or decides. Field order is the
//! order in the stored JSON; fields may be added, never renamed or reused.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// A time as microseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl From<SystemTime> for Micros {
    /// Times before the epoch count as the epoch.
    fn from(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A SHA-256 (or HMAC-SHA-256) value; lower-case hex in text and JSON.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads 64 lower-case hex digits.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let bytes = HEXLOWER.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_hex(text.as_bytes()).ok_or("a digest is 64 lower-case hex digits")
    }
}

/// Principal of records that the server writes for itself.
pub const SYSTEM_PRINCIPAL: &str = "system";

/// A record as it is handed to the store: everything but its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// When it happened.
    pub time: Micros,
    /// On whose behalf; [`SYSTEM_PRINCIPAL`] for the server itself.
    pub principal: String,
    /// The session concerned.
    pub session_id: Option<String>,
    /// The execution concerned.
    pub execution_id: Option<String>,
    /// The W3C trace id of the request, if it carried one.
    pub trace_id: Option<String>,
    /// What happened.
    pub body: AuditBody,
}

/// A record as it stands in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Place in the chain, from 1, without holes.
    pub sequence: u64,
    /// When it happened.
    pub time: Micros,
    /// On whose behalf.
    pub principal: String,
    /// The session concerned.
    pub session_id: Option<String>,
    /// The execution concerned.
    pub execution_id: Option<String>,
    /// The W3C trace id of the request, if it carried one.
    pub trace_id: Option<String>,
    /// Hash of the record before this one.
    pub previous_hash: Digest,
    /// Hash of this record: SHA-256(previous hash || payload).
    pub hash: Digest,
    /// What happened.
    pub body: AuditBody,
    /// The exact bytes that were hashed, so that a reader can check for himself.
    pub payload: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditBody {
    /// A session is ready.
    SessionCreated(SessionCreated),
    /// A session was closed on purpose.
    SessionClosed(SessionClosed),
    /// A session ended by accident.
    SessionLost(SessionLost),
    /// A command was admitted and is about to start.
    ExecutionIntent(ExecutionIntent),
    /// A command was refused and never started.
    ExecutionDenied(ExecutionDenied),
    /// A command ended.
    ExecutionOutcome(ExecutionOutcome),
    /// An intent whose outcome nobody recorded, closed at the next start.
    ExecutionAbandoned(ExecutionAbandoned),
    /// A signal was sent to a running command.
    SignalSent(SignalSent),
    /// A session's shell was replaced by a new process.
    ShellRestarted(ShellRestarted),
    /// Bytes were written to a command's standard input.
    StdinWritten(StdinWritten),
    /// A caller could not prove who it is.
    AuthFailure(AuthFailure),
    /// The server began to serve.
    ServerStarted(ServerStarted),
    /// The server ended in good order.
    ServerStopped(ServerStopped),
    /// The log was opened after an end that was not in good order.
    Recovered(Recovered),
    /// A host showed another key than the known one.
    HostKeyMismatch(HostKeyMismatch),
    /// The operator's policy was read again.
    PolicyReloaded(PolicyReloaded),
    /// A kind that a newer version wrote; its payload still tells.
    #[serde(other)]
    Unknown,
}

impl AuditBody {
    /// The kind of this body, for filters.
    #[must_use]
    pub const fn kind(&self) -> AuditKind {
        match self {
            Self::SessionCreated(_) => AuditKind::SessionCreated,
            Self::SessionClosed(_) => AuditKind::SessionClosed,
            Self::SessionLost(_) => AuditKind::SessionLost,
            Self::ExecutionIntent(_) => AuditKind::ExecutionIntent,
            Self::ExecutionDenied(_) => AuditKind::ExecutionDenied,
            Self::ExecutionOutcome(_) => AuditKind::ExecutionOutcome,
            Self::ExecutionAbandoned(_) => AuditKind::ExecutionAbandoned,
            Self::SignalSent(_) => AuditKind::SignalSent,
            Self::ShellRestarted(_) => AuditKind::ShellRestarted,
            Self::StdinWritten(_) => AuditKind::StdinWritten,
            Self::AuthFailure(_) => AuditKind::AuthFailure,
            Self::ServerStarted(_) => AuditKind::ServerStarted,
            Self::ServerStopped(_) => AuditKind::ServerStopped,
            Self::Recovered(_) => AuditKind::Recovered,
            Self::HostKeyMismatch(_) => AuditKind::HostKeyMismatch,
            Self::PolicyReloaded(_) => AuditKind::PolicyReloaded,
            Self::Unknown => AuditKind::Unknown,
        }
    }
}

/// The kind of a record, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each name is documented on the body of the same name"
)]
pub enum AuditKind {
    SessionCreated,
    SessionClosed,
    SessionLost,
    ExecutionIntent,
    ExecutionDenied,
    ExecutionOutcome,
    ExecutionAbandoned,
    SignalSent,
    ShellRestarted,
    StdinWritten,
    AuthFailure,
    ServerStarted,
    ServerStopped,
    Recovered,
    HostKeyMismatch,
    PolicyReloaded,
    Unknown,
}

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

/// The operator's policy was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReloaded {
    /// Name of the operator's policy from here on.
    pub policy: String,
    /// Hash of the operator's policy from here on.
    pub policy_hash: Digest,
    /// What is wrong with the new one, which was left alone; empty where it is in force.
    pub error: String,
}

/// How the command was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Text for the session's shell.
    Script,
    /// A program and its arguments, run beside the shell.
    Argv,
}

/// A command was admitted and is about to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionIntent {
    /// The command, redacted.
    pub command: String,
    /// Keyed hash of the raw command.
    pub command_hash: Digest,
    /// How it was given.
    pub command_kind: CommandKind,
    /// The rule that admitted it.
    pub rule: String,
    /// Hash of the policy that judged it.
    pub policy_hash: Digest,
    /// Working directory at the start, redacted.
    pub cwd: String,
}

/// A command was refused and never started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionDenied {
    /// The command, redacted.
    pub command: String,
    /// Keyed hash of the raw command.
    pub command_hash: Digest,
    /// How it was given.
    pub command_kind: CommandKind,
    /// The rule that refused it.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
    /// Hash of the policy that judged it.
    pub policy_hash: Digest,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It returned this code.
    Exit {
        /// The exit code.
        code: i32,
    },
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// The signal's name, e.g. `SIGKILL`.
        name: String,
    },
    /// It never ran.
    LaunchFailure {
        /// What failed.
        failure: String,
        /// The system's error number, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
    },
    /// Nobody can say.
    Lost {
        /// What was found.
        reason: String,
    },
}

/// Why a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditCause {
    /// By itself.
    Exited,
    /// The session's shell ended with it.
    ShellExited,
    /// A caller sent a signal.
    SignaledByRequest,
    /// Its own time limit.
    Timeout,
    /// A caller cancelled it.
    Cancelled,
    /// It wrote more than it may.
    OutputLimit,
    /// The kernel ran out of memory.
    Oom,
    /// Its session was closed.
    SessionClosed,
    /// Its host or container stopped.
    TargetStopped,
    /// The connection to its target broke.
    TransportLost,
    /// The server was restarted.
    ServerRestarted,
    /// The session's shell stopped answering and was given up.
    ShellBroken,
    /// It could not be launched.
    LaunchFailed,
    /// It was recorded and then not started after all.
    NotStarted,
}

/// Who vouches for an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditObserver {
    /// The kernel, through wait.
    Kernel,
    /// The session's own shell.
    Shell,
    /// The SSH server.
    Sshd,
    /// The Docker daemon.
    Dockerd,
    /// The gate itself.
    Server,
}

/// A stream of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditChannel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, through a terminal.
    Terminal,
    /// What arrived between executions.
    Background,
}

/// What one stream carried, after redaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelTotals {
    /// Which stream.
    pub channel: AuditChannel,
    /// Redacted bytes.
    pub bytes: u64,
    /// Line feeds among them.
    pub lines: u64,
    /// How many places were redacted.
    pub redactions: u64,
    /// How many of them under which name. Records before this field have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redacted: BTreeMap<String, u64>,
    /// SHA-256 of the redacted bytes.
    pub sha256: Digest,
}

/// A command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionOutcome {
    /// How.
    pub outcome: AuditOutcome,
    /// Why.
    pub cause: AuditCause,
    /// Who says so.
    pub observed_by: AuditObserver,
    /// Wall time in microseconds.
    pub wall_micros: u64,
    /// What each stream carried.
    pub totals: Vec<ChannelTotals>,
}

/// An intent whose outcome nobody recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionAbandoned {
    /// Sequence of the intent that this closes.
    pub intent_sequence: u64,
}

/// A signal was sent to a running command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSent {
    /// The signal's name, e.g. `SIGINT`.
    pub signal: String,
    /// Why: `requested`, `timeout`, `cancelled`, `closing`.
    pub reason: String,
}

/// A session's shell was replaced by a new process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellRestarted {
    /// The session's generation from now on.
    pub generation: u64,
    /// Why.
    pub reason: String,
}

/// Bytes were accepted for a command's standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdinWritten {
    /// Offset of the first byte in all of the command's standard input.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Keyed hash of the bytes.
    pub hash: Digest,
    /// Whether standard input ends with them.
    pub eof: bool,
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
}

/// The server ended in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStopped {
    /// Why, e.g. `SIGTERM`.
    pub reason: String,
}

/// The log was opened after an end that was not in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Bytes of incomplete records that were set aside.
    pub torn_bytes: u64,
    /// Intents closed as abandoned just before this record.
    pub abandoned_executions: u64,
    /// Sessions closed as lost just before this record.
    pub lost_sessions: u64,
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
