//! Requests for retained output.

use std::time::Duration;

use execgate_core::budget::OutputBudget;
use execgate_core::ids::{ExecutionId, SessionId};
use execgate_core::outcome::Channel;
use execgate_proto::v1;
use v1::read_output_request::Selection as ProtoSelection;

use super::budget::budget;
use super::fields::{self, duration, enumeration};
use super::session_id;
use crate::grpc::edge::Edge;
use crate::grpc::refusal::Refusal;

/// Bytes in one answer at most, as the API says.
pub(crate) const MAX_READ_BYTES: usize = 1024 * 1024;
/// The longest wait for a first byte, as the API says.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What is to be read.
#[derive(Debug)]
pub(crate) struct ReadOutput {
    pub(crate) session: SessionId,
    /// Nothing for what came between the executions.
    pub(crate) execution: Option<ExecutionId>,
    pub(crate) channel: Channel,
    pub(crate) selection: Selection,
}

/// How it is to be read.
#[derive(Debug)]
pub(crate) enum Selection {
    /// By bytes.
    Range {
        /// The first byte; the oldest that is kept where there is none.
        offset: Option<u64>,
        /// Most bytes.
        limit: usize,
        /// How long to wait for a first byte.
        wait: Duration,
    },
    /// By a budget over all that is kept.
    Budget(OutputBudget),
}

/// What ReadOutput is asked.
pub(crate) fn read_output(
    request: v1::ReadOutputRequest,
    edge: &Edge,
) -> Result<ReadOutput, Refusal> {
    let session = session_id(&request.session_id)?;
    let channel = channel("channel", request.channel)?;
    let selection = match request.selection {
        None => range(v1::OutputRange::default())?,
        Some(ProtoSelection::Range(asked)) => range(asked)?,
        Some(ProtoSelection::Budget(asked)) => {
            Selection::Budget(budget("budget", asked, &edge.defaults.budget)?)
        }
    };
    Ok(ReadOutput {
        session,
        execution: match channel {
            Channel::Background if request.execution_id.is_empty() => None,
            _ => Some(fields::execution_id(&request.execution_id)?),
        },
        channel,
        selection,
    })
}

/// A channel, which a request must name.
pub(super) fn channel(field: &str, number: i32) -> Result<Channel, Refusal> {
    match enumeration(field, number)? {
        v1::Channel::Unspecified => Err(Refusal::field(field, "is required")),
        v1::Channel::Stdout => Ok(Channel::Stdout),
        v1::Channel::Stderr => Ok(Channel::Stderr),
        v1::Channel::Terminal => Ok(Channel::Terminal),
        v1::Channel::Background => Ok(Channel::Background),
    }
}

fn range(range: v1::OutputRange) -> Result<Selection, Refusal> {
    let limit = match usize::try_from(range.limit) {
        Ok(0) => MAX_READ_BYTES,
        Ok(limit @ 1..=MAX_READ_BYTES) => limit,
        Ok(_) | Err(_) => {
            let reason = format!("is {}, at most {MAX_READ_BYTES}", range.limit);
            return Err(Refusal::field("range.limit", reason));
        }
    };
    // No wait may be said in two ways.
    let wait = range
        .wait
        .filter(|wait| (wait.seconds, wait.nanos) != (0, 0));
    Ok(Selection::Range {
        offset: range.offset,
        limit,
        wait: duration("range.wait", wait, MAX_WAIT)?.unwrap_or_default(),
    })
}
