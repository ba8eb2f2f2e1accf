//! The standard input of one execution, on its way: accepted bytes wait here until the
//! command takes them. What is accepted is recorded first, by length and keyed hash.
//!
//! An offset makes a repeated write harmless: what was accepted before is skipped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};
use execgate_core::audit::{AuditBody, HashKey, StdinWritten};
use execgate_core::ids::ExecutionId;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::records::Recorder;
use crate::audit::Durability;
use crate::error::Error;
use crate::execution::{Execution, Stdin};
use crate::transport::Writer;

/// Bytes accepted and not yet taken by the command, above which a write waits. With the
/// largest write on top this bounds what one execution holds.
const FULL_BYTES: usize = 1024 * 1024;

/// Writes that may wait for room; more are refused at once.
const WAITING_WRITES: usize = 8;

/// End of input, as a terminal's line discipline understands it: Ctrl-D.
const END_OF_TRANSMISSION: &[u8] = &[0x04];

/// Bytes that somebody wants to write.
#[derive(Debug)]
pub(crate) struct Write {
    /// Offset of the first byte; after the last accepted one where it is not said.
    pub(crate) offset: Option<u64>,
    pub(crate) data: Bytes,
    /// Whether the input ends with them.
    pub(crate) eof: bool,
    /// Takes the offset after the last accepted byte.
    pub(crate) reply: oneshot::Sender<Result<u64, Error>>,
}

impl Write {
    /// Says that there is nothing to write to.
    pub(super) fn refuse_closed(self, execution: &ExecutionId) {
        let error = Error::StdinNotOpen {
            execution: execution.clone(),
        };
        // The caller may have gone.
        let _gone = self.reply.send(Err(error));
    }
}

/// What the end of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// The writer is dropped.
    Close,
    /// Ctrl-D is typed.
    Type,
}

/// The feed of one execution.
pub(super) struct Feed {
    execution: Arc<Execution>,
    writer: Option<Writer>,
    last: Last,
    accepted: VecDeque<Bytes>,
    accepted_bytes: usize,
    eof: bool,
    waiting: VecDeque<Write>,
}

impl Feed {
    /// A feed into `writer`; nothing where the command reads nothing.
    pub(super) fn new(
        execution: &Arc<Execution>,
        stdin: &Stdin,
        writer: Option<Writer>,
        last: Last,
    ) -> Option<Self> {
        let inline = match stdin {
            Stdin::Closed => return None,
            Stdin::Inline(bytes) => Some(bytes.clone()),
            Stdin::Open => None,
        };
        let mut feed = Self {
            execution: Arc::clone(execution),
            writer,
            last,
            accepted: VecDeque::new(),
            accepted_bytes: 0,
            eof: false,
            waiting: VecDeque::new(),
        };
        let open = inline.is_none();
        execution.stdin.open.store(open, Ordering::Relaxed);
        if let Some(bytes) = inline {
            feed.push(bytes, true);
        }
        Some(feed)
    }

    /// Takes a write, or lets it wait for room.
    pub(super) async fn take(&mut self, write: Write, recorder: &Recorder, key: &HashKey) {
        if self.waiting.is_empty() && self.accepted_bytes < FULL_BYTES {
            self.accept(write, recorder, key).await;
        } else if self.waiting.len() < WAITING_WRITES {
            self.waiting.push_back(write);
        } else {
            // The caller is told that there is no room.
            drop(write);
        }
    }

    /// Takes what has waited for room, as far as there is some now.
    pub(super) async fn take_waiting(&mut self, recorder: &Recorder, key: &HashKey) {
        while self.accepted_bytes < FULL_BYTES
            && let Some(write) = self.waiting.pop_front()
        {
            // Whoever has given up may write the same bytes again.
            if !write.reply.is_closed() {
                self.accept(write, recorder, key).await;
            }
        }
    }

    async fn accept(&mut self, mut write: Write, recorder: &Recorder, key: &HashKey) {
        let answer = self.try_accept(&mut write, recorder, key).await;
        // The caller may have gone; the bytes are accepted all the same.
        let _gone = write.reply.send(answer);
    }

    async fn try_accept(
        &mut self,
        write: &mut Write,
        recorder: &Recorder,
        key: &HashKey,
    ) -> Result<u64, Error> {
        let at = self.execution.stdin_offset();
        let offset = write.offset.unwrap_or(at);
        let Some(known) = at.checked_sub(offset) else {
            return Err(Error::StdinOffset {
                execution: self.execution.id.clone(),
                offset,
                next_offset: at,
            });
        };
        let known = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(write.data.len());
        let data = write.data.split_off(known);
        let ends = write.eof && !self.eof;
        if data.is_empty() && !ends {
            return Ok(at);
        }
        if !self.execution.stdin_open() {
            return Err(Error::StdinNotOpen {
                execution: self.execution.id.clone(),
            });
        }
        let record = AuditBody::StdinWritten(StdinWritten {
            offset: at,
            bytes: data.len() as u64,
            hash: key.hash(&data),
            eof: ends,
        });
        recorder
            .record(Some(&self.execution), record, Durability::Written)
            .await?;
        self.push(data, ends);
        self.execution.note_input(None);
        Ok(self.execution.stdin_offset())
    }

    fn push(&mut self, data: Bytes, ends: bool) {
        let progress = &self.execution.stdin;
        let bytes = data.len() as u64;
        progress.accepted.fetch_add(bytes, Ordering::Relaxed);
        self.accepted_bytes += data.len();
        if !data.is_empty() {
            self.accepted.push_back(data);
        }
        if ends {
            self.eof = true;
            progress.open.store(false, Ordering::Relaxed);
            if self.last == Last::Type {
                self.accepted
                    .push_back(Bytes::from_static(END_OF_TRANSMISSION));
                self.accepted_bytes += END_OF_TRANSMISSION.len();
            }
        }
    }

    /// Hands the command what it takes; comes back after each step, and never where there
    /// is nothing to do. May be cancelled without loss.
    pub(super) async fn pump(&mut self) {
        let Some(writer) = self.writer.as_mut() else {
            return std::future::pending().await;
        };
        match self.accepted.front_mut() {
            Some(next) => match writer.write(next).await {
                Ok(taken) => {
                    next.advance(taken);
                    self.accepted_bytes -= taken;
                    if next.is_empty() {
                        self.accepted.pop_front();
                    }
                }
                // It has closed its stdin: what it did not want is nobody's.
                Err(_) => {
                    self.writer = None;
                    self.accepted.clear();
                    self.accepted_bytes = 0;
                    self.execution.stdin.open.store(false, Ordering::Relaxed);
                }
            },
            None if self.eof && self.last == Last::Close => self.writer = None,
            None => std::future::pending().await,
        }
    }
}

/// Records input that comes with the command itself.
pub(super) async fn record_inline(
    execution: &Execution,
    stdin: &Stdin,
    recorder: &Recorder,
    key: &HashKey,
) {
    if let Stdin::Inline(bytes) = stdin {
        let record = AuditBody::StdinWritten(StdinWritten {
            offset: 0,
            bytes: bytes.len() as u64,
            hash: key.hash(bytes),
            eof: true,
        });
        recorder.note(Some(execution), record).await;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.execution.stdin.open.store(false, Ordering::Relaxed);
    }
}
