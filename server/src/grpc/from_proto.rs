//! Requests into values of the engine. What leaves here is valid; what cannot be is
//! refused with the path of its field, and a field that this server does not have yet is
//! refused too, never ignored.

mod audit;
mod budget;
mod checkpoint;
mod docker;
mod execution;
mod fence;
mod fields;
mod page;
mod policy;
mod read;
mod secrets;
mod session;
mod ssh;

pub(crate) use audit::{
    Recording, RecordingForm, audit_filter, audit_query, recording, verification,
};
pub(crate) use checkpoint::{
    CheckpointsPage, checkpoint_id, checkpoints_page, comparison, new_checkpoint, restore,
};
pub(crate) use execution::{
    Ask, Attach, MAX_ARGV_BYTES, MAX_STDIN_BYTES, OnDisconnect, Purpose, attach, executions_page,
    judged, of_exec, of_run, signal, write,
};
pub(crate) use fields::{MAX_ENV_BYTES, execution_id, session_id};
pub(crate) use page::{Page, Position, seal};
pub(crate) use policy::session_policy;
pub(crate) use read::{ReadOutput, Selection, read_output};
pub(crate) use session::{
    NewSession, SessionsPage, new_session, session_update, sessions_page, terminal_size,
};
