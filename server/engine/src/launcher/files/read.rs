//! Reads files, and notices what changes under the reading.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use execgate_core::checkpoint::{Omission, TreePath};
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
use rustix::io::Errno;

use super::walk::{mode, signature};
use super::{now, open_below};
use crate::checkpoint::found::Signature;
use crate::checkpoint::wire::{Answer, CHUNK_BYTES, write_frame};

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;

/// Reads one file and says what is in it, or why not.
pub(super) fn read(
    root: &OwnedFd,
    number: u32,
    path: &TreePath,
    out: &mut impl Write,
) -> io::Result<()> {
    let left = |reason| Answer::Left { number, reason };
    let mut answer = left(Some(Omission::Changing));
    for _ in 0..TRIES {
        let clock = now();
        match try_read(root, path) {
            Ok(Some((signature, mode, bytes))) => {
                let size = bytes.len() as u64;
                let head = Answer::File {
                    number,
                    signature,
                    mode,
                    clock,
                    size,
                };
                write_frame(out, &head.encode())?;
                for chunk in bytes.chunks(CHUNK_BYTES) {
                    let bytes = chunk.to_vec();
                    write_frame(out, &Answer::Data { bytes }.encode())?;
                }
                return Ok(());
            }
            Ok(None) => {}
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => {
                answer = left(None);
                break;
            }
            Err(_) => {
                answer = left(Some(Omission::Unreadable));
                break;
            }
        }
    }
    write_frame(out, &answer.encode())
}

/// Nothing where it changed meanwhile.
fn try_read(
    root: &OwnedFd,
    path: &TreePath,
) -> rustix::io::Result<Option<(Signature, u32, Vec<u8>)>> {
    // A fifo that has taken the file's place must not hold us up.
    let file = open_below(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let stat = |file: &File| {
        statx(
            file.as_fd(),
            c"",
            AtFlags::EMPTY_PATH,
            StatxFlags::BASIC_STATS,
        )
    };
    let mut file = File::from(file);
    let before = stat(&file)?;
    if u32::from(before.stx_mode) & libc::S_IFMT != libc::S_IFREG {
        return Err(Errno::NXIO);
    }
    let size = usize::try_from(before.stx_size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| Errno::NOMEM)?;
    // One byte more than there are, so that one that has grown is noticed.
    let limit = before.stx_size.saturating_add(1);
    let read = (&mut file).take(limit).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let after = stat(&file)?;
    let (before, after) = (
        (signature(&before), mode(&before)),
        (signature(&after), mode(&after)),
    );
    let same = before == after && bytes.len() == size;
    Ok(same.then_some((after.0, after.1, bytes)))
}
