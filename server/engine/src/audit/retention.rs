//! Which records are no longer kept, and what is left of them: a signed resume point, from
//! which the rest verifies as before.
//!
//! Whole segments go, oldest first, never the one being written, and only what a signed
//! head covers. In this order, so that a crash in between leaves a log that verifies: a
//! record says it, the stub says where the log begins now, the files go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use execgate_core::audit::{
    AuditBody, Micros, NewRecord, NoteSigner, NoteVerifier, ResumePoint, RetentionApplied,
    RetentionReason, SYSTEM_PRINCIPAL,
};
use tokio::sync::{Semaphore, oneshot};

use super::Durability;
use super::committer::Queue;
use super::directory::Directory;
use super::error::AuditError;
use super::heads::replace;
use super::sealer::{STUB_NAME, keys, resume_point};
use super::segment::{SegmentLines, Step, list_segments};
use super::writer::Job;

/// How long the log is kept. Nothing set: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRetention {
    /// Segments whose newest record is older go.
    pub max_age: Option<Duration>,
    /// Bytes of all segments; the oldest go beyond it.
    pub max_bytes: Option<u64>,
}

/// Applies retention.
#[derive(Debug)]
pub(super) struct Retainer {
    retention: LogRetention,
    writer: Arc<Queue>,
    permits: Arc<Semaphore>,
    looked: Option<Instant>,
}

/// What is to go.
struct Removal {
    segments: Vec<PathBuf>,
    /// First sequence that stays.
    first: u64,
    reason: RetentionReason,
}

impl Retainer {
    /// How often it is looked for what is too old.
    pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(60);

    /// One that tells the log through `writer`; none where everything is kept.
    pub(super) fn new(
        retention: LogRetention,
        writer: Arc<Queue>,
        permits: Arc<Semaphore>,
    ) -> Option<Self> {
        (retention != LogRetention::default()).then_some(Self {
            retention,
            writer,
            permits,
            looked: None,
        })
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self) -> bool {
        self.until_next_look().is_zero()
    }

    pub(super) fn until_next_look(&self) -> Duration {
        self.looked.map_or(Duration::ZERO, |looked| {
            Self::LOOK_INTERVAL.saturating_sub(looked.elapsed())
        })
    }

    /// Removes what is to go of the first `covered` records; answers how many are gone now,
    /// if any went.
    pub(super) fn apply(
        &mut self,
        dir: &Directory,
        (signer, previous): (&NoteSigner, &[NoteVerifier]),
        covered: u64,
    ) -> Result<Option<u64>, AuditError> {
        self.looked = Some(Instant::now());
        let keys = keys(signer, previous);
        remove_leftovers(dir, &keys)?;
        let Some(removal) = self.plan(dir.path(), covered)? else {
            return Ok(None);
        };
        let point = resume_at(dir.path(), &keys, removal.first)?;
        let body = RetentionApplied {
            first_sequence: removal.first,
            kept_hash: point.previous,
            reason: removal.reason,
        };
        self.record(body)?;
        replace(dir, STUB_NAME, &point.sign(signer))?;
        for path in &removal.segments {
            std::fs::remove_file(path).map_err(AuditError::io("remove", path))?;
        }
        dir.sync()?;
        tracing::info!(first = removal.first, "old audit records removed");
        Ok(Some(point.frontier.size()))
    }

    fn plan(&self, dir: &Path, covered: u64) -> Result<Option<Removal>, AuditError> {
        let segments = list_segments(dir)?;
        let mut bytes = 0_u64;
        for (_, path) in &segments {
            bytes = bytes.saturating_add(size(path)?);
        }
        let mut removal = Removal {
            segments: Vec::new(),
            first: 0,
            reason: RetentionReason::Bytes,
        };
        for pair in segments.windows(2) {
            let [(_, path), (next, next_path)] = pair else {
                break;
            };
            let large = self.retention.max_bytes.is_some_and(|limit| bytes > limit);
            let old = self.is_old(next_path)?;
            if next.saturating_sub(1) > covered || !(large || old) {
                break;
            }
            bytes = bytes.saturating_sub(size(path)?);
            removal.segments.push(path.clone());
            removal.first = *next;
            removal.reason = match large {
                true => RetentionReason::Bytes,
                false => RetentionReason::Age,
            };
        }
        Ok((!removal.segments.is_empty()).then_some(removal))
    }

    /// Whether everything before the segment at `next` is too old: its first record is.
    fn is_old(&self, next: &Path) -> Result<bool, AuditError> {
        let Some(max_age) = self.retention.max_age else {
            return Ok(false);
        };
        let mut lines = SegmentLines::open(next)?;
        let Step::Line(line) = lines.step()? else {
            return Ok(false);
        };
        let time = execgate_core::audit::decode_line(line)
            .and_then(|line| line.record())
            .map(|record| record.time);
        let limit = Micros::from(SystemTime::now()).0;
        let limit = limit.saturating_sub(u64::try_from(max_age.as_micros()).unwrap_or(u64::MAX));
        Ok(time.is_ok_and(|time| time.0 < limit))
    }

    fn record(&self, body: RetentionApplied) -> Result<(), AuditError> {
        let permit =
            Arc::clone(&self.permits)
                .try_acquire_owned()
                .map_err(|_| AuditError::Refused {
                    problem: "the queue is full; it will be tried again".to_owned(),
                })?;
        let (answer, answered) = oneshot::channel();
        let job = Job {
            record: NewRecord {
                time: Micros::from(SystemTime::now()),
                principal: SYSTEM_PRINCIPAL.to_owned(),
                session_id: None,
                execution_id: None,
                trace_id: None,
                auth: None,
                body: AuditBody::RetentionApplied(body),
            },
            durability: Durability::Synced,
            answer,
            permit,
        };
        // A writer that is gone takes no job: it has to go at once, and its answer with it.
        self.writer.enqueue(job);
        answered
            .blocking_recv()
            .unwrap_or(Err(AuditError::Closed))
            .map(drop)
    }
}

/// Removes segments that a stub says are gone: a crash came before they were.
fn remove_leftovers(dir: &Directory, keys: &[NoteVerifier]) -> Result<(), AuditError> {
    let Some(stub) = resume_point(dir.path(), STUB_NAME, keys)? else {
        return Ok(());
    };
    for pair in list_segments(dir.path())?.windows(2) {
        if let [(_, path), (next, _)] = pair
            && *next <= stub.first()
        {
            std::fs::remove_file(path).map_err(AuditError::io("remove", path))?;
        }
    }
    Ok(())
}

/// The resume point before `first`. Everything before it is verified once more: what does
/// not verify is evidence, and stays.
fn resume_at(dir: &Path, keys: &[NoteVerifier], first: u64) -> Result<ResumePoint, AuditError> {
    let mut point = resume_point(dir, STUB_NAME, keys)?.unwrap_or_default();
    let mut chain = point.chain();
    for (segment, path) in list_segments(dir)? {
        if segment >= first {
            break;
        }
        let mut lines = SegmentLines::open(&path)?;
        while let Step::Line(line) = lines.step()? {
            let line = chain
                .verify_line(line)
                .map_err(|error| AuditError::Corrupt {
                    segment: path.clone(),
                    sequence: error.sequence,
                    fault: error.fault,
                })?;
            point.push(line.hash);
        }
    }
    if point.first() == first {
        return Ok(point);
    }
    Err(AuditError::Corrupt {
        segment: dir.to_owned(),
        sequence: point.first(),
        fault: execgate_core::audit::ChainFault::Malformed,
    })
}

fn size(path: &Path) -> Result<u64, AuditError> {
    let metadata = std::fs::metadata(path).map_err(AuditError::io("inspect", path))?;
    Ok(metadata.len())
}
