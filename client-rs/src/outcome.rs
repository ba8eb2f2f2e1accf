//! How a command ended, as types that cannot be half set.

use std::time::Duration;

use bytes::Bytes;
use execgate_proto::v1;
use execgate_proto::v1::outcome::Result as Kind;
use execgate_proto::v1::{Cause, ObservedBy};

use crate::error::Error;
use crate::event::Channel;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned a code.
    Exited {
        /// The code.
        code: i32,
        /// For a script and a code of 128+n: the signal that may have ended its last
        /// command, by name.
        possible_signal: Option<String>,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number on the target.
        number: i32,
        /// Its name, e.g. `SIGKILL`.
        name: String,
    },
    /// It never ran.
    LaunchFailed {
        /// Why.
        failure: v1::LaunchFailure,
        /// The target's error number, where there is one.
        errno: Option<i32>,
        /// Why, for people.
        detail: String,
    },
    /// Nobody can say.
    Lost {
        /// What is known.
        reason: String,
    },
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended.
    pub cause: Cause,
    /// Who vouches for that.
    pub observed_by: ObservedBy,
    /// How long it ran.
    pub wall_time: Duration,
    /// The session's working directory after it; empty if unknown.
    pub cwd: String,
    /// The session's generation after it.
    pub generation: u64,
    /// What each channel carried.
    pub channels: Vec<ChannelTotals>,
}

/// What one channel carried, after redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelTotals {
    /// Which channel.
    pub channel: Channel,
    /// How many bytes.
    pub bytes: u64,
    /// Line feeds among them.
    pub lines: u64,
    /// Places that were redacted.
    pub redactions: u64,
    /// SHA-256 of the bytes; empty if the output was not seen to its end.
    pub sha256: Bytes,
}

impl TryFrom<v1::Finished> for Finished {
    type Error = Error;

    fn try_from(finished: v1::Finished) -> Result<Self, Error> {
        let cause = finished.cause();
        let observed_by = finished.observed_by();
        let outcome = finished.outcome.and_then(|outcome| outcome.result);
        let outcome = outcome.ok_or(Error::Protocol {
            what: "an execution finished without an outcome",
        })?;
        Ok(Self {
            outcome: Outcome::from(outcome),
            cause,
            observed_by,
            wall_time: finished
                .wall_time
                .and_then(|time| Duration::try_from(time).ok())
                .unwrap_or_default(),
            cwd: finished.cwd,
            generation: finished.generation,
            channels: finished
                .channels
                .into_iter()
                .filter_map(ChannelTotals::from_proto)
                .collect(),
        })
    }
}

impl From<Kind> for Outcome {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Exited(exited) => Self::Exited {
                code: exited.code,
                possible_signal: exited.possible_signal.map(|signal| signal.name),
            },
            Kind::Signaled(signal) => Self::Signaled {
                number: signal.number,
                name: signal.name,
            },
            Kind::LaunchFailed(failed) => Self::LaunchFailed {
                failure: failed.failure(),
                errno: failed.errno,
                detail: failed.detail,
            },
            Kind::Lost(lost) => Self::Lost {
                reason: lost.reason,
            },
        }
    }
}

impl ChannelTotals {
    /// `None` for a channel of a newer server.
    fn from_proto(totals: v1::ChannelTotals) -> Option<Self> {
        Some(Self {
            channel: Channel::from_proto(totals.channel())?,
            bytes: totals.bytes,
            lines: totals.lines,
            redactions: totals.redactions,
            sha256: totals.sha256,
        })
    }
}
