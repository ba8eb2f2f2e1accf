//! The live view of one execution.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use execgate_proto::v1;
use futures::{Stream, StreamExt as _};
use tonic::{Status, Streaming};

use crate::error::Error;
use crate::event::{Channel, Event, Notice, Output, Started};
use crate::outcome::Finished;
use crate::result::RunResult;

/// Most bytes that [`ExecStream::result`] keeps of one channel: more output than
/// that is to be read as it comes, not held.
pub const MAX_COLLECTED_BYTES: usize = 64 * 1024 * 1024;

/// The events of one execution: [`Event::Started`] first, [`Event::Finished`] last.
///
/// Dropping it ends the call at once; what becomes of the command is said by
/// [`Command::on_disconnect`](crate::Command::on_disconnect).
#[derive(Debug)]
#[must_use = "a stream does nothing until it is read"]
pub struct ExecStream {
    events: Events<Streaming<v1::ExecResponse>>,
}

impl ExecStream {
    pub(crate) fn new(responses: Streaming<v1::ExecResponse>) -> Self {
        let events = Events::new(responses);
        Self { events }
    }

    /// Reads to the end and returns the result, with the first
    /// [`MAX_COLLECTED_BYTES`] of each channel. To be called before any event was
    /// read, instead of reading them.
    ///
    /// # Errors
    /// When the connection breaks, or events were read before.
    pub async fn result(self) -> Result<RunResult, Error> {
        self.events.result().await
    }
}

impl Stream for ExecStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(cx)
    }
}

/// The events in a stream of responses, up to the last or to the first error.
#[derive(Debug)]
struct Events<S> {
    responses: S,
    ended: bool,
}

impl<S> Events<S>
where
    S: Stream<Item = Result<v1::ExecResponse, Status>> + Unpin,
{
    fn new(responses: S) -> Self {
        let ended = false;
        Self { responses, ended }
    }

    async fn result(mut self) -> Result<RunResult, Error> {
        let mut collected = Collected::default();
        while let Some(event) = self.next().await {
            if let Some(finished) = collected.take(event?) {
                return collected.into_result(finished);
            }
        }
        Err(Error::ResultConsumed)
    }
}

impl<S> Stream for Events<S>
where
    S: Stream<Item = Result<v1::ExecResponse, Status>> + Unpin,
{
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            let event = match ready!(self.responses.poll_next_unpin(cx)) {
                Some(Ok(response)) => Event::from_proto(response.event.unwrap_or_default()),
                Some(Err(status)) => Err(status.into()),
                None => Err(Error::Disconnected {
                    message: "the stream ended before the execution did".to_owned(),
                }),
            };
            self.ended = matches!(event, Err(_) | Ok(Some(Event::Finished(_))));
            if let Some(event) = event.transpose() {
                return Poll::Ready(Some(event));
            }
        }
        Poll::Ready(None)
    }
}

/// What was seen of an execution so far.
#[derive(Default)]
struct Collected {
    started: Option<Started>,
    stdout: BytesMut,
    stderr: BytesMut,
    terminal: BytesMut,
    truncated: bool,
    notices: Vec<Notice>,
}

impl Collected {
    /// Takes one event in; returns the last.
    fn take(&mut self, event: Event) -> Option<Finished> {
        match event {
            Event::Started(started) => self.started = Some(started),
            Event::Output(output) => self.keep(&output),
            Event::Gap(_) => self.truncated = true,
            Event::Notice(notice) => self.notices.push(notice),
            Event::Finished(finished) => return Some(finished),
        }
        None
    }

    fn keep(&mut self, output: &Output) {
        let kept = match output.channel {
            Channel::Stdout => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
            Channel::Terminal => &mut self.terminal,
            Channel::Background => return,
        };
        let room = MAX_COLLECTED_BYTES.saturating_sub(kept.len());
        let fits = output.data.get(..room).unwrap_or(&output.data);
        kept.extend_from_slice(fits);
        self.truncated |= fits.len() < output.data.len();
    }

    fn into_result(self, finished: Finished) -> Result<RunResult, Error> {
        let started = self.started.ok_or(Error::ResultConsumed)?;
        Ok(RunResult {
            execution_id: started.execution_id,
            command: started.command,
            stdout: Bytes::from(self.stdout),
            stderr: Bytes::from(self.stderr),
            terminal: Bytes::from(self.terminal),
            finished,
            truncated: self.truncated,
            budgets: Vec::new(),
            notices: self.notices,
            deduplicated: started.deduplicated,
        })
    }
}

#[cfg(test)]
mod tests;
