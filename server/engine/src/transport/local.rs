//! The local transport: processes of this machine, started through a launcher.
//!
//! ```text
//! LocalTransport ──► link (seqpacket) ──► launcher ──► shell
//!        └─ Process: socketpair (stdin), pipes or a pty (output)
//! ```
//!
//! A shell's stdin is a socket pair and not a pipe: a child could reopen a pipe through
//! /proc/PID/fd and write commands that nobody judged; a socket cannot be reopened.

mod inputs;
mod link;
mod private;
mod terminal;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use execgate_core::outcome::{LaunchFailureKind, Usage};
use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::{
    EndedProcess, InputSource, InputWait, Inspection, Job, Leftovers, NamedInput, Process,
    ProcessControl, ProcessEnd, Program, ProgramStdin, ProgramStreams, SignalScope, Transport,
    TransportError, WindowSize, Writer,
};
use crate::launcher::{
    Attempts, Identity, ProbeResult, Request, STEP_DIRECTORY, STEP_EXECUTE, Setup, SpawnRequest,
    files,
};
pub(crate) use inputs::Inputs;
use link::{Answer, Link};
use private::PrivateInput;

/// Size asked for an output pipe, in bytes: room for the command to run ahead while the
/// server is busy; the default 64 KiB costs a switch for each. Unprivileged processes
/// may have this much (fs.pipe-max-size).
const OUTPUT_PIPE_BYTES: usize = 1024 * 1024;

/// How long background jobs have between SIGTERM and SIGKILL when a session closes.
const CLOSE_GRACE: Duration = Duration::from_millis(200);

/// This machine, for one session.
#[derive(Debug)]
pub struct LocalTransport {
    link: Arc<Link>,
    next_program: AtomicU64,
    inputs: Arc<Inputs>,
    identity: Option<Identity>,
}

impl LocalTransport {
    /// Starts a launcher from this program, which must call [`crate::launcher::main`]
    /// when its first argument is [`crate::launcher::ARGUMENT`].
    ///
    /// # Errors
    /// Where the launcher cannot be started.
    pub(crate) fn start(
        launcher: &PathBuf,
        setup: Setup,
        ruleset: Option<BorrowedFd<'_>>,
        inputs: Arc<Inputs>,
    ) -> Result<Self, TransportError> {
        let link = Link::start(launcher)?;
        let identity = setup.identity.clone();
        link.tell(&Request::Setup(setup), ruleset.as_slice())?;
        Ok(Self {
            link,
            next_program: AtomicU64::new(1),
            inputs,
            identity,
        })
    }

    /// Tries, as a session's process, what a session must not be able to do.
    ///
    /// # Errors
    /// Where the launcher is gone.
    pub(crate) async fn probe(&self, attempts: Attempts) -> Result<ProbeResult, TransportError> {
        let answer = self
            .link
            .ask(|call| Request::Probe { call, attempts })
            .await?;
        match answer {
            Answer::Probed(result) => Ok(result),
            other => Err(other.unexpected()),
        }
    }

    /// The launcher's process number, the ancestor of everything in the session.
    #[must_use]
    pub fn launcher_pid(&self) -> Option<i32> {
        self.link.launcher_pid()
    }

    async fn spawn_program(&self, program: &Program) -> Result<Process, TransportError> {
        let id = self.next_program.fetch_add(1, Ordering::Relaxed);
        let streams =
            Streams::open(program.stdin, program.streams).map_err(|source| TransportError::Io {
                action: "open the program's streams",
                source,
            })?;
        let request = Request::Spawn(SpawnRequest {
            id,
            program: program.program.clone(),
            arguments: program.arguments.clone(),
            env: program.env.clone(),
            cwd: program.cwd.clone(),
            unreported: program.stdin == ProgramStdin::Private,
            terminal: matches!(program.streams, ProgramStreams::Terminal(_)),
        });
        let end = self.link.expect_end(id);
        let [stdin, stdout, stderr] = &streams.childs;
        let started = self
            .link
            .spawn(
                id,
                &request,
                &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            )
            .await?;
        if let Err((step, errno)) = started {
            return Err(launch_error(program, &step, errno));
        }
        streams.into_process(LocalControl {
            link: Arc::clone(&self.link),
            id,
            end,
            terminal: None,
            stdin: -1,
        })
    }
}

impl Transport for LocalTransport {
    fn spawn<'a>(&'a self, program: &'a Program) -> BoxFuture<'a, Result<Process, TransportError>> {
        self.spawn_program(program).boxed()
    }

    fn files<'a>(
        &'a self,
        workspace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Process>, TransportError>> {
        async move {
            let program = Program {
                program: files::PROGRAM.to_owned(),
                arguments: vec![workspace.to_owned()],
                env: Vec::new(),
                cwd: "/".to_owned(),
                // Nobody else is to speak to it.
                stdin: ProgramStdin::Private,
                streams: ProgramStreams::Separate,
            };
            self.spawn_program(&program).await.map(Some)
        }
        .boxed()
    }

    fn open_input(&self) -> BoxFuture<'_, Result<NamedInput, TransportError>> {
        let input = self.inputs.open(self.identity.as_ref());
        let input = input.map_err(|source| TransportError::Io {
            action: "make a pipe for the command's input",
            source,
        });
        std::future::ready(input).boxed()
    }

    fn jobs(&self, at_least: Duration) -> BoxFuture<'_, Result<Vec<Job>, TransportError>> {
        self.link
            .ask(move |call| Request::Jobs { call, at_least })
            .map(|answer| match answer? {
                Answer::Jobs(jobs) => Ok(jobs),
                other => Err(other.unexpected()),
            })
            .boxed()
    }

    fn close(&self, leftovers: Leftovers) -> BoxFuture<'_, Vec<EndedProcess>> {
        let grace = CLOSE_GRACE;
        self.link
            .ask(move |call| Request::Close {
                call,
                leftovers,
                grace,
            })
            .map(|answer| match answer {
                Ok(Answer::Closed(ended)) => ended,
                // The launcher ends everything when it goes, and it is gone.
                Ok(_) | Err(_) => Vec::new(),
            })
            .boxed()
    }
}

/// A launch that failed, in the words of the caller's request.
fn launch_error(program: &Program, step: &str, errno: i32) -> TransportError {
    let kind = match (step, errno) {
        (STEP_DIRECTORY, _) => LaunchFailureKind::WorkingDirectory,
        (STEP_EXECUTE, libc::ENOENT) => LaunchFailureKind::NotFound,
        (STEP_EXECUTE, libc::EACCES) => LaunchFailureKind::PermissionDenied,
        (STEP_EXECUTE, libc::ENOEXEC) => LaunchFailureKind::NotExecutable,
        (_, libc::E2BIG) => LaunchFailureKind::TooLong,
        (_, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
            LaunchFailureKind::Resources
        }
        _ => LaunchFailureKind::Other,
    };
    let system = std::io::Error::from_raw_os_error(errno);
    let message = match kind {
        LaunchFailureKind::WorkingDirectory => format!("enter {}: {system}", program.cwd),
        _ => format!("{step}: {system}"),
    };
    TransportError::Launch {
        program: program.program.clone(),
        kind,
        errno,
        message,
    }
}

/// Both ends of a program's streams.
struct Streams {
    stdin: Input,
    output: Output,
    childs: [OwnedFd; 3],
}

enum Input {
    Private(UnixStream),
    Pipe(OwnedFd),
    Closed,
}

enum Output {
    Pipes { stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

impl Input {
    fn open(stdin: ProgramStdin) -> std::io::Result<(Self, OwnedFd)> {
        match stdin {
            ProgramStdin::Private => {
                let (ours, childs) = UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                Ok((Self::Private(ours), childs.into()))
            }
            ProgramStdin::Pipe => {
                let (childs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&ours, true)?;
                Ok((Self::Pipe(ours), childs))
            }
            ProgramStdin::Closed => Ok((Self::Closed, std::fs::File::open("/dev/null")?.into())),
        }
    }
}

impl Streams {
    fn open(stdin: ProgramStdin, streams: ProgramStreams) -> std::io::Result<Self> {
        let (stdin, child_stdin) = Input::open(stdin)?;
        let (output, child_stdout, child_stderr) = match streams {
            ProgramStreams::Separate => {
                let (stdout, child_stdout) = output_pipe()?;
                let (stderr, child_stderr) = output_pipe()?;
                (Output::Pipes { stdout, stderr }, child_stdout, child_stderr)
            }
            ProgramStreams::Terminal(size) => {
                let (master, slave) = terminal::open(size)?;
                let second = slave.try_clone()?;
                (Output::Terminal(master), slave, second)
            }
        };
        Ok(Self {
            stdin,
            output,
            childs: [child_stdin, child_stdout, child_stderr],
        })
    }

    fn into_process(self, mut control: LocalControl) -> Result<Process, TransportError> {
        let registered = |source| TransportError::Io {
            action: "watch the program's streams",
            source,
        };
        let stdin: Option<Writer> = match self.stdin {
            Input::Private(ours) => {
                control.stdin = ours.as_raw_fd();
                Some(Box::new(PrivateInput::new(ours)))
            }
            Input::Pipe(ours) => {
                let sender = pipe::Sender::from_owned_fd(ours).map_err(registered)?;
                Some(Box::new(sender))
            }
            Input::Closed => None,
        };
        match self.output {
            Output::Pipes { stdout, stderr } => {
                let stdout = pipe::Receiver::from_owned_fd(stdout).map_err(registered)?;
                let stderr = pipe::Receiver::from_owned_fd(stderr).map_err(registered)?;
                Ok(Process {
                    stdin,
                    stdout: Box::new(stdout),
                    stderr: Some(Box::new(stderr)),
                    control: Box::new(control),
                })
            }
            Output::Terminal(master) => {
                let terminal = Arc::new(master);
                control.terminal = Some(Arc::clone(&terminal));
                let reader = terminal::Terminal::new(&terminal).map_err(registered)?;
                Ok(Process {
                    stdin,
                    stdout: Box::new(reader),
                    stderr: None,
                    control: Box::new(control),
                })
            }
        }
    }
}

fn output_pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // Users near their pipe quota get what the system gives.
    let _ = fcntl_setpipe_size(&reader, OUTPUT_PIPE_BYTES);
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
}

/// A hold on one local program.
struct LocalControl {
    link: Arc<Link>,
    id: u64,
    end: watch::Receiver<Option<link::End>>,
    terminal: Option<Arc<OwnedFd>>,
    /// Our end of its stdin, to ask how much is unread; valid while the process is held.
    stdin: i32,
}

impl LocalControl {
    async fn ended(&self) -> ProcessEnd {
        let mut end = self.end.clone();
        let known = end.wait_for(Option::is_some).await.map(|end| *end);
        known
            .ok()
            .flatten()
            .map_or(ProcessEnd::Unknown, |(end, _)| end)
    }

    async fn send_signal(&self, scope: SignalScope, signal: i32) -> Result<usize, TransportError> {
        if let (Some(terminal), SignalScope::Foreground) = (&self.terminal, scope) {
            // Job control may have put another group in front: the terminal knows.
            return terminal::signal_foreground(terminal.as_fd(), signal)
                .map(|()| 1)
                .map_err(|source| TransportError::Io {
                    action: "signal the terminal",
                    source,
                });
        }
        let id = self.id;
        match self
            .link
            .ask(|call| Request::Signal {
                call,
                id,
                scope,
                signal,
            })
            .await?
        {
            Answer::Signalled(processes) => Ok(processes),
            other => Err(other.unexpected()),
        }
    }

    async fn input_wait(&self, source: &InputSource) -> Result<Option<InputWait>, TransportError> {
        let (id, source) = (self.id, source.clone());
        let answer = self
            .link
            .ask(|call| Request::Waits { call, id, source })
            .await?;
        let hidden = self
            .terminal
            .as_ref()
            .is_some_and(|terminal| terminal::hides_typing(terminal.as_fd()));
        match answer {
            Answer::Waits(wait) => Ok(wait.map(|wait| InputWait { hidden, ..wait })),
            other => Err(other.unexpected()),
        }
    }

    async fn look(&self) -> Result<Inspection, TransportError> {
        let id = self.id;
        match self.link.ask(|call| Request::Inspect { call, id }).await? {
            Answer::Inspected(inspection) => Ok(Inspection {
                unread_input: terminal::unread(self.stdin),
                ..inspection
            }),
            other => Err(other.unexpected()),
        }
    }
}

impl ProcessControl for LocalControl {
    fn wait(&self) -> BoxFuture<'_, ProcessEnd> {
        self.ended().boxed()
    }

    fn signal(
        &self,
        scope: SignalScope,
        signal: i32,
    ) -> BoxFuture<'_, Result<usize, TransportError>> {
        self.send_signal(scope, signal).boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, TransportError>> {
        self.look().boxed()
    }

    fn waits_for_input<'a>(
        &'a self,
        source: &'a InputSource,
    ) -> BoxFuture<'a, Result<Option<InputWait>, TransportError>> {
        self.input_wait(source).boxed()
    }

    fn usage(&self) -> Option<Usage> {
        self.end.borrow().map(|(_, usage)| usage)
    }

    fn keyboard(&self) -> Option<Writer> {
        let terminal = terminal::Terminal::new(self.terminal.as_ref()?);
        // A second watch over one terminal is refused where descriptors run out.
        terminal.ok().map(|keyboard| Box::new(keyboard) as Writer)
    }

    fn forget_typed(&self) {
        if let Some(terminal) = &self.terminal {
            // A terminal whose programs have all gone has nothing typed.
            let _gone = terminal::forget_typed(terminal.as_fd());
        }
    }

    fn resize(&self, size: WindowSize) -> BoxFuture<'_, Result<(), TransportError>> {
        let done = match &self.terminal {
            None => Err(TransportError::NoTerminal),
            Some(terminal) => {
                terminal::resize(terminal.as_fd(), size).map_err(|source| TransportError::Io {
                    action: "resize the terminal",
                    source,
                })
            }
        };
        std::future::ready(done).boxed()
    }
}

impl Drop for LocalControl {
    fn drop(&mut self) {
        if self.end.borrow().is_none() {
            self.link.kill(self.id);
        }
    }
}
