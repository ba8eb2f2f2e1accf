//! What is recorded of a command: that it may run, what it was given, how it ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::digest::Digest;

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
    /// Names of the operator's secrets that this command alone is given; never a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
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

impl AuditOutcome {
    /// Whether it is anything but a code of 0.
    #[must_use]
    pub const fn failed(&self) -> bool {
        !matches!(self, Self::Exit { code: 0 })
    }
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

impl AuditCause {
    /// The word in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::ShellExited => "shell_exited",
            Self::SignaledByRequest => "signaled_by_request",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::OutputLimit => "output_limit",
            Self::Oom => "oom",
            Self::SessionClosed => "session_closed",
            Self::TargetStopped => "target_stopped",
            Self::TransportLost => "transport_lost",
            Self::ServerRestarted => "server_restarted",
            Self::ShellBroken => "shell_broken",
            Self::LaunchFailed => "launch_failed",
            Self::NotStarted => "not_started",
        }
    }
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
