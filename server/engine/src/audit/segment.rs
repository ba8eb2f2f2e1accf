//! Segment files: names, preallocation, and reading them line by line.
//!
//! A segment is called after the first sequence in it. The one being written
//! has its whole size reserved; what follows its last line is zeros. A sealed
//! segment ends with its last line.

use std::fs::{File, OpenOptions, read_dir};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use execgate_core::audit::MAX_PAYLOAD_BYTES;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::directory::{Directory, FILE_MODE};
use super::error::AuditError;

/// Bytes of one line: the payload, its hash, a space and the line feed.
pub(super) const MAX_LINE_BYTES: usize = MAX_PAYLOAD_BYTES + 66;
/// Bytes read from a segment at once: large enough that system calls do not count.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// The space that is kept for the next segment.
const SPARE_NAME: &str = "spare";
/// The end of a segment's name.
const EXTENSION: &str = "log";

/// The segment being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Where the next line goes.
    pub(super) offset: u64,
}

impl Segment {
    /// Makes and reserves the segment whose first record will be `first`.
    pub(super) fn create(dir: &Directory, first: u64, bytes: u64) -> Result<Self, AuditError> {
        let path = segment_path(dir.path(), first);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(AuditError::io("create", &path))?;
        let segment = Self {
            path,
            file: Arc::new(file),
            offset: 0,
        };
        segment.reserve(bytes)?;
        segment
            .file
            .sync_all()
            .map_err(AuditError::io("sync", &segment.path))?;
        dir.sync()?;
        Ok(segment)
    }

    /// Reserves the space of a segment whose first record is not known yet. What was there
    /// under the name is a spare of before, and never held a record.
    pub(super) fn spare(dir: &Directory, bytes: u64) -> Result<Self, AuditError> {
        let path = dir.path().join(SPARE_NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(AuditError::io("create", &path))?;
        let spare = Self {
            path,
            file: Arc::new(file),
            offset: 0,
        };
        let reserved = spare.reserve(bytes).and_then(|()| {
            spare
                .file
                .sync_all()
                .map_err(AuditError::io("sync", &spare.path))
        });
        if reserved.is_err() {
            // Half of the space is of no use to anybody.
            let _still_there = spare.file.set_len(0);
        }
        reserved.map(|()| spare)
    }

    /// Makes a spare the segment whose first record will be `first`.
    pub(super) fn begin(self, dir: &Directory, first: u64) -> Result<Self, AuditError> {
        let path = segment_path(dir.path(), first);
        std::fs::rename(&self.path, &path).map_err(AuditError::io("create", &path))?;
        dir.sync()?;
        Ok(Self { path, ..self })
    }

    /// Opens an existing segment for writing at `offset`.
    pub(super) fn resume(path: &Path, offset: u64, bytes: u64) -> Result<Self, AuditError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(AuditError::io("open", path))?;
        let segment = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            offset,
        };
        segment.reserve(bytes)?;
        Ok(segment)
    }

    /// Cuts everything after `offset` away.
    pub(super) fn truncate(&self) -> Result<(), AuditError> {
        self.file
            .set_len(self.offset)
            .map_err(AuditError::io("truncate", &self.path))
    }

    /// Writes whole lines at the end.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), AuditError> {
        self.file
            .write_all_at(lines, self.offset)
            .map_err(AuditError::io("write", &self.path))?;
        self.offset = self.offset.saturating_add(lines.len() as u64);
        Ok(())
    }

    /// Brings what was written to stable storage.
    pub(super) fn sync(&self) -> Result<(), AuditError> {
        self.file
            .sync_data()
            .map_err(AuditError::io("sync", &self.path))
    }

    /// Reserves the space, so that a full disk shows here and not in the middle
    /// of a record, and so that a sync need not write the file's new length.
    fn reserve(&self, bytes: u64) -> Result<(), AuditError> {
        let bytes = bytes.max(self.offset);
        match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP) => self
                .file
                .set_len(bytes)
                .map_err(AuditError::io("extend", &self.path)),
            reserved => reserved.map_err(AuditError::errno("reserve", &self.path)),
        }
    }
}

/// The segments of a directory in order, by first sequence.
pub(super) fn list_segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let mut segments = Vec::new();
    for entry in read_dir(dir).map_err(AuditError::io("list", dir))? {
        let path = entry.map_err(AuditError::io("list", dir))?.path();
        if let Some(first) = first_sequence(&path) {
            segments.push((first, path));
        }
    }
    segments.sort();
    Ok(segments)
}

/// One step of reading a segment.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A whole line, without its line feed.
    Line(&'a [u8]),
    /// Bytes that are not a whole line.
    Torn,
    /// Zeros or the end of the file.
    End,
}

/// Reads a segment line by line.
#[derive(Debug)]
pub(super) struct SegmentLines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    offset: u64,
}

impl SegmentLines {
    /// Starts at the beginning of `path`.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        Self::open_at(path, 0)
    }

    /// Starts at the line that begins at `offset`.
    pub(super) fn open_at(path: &Path, offset: u64) -> Result<Self, AuditError> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(AuditError::io("open", path))?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))
                .map_err(AuditError::io("read", path))?;
        }
        let reader = BufReader::with_capacity(READ_BUFFER_BYTES, file);
        Ok(Self {
            path: path.to_owned(),
            reader,
            line: Vec::new(),
            offset,
        })
    }

    /// Reads the next line.
    pub(super) fn step(&mut self) -> Result<Step<'_>, AuditError> {
        let failed = |source| AuditError::io("read", &self.path)(source);
        if matches!(
            self.reader.fill_buf().map_err(failed)?.first(),
            None | Some(0)
        ) {
            return Ok(Step::End);
        }
        self.line.clear();
        let failed = |source| AuditError::io("read", &self.path)(source);
        let read = Read::by_ref(&mut self.reader)
            .take(MAX_LINE_BYTES as u64)
            .read_until(b'\n', &mut self.line)
            .map_err(failed)?;
        let Some(line) = self.line.strip_suffix(b"\n") else {
            return Ok(Step::Torn);
        };
        self.offset = self.offset.saturating_add(read as u64);
        Ok(Step::Line(line))
    }

    /// Just after the last line that was read.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }
}

pub(super) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{EXTENSION}"))
}

fn first_sequence(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let named = path.extension()? == EXTENSION && stem.len() == 20;
    named.then(|| stem.parse().ok()).flatten()
}
