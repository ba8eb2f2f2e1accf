//! Following one execution over as many calls as it takes.
//!
//! ```text
//!   opening ──► following ──Finished──► ended
//!      ▲            │ └── an error for good ──► ended
//!      └── pause ◄──┘ cut
//! ```
//!
//! What a reader has had is a [`Position`]'s to know, and how long to try an [`Attempts`]'.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::exec_event::Kind;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tonic::Status;

use super::Collected;
use crate::error::{Call, Error};
use crate::event::{Event, Started};
use crate::outcome::Finished;
use crate::position::Position;
use crate::result::RunResult;
use crate::resume::{Attempts, Resume};
use crate::retry::RetryPolicy;

/// The events of one call.
pub(crate) type Source = BoxStream<'static, Result<v1::ExecEvent, Status>>;

/// Makes a call.
pub(crate) type Opener =
    Box<dyn Fn(Start) -> BoxFuture<'static, Result<Source, Error>> + Send + Sync>;

/// Which call to make.
pub(crate) enum Start {
    /// The one that was asked for.
    First,
    /// One that goes on from a position.
    Again(v1::AttachRequest),
}

/// What is followed, and how.
pub(crate) struct Following {
    pub(crate) session_id: String,
    pub(crate) execution_id: String,
    pub(crate) call: Call,
    pub(crate) resume: Resume,
    pub(crate) retry: RetryPolicy,
    /// Whether the first call starts the command.
    pub(crate) starts: bool,
    /// Whether nobody else can have used the id before.
    pub(crate) fresh: bool,
}

/// The events of an execution, up to the last or to the first error that is for good.
pub(crate) struct Events {
    following: Following,
    opener: Opener,
    state: State,
    attempts: Attempts,
    first: Option<Event>,
    pub(super) position: Position,
    pub(super) finished: Option<Finished>,
}

enum State {
    Opening(BoxFuture<'static, Result<Source, Error>>),
    Following(Source),
    Ended,
}

impl Events {
    pub(crate) fn new(following: Following, position: Position, opener: Opener) -> Self {
        let attempts = Attempts::new(
            following.resume,
            following.retry,
            following.call.clone(),
            following.execution_id.clone(),
        );
        Self {
            state: State::Opening(opener(Start::First)),
            following,
            opener,
            attempts,
            first: None,
            position,
            finished: None,
        }
    }

    /// Waits for the first event and returns it; it is not taken away.
    pub(crate) async fn start(&mut self) -> Result<Started, Error> {
        let Some(event) = self.next().await.transpose()? else {
            return Err(self.following.call.cut_short());
        };
        let Event::Started(started) = &event else {
            return Err(Error::Protocol {
                what: "an execution's first event was not its start",
            });
        };
        let started = started.clone();
        self.following
            .execution_id
            .clone_from(&started.execution_id);
        self.first = Some(event);
        Ok(started)
    }

    pub(crate) async fn result(mut self) -> Result<RunResult, Error> {
        let mut collected = Collected::default();
        while let Some(event) = self.next().await {
            if let Some(finished) = collected.take(event?) {
                return collected.into_result(finished);
            }
        }
        Err(Error::ResultConsumed)
    }

    /// What of a message is news for the reader.
    fn take(&mut self, message: v1::ExecEvent) -> Result<Option<Event>, Error> {
        if let Some(Kind::KeepAlive(_)) = message.kind {
            self.attempts.progress();
        }
        let Some(event) = Event::from_proto(message)? else {
            return Ok(None);
        };
        let mut event = self.position.admit(event)?;
        match &mut event {
            // A call that was repeated finds what it started before.
            Some(Event::Started(started)) if self.following.fresh => started.deduplicated = false,
            Some(Event::Finished(finished)) => self.finished = Some(finished.clone()),
            _ => {}
        }
        if event.is_some() {
            self.attempts.progress();
        }
        Ok(event)
    }

    /// Goes on after a call failed, if that makes sense.
    fn failed(&mut self, error: Error) -> Result<(), Error> {
        self.state = State::Ended;
        let pause = self.attempts.pause(error)?;
        let start = if self.position.started() {
            let Following {
                session_id,
                execution_id,
                ..
            } = &self.following;
            Start::Again(
                self.position
                    .request(session_id.clone(), execution_id.clone()),
            )
        } else {
            Start::First
        };
        self.state = State::Opening(later(pause, (self.opener)(start)));
        Ok(())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        loop {
            let outcome = match &mut self.state {
                State::Opening(opening) => match ready!(opening.poll_unpin(cx)) {
                    Ok(source) => {
                        self.state = State::Following(source);
                        Ok(None)
                    }
                    Err(error) => Err(error),
                },
                State::Following(source) => match ready!(source.poll_next_unpin(cx)) {
                    Some(Ok(message)) => self.take(message),
                    Some(Err(status)) => Err(self.following.call.failed(status)),
                    None => Err(self.following.call.cut_short()),
                },
                State::Ended => return Poll::Ready(None),
            };
            match outcome {
                Ok(Some(event)) => {
                    if matches!(event, Event::Finished(_)) {
                        self.state = State::Ended;
                    }
                    return Poll::Ready(Some(Ok(event)));
                }
                Ok(None) => {}
                Err(error) => {
                    if let Err(error) = self.failed(error) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

/// A call that is made after a pause.
fn later(
    pause: Duration,
    call: BoxFuture<'static, Result<Source, Error>>,
) -> BoxFuture<'static, Result<Source, Error>> {
    async move {
        tokio::time::sleep(pause).await;
        call.await
    }
    .boxed()
}

impl Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.poll_event(cx)
    }
}

#[cfg(test)]
mod tests;
