//! Talking to an execution that runs: bytes for its standard input, signals, the size of
//! its terminal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use execgate_core::ids::{ExecutionId, SessionId};
use tokio::sync::oneshot;

use crate::authority::{Owner, Steward};
use crate::engine::Engine;
use crate::error::Error;
use crate::execution::Execution;
use crate::intervention::SIGNAL;
use crate::session::{Nudge, Session, SessionUpdate, Write};
use crate::transport::WindowSize;

/// How long a write may wait for the command to read what was written before.
const ROOM_LIMIT: Duration = Duration::from_secs(10);

/// When to try again where the command still does not read.
const FULL_RETRY: Duration = Duration::from_secs(1);

impl Engine {
    /// Writes to the standard input of a running execution; answers the offset after the
    /// last accepted byte.
    ///
    /// # Errors
    /// Where there is no such execution, it does not run, its input is not open, the
    /// offset lies beyond what was accepted, or the command does not read.
    pub async fn write_stdin(
        &self,
        principal: &Owner,
        session: &SessionId,
        execution: &ExecutionId,
        (offset, data, eof): (Option<u64>, Bytes, bool),
    ) -> Result<u64, Error> {
        let session = self.session(principal, session)?;
        let execution = running(&session, execution)?;
        let (reply, answer) = oneshot::channel();
        let write = Write {
            offset,
            data,
            eof,
            reply,
        };
        session.nudge(&execution.id, Nudge::Write(write)).await?;
        match tokio::time::timeout(ROOM_LIMIT, answer).await {
            Ok(Ok(accepted)) => accepted,
            // It ended meanwhile, or too many wait already.
            Ok(Err(_)) if execution.ending().is_some() => Err(not_running(&execution)),
            Ok(Err(_)) | Err(_) => Err(Error::StdinFull {
                execution: execution.id.clone(),
                retry_after: FULL_RETRY,
            }),
        }
    }

    /// Sends a signal to a running execution; answers to how many processes or groups. One
    /// that waits for its turn is cancelled by the signals that end processes.
    ///
    /// # Errors
    /// Where there is no such execution, it does not run, or its processes cannot be
    /// reached.
    pub async fn signal(
        &self,
        principal: &Steward,
        session: &SessionId,
        execution: &ExecutionId,
        signal: i32,
    ) -> Result<usize, Error> {
        let session = self.session(principal, session)?;
        let execution = known(&session, execution)?;
        if execution.ending().is_some() {
            return Err(not_running(&execution));
        }
        let concerned = (&session.id, Some(&execution.id));
        self.intervene(principal, concerned, (SIGNAL, "")).await?;
        let (reply, answer) = oneshot::channel();
        let nudge = Nudge::Signal { signal, reply };
        session.nudge(&execution.id, nudge).await?;
        answer
            .await
            .unwrap_or_else(|_dropped| Err(not_running(&execution)))
    }

    /// Changes what holds in a session where requests do not say, from the next command on.
    ///
    /// # Errors
    /// Where there is no such session, or it is over.
    pub async fn update_session(
        &self,
        principal: &Owner,
        session: &SessionId,
        update: SessionUpdate,
    ) -> Result<Arc<Session>, Error> {
        let session = self.session(principal, session)?;
        session.change(update).await?;
        Ok(session)
    }

    /// Gives a session's terminal another size.
    ///
    /// # Errors
    /// Where there is no such session, or it has no terminal.
    pub async fn resize_terminal(
        &self,
        principal: &Owner,
        session: &SessionId,
        size: WindowSize,
    ) -> Result<(), Error> {
        let session = self.session(principal, session)?;
        if session.settings.terminal.is_none() {
            return Err(Error::NoTerminal {
                session: session.id.clone(),
            });
        }
        session.resize(size).await
    }
}

fn known(session: &Session, id: &ExecutionId) -> Result<Arc<Execution>, Error> {
    session.executions().find(id)
}

fn running(session: &Session, id: &ExecutionId) -> Result<Arc<Execution>, Error> {
    let execution = known(session, id)?;
    match (execution.started(), execution.ending()) {
        (Some(_), None) => Ok(execution),
        (None, _) | (_, Some(_)) => Err(not_running(&execution)),
    }
}

fn not_running(execution: &Execution) -> Error {
    Error::ExecutionNotRunning {
        execution: execution.id.clone(),
        finished: execution.ending().is_some(),
    }
}
