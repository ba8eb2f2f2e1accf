//! Putting a file into a session.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use execgate_proto::v1::ErrorReason;

use super::error::{FileError, FileErrorReason, Transfer};
use super::source::{OpenSource, Source};
use super::{FileWritten, PIECE_BYTES, command, failed, hex, mode, report, size};
use crate::error::Error;
use crate::session::Session;
use crate::stdin::Stdin;

/// What writes the file, checks it and renames it.
pub(super) const SCRIPT: &str = include_str!("put.sh");

/// Random bytes in the name of a temporary file.
const NONCE_BYTES: usize = 16;

impl Session {
    /// Puts a file into the session, whole and checked, or not at all: await it, after
    /// setting what should differ from the defaults.
    ///
    /// It is one command beside the session's shell, so it works while another one
    /// runs. The bytes go to a temporary file beside the target, are counted and
    /// hashed there, and renamed over it; a symbolic link is written through. A local
    /// file is read as it is sent, however large.
    ///
    /// ```no_run
    /// # async fn example(session: execgate_client::Session) -> Result<(), execgate_client::Error> {
    /// use std::path::Path;
    ///
    /// session.put(b"#!/bin/sh\necho hi\n", "hi").mode(0o755).await?;
    /// let written = session.put(Path::new("data.tar"), "/tmp/data.tar").await?;
    /// println!("{} bytes, {}", written.size, written.sha256);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, source: impl Into<Source>, path: impl Into<String>) -> Put {
        Put {
            session: self.clone(),
            source: source.into(),
            path: path.into(),
            mode: None,
            parents: true,
            timeout: None,
        }
    }
}

/// A file to be put: awaiting it puts it.
#[derive(Debug)]
#[must_use = "nothing is put before this is awaited"]
pub struct Put {
    session: Session,
    source: Source,
    path: String,
    mode: Option<u32>,
    parents: bool,
    timeout: Option<Duration>,
}

impl Put {
    /// Its permissions. Default: those of the file that is replaced, else those of the
    /// local file, else 0666 without the session's umask.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Makes no directories: a missing one is an error.
    pub fn without_parents(mut self) -> Self {
        self.parents = false;
        self
    }

    /// Time limit of the whole. Default: the session's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn put(self) -> Result<FileWritten, Error> {
        let Self { session, path, .. } = self;
        let mut source = self.source.open().await?;
        let words = words(&source, &path, self.mode, self.parents)?;
        let command = command(SCRIPT, words, self.timeout);
        let stream = if source.size <= PIECE_BYTES as u64 {
            let data = read(&mut source, &path).await?;
            session.exec(command.stdin(data)).await?
        } else {
            let stream = session.exec(command.open_stdin()).await?;
            write(&mut source, &path, &stream.stdin()).await?;
            stream
        };
        let result = stream.result().await?;
        failed(Transfer::Put, &path, &result)?;
        let said = result.stdout_text();
        let [bytes, permissions, check] = report("execgate-put ", &said)?;
        Ok(FileWritten {
            path,
            size: size(bytes)?,
            sha256: source.sha256,
            mode: mode(permissions),
            verified: check == "sha256",
        })
    }
}

impl IntoFuture for Put {
    type Output = Result<FileWritten, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.put())
    }
}

/// The arguments of the script.
fn words(
    source: &OpenSource,
    path: &str,
    mode: Option<u32>,
    parents: bool,
) -> Result<Vec<String>, Error> {
    let octal = |mode: Option<u32>| mode.map_or(String::new(), |mode| format!("{mode:o}"));
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|source| Error::LocalFile {
        path: "(random numbers)".into(),
        source: source.into(),
    })?;
    let parents = if parents { "parents" } else { "" };
    Ok(vec![
        "execgate-put".to_owned(),
        path.to_owned(),
        source.size.to_string(),
        source.sha256.clone(),
        octal(mode),
        octal(source.mode),
        parents.to_owned(),
        hex(&nonce),
    ])
}

/// Writes a source piece by piece. If the script reads no more, what it says is better
/// than that.
async fn write(source: &mut OpenSource, path: &str, stdin: &Stdin) -> Result<(), Error> {
    let mut left = source.size;
    while left > 0 {
        let piece = read(source, path).await?;
        left = left.saturating_sub(piece.len() as u64);
        if piece.is_empty() {
            let why = "the source became shorter while it was sent";
            let reason = FileErrorReason::SizeMismatch;
            return Err(FileError::new(Transfer::Put, path, reason, why).into());
        }
        match stdin.write(piece).await {
            Err(error) if reads_no_more(&error) => return Ok(()),
            written => written?,
        };
    }
    match stdin.close().await {
        Err(error) if !reads_no_more(&error) => Err(error),
        _ => Ok(()),
    }
}

async fn read(source: &mut OpenSource, path: &str) -> Result<Bytes, Error> {
    source.next().await.map_err(|source| Error::LocalFile {
        path: path.into(),
        source,
    })
}

/// Whether a write was refused because the command has ended.
fn reads_no_more(error: &Error) -> bool {
    matches!(
        error.reason(),
        Some(
            ErrorReason::ExecutionNotRunning
                | ErrorReason::StdinNotOpen
                | ErrorReason::ExecutionExpired
        )
    )
}
