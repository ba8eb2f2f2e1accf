//! What is written: records encoded into lines, lines into the current segment, segments in
//! their order. Who calls, when it is synced and who waits for that is the committer's.
//!
//! The space of the next segment is reserved before it is needed. Where that fails, what
//! would begin something is refused until there is space, and the outcomes of what runs
//! have the reserved space to themselves.

use std::fs::File;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use execgate_core::audit::{Appended, AuditBody, ChainState, Micros, NewRecord};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::directory::Directory;
use super::error::AuditError;
use super::follow::Waker;
use super::recovery::{Recovery, recover};
use super::segment::Segment;
use super::segment_log::{Counters, MAX_SEGMENT_BYTES, SegmentLogOptions, SyncMode};
use super::{AuditHead, Durability, LostSession};

/// How long a written record may wait for a sync that nobody asked for: bounds
/// what a power cut takes without a sync for each outcome.
pub(super) const LAZY_SYNC_DELAY: Duration = Duration::from_secs(1);
/// Bytes of the encoding buffer that are kept between groups.
const KEPT_BUFFER_BYTES: usize = 64 * 1024;
/// A disk that takes longer for a sync may take as long for a write: callers do not write
/// themselves meanwhile.
const SLOW_SYNC: Duration = Duration::from_millis(50);

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

/// A written record whose caller waits for stable storage.
#[derive(Debug)]
struct Waiting {
    answer: Answer,
    appended: Appended,
}

/// What is being brought to stable storage, and who waits for it. No lock is held meanwhile.
#[derive(Debug)]
pub(super) struct Syncing {
    file: Arc<File>,
    path: PathBuf,
    /// The last record that was written before.
    through: u64,
    waiting: Vec<Waiting>,
    began: Instant,
}

impl Syncing {
    /// Blocks for as long as the disk takes.
    pub(super) fn run(&self) -> Result<(), AuditError> {
        let synced = self.file.sync_data();
        synced.map_err(AuditError::io("sync", &self.path))
    }

    /// Answers those who waited for it.
    pub(super) fn answer(self, synced: &Result<(), AuditError>) {
        for Waiting { answer, appended } in self.waiting {
            let _caller_gone = answer.send(synced.clone().map(|()| appended));
        }
    }
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
    /// Since when a sync is under way.
    syncing_since: Option<Instant>,
    /// Those who wait for the next one.
    waiting: Vec<Waiting>,
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
            syncing_since: None,
            waiting: Vec::new(),
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
        self.segment.file = Arc::new(file);
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

    /// Finishes; answers those who follow the log.
    pub(super) fn close(mut self) -> (Result<(), AuditError>, Vec<Waker>) {
        (self.finish(), self.followers)
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

    /// Since when something waits for a sync that nobody asked for.
    pub(super) fn unsynced_since(&self) -> Option<Instant> {
        let wanted = self.syncs() && self.failed.is_none();
        self.unsynced_since.filter(|_| wanted)
    }

    /// Writes one record in the caller's own thread, where that takes no longer than a copy
    /// into the kernel's memory; nothing where the thread has to do it.
    pub(super) fn write_now(&mut self, record: &NewRecord) -> Option<Result<Appended, AuditError>> {
        let slow = self
            .syncing_since
            .is_some_and(|since| since.elapsed() > SLOW_SYNC);
        if slow || self.failed.is_some() || self.spare.is_none() {
            return None;
        }
        let before = self.chain;
        let appended = match self.append_to_buffer(record) {
            Ok(appended) => appended,
            Err(error) => return Some(Err(error)),
        };
        if self.buffered_end() > self.options.segment_bytes {
            self.chain = before;
            self.buffer.clear();
            return None;
        }
        let written = self.flush(self.chain);
        self.forget_buffer();
        Some(match written {
            Ok(()) => Ok(appended),
            Err(error) => {
                self.fail(error.clone());
                Err(error)
            }
        })
    }

    /// Answers when a record that was written is on stable storage.
    pub(super) fn wait_for_sync(&mut self, appended: Appended, answer: Answer) {
        self.waiting.push(Waiting { answer, appended });
    }

    /// Writes a group. Those who wait for a sync go on waiting, the others are answered.
    pub(super) fn commit(&mut self, group: &mut Vec<Job>) {
        let mut encoded = Vec::with_capacity(group.len());
        for Job {
            record,
            durability,
            answer,
            permit,
        } in group.drain(..)
        {
            match self.encode(&record) {
                Ok(appended) => encoded.push((answer, durability, appended)),
                Err(error) => {
                    let _caller_gone = answer.send(Err(error));
                }
            }
            drop(permit);
        }
        let written = match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.flush(self.chain),
        };
        if let Err(error) = &written {
            self.fail(error.clone());
        }
        for (answer, durability, appended) in encoded {
            let answered = match (&written, durability) {
                (Ok(()), Durability::Synced) if self.syncs() => {
                    self.wait_for_sync(appended, answer);
                    continue;
                }
                (Ok(()), _) => Ok(appended),
                (Err(error), _) => Err(error.clone()),
            };
            let _caller_gone = answer.send(answered);
        }
        self.forget_buffer();
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
    }

    /// What is to be brought to stable storage now: nothing where nobody waits for it and it
    /// is not due.
    pub(super) fn begin_sync(&mut self) -> Option<Syncing> {
        if self.waiting.is_empty() && !self.lazy_sync_is_due() {
            return None;
        }
        if let Some(error) = &self.failed {
            for Waiting { answer, .. } in self.waiting.drain(..) {
                let _caller_gone = answer.send(Err(error.clone()));
            }
            return None;
        }
        let began = Instant::now();
        self.syncing_since = Some(began);
        self.unsynced_since = None;
        Some(Syncing {
            file: Arc::clone(&self.segment.file),
            path: self.segment.path.clone(),
            through: self.head.borrow().sequence,
            waiting: take(&mut self.waiting),
            began,
        })
    }

    /// Takes note of how a sync went.
    pub(super) fn end_sync(&mut self, syncing: &Syncing, synced: &Result<(), AuditError>) {
        self.syncing_since = None;
        match synced {
            Ok(()) => {
                self.counters.synced(syncing.began.elapsed());
                self.head
                    .send_modify(|head| head.durable = head.durable.max(syncing.through));
                self.wake();
            }
            Err(error) => self.fail(error.clone()),
        }
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
        let appended = self.append_to_buffer(record)?;
        let full = self.buffered_end() > self.options.segment_bytes;
        if full && (self.segment.offset > 0 || start > 0) {
            let line = self.buffer.split_off(start);
            self.rotate(before)
                .inspect_err(|error| self.fail(error.clone()))?;
            self.buffer = line;
        }
        Ok(appended)
    }

    fn append_to_buffer(&mut self, record: &NewRecord) -> Result<Appended, AuditError> {
        let durable = self.head.borrow().durable;
        let appended = self.chain.append(record, durable, &mut self.buffer);
        appended.map_err(|error| AuditError::Refused {
            problem: error.to_string(),
        })
    }

    /// Where the segment would end with what is in the buffer.
    fn buffered_end(&self) -> u64 {
        self.segment.offset.saturating_add(self.buffer.len() as u64)
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

    /// Whether a synced record is synced.
    pub(super) const fn syncs(&self) -> bool {
        matches!(self.options.sync, SyncMode::Durable)
    }

    fn lazy_sync_is_due(&self) -> bool {
        self.unsynced_since()
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

    /// Brings everything to stable storage, and answers those who wait for that. What fails
    /// here fails the log.
    pub(super) fn finish(&mut self) -> Result<(), AuditError> {
        let synced = match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.sync(),
        };
        if let Err(error) = &synced {
            self.fail(error.clone());
        }
        for Waiting { answer, appended } in self.waiting.drain(..) {
            let _caller_gone = answer.send(synced.clone().map(|()| appended));
        }
        synced
    }

    fn fail(&mut self, error: AuditError) {
        if self.failed.is_none() {
            tracing::error!(%error, "audit log failed; nothing runs until it is opened again");
            self.failed = Some(error);
        }
    }
}
