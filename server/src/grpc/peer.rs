//! Who is at the other end of a connection. For a Unix socket that is looked up once,
//! when the connection is accepted: the peer's user, and whether it descends from this
//! server, as everything in a session does.
//!
//! A peer that cannot be examined is refused: a call from inside a session must never
//! pass for one from outside. One that has no number in this server's pid namespace is
//! outside of it: whatever a session starts lives in this namespace or one below it, and
//! has a number here. That is who calls when the server runs in a container and its socket
//! is in a directory of the host.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::{fmt, io};

use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{geteuid, getpid};
use tokio::net::UnixStream;

use crate::init;
use crate::tls::Holder;

/// `SO_PEERPIDFD` of Linux 6.5 and later: a hold on the process that connected.
const SO_PEERPIDFD: libc::c_int = 77;
/// Ancestors that are looked at; a deeper tree is refused.
const MAX_ANCESTORS: usize = 256;
/// How often a tree that changes under the eye is looked at again.
const MAX_LOOKS: usize = 3;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// Somebody who reached a TCP listener, and the certificate's holder, if one was shown.
    Tcp(SocketAddr, Holder),
    /// A process that may call.
    Owner {
        /// Its user.
        uid: u32,
        /// Its process; 0 for one outside of this server's pid namespace.
        pid: i32,
    },
    /// A process that may not.
    Refused {
        /// Its user, if that much is known.
        uid: Option<u32>,
        /// What was seen.
        reason: &'static str,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address, _) => write!(f, "tcp {address}"),
            Self::Owner { uid, pid } => write!(f, "unix uid {uid} pid {pid}"),
            Self::Refused { uid: Some(uid), .. } => write!(f, "unix uid {uid}"),
            Self::Refused { uid: None, .. } => f.write_str("unix"),
        }
    }
}

impl Peer {
    /// Examines the process that connected.
    pub(crate) fn of_unix(stream: &UnixStream) -> Self {
        let Ok(credentials) = peer_credentials(stream) else {
            return Self::Refused {
                uid: None,
                reason: "its credentials cannot be read",
            };
        };
        let uid = credentials.uid;
        let refused = |reason| Self::Refused {
            uid: Some(uid),
            reason,
        };
        if uid != geteuid().as_raw() && uid != 0 {
            return refused("it belongs to another user");
        }
        let hold = match peer_pidfd(stream) {
            Ok(hold) => hold,
            Err(_) => return refused("its process is gone"),
        };
        match descent(credentials.pid) {
            Descent::FromServer => refused("it runs inside a session of this server"),
            Descent::Unknown => refused("its ancestors cannot be examined"),
            // As long as the process lives its number was not given to another one.
            Descent::Elsewhere if hold.as_ref().is_some_and(has_ended) => {
                refused("its process is gone")
            }
            Descent::Elsewhere => Self::Owner {
                uid,
                pid: credentials.pid,
            },
        }
    }
}

/// Where a process comes from.
enum Descent {
    FromServer,
    Elsewhere,
    Unknown,
}

fn descent(pid: i32) -> Descent {
    // Everything that descends from the server has a number in its namespace, and keeps it
    // when it ends, as far as this connection is concerned.
    if pid == 0 {
        return Descent::Elsewhere;
    }
    let server = getpid().as_raw_nonzero().get();
    // Orphans of sessions go to the init. Where that is ours, who descends from it is one.
    let init = init::own_init();
    let mut earlier = None;
    for _ in 0..MAX_LOOKS {
        let Some(chain) = ancestors(pid) else {
            return Descent::Unknown;
        };
        // The server itself is no descendant of itself, but nothing in it calls itself.
        let ours = |pid: i32| pid == server || Some(pid) == init;
        if chain.iter().any(|(pid, _)| ours(*pid)) {
            return Descent::FromServer;
        }
        // Read twice the same: no process ended and left its number to another meanwhile.
        if earlier.as_ref() == Some(&chain) {
            return Descent::Elsewhere;
        }
        earlier = Some(chain);
    }
    Descent::Unknown
}

/// A process and its ancestors with their start times, up to the first of all.
fn ancestors(pid: i32) -> Option<Vec<(i32, u64)>> {
    let mut chain = Vec::new();
    let mut seen = HashSet::new();
    let mut next = pid;
    // The parent of the first process, and of kernel threads, is 0.
    while next > 0 {
        if chain.len() >= MAX_ANCESTORS || !seen.insert(next) {
            return None;
        }
        let stat = Process::new(next).and_then(|process| process.stat()).ok()?;
        chain.push((next, stat.starttime));
        next = stat.ppid;
    }
    (!chain.is_empty()).then_some(chain)
}

/// Who connected. Not by `rustix`, whose type has no process 0: that is what the kernel
/// says of a process that has no number in this namespace.
fn peer_credentials(stream: &UnixStream) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred {
        pid: -1,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let length = socket_option(stream, libc::SO_PEERCRED, &mut credentials)?;
    if length != size_of_val(&credentials) || credentials.pid < 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(credentials)
}

/// A hold on the process that connected; nothing where the kernel gives none.
fn peer_pidfd(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut fd: libc::c_int = -1;
    match socket_option(stream, SO_PEERPIDFD, &mut fd) {
        // SAFETY: the kernel made this descriptor for this call and nobody else has it.
        Ok(_) if fd >= 0 => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Has the kernel write an option of the socket into `value`, a plain C type; says how many
/// bytes of it were written.
fn socket_option<T: Copy>(
    stream: &UnixStream,
    option: libc::c_int,
    value: &mut T,
) -> io::Result<usize> {
    let size = size_of::<T>();
    let mut length = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: the pointers are to a live value and to its size, as the call wants; the
    // options asked for are plain numbers, for which any bytes will do.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_mut(value).cast(),
            &raw mut length,
        )
    };
    match done {
        0 => usize::try_from(length).map_err(io::Error::other),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A pidfd is readable when its process has ended.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    !matches!(poll(&mut fds, Some(&at_once)), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_from_this_very_process_is_refused() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of_unix(&ours);
        assert!(
            matches!(
                peer,
                Peer::Refused {
                    reason: "it runs inside a session of this server",
                    ..
                }
            ),
            "{peer:?}"
        );
    }

    #[test]
    fn a_process_without_a_number_here_is_outside() {
        assert!(matches!(descent(0), Descent::Elsewhere));
    }

    #[test]
    fn the_chain_of_ancestors_ends_at_the_first_process() {
        let chain = ancestors(getpid().as_raw_nonzero().get()).unwrap();
        assert!(chain.len() > 1, "{chain:?}");
    }

    #[test]
    fn a_process_that_is_not_there_cannot_be_examined() {
        assert!(ancestors(i32::MAX).is_none());
    }
}
