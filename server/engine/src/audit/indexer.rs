//! The thread that keeps the query index, behind the log and never in its way.
//!
//! ```text
//! more is written ─► gathered for 250 ms ─► read from the segments ─► one step of the index
//! a query comes ─► at once, up to the log's head as it was when it came ─► answered
//! ```
//! What is missing, damaged or of another log is made anew; as long as that takes, or
//! where it fails, queries read the segments themselves.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::AuditHead;
use super::cursor::{Cursor, Location};
use super::directory::Directory;
use super::error::AuditError;
use super::follow::{Message, Waker};
use super::index::{self, Index, Indexed};
use super::segment::list_segments;

/// How long what comes together is gathered: a step for each few records costs more than
/// they do, and a query does not wait for it.
const GATHER: Duration = Duration::from_millis(250);
/// Records in one step of the index.
const STEP_RECORDS: usize = 1024;
/// A query does not wait for an index that is further behind than this many records.
const FAR_BEHIND: u64 = 50_000;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Which index it is: a reader of an older one looks at a file that is gone.
pub(super) type Generation = Arc<AtomicU64>;

/// The indexer.
#[derive(Debug)]
pub(super) struct Indexer {
    dir: Arc<Directory>,
    head: watch::Receiver<AuditHead>,
    waker: Waker,
    generation: Generation,
    index: Option<Index>,
    cursor: Cursor,
    first: u64,
    failed: Option<Instant>,
    waiting: VecDeque<(u64, oneshot::Sender<bool>)>,
}

impl Indexer {
    pub(super) fn new(
        dir: Arc<Directory>,
        head: watch::Receiver<AuditHead>,
        waker: Waker,
        generation: Generation,
    ) -> Self {
        Self {
            dir,
            head,
            waker,
            generation,
            index: None,
            cursor: Cursor::at(1),
            first: 1,
            failed: None,
            waiting: VecDeque::new(),
        }
    }

    /// Works until it is told to finish.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        let mut wait = Duration::ZERO;
        loop {
            match inbox.recv_timeout(wait) {
                // Not heard yet: until then nobody says it again.
                Ok(Message::More) => {
                    wait = GATHER;
                    continue;
                }
                Ok(Message::UpTo { sequence, answer }) => {
                    self.waiting.push_back((sequence, answer));
                }
                // Not its business: the answer is dropped.
                Ok(Message::Sign { .. }) => {}
                Ok(Message::Close { answer }) => {
                    while self.step() {}
                    drop(self);
                    let _caller_gone = answer.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.waker.heard();
            let more = self.step();
            self.answer();
            wait = match (more, self.index.is_some()) {
                (true, _) => Duration::ZERO,
                (false, true) => Duration::MAX,
                (false, false) => RETRY,
            };
        }
    }

    /// Takes the next records into the index; whether there are more.
    fn step(&mut self) -> bool {
        let recently = |since: Instant| since.elapsed() < RETRY;
        if self.index.is_none() && self.failed.is_some_and(recently) {
            return false;
        }
        match self.try_step() {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "the audit index is made anew");
                self.index = None;
                self.failed = Some(Instant::now());
                index::remove(self.dir.path());
                false
            }
        }
    }

    fn try_step(&mut self) -> Result<bool, AuditError> {
        if self.index.is_none() {
            self.open()?;
        }
        let last = self.head.borrow().sequence;
        let mut records: Vec<(_, Location)> = Vec::new();
        let dir = self.dir.path();
        self.cursor
            .read(dir, last, STEP_RECORDS, |line, location| {
                let record = line.record().map_err(|fault| AuditError::Corrupt {
                    segment: dir.to_owned(),
                    sequence: line.sequence,
                    fault,
                })?;
                records.push((record, location));
                Ok(())
            })?;
        if let Some(index) = &mut self.index {
            index.add(&records).map_err(AuditError::index)?;
            let first = first_kept(dir)?;
            if first > self.first {
                index.forget(first).map_err(AuditError::index)?;
                self.first = first;
            }
        }
        Ok(self.cursor.next() <= last)
    }

    /// Opens the index, or makes it anew where it is not this log's.
    fn open(&mut self) -> Result<(), AuditError> {
        let dir = self.dir.path();
        let opened = Index::open(dir).and_then(|(index, indexed)| {
            match is_of(dir, indexed, self.head.borrow().sequence) {
                true => Ok((index, indexed)),
                false => Err(rusqlite::Error::InvalidQuery),
            }
        });
        let (index, indexed) = match opened {
            Ok(opened) => opened,
            Err(_) => {
                index::remove(dir);
                Index::open(dir).map_err(AuditError::index)?
            }
        };
        let first = first_kept(dir)?;
        self.cursor = Cursor::at(first.max(indexed.sequence.saturating_add(1)));
        self.first = 0;
        self.index = Some(index);
        self.failed = None;
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Answers those whose records are in the index, or will not be for long.
    fn answer(&mut self) {
        let (usable, next) = (self.index.is_some(), self.cursor.next());
        self.waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter_map(|(sequence, answer)| {
                let behind = sequence.saturating_add(1).saturating_sub(next);
                if usable && behind > 0 && behind <= FAR_BEHIND {
                    return Some((sequence, answer));
                }
                // The caller may have gone.
                let _gone = answer.send(usable && behind == 0);
                None
            })
            .collect();
    }
}

/// Whether the index ends with a record that the log has.
fn is_of(dir: &Path, indexed: Indexed, last: u64) -> bool {
    if indexed.sequence == 0 {
        return true;
    }
    let mut same = false;
    let read = Cursor::at(indexed.sequence).read(dir, last, 1, |line, _| {
        same = line.hash == indexed.hash;
        Ok(())
    });
    read.is_ok() && same
}

fn first_kept(dir: &Path) -> Result<u64, AuditError> {
    let segments = list_segments(dir)?;
    Ok(segments.first().map_or(1, |(first, _)| *first))
}
