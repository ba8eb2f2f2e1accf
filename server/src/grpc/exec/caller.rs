//! What becomes of a command when a call goes before its end: the call's future or stream
//! is dropped, and so is the guard in it. A call that is still asking takes what it asked
//! for along if it said so; of the calls that follow an execution, the last one does.

use std::sync::Arc;

use execgate_core::ids::ExecutionId;
use execgate_engine::execution::{Abandonment, Execution};
use execgate_engine::session::Session;

use crate::grpc::from_proto::OnDisconnect;

/// A guard on one call's interest in one execution. It must be dropped after the call's
/// follower.
#[derive(Debug)]
pub(super) struct Caller {
    session: Arc<Session>,
    interest: Interest,
}

#[derive(Debug)]
enum Interest {
    /// The call asks for this execution and has no answer yet.
    Asking(ExecutionId, OnDisconnect),
    /// The call follows it.
    Following(Arc<Execution>),
    /// The call has all it wanted.
    Over,
}

impl Caller {
    /// A guard for a call that is about to ask for this execution.
    pub(super) fn asking(
        session: &Arc<Session>,
        execution: &ExecutionId,
        on_disconnect: OnDisconnect,
    ) -> Self {
        let interest = Interest::Asking(execution.clone(), on_disconnect);
        Self {
            session: Arc::clone(session),
            interest,
        }
    }

    /// A guard for a call that follows this execution.
    pub(super) fn following(session: &Arc<Session>, execution: &Arc<Execution>) -> Self {
        let interest = Interest::Following(Arc::clone(execution));
        Self {
            session: Arc::clone(session),
            interest,
        }
    }

    /// The execution was accepted: from now on the call follows it.
    pub(super) fn accepted(&mut self, execution: &Arc<Execution>) {
        if let Interest::Asking(_, on_disconnect) = self.interest {
            execution.on_abandonment(match on_disconnect {
                OnDisconnect::Detach => Abandonment::RunsOn,
                OnDisconnect::Cancel => Abandonment::Cancelled,
            });
        }
        self.interest = Interest::Following(Arc::clone(execution));
    }

    /// Nothing is to be done when the call goes.
    pub(super) fn dismiss(&mut self) {
        self.interest = Interest::Over;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let execution = match &self.interest {
            Interest::Asking(execution, OnDisconnect::Cancel) => execution.clone(),
            Interest::Following(execution) if execution.is_abandoned() => execution.id.clone(),
            Interest::Asking(_, OnDisconnect::Detach) | Interest::Following(_) | Interest::Over => {
                return;
            }
        };
        let session = Arc::clone(&self.session);
        tracing::debug!(session.id = %session.id, execution.id = %execution, "caller gone");
        tokio::spawn(async move {
            // A session that is over has nothing left to cancel.
            let _over = session.cancel(&execution).await;
        });
    }
}
