//! Values of the engine into answers. Every text that a session had a hand in is
//! redacted on its way out, unless it came from where that is done already.

mod audit;
mod capabilities;
mod checkpoint;
mod event;
mod execution;
mod fence;
mod outcome;
mod policy;
mod session;
mod time;

pub(crate) use audit::{audit_page, audit_record, command_kind, head, signed_head, verification};
pub(crate) use capabilities::capabilities;
pub(crate) use checkpoint::{change, checkpoint, restored, summary};
pub(crate) use event::{ExecutionView, channel, event_kind, notice};
pub(crate) use execution::{execution, execution_state, report, result, state_of};
pub(crate) use fence::{control, fence};
pub(crate) use policy::verdict;
pub(crate) use session::{ended_process, job, left_behind, session, session_state, terminal_size};
pub(crate) use time::timestamp;

/// Tags of listings in page tokens.
pub(crate) const SESSIONS: &str = "sessions";
pub(crate) const EXECUTIONS: &str = "executions";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const AUDIT_OLDEST: &str = "audit";
pub(crate) const AUDIT_NEWEST: &str = "audit-newest";
