//! What an execution tells those who follow it, in order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use execgate_core::ids::CheckpointId;
use execgate_core::outcome::{Channel, Ending};

/// One event of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Counts the execution's events from 1.
    pub sequence: u64,
    /// When it was seen.
    pub time: SystemTime,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen in an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The command is on its way into the shell; always the first event.
    Started,
    /// Output came.
    Output {
        /// On which channel.
        channel: Channel,
        /// Where it stands in the channel's redacted stream.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// Output was let go before this reader came to it.
    Gap {
        /// On which channel.
        channel: Channel,
        /// The first missing offset.
        from: u64,
        /// The next offset that is there.
        to: u64,
        /// Why it is missing.
        reason: GapReason,
    },
    /// Something the reader should know.
    Notice(Notice),
    /// It is over; always the last event, once.
    Finished(Arc<Ending>),
}

/// Why output is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// What is kept reached its bound, and the oldest was let go.
    Evicted,
    /// It could not be written to disk, or not be read from there.
    StorageFailed,
}

/// Things that happen around a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The command's own time limit was reached.
    TimeoutFired {
        /// The limit.
        limit: Duration,
    },
    /// The gate sent a signal.
    SignalSent {
        /// Its number.
        signal: i32,
        /// To how many processes or groups.
        processes: usize,
    },
    /// The command waits for input.
    InputWanted {
        /// It was seen in a read; otherwise it is a guess.
        observed: bool,
        /// What is typed is not shown: most likely a password.
        hidden: bool,
    },
    /// The command was stopped.
    Stopped {
        /// The signal that was sent.
        signal: i32,
    },
    /// Files were saved before the command.
    CheckpointMade {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// The command was let go on.
    Continued,
    /// The shell had stopped itself and was told to go on.
    ShellContinued,
    /// The shell ended and another one took its place.
    ShellRestarted {
        /// The session's generation now.
        generation: u64,
        /// What the new shell does not have.
        lost: String,
    },
    /// The session is lost with its shell.
    SessionLost {
        /// Why.
        reason: String,
    },
    /// What is kept is full: the command waits until a reader has caught up.
    OutputThrottled {
        /// Bytes that are kept.
        retained: u64,
    },
    /// The disk did not take output: from here on less of it is kept.
    StorageFailed,
}
