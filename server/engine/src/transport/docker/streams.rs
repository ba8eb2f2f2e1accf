//! The streams of an exec: its frames, taken apart into stdout and stderr, and its input.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard::container::LogOutput;
use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;

/// Frames of one stream that wait for their reader, up to 32 KiB each: as much as a local
/// pipe holds. Beyond it the connection is not read, and the command waits.
const WAITING_FRAMES: usize = 32;

/// The frames of one stream, in order.
#[derive(Debug)]
pub(super) struct Frames {
    frames: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Frames {
    /// Both ends of a stream.
    pub(super) fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, frames) = mpsc::channel(WAITING_FRAMES);
        let rest = Bytes::new();
        (sender, Self { frames, rest })
    }

    /// What comes next, or nothing where the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        match self.rest.is_empty() {
            true => self.frames.recv().await,
            false => Some(std::mem::take(&mut self.rest)),
        }
    }

    /// Puts back what was taken too much; the rest has to have been taken.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.rest = bytes;
    }
}

impl AsyncRead for Frames {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.frames.poll_recv(cx)) {
                Some(next) => self.rest = next,
                None => return Poll::Ready(Ok(())),
            }
        }
        let part = self.rest.len().min(buf.remaining());
        buf.put_slice(self.rest.get(..part).unwrap_or_default());
        self.rest.advance(part);
        Poll::Ready(Ok(()))
    }
}

/// What the engine sends on one connection.
pub(super) type Output =
    Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// Hands on what comes, each frame to its stream, until the engine has nothing more. A
/// stream that nobody reads any more is dropped; one that is read slowly holds the other
/// up, as they share the connection.
pub(super) async fn hand_on(
    mut output: Output,
    stdout: mpsc::Sender<Bytes>,
    stderr: mpsc::Sender<Bytes>,
) {
    while let Some(Ok(frame)) = output.next().await {
        // Nobody listens: what comes is dropped, so that the command can end.
        let _unheard = match frame {
            LogOutput::StdErr { message } => stderr.send(message).await,
            LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message } => stdout.send(message).await,
        };
    }
}

/// The input of an exec. Dropping it is the end of the input: the connection stays open for
/// the output.
pub(super) struct Input(Option<Pin<Box<dyn AsyncWrite + Send>>>);

impl Input {
    pub(super) fn new(connection: Pin<Box<dyn AsyncWrite + Send>>) -> Self {
        Self(Some(connection))
    }

    fn connection(&mut self) -> io::Result<Pin<&mut (dyn AsyncWrite + Send)>> {
        match self.0.as_mut() {
            Some(connection) => Ok(connection.as_mut()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection()?.poll_shutdown(cx)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else {
            return;
        };
        // Half of a connection ends by being told, not by being dropped; without a runtime
        // the other half goes too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _gone = connection.shutdown().await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn frames_are_taken_apart_and_keep_their_bytes() {
        let frame = |stderr, bytes: &'static [u8]| {
            let message = Bytes::from_static(bytes);
            Ok(match stderr {
                true => LogOutput::StdErr { message },
                false => LogOutput::StdOut { message },
            })
        };
        let sent = [
            frame(false, b"\x00one\r"),
            frame(true, b"two"),
            frame(false, b""),
            frame(false, b"\nthree"),
        ];
        let (stdout, mut out) = Frames::new();
        let (stderr, mut err) = Frames::new();
        hand_on(Box::pin(futures::stream::iter(sent)), stdout, stderr).await;
        let (mut bytes, mut text) = (Vec::new(), String::new());
        out.read_to_end(&mut bytes).await.unwrap();
        err.read_to_string(&mut text).await.unwrap();
        assert_eq!(
            (bytes.as_slice(), text.as_str()),
            (&b"\x00one\r\nthree"[..], "two")
        );
    }
}
