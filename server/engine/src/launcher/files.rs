//! Looks after the files of a workspace, as the session's user and behind its fence: a child
//! of the launcher that executes nothing, so that nothing of the agent's stands between it
//! and the files. It looks, reads, and does what it is told; it decides nothing.
//!
//! Every path is resolved below the workspace without following a link, by the kernel: a
//! directory that somebody swaps for a link meanwhile leads nowhere.

mod place;
mod read;
mod walk;
mod watch;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use execgate_core::checkpoint::{Rules, TreePath};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::checkpoint::wire::{Answer, Ask, read_frame, write_frame};
use place::Placing;
use walk::Walk;
use watch::Watch;

/// The name that stands for this program in a request to start one.
pub(crate) const PROGRAM: &str = "\0files";

/// Serves until nobody asks any more; returns the exit code.
pub(super) fn main(workspace: &str) -> i32 {
    // SAFETY: asks the kernel to let nobody of the same user read or steer this process.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    // SAFETY: sets a number of this process.
    unsafe { libc::umask(0o077) };
    let mut files = Files {
        workspace: PathBuf::from(workspace),
        watch: None,
        placing: None,
        out: BufWriter::with_capacity(256 * 1024, standard(1)),
    };
    match files.serve(&mut io::BufReader::with_capacity(256 * 1024, standard(0))) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn standard(number: i32) -> File {
    use std::os::fd::FromRawFd;
    // SAFETY: the launcher has put the program's streams there, and nobody else uses them.
    unsafe { File::from_raw_fd(number) }
}

struct Files {
    workspace: PathBuf,
    /// What tells of changes; nothing where that cannot be had, or has not been tried.
    watch: Option<Watch>,
    placing: Option<Placing>,
    out: BufWriter<File>,
}

impl Files {
    fn serve(&mut self, from: &mut impl io::Read) -> io::Result<()> {
        while let Some(frame) = read_frame(from)? {
            match Ask::decode(&frame)? {
                Ask::Look {
                    complete,
                    max_file_bytes,
                    patterns,
                } => self.look(complete, max_file_bytes, &patterns)?,
                Ask::Read { paths } => self.read(&paths)?,
                other => self.place(other)?,
            }
            self.out.flush()?;
        }
        Ok(())
    }

    fn say(&mut self, answer: &Answer) -> io::Result<()> {
        write_frame(&mut self.out, &answer.encode())
    }

    fn look(&mut self, complete: bool, max_file_bytes: u64, patterns: &[String]) -> io::Result<()> {
        let clock = now();
        let rules =
            Rules::new(patterns).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let root = match open_root(&self.workspace) {
            Ok(root) => Some(root),
            Err(rustix::io::Errno::NOENT) => None,
            Err(error) => return self.fail("open the workspace", &TreePath::default(), error),
        };
        let watched = match (complete, self.watch.take(), &root) {
            (false, Some(mut watch), Some(root)) => watch.happened(root).map(|seen| (watch, seen)),
            _ => None,
        };
        let fresh = watched.is_none();
        let (mut watch, directories) = match (watched, &root) {
            (Some((watch, directories)), _) => (Some(watch), directories),
            (None, Some(root)) => (Watch::new(root), vec![TreePath::default()]),
            (None, None) => (None, Vec::new()),
        };
        self.say(&Answer::Looking {
            complete: fresh,
            watching: watch.is_some(),
            clock,
        })?;
        if let Some(root) = &root {
            let mut walk = Walk::new(root, &rules, max_file_bytes, fresh, &mut watch);
            walk.run(directories, &mut |listing| {
                write_frame(&mut self.out, &Answer::Listing(listing).encode())
            })?;
        }
        self.watch = watch;
        self.say(&Answer::Looked)
    }

    fn read(&mut self, paths: &[TreePath]) -> io::Result<()> {
        let Ok(root) = open_root(&self.workspace) else {
            for number in 0..paths.len() {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                self.say(&Answer::Left {
                    number,
                    reason: None,
                })?;
            }
            return Ok(());
        };
        for (number, path) in paths.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            read::read(&root, number, path, &mut self.out)?;
        }
        Ok(())
    }

    fn place(&mut self, ask: Ask) -> io::Result<()> {
        let failed = match ask {
            Ask::Stage { name } => {
                self.placing = Some(Placing::begin(&self.workspace, &name));
                return Ok(());
            }
            Ask::Staged => self.placing.as_mut().and_then(Placing::staged),
            Ask::Done => self.placing.take().and_then(Placing::finish),
            Ask::Put { number, mode, size } => {
                if let Some(placing) = &mut self.placing {
                    placing.put(number, mode, size);
                }
                return Ok(());
            }
            Ask::PutLink { number, leads } => {
                if let Some(placing) = &mut self.placing {
                    placing.put_link(number, &leads);
                }
                return Ok(());
            }
            Ask::Data { bytes } => {
                if let Some(placing) = &mut self.placing {
                    placing.data(&bytes);
                }
                return Ok(());
            }
            Ask::Step { step } => {
                if let Some(placing) = &mut self.placing {
                    placing.step(&step);
                }
                return Ok(());
            }
            Ask::Look { .. } | Ask::Read { .. } => return Ok(()),
        };
        match failed {
            Some((action, path, error)) => self.fail(action, &path, error),
            None => self.say(&Answer::Done),
        }
    }

    fn fail(&mut self, action: &str, path: &TreePath, error: rustix::io::Errno) -> io::Result<()> {
        self.say(&Answer::Failed {
            action: action.to_owned(),
            path: path.clone(),
            errno: error.raw_os_error(),
        })
    }
}

/// The clock, in nanoseconds since 1970.
fn now() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec)
}

/// The workspace as it is named now. Its last name must be a directory and no link.
fn open_root(workspace: &PathBuf) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, workspace, flags, Mode::empty())
}

/// Opens something below the workspace, following no link on the way.
fn open_below(root: &OwnedFd, path: &TreePath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let text: &[u8] = match path.is_root() {
        true => b".",
        false => path.as_bytes(),
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        // EAGAIN: something was renamed on the way while the kernel looked.
        match openat2(root, text, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => {}
            done => return done,
        }
    }
}
