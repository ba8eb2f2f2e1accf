//! Reading pages out of the segments. Blocking; the caller gives it a thread.
//!
//! A page is bounded by records, by bytes and by what is read for it, so that
//! no query holds memory or a thread for long: a page that stopped early says
//! where to go on. Sequences have no holes, so a record's place in its segment
//! is known without parsing those before it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use execgate_core::audit::{ChainFault, decode_line};

use super::error::AuditError;
use super::query::{AuditPage, AuditQuery, MAX_PAGE_BYTES, PageStart};
use super::segment::{SegmentLines, Step, list_segments};

/// Bytes read for one page at most: a quarter of a second of work.
const MAX_SCANNED_BYTES: u64 = 64 * 1024 * 1024;

/// Reads one page of the records up to and including `last`.
pub(super) fn read_page(
    dir: &Path,
    query: &AuditQuery,
    last: u64,
) -> Result<AuditPage, AuditError> {
    let segments = list_segments(dir)?;
    let mut page = Page::new(query);
    let next = match query.start {
        PageStart::OldestFirst { after_sequence } => {
            let seen = page.read_forwards(dir, &segments, after_sequence.min(last), last)?;
            (seen < last).then_some(PageStart::OldestFirst {
                after_sequence: seen,
            })
        }
        PageStart::NewestFirst { before_sequence } => {
            let after_last = last.saturating_add(1);
            let before = before_sequence.map_or(after_last, |before| before.min(after_last));
            let oldest = segments.first().map_or(before, |(first, _)| *first);
            let seen = page.read_backwards(&segments, before)?;
            (seen > oldest).then_some(PageStart::NewestFirst {
                before_sequence: Some(seen),
            })
        }
    };
    page.found.next = next;
    page.found.through = last;
    Ok(page.found)
}

/// A page being filled.
struct Page<'a> {
    query: &'a AuditQuery,
    found: AuditPage,
    payload_bytes: usize,
    scanned_bytes: u64,
}

impl<'a> Page<'a> {
    fn new(query: &'a AuditQuery) -> Self {
        Self {
            query,
            found: AuditPage::default(),
            payload_bytes: 0,
            scanned_bytes: 0,
        }
    }

    const fn is_full(&self) -> bool {
        self.found.records.len() >= self.query.effective_limit()
            || self.payload_bytes >= MAX_PAGE_BYTES
            || self.scanned_bytes >= MAX_SCANNED_BYTES
    }

    /// Looks at the records after `seen` up to `last`; answers how far it came.
    fn read_forwards(
        &mut self,
        dir: &Path,
        segments: &[(u64, PathBuf)],
        mut seen: u64,
        last: u64,
    ) -> Result<u64, AuditError> {
        // The segment that holds the next record is the last one not after it.
        let next = seen.saturating_add(1);
        let start = segments
            .partition_point(|(first, _)| *first <= next)
            .saturating_sub(1);
        for (index, (first, path)) in segments.iter().enumerate().skip(start) {
            if self.is_full() || seen >= last {
                return Ok(seen);
            }
            let expected = seen.saturating_add(1);
            if index > start && *first != expected {
                let fault = ChainFault::WrongSequence {
                    expected,
                    found: *first,
                };
                return Err(corrupt(path, expected, fault));
            }
            seen = self.read_segment(*first, path, seen, last)?;
        }
        if self.is_full() || seen >= last {
            return Ok(seen);
        }
        // The segments end before the log does.
        Err(corrupt(dir, seen.saturating_add(1), ChainFault::Malformed))
    }

    fn read_segment(
        &mut self,
        first: u64,
        path: &Path,
        mut seen: u64,
        last: u64,
    ) -> Result<u64, AuditError> {
        let mut lines = SegmentLines::open(path)?;
        let mut sequence = first;
        let mut offset = 0;
        while !self.is_full() && seen < last {
            match lines.step()? {
                Step::End => break,
                Step::Torn => return Err(corrupt(path, sequence, ChainFault::Malformed)),
                Step::Line(line) if sequence > seen => {
                    self.take(sequence, line)
                        .map_err(|fault| corrupt(path, sequence, fault))?;
                    seen = sequence;
                }
                Step::Line(_) => {}
            }
            self.scan(lines.offset().saturating_sub(offset));
            offset = lines.offset();
            sequence = sequence.saturating_add(1);
        }
        Ok(seen)
    }

    /// Looks at the records before `seen`, newest first; answers how far it came.
    fn read_backwards(
        &mut self,
        segments: &[(u64, PathBuf)],
        mut seen: u64,
    ) -> Result<u64, AuditError> {
        let holding = segments.partition_point(|(first, _)| *first < seen);
        for (first, path) in segments.iter().take(holding).rev() {
            if self.is_full() {
                break;
            }
            seen = self.read_segment_backwards(*first, path, seen)?;
        }
        Ok(seen)
    }

    fn read_segment_backwards(
        &mut self,
        first: u64,
        path: &Path,
        mut seen: u64,
    ) -> Result<u64, AuditError> {
        let wanted = usize::try_from(seen.saturating_sub(first)).unwrap_or(usize::MAX);
        let lines = line_ends(path, wanted)?;
        self.scan(lines.last().copied().unwrap_or_default());
        if lines.len() < wanted {
            let found = u64::try_from(lines.len()).unwrap_or(u64::MAX);
            return Err(corrupt(
                path,
                first.saturating_add(found),
                ChainFault::Malformed,
            ));
        }
        let file = File::open(path).map_err(AuditError::io("open", path))?;
        let mut line = Vec::new();
        for (index, end) in lines.iter().enumerate().rev() {
            if self.is_full() {
                break;
            }
            let start = index
                .checked_sub(1)
                .and_then(|before| lines.get(before))
                .copied();
            let start = start.unwrap_or_default();
            let bytes = end.saturating_sub(start).saturating_sub(1);
            line.resize(usize::try_from(bytes).unwrap_or_default(), 0);
            file.read_exact_at(&mut line, start)
                .map_err(AuditError::io("read", path))?;
            let sequence = seen.saturating_sub(1);
            self.take(sequence, &line)
                .map_err(|fault| corrupt(path, sequence, fault))?;
            seen = sequence;
        }
        Ok(seen)
    }

    const fn scan(&mut self, bytes: u64) {
        self.scanned_bytes = self.scanned_bytes.saturating_add(bytes);
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
        if self.query.admits(&record) {
            self.payload_bytes = self.payload_bytes.saturating_add(record.payload.len());
            self.found.records.push(record);
        }
        Ok(())
    }
}

/// Where the first `wanted` lines of a segment end, line feed included.
fn line_ends(path: &Path, wanted: usize) -> Result<Vec<u64>, AuditError> {
    let mut lines = SegmentLines::open(path)?;
    let mut ends = Vec::new();
    while ends.len() < wanted {
        let Step::Line(_) = lines.step()? else { break };
        ends.push(lines.offset());
    }
    Ok(ends)
}

fn corrupt(path: &Path, sequence: u64, fault: ChainFault) -> AuditError {
    AuditError::Corrupt {
        segment: path.to_owned(),
        sequence,
        fault,
    }
}
