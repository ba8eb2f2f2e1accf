//! A place in the log that moves on: whoever follows the log reads what was written since.

use std::path::{Path, PathBuf};

use execgate_core::audit::{ChainFault, VerifiedLine, decode_line};

use super::error::AuditError;
use super::segment::{SegmentLines, Step, list_segments};

/// Where a record stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// First sequence of its segment, which is the segment's name.
    pub(super) segment: u64,
    /// Where its line begins.
    pub(super) offset: u64,
    /// Bytes of the line, without its line feed.
    pub(super) bytes: u64,
}

/// The next record to be read, and where it is if that is known.
#[derive(Debug)]
pub(super) struct Cursor {
    next: u64,
    place: Option<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    segment: u64,
    path: PathBuf,
    offset: u64,
}

impl Cursor {
    /// Begins at this sequence.
    pub(super) const fn at(next: u64) -> Self {
        Self { next, place: None }
    }

    /// The next sequence.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Shows up to `limit` of the records up to `last`, whose own hashes are right. What
    /// `visit` refuses is read again the next time.
    pub(super) fn read(
        &mut self,
        dir: &Path,
        last: u64,
        limit: usize,
        mut visit: impl FnMut(&VerifiedLine<'_>, Location) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        let mut left = limit;
        while self.next <= last && left > 0 {
            let place = match self.place.take() {
                Some(place) => place,
                None => self.find(dir)?,
            };
            let mut lines = SegmentLines::open_at(&place.path, place.offset)?;
            while self.next <= last && left > 0 {
                let offset = lines.offset();
                let Step::Line(line) = lines.step()? else {
                    break;
                };
                let bytes = line.len() as u64;
                let corrupt = |fault| corrupt(&place.path, self.next, fault);
                let line = decode_line(line).map_err(corrupt)?;
                if line.sequence < self.next {
                    continue;
                }
                if line.sequence != self.next {
                    return Err(corrupt(ChainFault::WrongSequence {
                        expected: self.next,
                        found: line.sequence,
                    }));
                }
                let location = Location {
                    segment: place.segment,
                    offset,
                    bytes,
                };
                visit(&line, location)?;
                self.next = self.next.saturating_add(1);
                left -= 1;
            }
            if self.next <= last && left > 0 {
                // The segment is read; the next one has to be there.
                let next = self.find(dir)?;
                if next.segment <= place.segment {
                    return Err(corrupt(&place.path, self.next, ChainFault::Malformed));
                }
                self.place = Some(next);
            } else {
                self.place = Some(Place {
                    offset: lines.offset(),
                    ..place
                });
            }
        }
        Ok(())
    }

    /// The segment that holds the next record, from its beginning.
    fn find(&self, dir: &Path) -> Result<Place, AuditError> {
        let mut segments = list_segments(dir)?;
        let holding = segments.partition_point(|(first, _)| *first <= self.next);
        match holding.checked_sub(1) {
            Some(index) => {
                let (segment, path) = segments.swap_remove(index);
                Ok(Place {
                    segment,
                    path,
                    offset: 0,
                })
            }
            None => Err(corrupt(dir, self.next, ChainFault::Malformed)),
        }
    }
}

fn corrupt(path: &Path, sequence: u64, fault: ChainFault) -> AuditError {
    AuditError::Corrupt {
        segment: path.to_owned(),
        sequence,
        fault,
    }
}
