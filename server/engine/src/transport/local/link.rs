//! The server's side of a launcher: starts it, sends requests, hands out the answers.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use execgate_core::outcome::Usage;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use crate::launcher::{ARGUMENT, Event, MAX_MESSAGE_BYTES, ProbeResult, Request, receive, send};
use crate::transport::{
    EndedProcess, InputWait, Inspection, Job, ProcessEnd, SignalScope, TransportError,
};

/// What records call this machine.
const LOCAL: &str = "local";

/// Signal number of SIGKILL.
const SIGKILL: i32 = 9;

/// What a launcher answered to one call.
#[derive(Debug)]
pub(super) enum Answer {
    Signalled(usize),
    Inspected(Inspection),
    Waits(Option<InputWait>),
    Jobs(Vec<Job>),
    Probed(ProbeResult),
    Closed(Vec<EndedProcess>),
    Refused(i32),
}

impl Answer {
    /// The error for an answer that is not the one asked for.
    pub(super) fn unexpected(self) -> TransportError {
        let reason = match self {
            Self::Refused(errno) => io::Error::from_raw_os_error(errno).to_string(),
            other => format!("unexpected answer of the launcher: {other:?}"),
        };
        TransportError::Unreachable {
            target: LOCAL.to_owned(),
            reason,
        }
    }
}

/// How a program ended, and what it used.
pub(super) type End = (ProcessEnd, Usage);

type Started = Result<(), (String, i32)>;

/// Who waits for what.
#[derive(Debug, Default)]
struct Waiting {
    calls: HashMap<u64, oneshot::Sender<Answer>>,
    starts: HashMap<u64, oneshot::Sender<Started>>,
    ends: HashMap<u64, watch::Sender<Option<End>>>,
    /// The launcher is gone: nobody will be answered.
    closed: bool,
}

/// A running launcher.
#[derive(Debug)]
pub(super) struct Link {
    socket: Arc<AsyncFd<OwnedFd>>,
    waiting: Arc<Mutex<Waiting>>,
    next_call: AtomicU64,
    launcher: u32,
}

impl Link {
    pub(super) fn start(launcher: &PathBuf) -> Result<Arc<Self>, TransportError> {
        Self::try_start(launcher).map_err(|source| TransportError::Io {
            action: "start the launcher",
            source,
        })
    }

    fn try_start(launcher: &PathBuf) -> io::Result<Arc<Self>> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let child = Command::new(launcher)
            .arg(ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        // SAFETY: the descriptor is owned, and stays open and the same while it is watched.
        let socket = Arc::new(unsafe { AsyncFd::register(ours) }?);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        // Ends when the launcher does, which ends when the last `Link` shuts the socket.
        let launcher = child.id();
        tokio::spawn(dispatch(Arc::clone(&socket), Arc::clone(&waiting), child));
        Ok(Arc::new(Self {
            socket,
            waiting,
            next_call: AtomicU64::new(1),
            launcher,
        }))
    }

    pub(super) fn launcher_pid(&self) -> Option<i32> {
        i32::try_from(self.launcher).ok()
    }

    /// Sends a request that has no answer.
    pub(super) fn tell(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), TransportError> {
        // Requests are few and small beside the socket's buffer: a full one means that
        // the launcher no longer reads.
        send(self.socket.as_fd(), request, fds).map_err(|error| TransportError::Unreachable {
            target: LOCAL.to_owned(),
            reason: format!("launcher: {error}"),
        })
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(
        &self,
        request: impl FnOnce(u64) -> Request,
    ) -> Result<Answer, TransportError> {
        let call = self.next_call.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.register(|waiting| waiting.calls.insert(call, sender).map(drop));
        self.tell(&request(call), &[])?;
        receiver.await.map_err(|_| gone())
    }

    /// Sends a start and waits until the program runs or has failed to.
    pub(super) async fn spawn(
        &self,
        id: u64,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Started, TransportError> {
        let (sender, receiver) = oneshot::channel();
        self.register(|waiting| waiting.starts.insert(id, sender).map(drop));
        self.tell(request, fds)?;
        receiver.await.map_err(|_| gone())
    }

    /// A place where the end of a program will be told.
    pub(super) fn expect_end(&self, id: u64) -> watch::Receiver<Option<End>> {
        let (sender, receiver) = watch::channel(None);
        self.register(|waiting| waiting.ends.insert(id, sender).map(drop));
        receiver
    }

    /// Ends a program that nobody holds any more.
    pub(super) fn kill(&self, id: u64) {
        let call = self.next_call.fetch_add(1, Ordering::Relaxed);
        // Where the launcher is gone, so is the program.
        let _ = self.tell(
            &Request::Signal {
                call,
                id,
                scope: SignalScope::Program,
                signal: SIGKILL,
            },
            &[],
        );
    }

    fn register<T>(&self, enter: impl FnOnce(&mut Waiting) -> T) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Entries made after the end are dropped at once, which wakes who waits.
        if !waiting.closed {
            enter(&mut waiting);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Ends the launcher, which ends everything it started, and then our reader.
        let _ = rustix::net::shutdown(self.socket.as_fd(), rustix::net::Shutdown::Both);
    }
}

fn gone() -> TransportError {
    TransportError::Unreachable {
        target: LOCAL.to_owned(),
        reason: "the launcher is gone".to_owned(),
    }
}

/// Reads what the launcher says until it ends. Its socket tells that end: to watch the process
/// besides would take a descriptor for each session.
async fn dispatch(
    socket: Arc<AsyncFd<OwnedFd>>,
    waiting: Arc<Mutex<Waiting>>,
    mut launcher: Child,
) {
    loop {
        let Ok(mut ready) = socket.readable().await else {
            break;
        };
        // Room for the largest, and only while there is something to read: messages are rare,
        // and there is one of us for each session.
        let read = ready
            .try_io(|socket| receive::<Event>(socket.as_fd(), &mut vec![0; MAX_MESSAGE_BYTES]));
        match read {
            Err(_would_block) => {}
            Ok(Ok(Some((event, _)))) => {
                deliver(
                    &mut waiting.lock().unwrap_or_else(PoisonError::into_inner),
                    event,
                );
            }
            Ok(Ok(None) | Err(_)) => break,
        }
    }
    // Dropping the senders wakes everyone with "gone".
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    *waiting = Waiting {
        closed: true,
        ..Waiting::default()
    };
    // It is as good as gone, and has to be waited for.
    tokio::task::spawn_blocking(move || launcher.wait());
}

fn deliver(waiting: &mut Waiting, event: Event) {
    let (call, answer) = match event {
        Event::Spawned { id } => {
            let _ = waiting
                .starts
                .remove(&id)
                .map(|started| started.send(Ok(())));
            return;
        }
        Event::SpawnFailed { id, step, errno } => {
            waiting.ends.remove(&id);
            let _ = waiting
                .starts
                .remove(&id)
                .map(|started| started.send(Err((step, errno))));
            return;
        }
        Event::Ended { id, end, usage } => {
            let ended = waiting.ends.remove(&id);
            let _ = ended.map(|ended| ended.send(Some((end, usage))));
            return;
        }
        Event::Signalled { call, processes } => (call, Answer::Signalled(processes)),
        Event::Inspected { call, inspection } => (call, Answer::Inspected(inspection)),
        Event::Waits { call, wait } => (call, Answer::Waits(wait)),
        Event::Jobs { call, jobs } => (call, Answer::Jobs(jobs)),
        Event::Probed { call, result } => (call, Answer::Probed(result)),
        Event::Closed { call, ended } => (call, Answer::Closed(ended)),
        Event::Refused { call, errno } => (call, Answer::Refused(errno)),
    };
    let _ = waiting
        .calls
        .remove(&call)
        .map(|caller| caller.send(answer));
}
