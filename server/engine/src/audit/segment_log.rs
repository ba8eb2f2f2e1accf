//! The embedded audit store: a handle in front of the committer and its thread.
//!
//! A record is written by its caller where that takes no time, and queued otherwise. Queued
//! bytes are bounded by permits, so a burst of large commands waits for the disk instead of
//! filling memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use execgate_core::audit::{Appended, AuditBody, Micros, NewRecord, NoteSigner, NoteVerifier};
use futures::future::{BoxFuture, FutureExt, ready};
use tokio::sync::{Semaphore, oneshot, watch};

use super::committer::{Committer, Message, Progress, Queue};
use super::error::AuditError;
use super::follow::{self, Waker};
use super::indexer::{Generation, Indexer};
use super::queries::Queries;
use super::retention::Retainer;
use super::sealer::{Sealer, SealerParts};
use super::verify::{Live, verify_log};
use super::writer::{Job, Writer};
use super::{
    AuditHead, AuditPage, AuditQuery, AuditStore, Durability, HeadExport, LogRetention,
    LostSession, SignedHead, Verification, VerifyRequest,
};
use crate::telemetry::{Fact, Telemetry};

/// Bytes reserved for one segment: 20 000 ordinary records, read in 20 ms.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a segment at most: one is read into memory when its tail is torn.
pub const MAX_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Permits of the queue, one for each [`PERMIT_BYTES`] of a record: 16 MiB.
const QUEUE_PERMITS: u32 = 16 * 1024;
/// Bytes of a record that one permit stands for.
const PERMIT_BYTES: usize = 1024;
/// Permits of the largest record that its caller writes: encoding it takes some hundred
/// microseconds.
const MAX_OWN_PERMITS: u32 = 64;
/// Pages read at once: reading is disk and CPU, and the commands come first.
const CONCURRENT_READS: usize = 2;

/// Whether the log is brought to stable storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// A synced record is synced.
    #[default]
    Durable,
    /// Never, but when a segment is sealed: a power cut may lose records.
    Never,
}

/// How a [`SegmentLog`] works.
#[derive(Clone, Debug)]
pub struct SegmentLogOptions {
    /// Whether to sync.
    pub sync: SyncMode,
    /// Bytes reserved for each segment; at most [`MAX_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// The key that signs heads; without one there are none, and retention removes nothing.
    pub signer: Option<Arc<NoteSigner>>,
    /// Keys that signed before it. What they left of removed records is still trusted.
    pub previous_keys: Vec<NoteVerifier>,
    /// Where heads go beside the log.
    pub export: HeadExport,
    /// How long records are kept.
    pub retention: LogRetention,
    /// How queries find records.
    pub index: IndexMode,
}

/// How queries find records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexMode {
    /// Through an index that follows the log.
    #[default]
    Sqlite,
    /// By reading the segments.
    Scan,
}

impl Default for SegmentLogOptions {
    fn default() -> Self {
        Self {
            sync: SyncMode::default(),
            segment_bytes: SEGMENT_BYTES,
            signer: None,
            previous_keys: Vec::new(),
            export: HeadExport::default(),
            retention: LogRetention::default(),
            index: IndexMode::default(),
        }
    }
}

/// What the log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditStatistics {
    /// Records written.
    pub records: u64,
    /// Writes, each of one or more records.
    pub writes: u64,
    /// Syncs, each of one or more writes.
    pub syncs: u64,
}

/// The counters behind [`AuditStatistics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) syncs: AtomicU64,
    /// Who is told how long syncs take.
    telemetry: OnceLock<Arc<dyn Telemetry>>,
}

impl Counters {
    /// Records were brought to stable storage.
    pub(super) fn synced(&self, time: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if let Some(telemetry) = self.telemetry.get() {
            telemetry.note(&Fact::AuditSynced { time });
        }
    }
}

/// An append-only log of segments in a private directory.
///
/// Dropping it lets the writer thread finish what is queued in its own time;
/// [`SegmentLog::close`] waits for that.
#[derive(Debug)]
pub struct SegmentLog {
    dir: PathBuf,
    committer: Arc<Committer>,
    queue: Arc<Queue>,
    permits: Arc<Semaphore>,
    head: watch::Receiver<AuditHead>,
    counters: Arc<Counters>,
    readers: Arc<Semaphore>,
    lost: Vec<LostSession>,
    signer: Option<Arc<NoteSigner>>,
    sealer: Option<Waker>,
    queries: Arc<Queries>,
}

impl SegmentLog {
    /// Has `telemetry` told from now on how long syncs take.
    pub fn tell(&self, telemetry: Arc<dyn Telemetry>) {
        // Whoever is told stays the same.
        let _first = self.counters.telemetry.set(telemetry);
    }

    /// Opens the log in `dir`, made if need be, recovers it and closes what a
    /// crash left open; `now` is the time of those records. Blocks for as long
    /// as reading the newest segment takes.
    pub fn open(dir: &Path, options: SegmentLogOptions, now: Micros) -> Result<Self, AuditError> {
        let counters = Arc::new(Counters::default());
        let mut writer = Writer::open(dir, options.clone(), now, Arc::clone(&counters))?;
        let head = writer.head();
        let lost = writer.lost_sessions().to_vec();
        let (queue, inbox) = mpsc::channel();
        let queue = Arc::new(Queue::new(queue));
        let permits = Arc::new(Semaphore::new(QUEUE_PERMITS as usize));
        let to_writer = (Arc::clone(&queue), Arc::clone(&permits));
        let sealer = start_sealer(&writer, &options, to_writer)?;
        let generation = Generation::default();
        let indexer = match options.index {
            IndexMode::Sqlite => Some(start_indexer(&writer, &generation)?),
            IndexMode::Scan => None,
        };
        writer.follow_with([&sealer, &indexer].into_iter().flatten().cloned().collect());
        let committer = Arc::new(Committer::new(writer, Arc::clone(&queue)));
        let running = Arc::clone(&committer);
        thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || running.run(inbox))
            .map_err(AuditError::io("start the writer of", dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            committer,
            queue,
            permits,
            head,
            counters,
            readers: Arc::new(Semaphore::new(CONCURRENT_READS)),
            lost,
            signer: options.signer,
            sealer,
            queries: Arc::new(Queries::new(dir, indexer, generation)),
        })
    }

    /// Writes and syncs what is queued and gives the directory up. Later appends
    /// fail. Fails if the log had failed before.
    pub fn close(&self) -> BoxFuture<'static, Result<(), AuditError>> {
        let (answer, answered) = oneshot::channel();
        // A writer that is gone drops the answer, and that says the same.
        self.queue.send(Message::Close { answer });
        async move { answered.await.unwrap_or(Err(AuditError::Closed)) }.boxed()
    }

    /// What the log has done since it was opened.
    #[must_use]
    pub fn statistics(&self) -> AuditStatistics {
        AuditStatistics {
            records: self.counters.records.load(Ordering::Relaxed),
            writes: self.counters.writes.load(Ordering::Relaxed),
            syncs: self.counters.syncs.load(Ordering::Relaxed),
        }
    }
}

impl SegmentLog {
    /// Has the thread write a record; waits for room first, where the queue has none.
    fn append_queued(
        &self,
        (record, weight): (NewRecord, u32),
        durability: Durability,
    ) -> BoxFuture<'static, Result<Appended, AuditError>> {
        let (answer, answered) = oneshot::channel();
        let queue = Arc::clone(&self.queue);
        let permits = Arc::clone(&self.permits);
        let send = move |permit| {
            queue.enqueue(Job {
                record,
                durability,
                answer,
                permit,
            });
        };
        let unsent = match Arc::clone(&permits).try_acquire_many_owned(weight) {
            Ok(permit) => {
                send(permit);
                None
            }
            Err(_) => Some(send),
        };
        async move {
            if let Some(send) = unsent {
                let permit = permits.acquire_many_owned(weight).await;
                send(permit.map_err(|_| AuditError::Closed)?);
            }
            answered.await.unwrap_or(Err(AuditError::Closed))
        }
        .boxed()
    }
}

impl AuditStore for SegmentLog {
    fn lost_sessions(&self) -> Vec<LostSession> {
        self.lost.clone()
    }

    fn append(
        &self,
        record: NewRecord,
        durability: Durability,
    ) -> BoxFuture<'static, Result<Appended, AuditError>> {
        let weight = weight(&record);
        let progress = match weight > MAX_OWN_PERMITS {
            true => Progress::NotYet,
            false => self.committer.write_now(&record, durability),
        };
        match progress {
            Progress::Done(done) => ready(done).boxed(),
            Progress::Written(synced) => {
                let committer = Arc::clone(&self.committer);
                async move {
                    // Whoever is ready may want the same sync.
                    tokio::task::yield_now().await;
                    committer.ask();
                    synced.await.unwrap_or(Err(AuditError::Closed))
                }
                .boxed()
            }
            Progress::NotYet => self.append_queued((record, weight), durability),
        }
    }

    fn list(&self, query: AuditQuery) -> BoxFuture<'static, Result<AuditPage, AuditError>> {
        let head = self.head.borrow().sequence;
        let last = query.through.map_or(head, |through| through.min(head));
        let readers = Arc::clone(&self.readers);
        let queries = Arc::clone(&self.queries);
        async move {
            let indexed = queries.caught_up(last).await;
            let _turn = readers
                .acquire_owned()
                .await
                .map_err(|_| AuditError::Closed)?;
            tokio::task::spawn_blocking(move || queries.page(&query, last, indexed))
                .await
                .unwrap_or(Err(AuditError::Closed))
        }
        .boxed()
    }

    fn follow(&self) -> watch::Receiver<AuditHead> {
        self.head.clone()
    }

    fn signed_head(&self) -> BoxFuture<'static, Result<Option<SignedHead>, AuditError>> {
        let Some(sealer) = self.sealer.clone() else {
            return async { Ok(None) }.boxed();
        };
        let (answer, answered) = oneshot::channel();
        let (sync, synced) = oneshot::channel();
        self.queue.send(Message::Sync { answer: sync });
        async move {
            synced.await.unwrap_or(Err(AuditError::Closed))?;
            sealer.send(follow::Message::Sign { answer });
            answered.await.unwrap_or(Err(AuditError::Closed)).map(Some)
        }
        .boxed()
    }

    fn verify(
        &self,
        request: VerifyRequest,
    ) -> BoxFuture<'static, Result<Verification, AuditError>> {
        let readers = Arc::clone(&self.readers);
        let dir = self.dir.clone();
        let live = Live {
            key: self.signer.as_ref().map(|key| key.verifier().clone()),
            head: self.head.clone(),
        };
        async move {
            let _turn = readers
                .acquire_owned()
                .await
                .map_err(|_| AuditError::Closed)?;
            tokio::task::spawn_blocking(move || verify_log(&dir, &request, Some(&live)))
                .await
                .unwrap_or(Err(AuditError::Closed))
        }
        .boxed()
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        let (answer, _nobody_waits) = oneshot::channel();
        self.queue.send(Message::Close { answer });
    }
}

fn start_sealer(
    writer: &Writer,
    options: &SegmentLogOptions,
    (queue, permits): (Arc<Queue>, Arc<Semaphore>),
) -> Result<Option<Waker>, AuditError> {
    let Some(signer) = options.signer.clone() else {
        return Ok(None);
    };
    let (inbox, messages) = mpsc::channel();
    let waker = Waker::new(inbox);
    let dir = writer.directory();
    let path = dir.path().to_owned();
    let sealer = Sealer::open(SealerParts {
        dir,
        signer,
        previous: options.previous_keys.clone(),
        sync: options.sync,
        export: options.export.clone(),
        head: writer.head(),
        waker: waker.clone(),
        retainer: Retainer::new(options.retention, queue, permits),
    })?;
    thread::Builder::new()
        .name("audit-sealer".to_owned())
        .spawn(move || sealer.run(&messages))
        .map_err(AuditError::io("start the sealer of", &path))?;
    Ok(Some(waker))
}

fn start_indexer(writer: &Writer, generation: &Generation) -> Result<Waker, AuditError> {
    let (inbox, messages) = mpsc::channel();
    let waker = Waker::new(inbox);
    let dir = writer.directory();
    let path = dir.path().to_owned();
    let generation = Arc::clone(generation);
    let indexer = Indexer::new(dir, writer.head(), waker.clone(), generation);
    thread::Builder::new()
        .name("audit-indexer".to_owned())
        .spawn(move || indexer.run(&messages))
        .map_err(AuditError::io("start the indexer of", &path))?;
    Ok(waker)
}

/// The permits that `record` takes while it is queued.
fn weight(record: &NewRecord) -> u32 {
    let text = match &record.body {
        AuditBody::ExecutionIntent(intent) => intent.command.len(),
        AuditBody::ExecutionDenied(denied) => denied.command.len(),
        // Everything else is short.
        _ => 0,
    };
    let permits = text.div_euclid(PERMIT_BYTES).saturating_add(1);
    u32::try_from(permits)
        .unwrap_or(QUEUE_PERMITS)
        .min(QUEUE_PERMITS)
}
