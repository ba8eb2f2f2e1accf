//! The live view of one execution.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use execgate_proto::v1;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tonic::Status;

use crate::error::{Call, Error};
use crate::event::{Channel, Event, Notice, Output, Started};
use crate::outcome::Finished;
use crate::result::RunResult;
use crate::session::Session;
use crate::stdin::Stdin;

/// Most bytes that [`ExecStream::result`] keeps of one channel: more output than
/// that is to be read as it comes, not held.
pub const MAX_COLLECTED_BYTES: usize = 64 * 1024 * 1024;

/// The events of one execution: [`Event::Started`] first, [`Event::Finished`] last.
///
/// Dropping it ends the call at once; what becomes of the command is said by
/// [`Command::on_disconnect`](crate::Command::on_disconnect).
#[must_use = "a stream does nothing until it is read"]
pub struct ExecStream {
    events: Events<BoxStream<'static, Result<v1::ExecEvent, Status>>>,
    execution_id: String,
    stdin: Stdin,
}

impl ExecStream {
    /// Waits for the first event, which tells whose stream it is.
    pub(crate) async fn open(
        session: Session,
        call: Call,
        events: BoxStream<'static, Result<v1::ExecEvent, Status>>,
    ) -> Result<Self, Error> {
        let mut events = Events::new(events, call);
        let execution_id = events.start().await?;
        Ok(Self {
            events,
            stdin: Stdin::new(session, execution_id.clone()),
            execution_id,
        })
    }

    /// The execution's id within its session.
    #[must_use]
    pub fn execution_id(&self) -> &str {
        &self.execution_id
    }

    /// The command's standard input, if [`Command::open_stdin`](crate::Command::open_stdin)
    /// left it open: to write while another task reads the events.
    #[must_use]
    pub fn stdin(&self) -> Stdin {
        self.stdin.clone()
    }

    /// Writes to the command's standard input; as [`Stdin::write`].
    ///
    /// # Errors
    /// As [`Stdin::write`].
    pub async fn write_stdin(&mut self, data: impl Into<Bytes>) -> Result<u64, Error> {
        self.stdin.write(data).await
    }

    /// Ends the command's standard input; in a terminal it sends Ctrl-D.
    ///
    /// # Errors
    /// As [`Stdin::write`].
    pub async fn close_stdin(&mut self) -> Result<u64, Error> {
        self.stdin.close().await
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

impl fmt::Debug for ExecStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecStream")
            .field("execution_id", &self.execution_id)
            .finish_non_exhaustive()
    }
}

/// The events of an execution, up to the last or to the first error.
struct Events<S> {
    source: S,
    call: Call,
    first: Option<Event>,
    ended: bool,
}

impl<S> Events<S>
where
    S: Stream<Item = Result<v1::ExecEvent, Status>> + Unpin,
{
    fn new(source: S, call: Call) -> Self {
        Self {
            source,
            call,
            first: None,
            ended: false,
        }
    }

    /// Waits for the first event and returns the id in it; it is not taken away.
    async fn start(&mut self) -> Result<String, Error> {
        let Some(event) = self.next().await.transpose()? else {
            return Err(self.call.cut_short());
        };
        let Event::Started(started) = &event else {
            return Err(Error::Protocol {
                what: "an execution's first event was not its start",
            });
        };
        let id = started.execution_id.clone();
        self.first = Some(event);
        Ok(id)
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
    S: Stream<Item = Result<v1::ExecEvent, Status>> + Unpin,
{
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        while !self.ended {
            let event = match ready!(self.source.poll_next_unpin(cx)) {
                Some(Ok(event)) => Event::from_proto(event),
                Some(Err(status)) => Err(self.call.failed(status)),
                None => Err(self.call.cut_short()),
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
pub(crate) struct Collected {
    started: Option<Started>,
    stdout: BytesMut,
    stderr: BytesMut,
    terminal: BytesMut,
    truncated: bool,
    notices: Vec<Notice>,
}

impl Collected {
    /// Takes one event in; returns the last.
    pub(crate) fn take(&mut self, event: Event) -> Option<Finished> {
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

    pub(crate) fn into_result(self, finished: Finished) -> Result<RunResult, Error> {
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
