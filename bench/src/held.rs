//! A bash at the end of something that carries both of its streams as messages: a channel of
//! SSH, an attach stream of a container. The same protocol as [`crate::shell::BareShell`]'s.

use std::time::Instant;

use crate::Result;
use crate::race::Contender;
use crate::shell::{MARK, request};

/// What carries the shell's streams.
#[tonic::async_trait(?Send)]
pub(crate) trait Wire {
    /// Sends to the shell's stdin.
    async fn send(&mut self, bytes: &[u8]) -> Result<()>;

    /// The next message from it.
    async fn receive(&mut self) -> Result<Message>;
}

/// A piece of one stream: how many bytes, and how many marks among them. The bytes before
/// the first mark are output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message {
    /// Of stdout.
    Stdout { output: u64, marks: usize },
    /// Of stderr.
    Stderr { marks: usize },
    /// Something else.
    Other,
}

impl Message {
    /// Of stdout.
    pub(crate) fn stdout(bytes: &[u8]) -> Self {
        let output = memchr::memchr(MARK, bytes).unwrap_or(bytes.len()) as u64;
        Self::Stdout {
            output,
            marks: memchr::memchr_iter(MARK, bytes).count(),
        }
    }

    /// Of stderr.
    pub(crate) fn stderr(bytes: &[u8]) -> Self {
        Self::Stderr {
            marks: memchr::memchr_iter(MARK, bytes).count(),
        }
    }
}

/// A shell that is held.
pub(crate) struct HeldShell<W>(pub(crate) W);

impl<W: Wire> HeldShell<W> {
    /// Runs a script to its end; answers how many bytes it printed.
    async fn finish(&mut self, script: &str) -> Result<u64> {
        self.0.send(request(script).as_bytes()).await?;
        let (mut printed, mut on_stdout, mut on_stderr) = (0, 0, 0);
        while on_stdout < 2 || on_stderr < 1 {
            match self.0.receive().await? {
                Message::Stdout { output, marks } => {
                    if on_stdout == 0 {
                        printed += output;
                    }
                    on_stdout += marks;
                }
                Message::Stderr { marks } => on_stderr += marks,
                Message::Other => {}
            }
        }
        Ok(printed)
    }
}

#[tonic::async_trait(?Send)]
impl<W: Wire> Contender for HeldShell<W> {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.finish(script).await.map(|_| ())
    }

    async fn stream(&mut self, script: &str, bytes: u64) -> Result<f64> {
        let start = Instant::now();
        match self.finish(script).await? {
            came if came == bytes => Ok(start.elapsed().as_secs_f64()),
            came => Err(format!("{came} bytes came").into()),
        }
    }
}
