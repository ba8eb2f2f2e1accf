//! Writing to a running command.
//!
//! Each write carries its offset, so that one which is repeated is not doubled.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use execgate_proto::v1;
use execgate_proto::v1::ErrorReason;
use tokio::sync::Mutex;

use crate::client::answer;
use crate::error::Error;
use crate::session::Session;

/// Most bytes of one write: what a server takes, however it is configured.
const PIECE_BYTES: usize = 1024 * 1024;

/// Wait before a write is repeated that found the command's input full, where the
/// server names no time.
const FULL_RETRY: Duration = Duration::from_millis(50);

/// The standard input of one execution. Clones write to the same place, one after
/// the other.
#[derive(Debug, Clone)]
pub struct Stdin {
    session: Session,
    execution_id: String,
    /// Where the next write begins; `None` after one that was dropped under way.
    offset: Arc<Mutex<Option<u64>>>,
}

impl Stdin {
    pub(crate) fn new(session: Session, execution_id: String) -> Self {
        Self {
            session,
            execution_id,
            offset: Arc::new(Mutex::new(Some(0))),
        }
    }

    /// Writes all of it, in pieces; while the command reads nothing, it waits. Returns
    /// how many bytes were written in all, also before.
    ///
    /// Dropping the future leaves unsaid how much was written; the next write goes on
    /// behind it. After an error a repeated write is not doubled.
    ///
    /// # Errors
    /// When the command has ended or its input is not open, or the connection broke.
    pub async fn write(&self, data: impl Into<Bytes>) -> Result<u64, Error> {
        let mut data = data.into();
        loop {
            let piece = data.split_to(data.len().min(PIECE_BYTES));
            let written = self.send(piece, false).await?;
            if data.is_empty() {
                return Ok(written);
            }
        }
    }

    /// Ends it: the command reads its end. In a terminal it sends Ctrl-D. Returns how
    /// many bytes were written in all.
    ///
    /// # Errors
    /// As [`Stdin::write`].
    pub async fn close(&self) -> Result<u64, Error> {
        self.send(Bytes::new(), true).await
    }

    /// Writes one piece at its offset, again and again while there is no room: that
    /// ends when the command does, which its time limit sees to.
    async fn send(&self, mut data: Bytes, eof: bool) -> Result<u64, Error> {
        let client = &self.session.client;
        let mut offset = self.offset.lock().await;
        let mut at = offset.take();
        loop {
            let request = v1::WriteStdinRequest {
                session_id: self.session.id().to_owned(),
                execution_id: self.execution_id.clone(),
                offset: at,
                data: data.clone(),
                eof,
            };
            let call = client.call("ExecService/WriteStdin");
            match answer(call, client.executions.clone().write_stdin(request)).await {
                Ok(response) => {
                    let next = response.next_offset;
                    let taken = at.map_or(data.len() as u64, |at| next.saturating_sub(at));
                    let taken = usize::try_from(taken).unwrap_or(usize::MAX);
                    if taken >= data.len() {
                        *offset = Some(next);
                        return Ok(next);
                    }
                    // Only a part had room.
                    data.advance(taken);
                    at = Some(next);
                }
                Err(error) if error.reason() == Some(ErrorReason::StdinFull) => {
                    let wait = error.refusal().and_then(|refusal| refusal.retry_after);
                    tokio::time::sleep(wait.unwrap_or(FULL_RETRY)).await;
                }
                Err(error) => {
                    *offset = at;
                    return Err(error);
                }
            }
        }
    }
}
