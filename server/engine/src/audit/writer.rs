//! The writer thread: group commit into the current segment.
//!
//! ```text
//! wait ── first message ──▶ take all that waits ──▶ encode ──▶ write ──▶ answer `Written`
//!  ▲                                                                        │
//!  └── answer `Synced` ◀── sync, if any record or the clock asks for it ◀───┘
//! any failure ──▶ failed: every later append gets the same error
//! ```
//!
//! The space of the next segment is reserved before it is needed. Where that fails, what
//! would begin something is refused until there is space, and the outcomes of what runs
//! have the reserved space to themselves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use execgate_core::audit::{Appended, AuditBody, ChainState, Micros, NewRecord};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::directory::Directory;
use super::error::AuditError;
use super::follow::{self, Waker};
use super::recovery::{Recovery, recover};
use super::segment::Segment;
use super::segment_log::{Counters, MAX_SEGMENT_BYTES, SegmentLogOptions, SyncMode};
use super::{AuditHead, Durability, LostSession};

/// Records in one group at most, so that the first of them is not kept waiting
/// for ever by those that come after it.
const MAX_GROUP_RECORDS: usize = 1024;
/// How long a written record may wait for a sync that nobody asked for: bounds
/// what a power cut takes without a sync for each outcome.
const LAZY_SYNC_DELAY: Duration = Duration::from_secs(1);
/// Bytes of the encoding buffer that are kept between groups.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

type Answer = oneshot::Sender<Result<Appended, AuditError>>;

/// One record to append.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) record: NewRecord,
    pub(super) durability: Durability,
    pub(super) answer: Answer,
    /// Its share of the queue, given back when the record is encoded.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Append(Box<Job>),
    /// Bring what is written to stable storage.
    Sync {
        answer: oneshot::Sender<Result<(), AuditError>>,
    },
    Close {
        answer: oneshot::Sender<Result<(), AuditError>>,
    },
}

/// An encoded record whose caller waits.
struct Waiting {
    answer: Answer,
    durability: Durability,
    appended: Appended,
}

/// The only owner of the files being written.
#[derive(Debug)]
pub(super) struct Writer {
    dir: Arc<Directory>,
    segment: Segment,
    /// The next segment, whose space is reserved; without it nothing new begins.
    spare: Option<Segment>,
    options: SegmentLogOptions,
    chain: ChainState,
    head: watch::Sender<AuditHead>,
    /// Since when there is something written and not synced.
    unsynced_since: Option<Instant>,
    failed: Option<AuditError>,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
    lost: Vec<LostSession>,
    followers: Vec<Waker>,
    /// Whether it has been said that there is no space.
    short: bool,
}

/// The session that a record says was lost.
fn lost_session(record: &NewRecord) -> Option<LostSession> {
    match &record.body {
        AuditBody::SessionLost(lost) => Some(LostSession {
            principal: record.principal.clone(),
            session_id: record.session_id.clone()?,
            reason: lost.reason.clone(),
        }),
        _ => None,
    }
}

impl Writer {
    /// Opens and recovers the log in `dir`.
    pub(super) fn open(
        dir: &Path,
        options: SegmentLogOptions,
        now: Micros,
        counters: Arc<Counters>,
    ) -> Result<Self, AuditError> {
        let segment_bytes = options.segment_bytes.min(MAX_SEGMENT_BYTES);
        let options = SegmentLogOptions {
            segment_bytes,
            ..options
        };
        let dir = Arc::new(Directory::open(dir)?);
        let Recovery {
            segment,
            chain,
            closing,
        } = recover(&dir, segment_bytes, now)?;
        // Recovery has synced what it found.
        let ChainState { sequence, hash } = chain;
        let head = watch::Sender::new(AuditHead {
            sequence,
            hash,
            durable: sequence,
        });
        let mut writer = Self {
            dir,
            segment,
            spare: None,
            options,
            chain,
            head,
            unsynced_since: None,
            failed: None,
            counters,
            buffer: Vec::new(),
            lost: Vec::new(),
            followers: Vec::new(),
            short: false,
        };
        writer.has_space();
        writer.append_closing(&closing)?;
        writer.lost = closing.iter().filter_map(lost_session).collect();
        Ok(writer)
    }

    /// Writes to another file from now on.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: std::fs::File) {
        self.segment.file = file;
    }

    /// The sessions that the server before this one left behind.
    pub(super) fn lost_sessions(&self) -> &[LostSession] {
        &self.lost
    }

    /// The directory, held as long as anybody has this.
    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.dir)
    }

    /// Tells these threads of what is written.
    pub(super) fn follow_with(&mut self, followers: Vec<Waker>) {
        self.followers = followers;
        self.wake();
    }

    /// Follows the head of the log.
    pub(super) fn head(&self) -> watch::Receiver<AuditHead> {
        self.head.subscribe()
    }

    /// Works until the inbox is closed or says so.
    pub(super) fn run(mut self, inbox: Receiver<Message>) {
        let mut group = Vec::new();
        loop {
            let other = match self.next_message(&inbox) {
                Ok(Message::Append(job)) => {
                    group.push(*job);
                    take_waiting(&inbox, &mut group)
                }
                Ok(other) => Some(other),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.commit(&mut group);
            if let Some(Message::Sync { answer }) = other {
                let synced = self.finish();
                if let Err(error) = &synced {
                    self.fail(error.clone());
                }
                let _caller_gone = answer.send(synced);
            } else if let Some(Message::Close { answer }) = other {
                // Who still waits for an answer, a follower perhaps, gets none.
                drop(inbox);
                let closed = self.close();
                if let Err(error) = &closed {
                    tracing::error!(%error, "audit log not closed in good order");
                }
                let _caller_gone = answer.send(closed);
                return;
            }
        }
    }

    /// Finishes, and lets those that follow finish. The lock goes before the answer, so
    /// that the caller can open again.
    fn close(mut self) -> Result<(), AuditError> {
        let closed = self.finish();
        for follower in &self.followers {
            let (answer, answered) = oneshot::channel();
            follower.send(follow::Message::Close { answer });
            // One that is gone has finished.
            let _gone = answered.blocking_recv();
        }
        closed
    }

    fn wake(&self) {
        for follower in &self.followers {
            follower.wake();
        }
    }

    /// Whether the next segment has its space; tries to get it where it has none.
    fn has_space(&mut self) -> bool {
        if self.spare.is_none() {
            match Segment::spare(&self.dir, self.options.segment_bytes) {
                Ok(spare) => {
                    if std::mem::take(&mut self.short) {
                        tracing::info!("there is space for the audit log again");
                    }
                    self.spare = Some(spare);
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.short, true) {
                        tracing::error!(%error, "no space for the audit log; nothing new begins");
                    }
                }
            }
        }
        self.spare.is_some()
    }

    fn next_message(&self, inbox: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        match self.unsynced_since {
            Some(since) if self.syncs() && self.failed.is_none() => {
                inbox.recv_timeout(LAZY_SYNC_DELAY.saturating_sub(since.elapsed()))
            }
            _ => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Writes a group, syncs if it is asked for or due, and answers everybody.
    pub(super) fn commit(&mut self, group: &mut Vec<Job>) {
        let mut waiting = Vec::with_capacity(group.len());
        for Job {
            record,
            durability,
            answer,
            permit,
        } in group.drain(..)
        {
            match self.encode(&record) {
                Ok(appended) => waiting.push(Waiting {
                    answer,
                    durability,
                    appended,
                }),
                Err(error) => {
                    let _caller_gone = answer.send(Err(error));
                }
            }
            drop(permit);
        }
        if let Err(error) = self.write_group(&mut waiting) {
            for Waiting { answer, .. } in waiting {
                let _caller_gone = answer.send(Err(error.clone()));
            }
            self.fail(error);
        }
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
    }

    fn write_group(&mut self, waiting: &mut Vec<Waiting>) -> Result<(), AuditError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.flush(self.chain)?;
        answer_all(waiting.extract_if(.., |waiting| waiting.durability == Durability::Written));
        if !waiting.is_empty() || self.lazy_sync_is_due() {
            self.sync()?;
        }
        answer_all(waiting.drain(..));
        Ok(())
    }

    /// Adds the record's line to the buffer, in the next segment if this one has
    /// no room. A record that cannot be encoded leaves the log well.
    fn encode(&mut self, record: &NewRecord) -> Result<Appended, AuditError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if record.body.can_be_refused() && !self.has_space() {
            let dir = self.dir.path().to_owned();
            return Err(AuditError::NoSpace { dir });
        }
        let start = self.buffer.len();
        let before = self.chain;
        let durable = self.head.borrow().durable;
        let appended = self
            .chain
            .append(record, durable, &mut self.buffer)
            .map_err(|error| AuditError::Refused {
                problem: error.to_string(),
            })?;
        let end = self.segment.offset.saturating_add(self.buffer.len() as u64);
        if end > self.options.segment_bytes && (self.segment.offset > 0 || start > 0) {
            let line = self.buffer.split_off(start);
            self.rotate(before)
                .inspect_err(|error| self.fail(error.clone()))?;
            self.buffer = line;
        }
        Ok(appended)
    }

    /// Seals the segment, whose last record is that of `last`, and starts the next.
    fn rotate(&mut self, last: ChainState) -> Result<(), AuditError> {
        self.flush(last)?;
        // Even without `sync`: recovery relies on sealed segments being whole.
        self.force_sync()?;
        self.segment.truncate()?;
        let first = last.sequence.saturating_add(1);
        self.segment = match self.spare.take() {
            Some(spare) => spare.begin(&self.dir, first)?,
            None => Segment::create(&self.dir, first, self.options.segment_bytes)?,
        };
        self.has_space();
        Ok(())
    }

    /// Writes the buffer, whose last record is that of `last`.
    fn flush(&mut self, last: ChainState) -> Result<(), AuditError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.segment.write(&self.buffer)?;
        self.buffer.clear();
        let before = self.head.borrow().sequence;
        self.counters
            .records
            .fetch_add(last.sequence.saturating_sub(before), Ordering::Relaxed);
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.unsynced_since.get_or_insert_with(Instant::now);
        self.head.send_modify(|head| {
            head.sequence = last.sequence;
            head.hash = last.hash;
        });
        self.wake();
        Ok(())
    }

    const fn syncs(&self) -> bool {
        matches!(self.options.sync, SyncMode::Durable)
    }

    fn lazy_sync_is_due(&self) -> bool {
        self.unsynced_since
            .is_some_and(|since| since.elapsed() >= LAZY_SYNC_DELAY)
    }

    fn sync(&mut self) -> Result<(), AuditError> {
        if self.syncs() {
            self.force_sync()
        } else {
            Ok(())
        }
    }

    fn force_sync(&mut self) -> Result<(), AuditError> {
        if self.unsynced_since.is_none() {
            return Ok(());
        }
        let began = Instant::now();
        self.segment.sync()?;
        self.counters.synced(began.elapsed());
        self.unsynced_since = None;
        self.head.send_modify(|head| head.durable = head.sequence);
        self.wake();
        Ok(())
    }

    fn append_closing(&mut self, records: &[NewRecord]) -> Result<(), AuditError> {
        for record in records {
            self.encode(record)?;
        }
        self.flush(self.chain)?;
        self.sync()
    }

    fn finish(&mut self) -> Result<(), AuditError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.sync(),
        }
    }

    fn fail(&mut self, error: AuditError) {
        if self.failed.is_none() {
            tracing::error!(%error, "audit log failed; nothing runs until it is opened again");
            self.failed = Some(error);
        }
    }
}

/// Takes what else is queued, up to a message that is no record.
fn take_waiting(inbox: &Receiver<Message>, group: &mut Vec<Job>) -> Option<Message> {
    while group.len() < MAX_GROUP_RECORDS {
        match inbox.try_recv() {
            Ok(Message::Append(job)) => group.push(*job),
            Ok(other) => return Some(other),
            Err(_) => break,
        }
    }
    None
}

fn answer_all(waiting: impl Iterator<Item = Waiting>) {
    for Waiting {
        answer, appended, ..
    } in waiting
    {
        let _caller_gone = answer.send(Ok(appended));
    }
}
