//! Retained output on disk: one file for each execution that needs it, in slots of equal
//! size. The room that all of them share is counted here; when it is used up, the oldest
//! finished execution gives its own back.
//!
//! A file has no name: it is gone with its last descriptor, also when the server is
//! killed, and nothing can open it by a path. It only ever sees redacted bytes.
//!
//! ```text
//! slot    record*
//! record  channel u8, offset u64, microseconds u64, length u32 (little endian), data
//! ```

mod file;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::Execution;
pub(super) use file::{SpillFile, record_bytes};

/// The directory is its owner's alone.
const DIRECTORY_MODE: u32 = 0o700;
/// So is each file in it.
const FILE_MODE: u32 = 0o600;

/// Files at once: each costs the server a descriptor, of which systems give 1024 by
/// default. Beyond it finished executions give theirs back.
const MAX_FILES: u64 = 256;

/// The room for spilled output that all executions share.
#[derive(Debug)]
pub(super) struct SpillStore {
    directory: File,
    limit: u64,
    used: AtomicU64,
    files: AtomicU64,
    /// Whose spilled output may go when room is needed, oldest first.
    finished: Mutex<VecDeque<Weak<Execution>>>,
    names: AtomicU64,
}

impl SpillStore {
    /// A store in an empty directory.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Arc<Self>> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)?;
        Self::clear(path)?;
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)?;
        Ok(Arc::new(Self {
            directory,
            limit,
            used: AtomicU64::new(0),
            files: AtomicU64::new(0),
            finished: Mutex::new(VecDeque::new()),
            names: AtomicU64::new(0),
        }))
    }

    /// Removes what an earlier server left in the directory.
    pub(super) fn clear(path: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A file for one execution; nothing where there are too many.
    pub(super) fn create(self: &Arc<Self>, slot_bytes: u64) -> io::Result<Option<Arc<SpillFile>>> {
        if !self.take_room(&self.files, 1, MAX_FILES) {
            return Ok(None);
        }
        match self.nameless() {
            Ok(file) => Ok(Some(Arc::new(SpillFile::new(
                file,
                slot_bytes,
                Arc::clone(self),
            )))),
            Err(error) => {
                self.files.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Takes bytes of the shared room; nothing where there are none left.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        self.take_room(&self.used, bytes, self.limit)
    }

    /// An execution that has ended, and has spilled output to give back.
    pub(super) fn finished(&self, execution: Weak<Execution>) {
        let mut finished = self.lock();
        finished.retain(|known| known.strong_count() > 0);
        finished.push_back(execution);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Weak<Execution>>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_room(&self, counter: &AtomicU64, amount: u64, limit: u64) -> bool {
        loop {
            let taken = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|used| *used <= limit)
            });
            if taken.is_ok() {
                return true;
            }
            let Some(oldest) = self.lock().pop_front() else {
                return false;
            };
            if let Some(oldest) = oldest.upgrade() {
                oldest.log.forget_spilled();
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.files.fetch_sub(1, Ordering::Relaxed);
    }

    fn nameless(&self) -> io::Result<File> {
        let mode = Mode::from_raw_mode(FILE_MODE);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let anonymous = flags | OFlags::TMPFILE | OFlags::EXCL;
        match openat(&self.directory, ".", anonymous, mode) {
            Ok(file) => return Ok(file.into()),
            // Not every file system can.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let name = format!("output-{}", self.names.fetch_add(1, Ordering::Relaxed));
        let named = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(&self.directory, name.as_str(), named, mode)?;
        unlinkat(&self.directory, name.as_str(), AtFlags::empty())?;
        Ok(file.into())
    }
}
