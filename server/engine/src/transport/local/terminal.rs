//! A pseudo-terminal: opened close-on-exec from the start, so that no session's fork can
//! take another session's terminal along, and read through tokio.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::fs::{Mode, OFlags, open as open_file};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, ReadBuf};

use crate::transport::WindowSize;

/// Opens a terminal of this size: the server's side, and the program's.
pub(super) fn open(size: WindowSize) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = open_file(
        name,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    resize(master.as_fd(), size)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, slave))
}

/// Gives the terminal another size; the foreground group gets SIGWINCH.
pub(super) fn resize(master: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size)?;
    Ok(())
}

/// Sends a signal to the group in the terminal's foreground.
pub(super) fn signal_foreground(master: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: TIOCSIG takes the signal's number as its argument, not a pointer.
    let done = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSIG, signal) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes written to a socket pair that the other side has not read.
pub(super) fn unread(socket: i32) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int; a closed descriptor is answered with an error.
    let done = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 {
        usize::try_from(bytes).ok()
    } else {
        None
    }
}

/// Reads what is written to a terminal.
#[derive(Debug)]
pub(super) struct Reader {
    master: AsyncFd<Arc<OwnedFd>>,
}

impl Reader {
    pub(super) fn new(master: Arc<OwnedFd>) -> io::Result<Self> {
        // SAFETY: the descriptor is owned, and stays open and the same while it is watched.
        let master = unsafe { AsyncFd::register(master) }?;
        Ok(Self { master })
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.master.poll_read_ready(context))?;
            let read = ready.try_io(|master| {
                rustix::io::read(master.get_ref(), buffer.initialize_unfilled()).map_err(Into::into)
            });
            match read {
                Ok(Ok(bytes)) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                // Linux says EIO when the last program has closed its side.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}
