//! The seam: a transport moves bytes and starts processes, and interprets nothing, so
//! that framing, time limits, redaction and checkpoints exist once.
//!
//! Signals, probes and checkpoints are programs beside the shell, never commands in the
//! agent's own shell, which may have redefined `kill`.

pub mod docker;
pub mod local;
mod remote;
pub mod ssh;

use std::fmt;
use std::io;
use std::time::Duration;

use execgate_core::outcome::{Cause, LaunchFailureKind, Usage};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

/// A place where processes run.
///
/// An implementation owes: the process gets exactly the environment of its program;
/// dropping the returned [`Process`] ends it; [`Transport::close`] ends all that was
/// started here, also what has detached itself.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Starts one program: the session's shell, a command beside it, a probe.
    fn spawn<'a>(&'a self, program: &'a Program) -> BoxFuture<'a, Result<Process, TransportError>>;

    /// Makes a named pipe on the target, which a shell can open as the standard input of
    /// one command.
    fn open_input(&self) -> BoxFuture<'_, Result<NamedInput, TransportError>>;

    /// Starts a program of the server's own that looks after the files of `workspace`, as the
    /// session's user; nothing where the target has only its own programs.
    fn files<'a>(
        &'a self,
        _workspace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Process>, TransportError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What was started here and still runs, beside the programs that were asked for; of
    /// that only what is older than `at_least`. Nothing where the transport cannot tell.
    fn jobs(&self, _at_least: Duration) -> BoxFuture<'_, Result<Vec<Job>, TransportError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Ends what was started here and says what that was.
    fn close(&self, leftovers: Leftovers) -> BoxFuture<'_, Vec<EndedProcess>>;
}

/// What to start.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// A path, or a name to be looked up in the `PATH` of `env`.
    pub program: String,
    /// The arguments after the name.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub cwd: String,
    /// What its standard input is.
    pub stdin: ProgramStdin,
    /// What its output streams are.
    pub streams: ProgramStreams,
}

impl fmt::Debug for Program {
    /// Values of variables may be secrets, and so may words: neither is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Program")
            .field("program", &self.program)
            .field("arguments", &self.arguments.len())
            .field("env", &names)
            .field("stdin", &self.stdin)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// What a program's standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramStdin {
    /// A channel that no other process can open: a shell's, for its commands.
    Private,
    /// A pipe, as programs expect it.
    Pipe,
    /// Nothing: reads see the end.
    Closed,
}

/// What a program's output streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramStreams {
    /// Pipes as stdout and stderr.
    Separate,
    /// A terminal of this size as stdout and stderr, which is the controlling terminal
    /// too.
    Terminal(WindowSize),
}

/// Where bytes for a program are written.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A named pipe on the target. Dropping it takes the name away; bytes on their way still
/// arrive.
pub struct NamedInput {
    /// Its path on the target. Nobody else can guess it.
    pub path: String,
    /// Our end; dropping it is the end of the input.
    pub writer: Writer,
    /// Holds what has to live until the command has ended.
    pub keep: Box<dyn Send + Sync>,
}

impl fmt::Debug for NamedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedInput")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A terminal's size in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// A running program.
pub struct Process {
    /// Its standard input; nothing where that is closed.
    pub stdin: Option<Writer>,
    /// Its standard output, or its terminal.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error; nothing where it has a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Everything else.
    pub control: Box<dyn ProcessControl>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

/// A hold on a running program. Dropping it ends the program.
pub trait ProcessControl: Send + Sync {
    /// Waits for its end; every call gives the same answer.
    fn wait(&self) -> BoxFuture<'_, ProcessEnd>;

    /// Sends a signal to a part of what this program started.
    fn signal(
        &self,
        scope: SignalScope,
        signal: i32,
    ) -> BoxFuture<'_, Result<usize, TransportError>>;

    /// Looks at the program from outside.
    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, TransportError>>;

    /// Whether what this program started waits for input now; nothing where it does not, or
    /// the transport cannot tell.
    fn waits_for_input<'a>(
        &'a self,
        _source: &'a InputSource,
    ) -> BoxFuture<'a, Result<Option<InputWait>, TransportError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What the program used, once it has ended; nothing where that is not measured.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// The keyboard of the program's terminal; nothing where it has none.
    fn keyboard(&self) -> Option<Writer>;

    /// Throws away what was typed and nobody has read.
    fn forget_typed(&self);

    /// Gives the program's terminal another size.
    fn resize(&self, size: WindowSize) -> BoxFuture<'_, Result<(), TransportError>>;
}

/// Which processes a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalScope {
    /// The program's foreground process group, the program itself included.
    Foreground,
    /// The same once more, where a process in it should have died of the signal and has
    /// not: it was being started when the first one came, and missed it.
    ForegroundAgain,
    /// The program's descendants that started no more than this long ago, not the
    /// program itself.
    StartedWithin(Duration),
    /// The program itself.
    Program,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEnd {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Out of sight: the transport went away.
    Unknown,
    /// With its host or container, which stopped.
    Stopped,
    /// With its container, whose memory was used up.
    OutOfMemory,
}

impl ProcessEnd {
    /// Why a process ended whose own end nobody saw.
    pub(crate) fn cause_of_loss(self) -> Option<Cause> {
        match self {
            Self::Code(_) | Self::Signal(_) => None,
            Self::Unknown => Some(Cause::TransportLost),
            Self::Stopped => Some(Cause::TargetStopped),
            Self::OutOfMemory => Some(Cause::Oom),
        }
    }
}

/// Where input would come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSource {
    /// The program's own standard input.
    Stdin,
    /// A named pipe.
    Named(String),
    /// The program's terminal.
    Terminal,
}

/// How something waits for input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputWait {
    /// It was seen in a read; otherwise it waits for several things, and this may be one.
    pub observed: bool,
    /// What is typed is not shown: most likely a password.
    pub hidden: bool,
}

/// What can be seen of a program from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// It was stopped by a signal.
    pub stopped: bool,
    /// It waits for something: input, a child, room in a pipe.
    pub sleeping: bool,
    /// How many direct children it has.
    pub children: usize,
    /// Bytes written to its stdin that it has not read; nothing where that is unknown.
    pub unread_input: Option<usize>,
}

/// What to do at the end with processes that still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftovers {
    /// End them: SIGTERM, a short grace, SIGKILL.
    Kill,
    /// End the programs that were asked for, leave what they put in the background.
    Keep,
}

/// A process that runs in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number on the target.
    pub pid: i32,
    /// Its command line, or its name where that is empty. Not redacted.
    pub command: String,
}

/// A process that a transport ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedProcess {
    /// Its number on the target.
    pub pid: i32,
    /// Its command line, or its name where that is empty. Not redacted.
    pub command: String,
    /// The signal that ended it.
    pub signal: i32,
}

/// Why a transport could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The program did not start.
    #[error("start {program}: {message}")]
    Launch {
        /// The program asked for.
        program: String,
        /// What kind of failure.
        kind: LaunchFailureKind,
        /// The system's error number; 0 where there is none.
        errno: i32,
        /// What the system said.
        message: String,
    },
    /// The launcher or the connection is gone.
    #[error("reach {target}: {reason}")]
    Unreachable {
        /// What records call the target.
        target: String,
        /// What is known.
        reason: String,
    },
    /// The operator's configuration has no such target.
    #[error("find {target}: {reason}")]
    NoSuchTarget {
        /// What was asked for.
        target: String,
        /// Why there is none.
        reason: String,
    },
    /// The caller may not use this target, or not in this way.
    #[error("use {target}: {reason}")]
    NotAllowed {
        /// What was asked for.
        target: String,
        /// Why not.
        reason: String,
    },
    /// The target refused all credentials.
    #[error("log in to {target}: it refused {methods}")]
    LoginRefused {
        /// What records call the target.
        target: String,
        /// What was tried, and what the target would take.
        methods: String,
    },
    /// The target shows another key than the known one.
    #[error("trust {target}: its host key is {got}, not {expected}")]
    HostKeyMismatch {
        /// What records call the target.
        target: String,
        /// Fingerprints that it should have.
        expected: String,
        /// The fingerprint it has.
        got: String,
    },
    /// The target's key is not known, and may not be learned.
    #[error("trust {target}: its host key {got} is not known")]
    HostKeyUnknown {
        /// What records call the target.
        target: String,
        /// The fingerprint it has.
        got: String,
    },
    /// The target lacks something that sessions need.
    #[error("use {target}: {reason}")]
    Unusable {
        /// What records call the target.
        target: String,
        /// What is missing.
        reason: String,
    },
    /// The program has no terminal.
    #[error("reach the terminal: the program has none")]
    NoTerminal,
    /// The system refused something that the transport itself needs.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
