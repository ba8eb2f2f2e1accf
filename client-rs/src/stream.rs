//! The live view of one execution.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};

use self::events::Events;
pub(crate) use self::events::{Following, Opener, Source, Start};
use crate::error::Error;
use crate::event::{Channel, Event, Notice, Output, Started};
use crate::outcome::Finished;
use crate::position::Position;
use crate::result::RunResult;
use crate::session::Session;
use crate::stdin::Stdin;
use crate::text::TextPieces;

mod events;

/// Most bytes that [`ExecStream::result`] keeps of one channel: more output than
/// that is to be read as it comes, not held.
pub const MAX_COLLECTED_BYTES: usize = 64 * 1024 * 1024;

/// The events of one execution: [`Event::Started`] first, [`Event::Finished`] last.
///
/// When the connection breaks it attaches again where it was, as [`Resume`](crate::Resume) says; its
/// reader sees nothing of that.
///
/// Dropping it ends the call at once; what becomes of the command is said by
/// [`Command::on_disconnect`](crate::Command::on_disconnect).
#[must_use = "a stream does nothing until it is read"]
pub struct ExecStream {
    events: Events,
    execution_id: String,
    stdin: Stdin,
}

impl ExecStream {
    /// Waits for the first event, which tells whose stream it is.
    pub(crate) async fn open(
        session: Session,
        following: Following,
        position: Position,
        opener: Opener,
    ) -> Result<Self, Error> {
        let Following { resume, starts, .. } = following;
        let mut events = Events::new(following, position, opener);
        let started = events.start().await?;
        // Somebody else may have written to what was found.
        let written = (starts && !started.deduplicated).then_some(0);
        Ok(Self {
            stdin: Stdin::new(session, started.execution_id.clone(), written, resume),
            execution_id: started.execution_id,
            events,
        })
    }

    /// The execution's id within its session.
    #[must_use]
    pub fn execution_id(&self) -> &str {
        &self.execution_id
    }

    /// Where each channel is that has said anything: the offset of its next byte. Another
    /// client goes on from there with [`Session::attach_from`].
    #[must_use]
    pub fn offsets(&self) -> Vec<(Channel, u64)> {
        let offsets = self.events.position.offsets().iter();
        offsets
            .map(|(channel, offset)| (*channel, *offset))
            .collect()
    }

    /// How it ended, once [`Event::Finished`] was read.
    #[must_use]
    pub fn finished(&self) -> Option<&Finished> {
        self.events.finished.as_ref()
    }

    /// The rest of the output as pieces of text, each with its channel. Characters that
    /// are split between two pieces of output stay whole; what is not UTF-8 becomes U+FFFD.
    ///
    /// ```no_run
    /// # async fn example(session: execgate_client::Session) -> Result<(), execgate_client::Error> {
    /// use futures::TryStreamExt as _;
    ///
    /// let mut stream = session.exec("make").await?;
    /// let mut pieces = stream.text();
    /// while let Some((_, text)) = pieces.try_next().await? {
    ///     print!("{text}");
    /// }
    /// println!("{:?}", stream.finished().map(|finished| &finished.outcome));
    /// # Ok(())
    /// # }
    /// ```
    pub fn text(&mut self) -> TextPieces<'_> {
        TextPieces::new(self)
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
    /// When the connection breaks for good, or events were read before.
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
