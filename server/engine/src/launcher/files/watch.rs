//! Knows what happened in a workspace since the last look: one inotify watch for each
//! directory. Where that cannot be had (another kind of file system, no watches left), or
//! more happened than the kernel remembers, the next look goes through everything.
//!
//! What is written through a memory map after the file was closed, and what another machine
//! writes, the kernel does not tell. Files of several names may be written by another one
//! outside, so directories that hold any are listed each time.

use std::collections::{BTreeSet, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use execgate_core::checkpoint::TreePath;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, StatxFlags, fstatfs, statx};
use rustix::io::Errno;

use crate::checkpoint::found::Listing;

/// Bytes of news that are read at once.
const NEWS_BYTES: usize = 64 * 1024;

/// File systems of which the kernel tells everything that happens: ext, xfs, btrfs, tmpfs,
/// overlay, f2fs, zfs, bcachefs, ramfs.
const LOCAL: [i64; 9] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x8584_58f6,
];

/// What is to be told of a directory.
const EVENTS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::EXCL_UNLINK);

struct Watched {
    number: i32,
    inode: u64,
}

pub(super) struct Watch {
    news: OwnedFd,
    paths: HashMap<i32, TreePath>,
    directories: HashMap<TreePath, Watched>,
    /// Directories with files of several names.
    linked: BTreeSet<TreePath>,
    /// The workspace itself: another directory in its place is another workspace.
    root: (u64, u32, u32),
}

impl Watch {
    /// Begins with nothing; nothing where it cannot be had.
    pub(super) fn new(root: &OwnedFd) -> Option<Self> {
        let kind = fstatfs(root).ok()?.f_type;
        if !LOCAL.contains(&kind) {
            return None;
        }
        Some(Self {
            news: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?,
            paths: HashMap::new(),
            directories: HashMap::new(),
            linked: BTreeSet::new(),
            root: identity(root)?,
        })
    }

    /// Watches a directory; whether that worked.
    pub(super) fn add(&mut self, opened: &OwnedFd, path: &TreePath) -> bool {
        use std::os::fd::AsRawFd;
        // By its descriptor, so that it is the one that is listed. A descriptor in /proc is a
        // link, which may be followed here.
        let name = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let flags = EVENTS.difference(WatchFlags::DONT_FOLLOW);
        let Ok(number) = inotify::add_watch(&self.news, name, flags) else {
            return false;
        };
        let Some((inode, ..)) = identity(opened) else {
            return false;
        };
        if let Some(old) = self.paths.insert(number, path.clone())
            && old != *path
        {
            self.directories.remove(&old);
        }
        let watched = Watched { number, inode };
        self.directories.insert(path.clone(), watched);
        true
    }

    /// Whether this directory is watched already under this path.
    pub(super) fn knows(&self, path: &TreePath, inode: u64) -> bool {
        self.directories
            .get(path)
            .is_some_and(|watched| watched.inode == inode)
    }

    /// Takes note of what is in a directory: what is left out of it is watched no more.
    pub(super) fn listed(&mut self, listing: &Listing, linked: bool) {
        match linked {
            true => drop(self.linked.insert(listing.path.clone())),
            false => drop(self.linked.remove(&listing.path)),
        }
        for omitted in &listing.omitted {
            let path = listing.path.join(&omitted.name);
            if self.directories.contains_key(&path) {
                self.forget(&path);
            }
        }
    }

    /// The directories in which something happened, each before those in it; nothing where
    /// that is not known.
    pub(super) fn happened(&mut self, root: &OwnedFd) -> Option<Vec<TreePath>> {
        if identity(root)? != self.root {
            return None;
        }
        let mut touched = self.linked.clone();
        let mut buffer = [MaybeUninit::uninit(); NEWS_BYTES];
        let mut gone = Vec::new();
        let mut reader = inotify::Reader::new(&self.news, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                return None;
            }
            let Some(path) = self.paths.get(&event.wd()) else {
                continue;
            };
            touched.insert(path.clone());
            let moves = ReadFlags::MOVED_FROM | ReadFlags::DELETE;
            if flags.contains(ReadFlags::ISDIR)
                && flags.intersects(moves)
                && let Some(name) = event.file_name()
            {
                gone.push(path.join(name.to_bytes()));
            }
            if flags.intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF)
            {
                gone.push(path.clone());
                // What is in its place is for the one that it was in to say.
                touched.extend(path.split().map(|(parent, _)| parent));
            }
        }
        for path in gone {
            self.forget(&path);
        }
        // Its mode is told to it and shown by the one that it is in.
        let parents: Vec<_> = touched
            .iter()
            .filter_map(|path| path.split().map(|(parent, _)| parent))
            .collect();
        touched.extend(parents);
        Some(touched.into_iter().collect())
    }

    /// Watches a directory and all below it no more.
    fn forget(&mut self, path: &TreePath) {
        let below: Vec<TreePath> = self
            .directories
            .keys()
            .filter(|known| known.is_within(path))
            .cloned()
            .collect();
        for path in below {
            self.linked.remove(&path);
            let Some(watched) = self.directories.remove(&path) else {
                continue;
            };
            if self.paths.get(&watched.number) == Some(&path) {
                self.paths.remove(&watched.number);
                // It may have gone by itself.
                let _gone = inotify::remove_watch(&self.news, watched.number);
            }
        }
    }
}

fn identity(directory: &OwnedFd) -> Option<(u64, u32, u32)> {
    let stat = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::INO).ok()?;
    Some((stat.stx_ino, stat.stx_dev_major, stat.stx_dev_minor))
}
