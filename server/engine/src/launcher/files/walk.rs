//! Lists directories: what is in them, by what a change of it would be noticed, and what is
//! left out.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use execgate_core::checkpoint::{FileKind, MAX_DEPTH, Omission, Rules, TreePath};
use rustix::fs::{AtFlags, Dir, OFlags, Statx, StatxFlags, readlinkat, statx};

use super::open_below;
use super::watch::Watch;
use crate::checkpoint::found::{Found, Listing, OmittedName, Signature};

/// What is asked of each file.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS;

pub(super) struct Walk<'a> {
    root: &'a OwnedFd,
    rules: &'a Rules,
    max_file_bytes: u64,
    /// Whether all directories are listed, or those that are new below the ones given.
    complete: bool,
    watch: &'a mut Option<Watch>,
    /// The file system of the workspace.
    device: Option<(u32, u32)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        root: &'a OwnedFd,
        rules: &'a Rules,
        max_file_bytes: u64,
        complete: bool,
        watch: &'a mut Option<Watch>,
    ) -> Self {
        let device = statx(root, c"", AtFlags::EMPTY_PATH, WANTED)
            .ok()
            .map(|stat| device(&stat));
        Self {
            root,
            rules,
            max_file_bytes,
            complete,
            watch,
            device,
        }
    }

    /// Lists these directories, and what is below them as far as nobody knows it.
    pub(super) fn run(
        &mut self,
        directories: Vec<TreePath>,
        say: &mut impl FnMut(Listing) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut waiting = directories;
        waiting.reverse();
        while let Some(path) = waiting.pop() {
            let Some((listing, inside)) = self.list(path) else {
                continue;
            };
            say(listing)?;
            waiting.extend(inside.into_iter().rev());
        }
        Ok(())
    }

    /// One directory, and those in it that have to be listed too. Nothing where it is gone:
    /// the one that it was in says so.
    fn list(&mut self, path: TreePath) -> Option<(Listing, Vec<TreePath>)> {
        let opened = open_below(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY).ok()?;
        if let Some(watch) = self.watch {
            // Before it is read: what happens from here on is told.
            if !watch.add(&opened, &path) {
                *self.watch = None;
            }
        }
        let own = statx(&opened, c"", AtFlags::EMPTY_PATH, WANTED).ok()?;
        let mut listing = Listing {
            mode: mode(&own),
            path,
            ..Listing::default()
        };
        let mut inside = Vec::new();
        let mut linked = false;
        for entry in Dir::read_from(&opened).ok()? {
            let Ok(entry) = entry else { break };
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                linked |= self.take(&opened, name, &mut listing, &mut inside);
            }
        }
        if let Some(watch) = self.watch {
            watch.listed(&listing, linked);
        }
        Some((listing, inside))
    }

    /// One name in a directory; whether it is a file of several names.
    fn take(
        &mut self,
        opened: &OwnedFd,
        name: &CStr,
        listing: &mut Listing,
        inside: &mut Vec<TreePath>,
    ) -> bool {
        let Ok(stat) = statx(opened, name, AtFlags::SYMLINK_NOFOLLOW, WANTED) else {
            return false;
        };
        let name = name.to_bytes();
        let kind = match u32::from(stat.stx_mode) & libc::S_IFMT {
            libc::S_IFREG => Some(FileKind::File),
            libc::S_IFLNK => Some(FileKind::Link),
            libc::S_IFDIR => Some(FileKind::Directory),
            _ => None,
        };
        let directory = kind == Some(FileKind::Directory);
        let omission = match (self.rules.judge(&listing.path, name, directory), kind) {
            (Some(reason), _) => Some(reason),
            (None, None) => Some(Omission::Special),
            (None, Some(FileKind::File)) if stat.stx_size > self.max_file_bytes => {
                Some(Omission::TooLarge)
            }
            (None, Some(FileKind::Directory)) => self.unusable(&stat, name, listing),
            (None, Some(_)) => None,
        };
        let (Some(kind), None) = (kind, omission) else {
            listing.omitted.push(OmittedName {
                name: name.to_vec(),
                reason: omission.unwrap_or(Omission::Special),
                directory,
            });
            return false;
        };
        let leads = match kind {
            FileKind::Link => match readlinkat(opened, name, Vec::new()) {
                Ok(leads) => leads.into_bytes(),
                Err(_) => return false,
            },
            FileKind::File | FileKind::Directory => Vec::new(),
        };
        if directory {
            let path = listing.path.join(name);
            let known = |watch: &Watch| watch.knows(&path, stat.stx_ino);
            if self.complete || !self.watch.as_ref().is_some_and(known) {
                inside.push(path);
            }
        }
        listing.found.push(Found {
            name: name.to_vec(),
            kind,
            mode: mode(&stat),
            signature: signature(&stat),
            leads,
        });
        kind == FileKind::File && stat.stx_nlink > 1
    }

    /// Why a directory is not entered, if it is not.
    fn unusable(&self, stat: &Statx, name: &[u8], listing: &Listing) -> Option<Omission> {
        if self.device.is_some_and(|own| own != device(stat)) {
            return Some(Omission::Special);
        }
        let path = listing.path.join(name);
        if path.depth() >= MAX_DEPTH {
            return Some(Omission::TooLarge);
        }
        // Asked of the kernel only where the mode leaves a doubt.
        let plain = stat.stx_mode & 0o500 == 0o500 && stat.stx_mode & 0o005 == 0o005;
        let usable = plain || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            open_below(self.root, &path, flags)
                .is_ok_and(|opened| statx(&opened, c".", AtFlags::empty(), WANTED).is_ok())
        };
        (!usable).then_some(Omission::Unreadable)
    }
}

fn device(stat: &Statx) -> (u32, u32) {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

pub(super) fn mode(stat: &Statx) -> u32 {
    u32::from(stat.stx_mode) & 0o7777
}

pub(super) fn signature(stat: &Statx) -> Signature {
    let time = |time: rustix::fs::StatxTimestamp| {
        time.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec.into())
    };
    Signature {
        size: stat.stx_size,
        modified: time(stat.stx_mtime),
        changed: time(stat.stx_ctime),
        inode: stat.stx_ino,
    }
}
