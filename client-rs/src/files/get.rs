//! Getting a file out of a session.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::error::{FileError, FileErrorReason, Transfer};
use super::target::OpenTarget;
use super::{FileRead, PIECE_BYTES, command, failed, hex, mode, report, size};
use crate::error::Error;
use crate::event::{Channel, Event};
use crate::result::RunResult;
use crate::session::Session;
use crate::stream::{Collected, MAX_COLLECTED_BYTES};

/// What reads the file, and says what it should have been.
pub(super) const SCRIPT: &str = include_str!("get.sh");

impl Session {
    /// Gets a file out of the session, byte for byte: say where to.
    ///
    /// It is one command beside the session's shell, so it works while another one
    /// runs. The file is read as it arrives, however large.
    ///
    /// ```no_run
    /// # async fn example(session: execgate_client::Session) -> Result<(), execgate_client::Error> {
    /// let log = session.get("build.log").bytes().await?;
    /// let read = session.get("/tmp/data.tar").to_file("data.tar").await?;
    /// println!("{} bytes, {}", read.size, read.sha256);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, path: impl Into<String>) -> Get {
        Get {
            session: self.clone(),
            path: path.into(),
            redacted_ok: false,
            timeout: None,
        }
    }
}

/// A file to be gotten.
#[derive(Debug)]
#[must_use = "nothing is gotten before it is said where to"]
pub struct Get {
    session: Session,
    path: String,
    redacted_ok: bool,
    timeout: Option<Duration>,
}

impl Get {
    /// Takes the file also if the server hid secrets in it.
    pub fn redacted_ok(mut self) -> Self {
        self.redacted_ok = true;
        self
    }

    /// Time limit of the whole. Default: the session's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Into a local file, which is replaced as a whole or not at all. It gets the
    /// permissions that the file has in the session.
    ///
    /// # Errors
    /// When the file cannot be read, is not what arrived, or cannot be written here.
    pub async fn to_file(self, path: impl AsRef<Path>) -> Result<FileRead, Error> {
        let path = path.as_ref();
        let failed = |source| Error::LocalFile {
            path: path.to_owned(),
            source,
        };
        let mut target = OpenTarget::create(path).await.map_err(failed)?;
        let read = self.to_writer(&mut target.file).await?;
        target.commit(read.mode).await.map_err(failed)?;
        Ok(read)
    }

    /// Into memory, up to [`MAX_COLLECTED_BYTES`].
    ///
    /// # Errors
    /// When the file cannot be read, is not what arrived, or is larger.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let path = self.path.clone();
        let mut held = Held(Vec::new());
        match self.to_writer(&mut held).await {
            Ok(_) => Ok(held.0.into()),
            Err(Error::LocalFile { source, .. })
                if source.kind() == io::ErrorKind::FileTooLarge =>
            {
                let why = format!("it has more than {MAX_COLLECTED_BYTES} bytes; use to_file");
                let reason = FileErrorReason::TooLarge;
                Err(FileError::new(Transfer::Get, &path, reason, why).into())
            }
            Err(error) => Err(error),
        }
    }

    /// Into any writer. What was written is the file only if no error is returned.
    ///
    /// # Errors
    /// When the file cannot be read, is not what arrived, or the writer fails.
    pub async fn to_writer(
        self,
        writer: &mut (impl AsyncWrite + Unpin + Send + ?Sized),
    ) -> Result<FileRead, Error> {
        let words = vec!["execgate-get".to_owned(), self.path.clone()];
        let mut stream = self
            .session
            .exec(command(SCRIPT, words, self.timeout))
            .await?;
        let mut arrived = Arrived::default();
        let mut besides = Collected::default();
        while let Some(event) = stream.next().await {
            match event? {
                Event::Output(output) if output.channel == Channel::Stdout => {
                    let taken = arrived.take(&output.data, writer).await;
                    taken.map_err(|source| local(&self.path, source))?;
                }
                event => {
                    if let Some(finished) = besides.take(event) {
                        let flushed = arrived.flush(writer).await;
                        flushed.map_err(|source| local(&self.path, source))?;
                        return self.check(arrived, &besides.into_result(finished)?);
                    }
                }
            }
        }
        Err(Error::ResultConsumed)
    }

    /// Whether what arrived is the file.
    fn check(self, arrived: Arrived, result: &RunResult) -> Result<FileRead, Error> {
        failed(Transfer::Get, &self.path, result)?;
        let said = result.stderr_text();
        let [bytes, permissions, hash] = report("execgate-get ", &said)?;
        let sent = result.finished.channels.iter();
        let sent = sent.filter(|totals| totals.channel == Channel::Stdout);
        let (sent_bytes, redactions) = sent.fold((0, 0), |(bytes, redactions), totals| {
            (bytes + totals.bytes, redactions + totals.redactions)
        });
        let not = |reason, why: String| {
            Err(FileError::new(Transfer::Get, &self.path, reason, why)
                .with(result)
                .into())
        };
        if redactions > 0 && !self.redacted_ok {
            let why =
                format!("the server hid {redactions} secrets in it (redacted_ok takes it so)");
            return not(FileErrorReason::Redacted, why);
        }
        if arrived.size != sent_bytes {
            let why = format!("{} of {sent_bytes} bytes arrived", arrived.size);
            return not(FileErrorReason::Incomplete, why);
        }
        let sha256 = hex(&arrived.digest.finalize());
        let same = size(bytes)? == arrived.size && (hash == "-" || hash == sha256);
        if redactions == 0 && !same {
            let why = "it changed while it was read".to_owned();
            return not(FileErrorReason::Changed, why);
        }
        Ok(FileRead {
            path: self.path,
            size: arrived.size,
            sha256,
            mode: mode(permissions),
            verified: redactions == 0 && hash != "-",
            redactions,
        })
    }
}

fn local(path: &str, source: io::Error) -> Error {
    let path = PathBuf::from(path);
    Error::LocalFile { path, source }
}

/// What has come so far. Small events are gathered, so that a file is written in few
/// steps.
#[derive(Default)]
struct Arrived {
    size: u64,
    digest: Sha256,
    gathered: Vec<u8>,
}

impl Arrived {
    async fn take(
        &mut self,
        data: &[u8],
        writer: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> io::Result<()> {
        self.size += data.len() as u64;
        self.digest.update(data);
        self.gathered.extend_from_slice(data);
        if self.gathered.len() < PIECE_BYTES {
            return Ok(());
        }
        self.flush(writer).await
    }

    async fn flush(&mut self, writer: &mut (impl AsyncWrite + Unpin + ?Sized)) -> io::Result<()> {
        writer.write_all(&self.gathered).await?;
        self.gathered.clear();
        writer.flush().await
    }
}

/// A writer into memory that is full at [`MAX_COLLECTED_BYTES`].
struct Held(Vec<u8>);

impl AsyncWrite for Held {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        data: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        if self.0.len() + data.len() > MAX_COLLECTED_BYTES {
            return std::task::Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        self.0.extend_from_slice(data);
        std::task::Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
