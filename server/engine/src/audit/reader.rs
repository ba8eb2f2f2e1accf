//! Reading pages out of the segments. Blocking; the caller gives it a thread.
//!
//! A page is bounded by records, by bytes and by what is read for it, so that
//! no query holds memory or a thread for long: a page that stopped early says
//! where to go on.

use std::path::Path;

use execgate_core::audit::{ChainFault, decode_line};

use super::error::AuditError;
use super::segment::{SegmentLines, Step, list_segments};
use super::{AuditPage, AuditQuery, MAX_PAGE_BYTES};

/// Bytes read for one page at most: a quarter of a second of work.
const MAX_SCANNED_BYTES: u64 = 64 * 1024 * 1024;

/// Reads one page of the records up to and including `last`.
pub(super) fn read_page(
    dir: &Path,
    query: &AuditQuery,
    last: u64,
) -> Result<AuditPage, AuditError> {
    let segments = list_segments(dir)?;
    let wanted = query.after_sequence.saturating_add(1);
    // The segment that holds `wanted` is the last one that starts at or before it.
    let start = segments
        .partition_point(|(first, _)| *first <= wanted)
        .saturating_sub(1);
    let mut page = Page::new(query, last);
    for (index, (first, path)) in segments.iter().enumerate().skip(start) {
        if page.is_full() {
            break;
        }
        let expected = page.seen.saturating_add(1);
        if index > start && *first != expected {
            let fault = ChainFault::WrongSequence {
                expected,
                found: *first,
            };
            return Err(corrupt(path, expected, fault));
        }
        page.read_segment(*first, path)?;
    }
    page.finish(dir)
}

/// A page being filled.
struct Page<'a> {
    query: &'a AuditQuery,
    last: u64,
    found: AuditPage,
    payload_bytes: usize,
    scanned_bytes: u64,
    /// The last sequence that was looked at.
    seen: u64,
}

impl<'a> Page<'a> {
    fn new(query: &'a AuditQuery, last: u64) -> Self {
        let seen = query.after_sequence.min(last);
        let found = AuditPage::default();
        Self {
            query,
            last,
            found,
            payload_bytes: 0,
            scanned_bytes: 0,
            seen,
        }
    }

    const fn is_full(&self) -> bool {
        self.found.records.len() >= self.query.effective_limit()
            || self.payload_bytes >= MAX_PAGE_BYTES
            || self.scanned_bytes >= MAX_SCANNED_BYTES
            || self.seen >= self.last
    }

    fn read_segment(&mut self, first: u64, path: &Path) -> Result<(), AuditError> {
        let mut lines = SegmentLines::open(path)?;
        let mut sequence = first;
        let mut offset = 0;
        while !self.is_full() {
            match lines.step()? {
                Step::End => break,
                Step::Torn => return Err(corrupt(path, sequence, ChainFault::Malformed)),
                // Sequences have no holes, so lines before the page need no parsing.
                Step::Line(line) if sequence > self.query.after_sequence => {
                    self.take(sequence, line)
                        .map_err(|fault| corrupt(path, sequence, fault))?;
                }
                Step::Line(_) => {}
            }
            self.scanned_bytes = self
                .scanned_bytes
                .saturating_add(lines.offset().saturating_sub(offset));
            offset = lines.offset();
            sequence = sequence.saturating_add(1);
        }
        Ok(())
    }

    fn take(&mut self, expected: u64, line: &[u8]) -> Result<(), ChainFault> {
        let line = decode_line(line)?;
        if line.sequence != expected {
            return Err(ChainFault::WrongSequence {
                expected,
                found: line.sequence,
            });
        }
        let record = line.record()?;
        self.seen = expected;
        if self.query.admits(&record) {
            self.payload_bytes = self.payload_bytes.saturating_add(record.payload.len());
            self.found.records.push(record);
        }
        Ok(())
    }

    /// The page, unless the segments ended before the log does.
    fn finish(mut self, dir: &Path) -> Result<AuditPage, AuditError> {
        if !self.is_full() {
            return Err(corrupt(
                dir,
                self.seen.saturating_add(1),
                ChainFault::Malformed,
            ));
        }
        self.found.next_after = (self.seen < self.last).then_some(self.seen);
        Ok(self.found)
    }
}

fn corrupt(path: &Path, sequence: u64, fault: ChainFault) -> AuditError {
    AuditError::Corrupt {
        segment: path.to_owned(),
        sequence,
        fault,
    }
}
