//! Writing to a running command.
//!
//! Each write carries its offset, so that one which is repeated is not doubled, and one
//! that the connection broke under is repeated by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use execgate_proto::v1;
use execgate_proto::v1::ErrorReason;
use tokio::sync::Mutex;

use crate::error::Error;
use crate::resume::{Attempts, Resume};
use crate::retry::{Repeat, Setback, Tries, random};
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
    /// Where the next write begins; `None` after one that was dropped under way, and
    /// where somebody else may have written.
    offset: Arc<Mutex<Option<u64>>>,
    resume: Resume,
}

impl Stdin {
    pub(crate) fn new(
        session: Session,
        execution_id: String,
        written: Option<u64>,
        resume: Resume,
    ) -> Self {
        Self {
            session,
            execution_id,
            offset: Arc::new(Mutex::new(written)),
            resume,
        }
    }

    /// Writes all of it, in pieces; while the command reads nothing, it waits. Returns
    /// how many bytes were written in all, also before.
    ///
    /// Dropping the future leaves unsaid how much was written; the next write goes on
    /// behind it. After an error a repeated write is not doubled.
    ///
    /// # Errors
    /// When the command has ended or its input is not open, or the connection broke and
    /// did not come back in time.
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
        let call = client.call("ExecService/WriteStdin");
        let mut tries = client.tries(Repeat::Always);
        let mut attempts = client.attempts(self.resume, call.clone(), &self.execution_id);
        // The execution is known to exist.
        attempts.progress();
        loop {
            let request = v1::WriteStdinRequest {
                session_id: self.session.id().to_owned(),
                execution_id: self.execution_id.clone(),
                offset: at,
                data: data.clone(),
                eof,
            };
            match client.once(request).await {
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
                    attempts.progress();
                }
                Err(error) if error.reason() == Some(ErrorReason::StdinFull) => {
                    let wait = error.refusal().and_then(|refusal| refusal.retry_after);
                    tokio::time::sleep(wait.unwrap_or(FULL_RETRY)).await;
                }
                // The answer to the end was lost, and the command has read it.
                Err(error) if eof && attempts.in_trouble() && is_over(&error) => {
                    *offset = at;
                    return Ok(at.unwrap_or_default());
                }
                // Without an offset the bytes could be written twice.
                Err(error) if at.is_none() && Setback::of(&error) == Setback::Cut => {
                    return Err(error);
                }
                Err(error) => match pause(error, &mut tries, &mut attempts) {
                    Ok(pause) => tokio::time::sleep(pause).await,
                    Err(error) => {
                        *offset = at;
                        return Err(error);
                    }
                },
            }
        }
    }
}

/// How long to wait before a write is repeated that failed.
fn pause(error: Error, tries: &mut Tries, attempts: &mut Attempts) -> Result<Duration, Error> {
    match Setback::of(&error) {
        later @ Setback::Later(_) if !attempts.in_trouble() => {
            let pause = tries.pause(later, Instant::now(), random());
            pause.ok_or(error)
        }
        _ => attempts.pause(error),
    }
}

/// Whether a write was refused because the command reads no more.
fn is_over(error: &Error) -> bool {
    matches!(
        error.reason(),
        Some(ErrorReason::ExecutionNotRunning | ErrorReason::StdinNotOpen)
    )
}
