//! What becomes of a command when the call that asked for it goes before its end: the
//! call's future or stream is dropped, and so is the guard in it.

use std::sync::Arc;

use execgate_core::ids::ExecutionId;
use execgate_engine::session::Session;

use crate::grpc::edge::Edge;
use crate::grpc::from_proto::OnDisconnect;

/// A guard on one call's interest in one execution.
#[derive(Debug)]
pub(super) struct Caller {
    edge: Arc<Edge>,
    session: Arc<Session>,
    execution: ExecutionId,
    on_disconnect: OnDisconnect,
}

impl Caller {
    /// A guard for a call that is about to ask for this execution.
    pub(super) fn new(
        edge: &Arc<Edge>,
        session: &Arc<Session>,
        execution: &ExecutionId,
        on_disconnect: OnDisconnect,
    ) -> Self {
        Self {
            edge: Arc::clone(edge),
            session: Arc::clone(session),
            execution: execution.clone(),
            on_disconnect,
        }
    }

    /// The call has its answer: nothing is to be done when it goes.
    pub(super) fn dismiss(&mut self) {
        self.on_disconnect = OnDisconnect::Detach;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if self.on_disconnect == OnDisconnect::Detach {
            return;
        }
        let known =
            self.edge
                .engine
                .execution(&self.session.principal, &self.session.id, &self.execution);
        if known.is_ok_and(|execution| execution.ending().is_some()) {
            return;
        }
        let (session, execution) = (Arc::clone(&self.session), self.execution.clone());
        tracing::debug!(session.id = %session.id, execution.id = %execution, "caller gone");
        tokio::spawn(async move {
            // A session that is over has nothing left to cancel.
            let _over = session.cancel(&execution).await;
        });
    }
}
