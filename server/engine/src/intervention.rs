//! What an operator does to things of others, recorded before it is done.

use execgate_core::audit::{AuditBody, Intervened, Micros, NewRecord};
use execgate_core::ids::{ExecutionId, SessionId};
use execgate_core::trace::TraceContext;

use crate::audit::Durability;
use crate::authority::Steward;
use crate::engine::Engine;
use crate::error::Error;

/// Closing a session.
pub(crate) const CLOSE_SESSION: &str = "/execgate.v1.SessionService/CloseSession";
/// Sending a signal.
pub(crate) const SIGNAL: &str = "/execgate.v1.ExecService/Signal";
/// Forgetting a checkpoint.
pub(crate) const DELETE_CHECKPOINT: &str = "/execgate.v1.CheckpointService/DeleteCheckpoint";

impl Engine {
    /// Records that somebody else than the owner is about to do this, durably. Owners leave
    /// no record here.
    pub(crate) async fn intervene(
        &self,
        steward: &Steward,
        (session, execution): (&SessionId, Option<&ExecutionId>),
        (method, subject): (&str, &str),
    ) -> Result<(), Error> {
        let Some((operator, origin)) = steward.operator() else {
            return Ok(());
        };
        let act = Intervened {
            owner: steward.as_str().to_owned(),
            method: method.to_owned(),
            subject: subject.to_owned(),
        };
        let record = NewRecord {
            time: Micros::from(std::time::SystemTime::now()),
            principal: operator.to_string(),
            session_id: Some(session.to_string()),
            execution_id: execution.map(ToString::to_string),
            trace_id: origin.trace.as_ref().map(TraceContext::trace_id_text),
            auth: origin.auth,
            body: AuditBody::Intervened(act),
        };
        self.audit.append(record, Durability::Synced).await?;
        Ok(())
    }
}
