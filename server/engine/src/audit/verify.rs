//! Checking a log: every line's hash, the chain, the tree against every signed head. Needs
//! the directory and a key, and nothing of a server.
//!
//! What is wrong is named by its record: the first one that is not as it was written. Where
//! somebody has rewritten everything after his change, chain included, only the heads tell;
//! then the records between the last head that fits and the first that does not are named.

use std::path::Path;

use execgate_core::audit::{AuditBody, AuditRecord, NoteVerifier, ResumePoint, decode_line};
use memchr::memmem;
use tokio::sync::watch;

use super::AuditHead;
use super::error::AuditError;
use super::heads::read_notes;
use super::line_check::LineCheck;
use super::sealer::{STUB_NAME, read_note};
use super::segment::{SegmentLines, Step, list_segments};

/// What to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyRequest {
    /// First sequence to check; 0 for the first that is kept. Beyond that one, the tree
    /// cannot be checked, only the chain.
    pub from: u64,
    /// Last sequence to check; 0 for the last.
    pub to: u64,
    /// Keys that heads have to be signed by. None: those that the log's own records name.
    pub keys: Vec<NoteVerifier>,
    /// Heads that were kept elsewhere, as signed notes; the log must contain them.
    pub known_heads: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// How many records were checked.
    pub checked: u64,
    /// Lowest sequence checked; 0 for none.
    pub first: u64,
    /// Highest sequence checked; 0 for none.
    pub last: u64,
    /// How many signed heads the tree was checked against.
    pub heads: u64,
    /// Bytes of an unfinished record at the end, as a crash leaves them; the next start
    /// sets them aside.
    pub torn_bytes: u64,
    /// The keys that were used.
    pub keys: Vec<NoteVerifier>,
    /// The first thing that is wrong.
    pub defect: Option<Defect>,
}

/// Something wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The first bad record, or the one that is missing.
    pub sequence: u64,
    /// What is wrong, for programs.
    pub kind: DefectKind,
    /// What is wrong, for people.
    pub detail: String,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefectKind {
    /// Its content is not what its hash, or a head, says.
    Changed,
    /// It is missing.
    Missing,
    /// It was put in between.
    Inserted,
    /// It does not follow the one before it.
    Reordered,
    /// The log ends before a head that is known.
    Truncated,
    /// A head's signature does not verify.
    BadSignature,
    /// It cannot be read at all.
    Unreadable,
}

impl DefectKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::BadSignature => "bad signature",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A log that is being written while it is checked.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// The key that signs it.
    pub(super) key: Option<NoteVerifier>,
    /// Where it stands.
    pub(super) head: watch::Receiver<AuditHead>,
}

/// Checks the log in `dir`, which nobody need hold.
pub(super) fn verify_log(
    dir: &Path,
    request: &VerifyRequest,
    live: Option<&Live>,
) -> Result<Verification, AuditError> {
    // Heads first: whatever is signed after that is not missed.
    let (notes, _torn) = read_notes(dir)?;
    let end = live.map(|live| live.head.borrow().sequence);
    let keys = match request.keys.is_empty() {
        false => request.keys.clone(),
        true => {
            let mut keys = named_keys(dir)?;
            keys.extend(live.and_then(|live| live.key.clone()));
            keys
        }
    };
    let (start, bad_stub) = starting(dir, &keys)?;
    let removed = start.frontier.size();
    if let Some(size) = too_old(&request.known_heads, &keys, removed) {
        return Err(AuditError::HeadTooOld {
            size,
            first: removed.saturating_add(1),
        });
    }
    let mut check = LineCheck::new(request, keys, start);
    if let Some(detail) = bad_stub {
        check.fail(1, DefectKind::BadSignature, detail);
    }
    if notes.is_empty() && request.known_heads.is_empty() && !request.keys.is_empty() {
        let detail = "no signed head of this log is there".to_owned();
        check.fail(1, DefectKind::BadSignature, detail);
    }
    if check.has_keys() {
        for note in &notes {
            check.expect(note, "the log's own head");
        }
    }
    verify_lines(dir, check, end)
}

/// The same for a log that nobody serves. Where no key is given, those that the log itself
/// names are used; whoever could change the log could change them too.
///
/// # Errors
/// Where the log cannot be read, or a known head is older than what is kept. What is wrong
/// with the log is no error.
pub fn verify_directory(dir: &Path, request: &VerifyRequest) -> Result<Verification, AuditError> {
    verify_log(dir, request, None)
}

fn verify_lines(
    dir: &Path,
    mut check: LineCheck,
    end: Option<u64>,
) -> Result<Verification, AuditError> {
    let segments = list_segments(dir)?;
    let newest = segments.len().saturating_sub(1);
    for (index, (first, path)) in segments.iter().enumerate() {
        let expected = check.position().saturating_add(1);
        if check.wants_more() && !check.has_misfit() && *first != expected {
            let kind = match *first > expected {
                true => DefectKind::Missing,
                false => DefectKind::Inserted,
            };
            let detail = format!("a segment begins with record {first} where {expected} belongs");
            check.fail(expected.min(*first), kind, detail);
        }
        let mut lines = SegmentLines::open(path)?;
        loop {
            match lines.step()? {
                Step::Line(line) if check.has_misfit() => check.after_misfit(line),
                _ if end.is_some_and(|end| check.position() >= end) => break,
                Step::Line(line) if check.wants_more() => check.line(line),
                Step::Line(_) => break,
                Step::End if index < newest || !check.wants_more() => break,
                step @ (Step::End | Step::Torn) => {
                    let torn_here = matches!(step, Step::Torn);
                    end_of_log(path, lines.offset(), &mut check, torn_here)?;
                    break;
                }
            }
        }
    }
    if end.is_none_or(|end| check.position() >= end) && check.wants_more() {
        check.end();
    }
    Ok(check.finish())
}

/// What follows the last line: nothing, or what a crash left, or damage.
fn end_of_log(
    path: &Path,
    offset: u64,
    check: &mut LineCheck,
    torn: bool,
) -> Result<(), AuditError> {
    let tail = super::recovery::read_tail(path, offset)?;
    if tail.is_empty() || !check.wants_more() {
        return Ok(());
    }
    let next = check.position().saturating_add(1);
    let covered = check.is_covered_beyond();
    if covered || !torn || tail.contains(&b'\n') {
        check.fail(
            next,
            DefectKind::Unreadable,
            format!("{} bytes are not a whole record", tail.len()),
        );
    } else {
        check.torn(tail.len() as u64);
    }
    Ok(())
}

/// Where the log begins: its stub, or its first record. A stub that no key has signed is
/// used, and said.
fn starting(
    dir: &Path,
    keys: &[NoteVerifier],
) -> Result<(ResumePoint, Option<String>), AuditError> {
    let Some(note) = read_note(dir, STUB_NAME)? else {
        return Ok((ResumePoint::default(), None));
    };
    let opened = keys
        .iter()
        .find_map(|key| ResumePoint::open(key, &note).ok());
    match opened {
        Some(point) => Ok((point, None)),
        None => {
            let detail = "what says where the log begins is not signed by the key";
            Ok((ResumePoint::default(), Some(detail.to_owned())))
        }
    }
}

/// The size of a known head that retention has left nothing of.
fn too_old(known: &[String], keys: &[NoteVerifier], removed: u64) -> Option<u64> {
    known
        .iter()
        .filter_map(|note| keys.iter().find_map(|key| key.open_head(note).ok()))
        .map(|head| head.size)
        .find(|size| *size < removed)
}

/// The keys that the log's own records name.
fn named_keys(dir: &Path) -> Result<Vec<NoteVerifier>, AuditError> {
    let mut keys = Vec::new();
    let named = memmem::Finder::new(b"verifier_key");
    for (_, path) in list_segments(dir)? {
        let mut lines = SegmentLines::open(&path)?;
        while let Step::Line(line) = lines.step()? {
            // Few records name one, and reading a record is most of the work.
            if named.find(line).is_none() {
                continue;
            }
            let body = decode_line(line).and_then(|line| line.record());
            if let Ok(AuditBody::ServerStarted(started)) = body.map(|record| record.body)
                && let Ok(key) = NoteVerifier::parse(&started.verifier_key)
                && !keys.contains(&key)
            {
                keys.push(key);
            }
        }
    }
    Ok(keys)
}

/// Shows every record of the log in `dir` that can be read, in order, without checking
/// more than each one's own hash.
///
/// # Errors
/// Where the log cannot be read.
pub fn records(dir: &Path, mut visit: impl FnMut(AuditRecord)) -> Result<(), AuditError> {
    for (_, path) in list_segments(dir)? {
        let mut lines = SegmentLines::open(&path)?;
        while let Step::Line(line) = lines.step()? {
            if let Ok(record) = decode_line(line).and_then(|line| line.record()) {
                visit(record);
            }
        }
    }
    Ok(())
}
