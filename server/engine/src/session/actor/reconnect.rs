//! The next shell of a session: where the old one has ended, at once; where the connection
//! broke, as soon as the target answers again, while the session's task goes on answering.

use std::sync::Arc;
use std::time::Duration;

use execgate_core::audit::{AuditBody, HostKeyMismatch, SessionLoss};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::Actor;
use crate::audit::Durability;
use crate::error::Error;
use crate::session::{SessionState, Shell, ShellSpec};
use crate::transport::{Transport, TransportError};

/// How long a session that asks for it tries to reach its target again: with the time until
/// a break is noticed, more than a network that is gone for a minute.
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);

/// Time between two tries.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A shell and the directory it is in.
type Begun = Result<(Shell, String), Error>;

/// A target that is being reached again. Dropping it gives that up.
pub(super) struct Reconnecting {
    /// How the old shell ended.
    reason: String,
    next: BoxFuture<'static, Begun>,
}

impl Actor {
    /// Begins to reach the target again.
    pub(super) fn reconnect(&mut self, reason: String) {
        let transport = Arc::clone(&self.transport);
        let (spec, cwd) = self.next_spec();
        let next = async move { until_reached(transport.as_ref(), &spec, &cwd).await };
        self.reconnecting = Some(Reconnecting {
            reason,
            next: next.boxed(),
        });
        self.session
            .update(|now| now.state = SessionState::Reconnecting);
    }

    /// The target has been reached, or is given up. `Err` means that the session is lost.
    pub(super) async fn reconnected(&mut self, reached: Begun) -> Result<(), ()> {
        let Some(Reconnecting { reason, .. }) = self.reconnecting.take() else {
            return Ok(());
        };
        match reached {
            Ok((shell, cwd)) => {
                self.replace_shell(shell, cwd, &reason).await;
                self.session.update(|now| now.state = SessionState::Ready);
                self.start_next().await;
                Ok(())
            }
            Err(error) => {
                self.note_host_key(&error).await;
                let reason = format!("{reason}; {error}");
                self.lose(SessionLoss::TransportLost, reason, None).await
            }
        }
    }

    /// Another shell, now.
    pub(super) async fn next_shell(&mut self) -> Begun {
        let (spec, cwd) = self.next_spec();
        start(self.transport.as_ref(), &spec, &cwd).await
    }

    /// How the next shell is to begin.
    fn next_spec(&self) -> (ShellSpec, String) {
        let spec = ShellSpec {
            env: self.exported().to_vec(),
            ..self.spec.clone()
        };
        (spec, self.session.snapshot().cwd)
    }

    /// A key that changed while the connection was away is a record, as at a session's start.
    async fn note_host_key(&mut self, error: &Error) {
        let Error::Transport(TransportError::HostKeyMismatch {
            target,
            expected,
            got,
        }) = error
        else {
            return;
        };
        let record = AuditBody::HostKeyMismatch(HostKeyMismatch {
            target: target.clone(),
            expected: expected.clone(),
            got: got.clone(),
        });
        let recorded = self.recorder.record(None, record, Durability::Synced).await;
        if let Err(error) = recorded {
            tracing::error!(session.id = %self.session.id, %error, "audit record lost");
        }
    }
}

/// The end of a try; never, where there is none.
pub(super) async fn reconnected(reconnecting: Option<&mut Reconnecting>) -> Begun {
    match reconnecting {
        Some(reconnecting) => reconnecting.next.as_mut().await,
        None => std::future::pending().await,
    }
}

/// What broke a connection may take a while to pass.
async fn until_reached(transport: &dyn Transport, spec: &ShellSpec, cwd: &str) -> Begun {
    let limit = Instant::now() + RECONNECT_LIMIT;
    loop {
        match start(transport, spec, cwd).await {
            Err(
                Error::Transport(TransportError::Unreachable { .. }) | Error::ShellNotReady { .. },
            ) if Instant::now() + RECONNECT_PAUSE < limit => {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            done => return done,
        }
    }
}

async fn start(transport: &dyn Transport, spec: &ShellSpec, cwd: &str) -> Begun {
    match Shell::start(transport, spec, cwd).await {
        // The directory may be gone with the command that made it.
        Err(Error::Transport(TransportError::Launch { .. })) => {
            Shell::start(transport, spec, "/").await
        }
        other => other,
    }
}
