//! A pseudo-terminal: opened close-on-exec from the start, so that no session's fork can
//! take another session's terminal along, and read through tokio.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{Mode, OFlags, open as open_file};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, QueueSelector, Winsize, tcflush, tcgetattr, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// Whether a line is read and not shown while it is typed, as for a password.
pub(super) fn hides_typing(master: BorrowedFd<'_>) -> bool {
    tcgetattr(master).is_ok_and(|state| {
        state.local_modes.contains(LocalModes::ICANON)
            && !state.local_modes.contains(LocalModes::ECHO)
    })
}

/// Throws away what was typed into a terminal and nobody has read.
pub(super) fn forget_typed(master: BorrowedFd<'_>) -> io::Result<()> {
    // Flushing the server's side would lose output; typed bytes wait on the other.
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags and answers a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    tcflush(&slave, QueueSelector::IFlush)?;
    Ok(())
}

/// The server's side of a terminal: its screen and its keyboard.
#[derive(Debug)]
pub(super) struct Terminal {
    master: AsyncFd<OwnedFd>,
}

impl Terminal {
    /// With a descriptor of its own: one can be watched only once.
    pub(super) fn new(master: &OwnedFd) -> io::Result<Self> {
        let own = master.try_clone()?;
        // SAFETY: the descriptor is owned, and stays open and the same while it is watched.
        let master = unsafe { AsyncFd::register(own) }?;
        Ok(Self { master })
    }
}

impl AsyncRead for Terminal {
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

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.master.poll_write_ready(context))?;
            let written = ready
                .try_io(|master| rustix::io::write(master.get_ref(), bytes).map_err(Into::into));
            match written {
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
