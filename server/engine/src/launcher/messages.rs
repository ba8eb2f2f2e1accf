//! What server and launcher say to each other: JSON, one message a packet, over a
//! `SOCK_SEQPACKET` socket pair; a program's streams travel as file descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use execgate_core::outcome::Usage;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fence::Limits;
use crate::transport::{
    EndedProcess, InputSource, InputWait, Inspection, Job, Leftovers, ProcessEnd, SignalScope,
};

/// Largest message, in bytes: an environment of the size that Linux grants one process
/// by default (128 KiB a string) and the rest. Below the default socket buffer.
pub(crate) const MAX_MESSAGE_BYTES: usize = 192 * 1024;

/// Most file descriptors in one message: stdin, stdout, stderr.
const MAX_FDS: usize = 3;

/// What a launcher is told first; the ruleset, where there is one, comes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Who the session's processes are; nothing keeps the server's identity.
    pub identity: Option<Identity>,
    /// Directories that the session's processes must not see.
    pub hidden: Vec<PathBuf>,
    /// The server that they belong to.
    pub mark: String,
    /// Whether they have a network of their own, with nothing in it.
    pub no_network: bool,
    /// How much of the machine they may use.
    pub limits: Limits,
}

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id; the only group.
    pub gid: u32,
}

/// What the server asks. `id` names the program, `call` the request that is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Setup(Setup),
    Spawn(SpawnRequest),
    Signal {
        call: u64,
        id: u64,
        scope: SignalScope,
        signal: i32,
    },
    Inspect {
        call: u64,
        id: u64,
    },
    Waits {
        call: u64,
        id: u64,
        source: InputSource,
    },
    /// What runs beside the programs that were asked for, and has for this long.
    Jobs {
        call: u64,
        at_least: Duration,
    },
    /// Tries what a session must not be able to do, as a session's process.
    Probe {
        call: u64,
        attempts: Attempts,
    },
    Close {
        call: u64,
        leftovers: Leftovers,
        grace: Duration,
    },
}

/// A program to start; its stdin, stdout and stderr come with the message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpawnRequest {
    pub(crate) id: u64,
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: String,
    /// Whether its end is nobody's news when the session closes: it is the shell.
    pub(crate) unreported: bool,
    /// Whether fd 1 is a terminal, to become the controlling one.
    pub(crate) terminal: bool,
}

/// What the launcher says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    Spawned {
        id: u64,
    },
    SpawnFailed {
        id: u64,
        step: String,
        errno: i32,
    },
    Ended {
        id: u64,
        end: ProcessEnd,
        usage: Usage,
    },
    Signalled {
        call: u64,
        processes: usize,
    },
    Inspected {
        call: u64,
        inspection: Inspection,
    },
    Waits {
        call: u64,
        wait: Option<InputWait>,
    },
    Jobs {
        call: u64,
        jobs: Vec<Job>,
    },
    Probed {
        call: u64,
        result: ProbeResult,
    },
    Closed {
        call: u64,
        ended: Vec<EndedProcess>,
    },
    Refused {
        call: u64,
        errno: i32,
    },
}

/// What a confined process is to try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempts {
    /// A file of the data directory, to be opened.
    pub(crate) data_file: Option<PathBuf>,
    /// The server's process, to be read and signalled.
    pub(crate) server: i32,
    /// Program files, to be opened.
    pub(crate) withheld: Vec<PathBuf>,
    /// Files outside of what may be read, to be opened.
    pub(crate) outside_read: Vec<PathBuf>,
    /// Directories outside of what may be written, to make a file in.
    pub(crate) outside_write: Vec<PathBuf>,
    /// A TCP port on the loopback that may not be connected to.
    pub(crate) port: Option<u16>,
    /// Whether to look for a way to other machines.
    pub(crate) network: bool,
}

/// Which forbidden things a session's process could do after all, and what limits it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Open a file of the data directory.
    pub data_file: bool,
    /// Read the server's environment.
    pub server_memory: bool,
    /// Send the server a signal.
    pub server_signal: bool,
    /// Open a program that the policy denies.
    pub withheld_program: bool,
    /// Open a file outside of what may be read.
    pub outside_read: bool,
    /// Make a file outside of what may be written.
    pub outside_write: bool,
    /// Reach a network that it must not.
    pub network: bool,
    /// Gain privileges by executing a program.
    pub new_privileges: bool,
    /// Make a user namespace.
    pub user_namespace: bool,
    /// Whether a filter of system calls is in force.
    pub syscalls: bool,
    /// Whether the session ends as a whole by one order to the kernel.
    pub cgroup_kill: bool,
    /// What holds the limits.
    pub limited: Limiters,
}

/// By how much the limits hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limiters {
    /// The number of processes.
    pub processes: Limited,
    /// Memory.
    pub memory: Limited,
    /// Processor time.
    pub processors: Limited,
}

/// Of what a limit is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limited {
    /// Of the session as a whole.
    Session,
    /// Of all processes of its user.
    User,
    /// Of each process alone.
    Process,
    /// Nothing limits it.
    #[default]
    Not,
}

/// Sends one message with file descriptors.
pub(crate) fn send<M: Serialize>(
    socket: BorrowedFd<'_>,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let parts = [IoSlice::new(&bytes)];
    sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message and its file descriptors; nothing at the end.
pub(crate) fn receive<M: DeserializeOwned>(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let fds = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let bytes = buffer.get(..received.bytes).unwrap_or_default();
    Ok(Some((serde_json::from_slice(bytes)?, fds)))
}
