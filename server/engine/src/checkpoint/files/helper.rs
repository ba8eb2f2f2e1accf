//! The server's side of the program of our own (`launcher/files`).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};

use super::{Load, Put, PutKind, Question, Take};
use crate::checkpoint::found::{Content, FilesError, Looked};
use crate::checkpoint::wire::{Answer, Ask, CHUNK_BYTES, Order, frame_length};
use crate::transport::{Process, ProcessControl, Writer};
use execgate_core::checkpoint::TreePath;

/// How long the program may be silent: it reads one file, or lists one directory.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of its answers that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;

type Reader = Box<dyn tokio::io::AsyncRead + Send + Unpin>;

pub(crate) struct Helper {
    stdin: BufWriter<Writer>,
    stdout: BufReader<Reader>,
    /// Its end.
    _control: Box<dyn ProcessControl>,
    _stderr: Option<Reader>,
}

impl Helper {
    pub(super) fn new(process: Process) -> Self {
        let stdin = process.stdin.unwrap_or_else(|| Box::new(tokio::io::sink()));
        Self {
            stdin: BufWriter::with_capacity(BUFFER_BYTES, stdin),
            stdout: BufReader::with_capacity(BUFFER_BYTES, process.stdout),
            _control: process.control,
            _stderr: process.stderr,
        }
    }

    pub(super) async fn look(&mut self, question: &Question<'_>) -> Result<Looked, FilesError> {
        self.ask(&Ask::Look {
            complete: question.complete,
            max_file_bytes: question.max_file_bytes,
            patterns: question.rules.patterns().to_vec(),
        })
        .await?;
        let mut looked = Looked::default();
        let mut files = 0;
        loop {
            match self.answer().await? {
                Answer::Looking {
                    complete,
                    watching,
                    clock,
                } => {
                    looked.complete = complete;
                    looked.watching = watching;
                    looked.clock = clock;
                }
                Answer::Listing(listing) => {
                    files += listing.found.len();
                    if files > question.max_files {
                        let limit = question.max_files;
                        return Err(FilesError::TooMany { limit });
                    }
                    looked.listings.push(listing);
                }
                Answer::Looked => return Ok(looked),
                other => return Err(failed(other)),
            }
        }
    }

    pub(super) async fn read(
        &mut self,
        paths: &[TreePath],
        take: &mut Take<'_>,
    ) -> Result<(), FilesError> {
        let paths_asked = paths.to_vec();
        self.ask(&Ask::Read { paths: paths_asked }).await?;
        for expected in 0..paths.len() {
            let (number, content) = self.content().await?;
            if usize::try_from(number) != Ok(expected) {
                return Err(nonsense());
            }
            take(expected, content).map_err(|error| super::unreachable(&error))?;
        }
        Ok(())
    }

    async fn content(&mut self) -> Result<(u32, Content), FilesError> {
        match self.answer().await? {
            Answer::File {
                number,
                signature,
                mode,
                clock,
                size,
            } => {
                let mut bytes = Vec::new();
                while (bytes.len() as u64) < size {
                    match self.answer().await? {
                        Answer::Data { bytes: piece } if !piece.is_empty() => bytes.extend(piece),
                        other => return Err(failed(other)),
                    }
                }
                let content = Content::Read {
                    signature,
                    mode: mode & 0o7777,
                    clock,
                    bytes,
                };
                Ok((number, content))
            }
            Answer::Left { number, reason } => {
                Ok((number, reason.map_or(Content::Gone, Content::Left)))
            }
            other => Err(failed(other)),
        }
    }

    pub(super) async fn stage(
        &mut self,
        name: &str,
        puts: &[Put],
        load: &Load<'_>,
    ) -> Result<(), FilesError> {
        let name = name.to_owned();
        self.tell(&Ask::Stage { name }).await?;
        for (number, put) in puts.iter().enumerate() {
            let content = load(&put.id).map_err(|error| super::unreachable(&error))?;
            let number = u32::try_from(number).map_err(|_| nonsense())?;
            let PutKind::File(mode) = put.what else {
                let leads = content;
                self.tell(&Ask::PutLink { number, leads }).await?;
                continue;
            };
            self.tell(&Ask::Put {
                number,
                mode,
                size: content.len() as u64,
            })
            .await?;
            for piece in content.chunks(CHUNK_BYTES) {
                let bytes = piece.to_vec();
                self.tell(&Ask::Data { bytes }).await?;
            }
        }
        self.ask(&Ask::Staged).await?;
        self.done().await
    }

    pub(super) async fn apply(&mut self, orders: Vec<Order>) -> Result<(), FilesError> {
        for step in orders {
            self.tell(&Ask::Step { step }).await?;
        }
        self.ask(&Ask::Staged).await?;
        self.done().await
    }

    pub(super) async fn finish(&mut self) -> Result<(), FilesError> {
        self.ask(&Ask::Done).await?;
        self.done().await
    }

    async fn done(&mut self) -> Result<(), FilesError> {
        match self.answer().await? {
            Answer::Done => Ok(()),
            other => Err(failed(other)),
        }
    }

    /// Asks something that is answered.
    async fn ask(&mut self, ask: &Ask) -> Result<(), FilesError> {
        self.tell(ask).await?;
        let flushed = tokio::time::timeout(ANSWER_LIMIT, self.stdin.flush()).await;
        in_time(flushed)
    }

    async fn tell(&mut self, ask: &Ask) -> Result<(), FilesError> {
        let frame = ask.encode();
        let length = u32::try_from(frame.len()).map_err(|_| nonsense())?;
        let write = async {
            self.stdin.write_all(&length.to_le_bytes()).await?;
            self.stdin.write_all(&frame).await
        };
        in_time(tokio::time::timeout(ANSWER_LIMIT, write).await)
    }

    async fn answer(&mut self) -> Result<Answer, FilesError> {
        let read = async {
            let mut length = [0; 4];
            self.stdout.read_exact(&mut length).await?;
            let mut frame = vec![0; frame_length(length)?];
            self.stdout.read_exact(&mut frame).await?;
            Answer::decode(&frame)
        };
        in_time(tokio::time::timeout(ANSWER_LIMIT, read).await)
    }
}

fn in_time<T>(done: Result<io::Result<T>, tokio::time::error::Elapsed>) -> Result<T, FilesError> {
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(super::unreachable(&error)),
        Err(elapsed) => Err(super::unreachable(&elapsed)),
    }
}

fn nonsense() -> FilesError {
    super::unreachable(&"its program does not make sense")
}

/// The error of an answer that is not the one asked for.
fn failed(answer: Answer) -> FilesError {
    match answer {
        Answer::Failed {
            action,
            path,
            errno,
        } => FilesError::Refused {
            action,
            path,
            source: io::Error::from_raw_os_error(errno),
        },
        _ => nonsense(),
    }
}
