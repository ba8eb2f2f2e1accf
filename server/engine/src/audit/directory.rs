//! The log's directory: private, and held by one server at a time.

use std::fs::{DirBuilder, File, OpenOptions, symlink_metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::AuditError;

/// The directory is its owner's alone.
const DIRECTORY_MODE: u32 = 0o700;
/// So is each file in it.
pub(super) const FILE_MODE: u32 = 0o600;
/// The file whose lock says that the log is in use.
const LOCK_NAME: &str = "lock";
/// How long another holder of the lock may take to let it go: a program that a server was
/// just starting when it ended holds it, too, until it has begun.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at it.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A directory held by this process until dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// For syncing names.
    handle: File,
    /// The lock goes when this is closed.
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be, checks that it is private, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(AuditError::io("create", path))?;
        check_private(path)?;
        let lock = lock(path)?;
        let handle = File::open(path).map_err(AuditError::io("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            handle,
            _lock: lock,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes new names durable.
    pub(super) fn sync(&self) -> Result<(), AuditError> {
        self.handle
            .sync_all()
            .map_err(AuditError::io("sync", &self.path))
    }
}

fn check_private(path: &Path) -> Result<(), AuditError> {
    let metadata = symlink_metadata(path).map_err(AuditError::io("inspect", path))?;
    let problem = if !metadata.is_dir() {
        "it is not a directory"
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        "it belongs to another user"
    } else if metadata.mode() & 0o077 != 0 {
        "others may enter it; its mode has to be 0700"
    } else {
        return Ok(());
    };
    Err(AuditError::Insecure {
        dir: path.to_owned(),
        problem,
    })
}

fn lock(dir: &Path) -> Result<File, AuditError> {
    let path = dir.join(LOCK_NAME);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(AuditError::io("open", &path))?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if begun.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                return Err(AuditError::Locked {
                    dir: dir.to_owned(),
                });
            }
            Err(errno) => return Err(AuditError::errno("lock", &path)(errno)),
        }
    }
}
