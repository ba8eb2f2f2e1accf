//! Our end of a shell's stdin. It is written to at once, and watched only while the shell has
//! not room for more: a socket that is always watched wakes its task each time the shell has
//! read a line, and nobody waits for that.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// A socket that is only written to.
#[derive(Debug)]
pub(super) struct PrivateInput {
    socket: UnixStream,
    /// The same, watched.
    full: Option<tokio::net::UnixStream>,
}

impl PrivateInput {
    /// Takes a socket that does not block.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, full: None }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }
}

impl AsyncWrite for PrivateInput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.full.is_none() {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
        let full = match self.full.take() {
            Some(full) => full,
            None => tokio::net::UnixStream::from_std(self.socket.try_clone()?)?,
        };
        let full = self.full.insert(full);
        let written = Pin::new(full).poll_write(cx, bytes);
        if written.is_ready() {
            self.full = None;
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_waits_for_the_reader() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|at| at as u8).collect();
        let expected = sent.clone();
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            got
        });
        let mut input = PrivateInput::new(ours);
        input.write_all(&sent).await.unwrap();
        input.shutdown().await.unwrap();
        assert!(reading.join().unwrap() == expected);
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        drop(theirs);
        let error = PrivateInput::new(ours).write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
