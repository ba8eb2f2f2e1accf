//! Brings a workspace into another state: first everything that is to be written is put aside
//! in a directory of the workspace, so that a full disk is met before anything has changed;
//! then each step is a rename, a removal or a mode. After a step that fails nothing more is
//! done, and the failure is said when it is asked for.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use execgate_core::checkpoint::TreePath;
use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, StatxFlags, chmodat, fchmod, ftruncate, mkdirat, openat,
    renameat, statx, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::walk::mode;
use super::{open_below, open_root};
use crate::checkpoint::wire::Order;

/// What the owner needs to change what is in a directory.
const OWNER: u32 = 0o700;
/// Zeros are written as holes in pieces of this many bytes: a page.
const PAGE: usize = 4096;

/// What failed, where, and why.
pub(super) type Failure = (&'static str, TreePath, Errno);

pub(super) struct Placing {
    root: Option<OwnedFd>,
    /// The directory of what was put aside.
    aside: Option<OwnedFd>,
    name: String,
    /// The workspace's own mode, where it had to be changed.
    locked: Option<u32>,
    writing: Option<Writing>,
    failure: Option<Failure>,
}

struct Writing {
    file: File,
    /// Bytes that are still to come.
    left: u64,
    written: u64,
    mode: u32,
}

impl Placing {
    pub(super) fn begin(workspace: &PathBuf, name: &str) -> Self {
        let mut placing = Self {
            root: None,
            aside: None,
            name: name.to_owned(),
            locked: None,
            writing: None,
            failure: None,
        };
        let begun = placing.make_room(workspace);
        placing.note("make room in", &TreePath::default(), begun);
        placing
    }

    fn make_room(&mut self, workspace: &PathBuf) -> rustix::io::Result<()> {
        let root = match open_root(workspace) {
            // All of it was removed.
            Err(Errno::NOENT) => {
                mkdirat(CWD, workspace, Mode::from_raw_mode(0o755))?;
                let root = open_root(workspace)?;
                fchmod(&root, Mode::from_raw_mode(0o755))?;
                root
            }
            opened => opened?,
        };
        let own = mode(&statx(&root, c"", AtFlags::EMPTY_PATH, StatxFlags::MODE)?);
        if own & OWNER != OWNER {
            fchmod(&root, Mode::from_raw_mode(own | OWNER))?;
            self.locked = Some(own);
        }
        let root = self.root.insert(root);
        let left_behind = match mkdirat(&*root, self.name.as_str(), Mode::RWXU) {
            Err(Errno::EXIST) => true,
            made => made.map(|()| false)?,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let aside = openat(&*root, self.name.as_str(), flags, Mode::empty())?;
        if left_behind {
            empty(&aside)?;
        }
        self.aside = Some(aside);
        Ok(())
    }

    fn note(&mut self, action: &'static str, path: &TreePath, done: rustix::io::Result<()>) {
        if let (Err(error), None) = (done, &self.failure) {
            self.failure = Some((action, path.clone(), error));
        }
    }

    /// Begins to put a file aside.
    pub(super) fn put(&mut self, number: u32, mode: u32, size: u64) {
        let (Some(aside), None) = (&self.aside, &self.failure) else {
            return;
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match openat(aside, number.to_string(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                self.writing = Some(Writing {
                    file: File::from(file),
                    left: size,
                    written: 0,
                    mode,
                });
                if size == 0 {
                    self.close();
                }
            }
            Err(error) => self.note("put files aside in", &TreePath::default(), Err(error)),
        }
    }

    /// Puts a link aside.
    pub(super) fn put_link(&mut self, number: u32, leads: &[u8]) {
        let (Some(aside), None) = (&self.aside, &self.failure) else {
            return;
        };
        let made = symlinkat(leads, aside, number.to_string());
        self.note("put files aside in", &TreePath::default(), made);
    }

    /// Takes a piece of it.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        let Some(writing) = self.writing.as_mut().filter(|_| self.failure.is_none()) else {
            return;
        };
        let written = writing.write(bytes);
        let complete = writing.left == 0;
        self.note("put files aside in", &TreePath::default(), written);
        if complete {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(writing) = self.writing.take() {
            let closed = ftruncate(&writing.file, writing.written)
                .and_then(|()| fchmod(&writing.file, Mode::from_raw_mode(writing.mode)));
            self.note("put files aside in", &TreePath::default(), closed);
        }
    }

    /// What went wrong so far.
    pub(super) fn staged(&mut self) -> Option<Failure> {
        self.failure.clone()
    }

    /// Does one step.
    pub(super) fn step(&mut self, order: &Order) {
        if self.failure.is_none() {
            let done = self.try_step(order);
            self.note(order.action(), order.path(), done);
        }
    }

    fn try_step(&self, order: &Order) -> rustix::io::Result<()> {
        let (root, aside) = self
            .root
            .as_ref()
            .zip(self.aside.as_ref())
            .ok_or(Errno::IO)?;
        let (parent, name) = order.path().split().ok_or(Errno::INVAL)?;
        let parent = open_below(root, &parent, OFlags::PATH | OFlags::DIRECTORY)?;
        match order {
            Order::Mode { mode, .. } => set_mode(&parent, name, *mode),
            Order::Remove { .. } => gone(unlinkat(&parent, name, AtFlags::empty())),
            Order::RemoveDirectory { .. } => gone(unlinkat(&parent, name, AtFlags::REMOVEDIR)),
            Order::MakeDirectory { .. } => match mkdirat(&parent, name, Mode::RWXU) {
                // Somebody made it meanwhile, or a step before this one was repeated.
                Err(Errno::EXIST) => set_mode(&parent, name, OWNER),
                made => made,
            },
            Order::Place { number, .. } => renameat(aside, number.to_string(), &parent, name),
        }
    }

    /// Clears up; what went wrong.
    pub(super) fn finish(mut self) -> Option<Failure> {
        let cleared = self.clear();
        self.note("clear up in", &TreePath::default(), cleared);
        self.failure.take()
    }

    fn clear(&mut self) -> rustix::io::Result<()> {
        let Some(root) = &self.root else {
            return Ok(());
        };
        if let Some(aside) = self.aside.take() {
            empty(&aside)?;
            unlinkat(root, self.name.as_str(), AtFlags::REMOVEDIR)?;
        }
        match self.locked.take() {
            Some(mode) => fchmod(root, Mode::from_raw_mode(mode)),
            None => Ok(()),
        }
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        // Nobody is left who could be told.
        let _cleared = self.clear();
    }
}

impl Writing {
    fn write(&mut self, bytes: &[u8]) -> rustix::io::Result<()> {
        use std::io::{Seek, SeekFrom};
        let count = bytes.len() as u64;
        if count > self.left {
            return Err(Errno::MSGSIZE);
        }
        for page in bytes.chunks(PAGE) {
            let done = match page.len() == PAGE && page.iter().all(|byte| *byte == 0) {
                true => self.file.seek(SeekFrom::Current(PAGE as i64)).map(drop),
                false => self.file.write_all(page),
            };
            done.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        self.left -= count;
        self.written += count;
        Ok(())
    }
}

/// Removes the files in a directory.
fn empty(directory: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            unlinkat(directory, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}

/// What was to go may have gone.
fn gone(done: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Sets the mode of a file or directory, never of what a link leads to.
fn set_mode(parent: &OwnedFd, name: &[u8], mode: u32) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty())?;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    chmodat(CWD, name, Mode::from_raw_mode(mode), AtFlags::empty())
}
