//! Named pipes for the standard input of commands: a shell that runs cannot be handed a
//! descriptor, but it can open a path.
//!
//! The pipes stand in a directory of this server's that may be entered but not listed,
//! under names of 128 random bits: one session cannot find another's. Where the server is
//! root the directory is its own and a pipe belongs to the session's user; where it is
//! not, sessions have the server's user and could list it for the moment that a name
//! lives, until the command ends.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, Uid, chownat, flock, mknodat, open,
};
use tokio::net::unix::pipe;

use crate::launcher::Identity;
use crate::random;
use crate::transport::NamedInput;

/// How the names of these directories begin.
const PREFIX: &str = "execgate-input-";

/// Where they stand: cleared at boot, and writable for root; else the system's place for
/// temporary files.
const RUN: &str = "/run";

/// The pipes of a server's sessions. The directory is made for the first of them: a server
/// whose file systems are read-only does without.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    directory: Mutex<Option<Directory>>,
}

/// The directory; it goes when this does.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// Locked as long as the server lives, so that another one can tell what is left over.
    _lock: OwnedFd,
}

impl Directory {
    /// Makes the directory, and removes those of servers that were killed.
    fn create() -> io::Result<Self> {
        let parents = [PathBuf::from(RUN), std::env::temp_dir()];
        let mut refused = io::Error::from_raw_os_error(libc::ENOENT);
        for parent in parents {
            sweep(&parent);
            match Self::create_in(&parent) {
                Ok(directory) => return Ok(directory),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn create_in(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("{PREFIX}{}", name()?));
        DirBuilder::new().mode(0o711).create(&path)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Inputs {
    /// The directory; it is made if it is not there yet.
    pub(crate) fn path(&self) -> io::Result<PathBuf> {
        let mut directory = self
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let directory = match &mut *directory {
            Some(directory) => directory,
            missing => missing.insert(Directory::create()?),
        };
        Ok(directory.path.clone())
    }

    /// Makes one pipe that the session's user may read.
    pub(super) fn open(&self, owner: Option<&Identity>) -> io::Result<NamedInput> {
        let path = self.path()?.join(name()?);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let name = Name(path.clone());
        if let Some(owner) = owner {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            chownat(CWD, &path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        // A reader of our own lets us write before the shell has opened it, and keeps what
        // is written while it has not.
        let reader = pipe::OpenOptions::new().open_receiver(&path)?;
        let writer = pipe::OpenOptions::new().open_sender(&path)?;
        Ok(NamedInput {
            path: path.to_string_lossy().into_owned(),
            writer: Box::new(writer),
            keep: Box::new((name, reader)),
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is found by the next server.
        let _left = fs::remove_dir_all(&self.path);
    }
}

/// The name of one pipe; it goes when this does.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        let _left = fs::remove_file(&self.0);
    }
}

fn name() -> io::Result<String> {
    let random = random::bytes::<16>().map_err(io::Error::other)?;
    Ok(HEXLOWER.encode(&random))
}

fn lock(directory: &Path) -> io::Result<OwnedFd> {
    let lock = open(
        directory,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

/// Removes the directories that no living server holds.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && let Ok(_held) = lock(&entry.path()) {
            let _left = fs::remove_dir_all(entry.path());
        }
    }
}
