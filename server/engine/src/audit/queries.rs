//! Pages, by the index where it has caught up, and by reading the segments where not. Both
//! give the same records; the index only knows where they are.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use execgate_core::audit::{AuditRecord, ChainFault, decode_line};
use tokio::sync::oneshot;

use super::cursor::Location;
use super::error::AuditError;
use super::follow::{Message, Waker};
use super::index_reader::IndexReader;
use super::indexer::Generation;
use super::query::{AuditPage, AuditQuery, MAX_PAGE_BYTES, PageStart};
use super::reader;
use super::segment::{MAX_LINE_BYTES, segment_path};

/// Answers queries about the log in one directory.
#[derive(Debug)]
pub(super) struct Queries {
    dir: PathBuf,
    indexer: Option<Waker>,
    generation: Generation,
    /// A reader that is not in use, and of which index it is.
    idle: Mutex<Option<(u64, IndexReader)>>,
}

impl Queries {
    pub(super) fn new(dir: &Path, indexer: Option<Waker>, generation: Generation) -> Self {
        Self {
            dir: dir.to_owned(),
            indexer,
            generation,
            idle: Mutex::new(None),
        }
    }

    /// Waits for the index, if it is not far behind; whether it has everything up to
    /// `sequence`.
    pub(super) async fn caught_up(&self, sequence: u64) -> bool {
        let Some(indexer) = &self.indexer else {
            return false;
        };
        let (answer, answered) = oneshot::channel();
        indexer.send(Message::UpTo { sequence, answer });
        answered.await.unwrap_or(false)
    }

    /// One page of the records up to `last`. Blocks.
    pub(super) fn page(
        &self,
        query: &AuditQuery,
        last: u64,
        indexed: bool,
    ) -> Result<AuditPage, AuditError> {
        if indexed {
            match self.indexed_page(query, last) {
                Ok(page) => return Ok(page),
                // It may be made anew just now. What is wrong with the log itself, the
                // segments say.
                Err(error) => tracing::warn!(%error, "the audit index was of no use"),
            }
        }
        reader::read_page(&self.dir, query, last)
    }

    fn indexed_page(&self, query: &AuditQuery, last: u64) -> Result<AuditPage, AuditError> {
        let generation = self.generation.load(Ordering::Acquire);
        let lock = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = lock().take().filter(|(of, _)| *of == generation);
        let index = match idle {
            Some((_, index)) => index,
            None => IndexReader::open(&self.dir).map_err(AuditError::index)?,
        };
        let limit = query.effective_limit();
        let found = index.find(query, last, limit).map_err(AuditError::index)?;
        let first = index.first().map_err(AuditError::index)?;
        *lock() = Some((generation, index));
        let mut page = AuditPage {
            through: last,
            ..AuditPage::default()
        };
        let mut seen = found.seen;
        let mut bytes = 0_usize;
        let mut file = None;
        let total = found.records.len();
        for (index, (sequence, location)) in found.records.into_iter().enumerate() {
            let record = self.read(sequence, location, &mut file)?;
            if query.admits(&record) {
                bytes = bytes.saturating_add(record.payload.len());
                page.records.push(record);
            }
            if bytes >= MAX_PAGE_BYTES && index.saturating_add(1) < total {
                seen = Some(sequence);
                break;
            }
        }
        page.next = seen.and_then(|seen| match query.start {
            PageStart::OldestFirst { .. } => (seen < last).then_some(PageStart::OldestFirst {
                after_sequence: seen,
            }),
            PageStart::NewestFirst { .. } => {
                (Some(seen) > first).then_some(PageStart::NewestFirst {
                    before_sequence: Some(seen),
                })
            }
        });
        Ok(page)
    }

    /// The record at a place; what the index says of it is not believed.
    fn read(
        &self,
        sequence: u64,
        location: Location,
        open: &mut Option<(u64, PathBuf, File)>,
    ) -> Result<AuditRecord, AuditError> {
        if open.as_ref().is_none_or(|(of, ..)| *of != location.segment) {
            let path = segment_path(&self.dir, location.segment);
            let file = File::open(&path).map_err(AuditError::io("open", &path))?;
            *open = Some((location.segment, path, file));
        }
        let Some((_, path, file)) = open else {
            return Err(AuditError::Closed);
        };
        let corrupt = |fault| AuditError::Corrupt {
            segment: path.clone(),
            sequence,
            fault,
        };
        let bytes = usize::try_from(location.bytes).unwrap_or(usize::MAX);
        if bytes > MAX_LINE_BYTES {
            return Err(corrupt(ChainFault::Malformed));
        }
        let mut line = vec![0; bytes];
        file.read_exact_at(&mut line, location.offset)
            .map_err(AuditError::io("read", path))?;
        let line = decode_line(&line).map_err(corrupt)?;
        if line.sequence != sequence {
            return Err(corrupt(ChainFault::WrongSequence {
                expected: sequence,
                found: line.sequence,
            }));
        }
        line.record().map_err(corrupt)
    }
}
