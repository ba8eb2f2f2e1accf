//! Opening a log that was left behind: find its end, set a torn tail aside,
//! and say what has to be closed.
//!
//! A bad record is *torn* if nothing after it says that it had been durable:
//! then it was being written when the power went, nobody was told it is safe,
//! and it goes (its bytes are kept in a `.torn` file beside). Otherwise it was
//! *damaged* later, and the log refuses to open: that is for a person to see.
//! Sealed segments were synced, so anything bad in them is damage.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use execgate_core::audit::{
    AuditRecord, ChainFault, ChainState, Micros, NewRecord, Unfinished, decode_line,
};

use super::directory::{Directory, FILE_MODE};
use super::error::AuditError;
use super::segment::{MAX_LINE_BYTES, Segment, SegmentLines, Step, list_segments};

/// A log ready to be continued.
#[derive(Debug)]
pub(super) struct Recovery {
    /// Where to write.
    pub(super) segment: Segment,
    /// Where the chain stands.
    pub(super) chain: ChainState,
    /// Records to append first.
    pub(super) closing: Vec<NewRecord>,
}

/// What reading one segment found.
struct Scan {
    /// Just after the last good line.
    end: u64,
    /// What stopped the reading, if not the end.
    fault: Option<ChainFault>,
}

/// Recovers the log in `dir`.
pub(super) fn recover(
    dir: &Directory,
    segment_bytes: u64,
    now: Micros,
) -> Result<Recovery, AuditError> {
    let segments = list_segments(dir.path())?;
    let start = scan_start(&segments)?;
    let mut chain = ChainState::default();
    let mut open = Unfinished::default();
    let mut scans = segments.iter().enumerate().skip(start).peekable();
    while let Some((index, (first, path))) = scans.next() {
        if index == start && *first > 1 {
            chain = claimed_start(*first, path)?;
        }
        if *first != chain.sequence.saturating_add(1) {
            let expected = chain.sequence.saturating_add(1);
            let fault = ChainFault::WrongSequence {
                expected,
                found: *first,
            };
            return Err(damaged(path, chain, fault));
        }
        let scan = scan_segment(path, &mut chain, |record| open.observe(record))?;
        if scans.peek().is_some() {
            check_sealed(path, &scan, chain)?;
            continue;
        }
        let torn = set_tail_aside(dir, path, &scan, chain)?;
        let segment = Segment::resume(path, scan.end, segment_bytes)?;
        // Records that only the page cache had must not be built upon unsynced.
        segment
            .file
            .sync_all()
            .map_err(AuditError::io("sync", path))?;
        return Ok(Recovery {
            segment,
            chain,
            closing: open.into_closing_records(now, torn),
        });
    }
    let segment = Segment::create(dir, 1, segment_bytes)?;
    Ok(Recovery {
        segment,
        chain,
        closing: Vec::new(),
    })
}

/// The newest segment before which everything is known to be closed.
fn scan_start(segments: &[(u64, PathBuf)]) -> Result<usize, AuditError> {
    for (index, (_, path)) in segments.iter().enumerate().rev() {
        let mut lines = SegmentLines::open(path)?;
        while let Step::Line(line) = lines.step()? {
            let Ok(verified) = decode_line(line) else {
                break;
            };
            if verified
                .record()
                .is_ok_and(|record| Unfinished::is_boundary(&record))
            {
                return Ok(index);
            }
        }
    }
    Ok(0)
}

/// Where the chain stood before a segment that is not the first, as its first
/// record claims it.
fn claimed_start(first: u64, path: &Path) -> Result<ChainState, AuditError> {
    let mut lines = SegmentLines::open(path)?;
    let fault = match lines.step()? {
        Step::Line(line) => match decode_line(line) {
            Ok(line) => {
                return Ok(ChainState {
                    sequence: first.saturating_sub(1),
                    hash: line.previous_hash,
                });
            }
            Err(fault) => fault,
        },
        Step::Torn | Step::End => ChainFault::Malformed,
    };
    Err(AuditError::Corrupt {
        segment: path.to_owned(),
        sequence: first,
        fault,
    })
}

fn scan_segment(
    path: &Path,
    chain: &mut ChainState,
    mut visit: impl FnMut(&AuditRecord),
) -> Result<Scan, AuditError> {
    let mut lines = SegmentLines::open(path)?;
    loop {
        let end = lines.offset();
        let fault = match lines.step()? {
            Step::End => return Ok(Scan { end, fault: None }),
            Step::Torn => Some(ChainFault::Malformed),
            Step::Line(line) => match read_record(chain, line) {
                Ok(record) => {
                    visit(&record);
                    continue;
                }
                Err(fault) => Some(fault),
            },
        };
        return Ok(Scan { end, fault });
    }
}

fn read_record(chain: &mut ChainState, line: &[u8]) -> Result<AuditRecord, ChainFault> {
    let before = *chain;
    let record = chain
        .verify_line(line)
        .map_err(|error| error.fault)?
        .record();
    if record.is_err() {
        *chain = before;
    }
    record
}

fn check_sealed(path: &Path, scan: &Scan, chain: ChainState) -> Result<(), AuditError> {
    let rest_is_empty = read_tail(path, scan.end)?.is_empty();
    match scan
        .fault
        .or((!rest_is_empty).then_some(ChainFault::Malformed))
    {
        None => Ok(()),
        Some(fault) => Err(damaged(path, chain, fault)),
    }
}

/// Cuts a torn tail off and keeps its bytes; says how many there were.
fn set_tail_aside(
    dir: &Directory,
    path: &Path,
    scan: &Scan,
    chain: ChainState,
) -> Result<u64, AuditError> {
    let tail = read_tail(path, scan.end)?;
    if tail.is_empty() {
        return Ok(0);
    }
    if was_durable(&tail, chain.sequence.saturating_add(1)) {
        return Err(damaged(
            path,
            chain,
            scan.fault.unwrap_or(ChainFault::Malformed),
        ));
    }
    keep_torn(dir, path, scan.end, &tail)?;
    Segment::resume(path, scan.end, scan.end)?.truncate()?;
    Ok(tail.len() as u64)
}

/// True if a whole record in `tail` says that `sequence` had been durable.
fn was_durable(tail: &[u8], sequence: u64) -> bool {
    tail.split(|byte| *byte == b'\n')
        .filter_map(|line| decode_line(line).ok())
        .any(|line| line.durable >= sequence)
}

/// The bytes from `offset` on, without the reserved zeros at the end. Bounded
/// by what a segment can hold.
pub(super) fn read_tail(path: &Path, offset: u64) -> Result<Vec<u8>, AuditError> {
    let failed = || AuditError::io("read", path);
    let mut file = File::open(path).map_err(failed())?;
    file.seek(SeekFrom::Start(offset)).map_err(failed())?;
    let mut tail = Vec::new();
    let limit = super::segment_log::MAX_SEGMENT_BYTES.saturating_add(MAX_LINE_BYTES as u64);
    file.take(limit).read_to_end(&mut tail).map_err(failed())?;
    let used = tail
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last.saturating_add(1));
    tail.truncate(used);
    Ok(tail)
}

fn keep_torn(dir: &Directory, path: &Path, offset: u64, tail: &[u8]) -> Result<(), AuditError> {
    let kept = path.with_extension(format!("{offset}.torn"));
    let failed = || AuditError::io("keep the torn tail in", &kept);
    // A crash during an earlier recovery may have left the same file behind.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&kept)
        .map_err(failed())?;
    file.write_all(tail).map_err(failed())?;
    file.sync_all().map_err(failed())?;
    dir.sync()
}

fn damaged(path: &Path, chain: ChainState, fault: ChainFault) -> AuditError {
    let sequence = chain.sequence.saturating_add(1);
    AuditError::Corrupt {
        segment: path.to_owned(),
        sequence,
        fault,
    }
}
