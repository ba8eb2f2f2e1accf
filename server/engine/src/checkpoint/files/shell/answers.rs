//! Talking to a shell that stays: a script goes in, and what it prints comes out up to a mark
//! that nobody could know before. And to a program that runs once.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::super::unreachable;
use super::nonce;
use crate::checkpoint::found::FilesError;
use crate::transport::{Process, ProcessControl, ProcessEnd, Program, Transport, Writer};

/// Most bytes of one answer: a look at a million files, or a batch of them.
const MAX_ANSWER_BYTES: usize = 512 * 1024 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// Most bytes of what a program says that failed.
const MAX_SAID_BYTES: usize = 400;

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A shell that stays.
pub(super) struct Answers {
    stdin: Writer,
    stdout: Reader,
    _control: Box<dyn ProcessControl>,
    _stderr: Option<Reader>,
}

impl Answers {
    pub(super) fn new(process: Process) -> Self {
        Self {
            stdin: process.stdin.unwrap_or_else(|| Box::new(tokio::io::sink())),
            stdout: process.stdout,
            _control: process.control,
            _stderr: process.stderr,
        }
    }

    /// Runs a script; what it printed.
    pub(super) async fn ask(
        &mut self,
        script: impl AsRef<[u8]>,
        limit: Duration,
    ) -> Result<Vec<u8>, FilesError> {
        let nonce = nonce()?;
        // In a shell of its own: where it goes to a directory, the next one is not there.
        let mut text = b"( ".to_vec();
        text.extend_from_slice(script.as_ref());
        text.extend_from_slice(b"\n) </dev/null 2>/dev/null; echo ");
        text.extend_from_slice(nonce.as_bytes());
        text.push(b'\n');
        let asked = async {
            self.stdin.write_all(&text).await?;
            self.stdin.flush().await?;
            self.until(format!("{nonce}\n").as_bytes()).await
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(elapsed) => Err(unreachable(&elapsed)),
        }
    }

    async fn until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            said.reserve(READ_BYTES);
            let read = (&mut self.stdout)
                .take(READ_BYTES as u64)
                .read_buf(&mut said)
                .await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if said.ends_with(mark) {
                said.truncate(said.len() - mark.len());
                return Ok(said);
            }
            if said.len() > MAX_ANSWER_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
    }
}

/// A program that runs once.
pub(super) struct Once {
    process: Process,
}

impl Once {
    pub(super) async fn start(
        transport: &dyn Transport,
        program: &Program,
    ) -> Result<Self, FilesError> {
        let process = transport.spawn(program).await;
        Ok(Self {
            process: process.map_err(|error| unreachable(&error))?,
        })
    }

    /// Runs it to its end; what it said, where it failed.
    pub(super) async fn run(
        &mut self,
        input: impl Iterator<Item = io::Result<Vec<u8>>> + Send,
        limit: Duration,
    ) -> Result<Option<String>, FilesError> {
        let stdin = self.process.stdin.take();
        let stdout = &mut self.process.stdout;
        let all = async {
            let (written, said) = tokio::join!(write_all(stdin, input), read_some(stdout));
            // One that has failed takes no more.
            let written = match written {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => written,
            };
            written.map(|()| said)
        };
        let said = match tokio::time::timeout(limit, all).await {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(elapsed) => return Err(unreachable(&elapsed)),
        };
        let ended = tokio::time::timeout(limit, self.process.control.wait()).await;
        match ended {
            Ok(ProcessEnd::Code(0)) => Ok(None),
            Ok(end) if said.trim().is_empty() => Ok(Some(format!("it ended: {end:?}"))),
            Ok(_) => Ok(Some(said)),
            Err(elapsed) => Err(unreachable(&elapsed)),
        }
    }
}

async fn write_all(
    stdin: Option<Writer>,
    input: impl Iterator<Item = io::Result<Vec<u8>>> + Send,
) -> io::Result<()> {
    let Some(mut stdin) = stdin else {
        return Ok(());
    };
    for piece in input {
        stdin.write_all(&piece?).await?;
    }
    stdin.shutdown().await
}

/// All that comes, of which the beginning is kept.
async fn read_some(stdout: &mut Reader) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read) = stdout.read(&mut buffer).await
        && read > 0
    {
        let room = MAX_SAID_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(buffer.get(..read.min(room)).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
