//! Everything the engine can refuse, for the edge to put in its own words.

use std::time::Duration;

use execgate_core::ids::{CheckpointId, ExecutionId, SessionId};
use execgate_core::policy::Denial;

use crate::audit::AuditError;
use crate::authority::Role;
use crate::isolation::Control;
use crate::quotas::LimitReached;
use crate::transport::TransportError;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that no earlier check could refuse.
    #[error("{field}: {reason}")]
    InvalidField {
        /// The field, by its name in the API.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller's role does not cover this.
    #[error("do this as {}: the role does not cover it", role.name())]
    RoleRequired {
        /// The caller's.
        role: Role,
        /// Those that do.
        needed: &'static [Role],
    },
    /// The caller was not granted this target.
    #[error("use {target}: it was not granted to this principal")]
    TargetNotGranted {
        /// The target, as lists of targets call it.
        target: String,
    },
    /// The principal has no session of this id.
    #[error("find session {session}")]
    SessionNotFound {
        /// The id asked for.
        session: SessionId,
    },
    /// There was one, and it is over.
    #[error("use session {session}: it is over: {reason}")]
    SessionExpired {
        /// The id asked for.
        session: SessionId,
        /// Why it is over.
        reason: String,
    },
    /// The principal has another session of this id.
    #[error("create session {session}: the id is taken")]
    SessionIdTaken {
        /// The id asked for.
        session: SessionId,
    },
    /// The session is closing, closed or lost; it can be read, and no more.
    #[error("use session {session}: it is over: {reason}")]
    SessionEnded {
        /// The id asked for.
        session: SessionId,
        /// Its shell is gone for good, by accident.
        lost: bool,
        /// Why.
        reason: String,
    },
    /// The session was made without a shell, and this is a script.
    #[error("run a script in session {session}: it has no shell")]
    Shellless {
        /// The session.
        session: SessionId,
    },
    /// The session's shell is not the one the caller means.
    #[error("run in session {session}: its generation is {actual}, not {expected}")]
    GenerationMismatch {
        /// The session.
        session: SessionId,
        /// What the caller expects.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// Another execution is in the foreground.
    #[error("run in session {session}: {running} is running")]
    SessionBusy {
        /// The session.
        session: SessionId,
        /// The execution in the foreground.
        running: ExecutionId,
    },
    /// The session has no execution of this id.
    #[error("find execution {execution}")]
    ExecutionNotFound {
        /// The id asked for.
        execution: ExecutionId,
    },
    /// The id was used and its execution is forgotten: it will not run again.
    #[error("run {execution}: the id was used before and its result is no longer kept")]
    ExecutionExpired {
        /// The id asked for.
        execution: ExecutionId,
    },
    /// The id was used for another command.
    #[error("run {execution}: the id was used for another command")]
    ExecutionIdReused {
        /// The id asked for.
        execution: ExecutionId,
    },
    /// The execution has not started, or is over.
    #[error("reach {execution}: it is not running")]
    ExecutionNotRunning {
        /// The execution.
        execution: ExecutionId,
        /// Whether it is over.
        finished: bool,
    },
    /// The command's standard input takes no bytes (any more).
    #[error("write to the stdin of {execution}: it is not open")]
    StdinNotOpen {
        /// The execution.
        execution: ExecutionId,
    },
    /// The write begins after the last accepted byte.
    #[error("write to the stdin of {execution}: {offset} lies beyond {next_offset}")]
    StdinOffset {
        /// The execution.
        execution: ExecutionId,
        /// Where the write begins.
        offset: u64,
        /// Where it should.
        next_offset: u64,
    },
    /// The command does not read what was written before.
    #[error("write to the stdin of {execution}: it does not read")]
    StdinFull {
        /// The execution.
        execution: ExecutionId,
        /// When to try again.
        retry_after: Duration,
    },
    /// The session has no terminal.
    #[error("reach the terminal of session {session}: it has none")]
    NoTerminal {
        /// The session.
        session: SessionId,
    },
    /// The operator has no fence profile of this name.
    #[error("fence the session: there is no profile {profile}")]
    UnknownFence {
        /// The name asked for.
        profile: String,
    },
    /// The session would not be kept apart as demanded.
    #[error("fence the session: {} is {:?}", .0.kind.name(), .0.level)]
    FenceUnavailable(Box<Control>),
    /// The policy says no.
    #[error("run the command: denied by rule {}: {}", .0.rule, .0.reason)]
    PolicyDenied(Box<Denial>),
    /// Too much of something.
    #[error("begin more: {0}")]
    LimitReached(Box<LimitReached>),
    /// The audit log does not take records: nothing runs.
    #[error("record the request: {0}")]
    AuditUnavailable(#[from] AuditError),
    /// The target cannot be reached or used.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// There is no such secret, or not for this session; which of them is not told.
    #[error("find the secret {secret}")]
    SecretNotFound {
        /// The name asked for.
        secret: String,
    },
    /// No shell on the target that sessions can use.
    #[error("find a shell: {reason}")]
    NoShell {
        /// What was looked for.
        reason: String,
    },
    /// The shell did not get ready.
    #[error("start the shell: {reason}")]
    ShellNotReady {
        /// What was seen.
        reason: String,
    },
    /// The principal has no checkpoint of this id.
    #[error("find checkpoint {checkpoint}")]
    CheckpointNotFound {
        /// The id asked for.
        checkpoint: CheckpointId,
    },
    /// The session has no workspace.
    #[error("use the files of session {session}: it has no workspace")]
    WorkspaceRequired {
        /// The session.
        session: SessionId,
    },
    /// Something else works with the workspace.
    #[error("use the workspace: another checkpoint, restore or command works with it")]
    CheckpointBusy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The target lacks a program.
    #[error("use the workspace: the target has no usable {program}")]
    CheckpointProgramMissing {
        /// Which.
        program: String,
    },
    /// Too many or too large checkpoints.
    #[error("keep the checkpoint: the limit of {what} is {limit}")]
    CheckpointLimit {
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A checkpoint could not be made or restored; the files are as they were.
    #[error("use the workspace: {reason}")]
    CheckpointFailed {
        /// What was in the way.
        reason: String,
    },
    /// A restore stopped half-way.
    #[error("restore the workspace: it is incomplete: {reason}")]
    RestoreIncomplete {
        /// What was in the way.
        reason: String,
        /// The state before.
        pre_restore: CheckpointId,
    },
    /// The server is going down.
    #[error("serve: the server is shutting down")]
    ShuttingDown,
}

impl From<LimitReached> for Error {
    fn from(reached: LimitReached) -> Self {
        Self::LimitReached(Box::new(reached))
    }
}
