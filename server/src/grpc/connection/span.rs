//! How long a connection may take to begin, and to live. Whoever reads from it asks; what is
//! over reads as an error, which ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Bytes with which an HTTP/2 client begins: the preface.
const PREFACE_BYTES: usize = 24;

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Span {
    /// Bytes of the preface that have not come, and until when they may.
    beginning: Option<(usize, Pin<Box<Sleep>>)>,
    /// When it is cut, whatever runs on it.
    end: Option<Pin<Box<Sleep>>>,
}

impl Span {
    /// One that begins now. Wants a runtime.
    pub(super) fn new(handshake: Duration, life: Option<Duration>) -> Self {
        Self {
            beginning: Some((PREFACE_BYTES, Box::pin(sleep(handshake)))),
            end: life.map(|life| Box::pin(sleep(life))),
        }
    }

    /// So many bytes have come.
    pub(super) fn came(&mut self, bytes: usize) {
        if let Some((missing, _)) = &mut self.beginning {
            *missing = missing.saturating_sub(bytes);
            if *missing == 0 {
                self.beginning = None;
            }
        }
    }

    /// Ready with an error when it is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Some((_, limit)) = &mut self.beginning
            && limit.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(over("it did not begin in time"));
        }
        match self.end.as_mut().map(|end| end.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(over("it is as old as it may become")),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

fn over(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    async fn end(span: &mut Span) -> String {
        std::future::poll_fn(|cx| span.poll_over(cx))
            .await
            .to_string()
    }

    #[tokio::test]
    async fn half_a_beginning_is_none() {
        let mut span = Span::new(SHORT, None);
        span.came(PREFACE_BYTES - 1);
        assert_eq!(end(&mut span).await, "it did not begin in time");
    }

    #[tokio::test]
    async fn one_that_has_begun_lives_as_long_as_it_may() {
        let mut span = Span::new(SHORT, Some(4 * SHORT));
        span.came(PREFACE_BYTES - 1);
        span.came(1);
        let began = tokio::time::Instant::now();
        assert_eq!(end(&mut span).await, "it is as old as it may become");
        assert!(began.elapsed() >= 3 * SHORT);
        let mut forever = Span::new(SHORT, None);
        forever.came(PREFACE_BYTES);
        let ended = tokio::time::timeout(4 * SHORT, end(&mut forever)).await;
        assert!(ended.is_err());
    }
}
