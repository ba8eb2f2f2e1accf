//! A program in a container as the rest of the engine knows processes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::AsyncWrite;

use super::Helpers;
use super::begin::Begun;
use super::exec::Hold;
use super::streams::Input;
use crate::session::signals;
use crate::transport::{
    InputSource, InputWait, Inspection, NamedInput, Process, ProcessControl, ProcessEnd,
    ProgramStdin, SignalScope, TransportError, WindowSize, Writer, remote,
};

/// What a program is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is the session's shell.
    Shell,
    /// It was asked for beside the shell.
    Beside,
}

/// The programs of a session that run, by their numbers in the container.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<i32, Role>>);

impl Running {
    pub(super) fn programs(&self) -> Vec<(i32, Role)> {
        self.lock()
            .iter()
            .map(|(pid, role)| (*pid, *role))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Role>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program beside the session: it ends by itself.
pub(super) fn helper(begun: Begun) -> Process {
    Process {
        stdin: Some(Box::new(begun.exec.stdin)),
        stdout: Box::new(begun.exec.stdout),
        stderr: Some(Box::new(begun.exec.stderr)),
        control: Box::new(Helper(begun.exec.hold)),
    }
}

/// A program of the session. Where `commands` is, it reads that, and its own input is its
/// terminal's keyboard.
pub(super) fn into_process(
    begun: Begun,
    stdin: ProgramStdin,
    terminal: bool,
    commands: Option<NamedInput>,
    helpers: Arc<Helpers>,
    running: Arc<Running>,
) -> Process {
    let role = match stdin {
        ProgramStdin::Private => Role::Shell,
        ProgramStdin::Pipe | ProgramStdin::Closed => Role::Beside,
    };
    running.lock().insert(begun.pid, role);
    let exec = begun.exec;
    let mut control = Control {
        helpers,
        hold: exec.hold,
        pid: begun.pid,
        running,
        keyboard: None,
        commands: None,
        keep: None,
    };
    let stdin = match (commands, stdin) {
        (Some(commands), _) => {
            control.keyboard = Some(Arc::new(Mutex::new(exec.stdin)));
            control.commands = Some(commands.path);
            control.keep = Some(commands.keep);
            Some(commands.writer)
        }
        (None, ProgramStdin::Closed) => None,
        (None, ProgramStdin::Private | ProgramStdin::Pipe) => Some(Box::new(exec.stdin) as Writer),
    };
    Process {
        stdin,
        stdout: Box::new(exec.stdout),
        stderr: match terminal {
            true => None,
            false => Some(Box::new(exec.stderr)),
        },
        control: Box::new(control),
    }
}

/// A hold on one program of the session. Dropping it ends the program, by another beside
/// it: an exec outlives its connection.
struct Control {
    helpers: Arc<Helpers>,
    hold: Hold,
    pid: i32,
    running: Arc<Running>,
    keyboard: Option<Arc<Mutex<Input>>>,
    /// The pipe that it reads its commands from.
    commands: Option<String>,
    keep: Option<Box<dyn Send + Sync>>,
}

impl Control {
    async fn send(&self, scope: SignalScope, signal: i32) -> Result<usize, TransportError> {
        let checked = self.check();
        if checked.is_err() && (scope, signal) == (SignalScope::Program, signals::KILL) {
            // The last of all means. What cannot be ended is not waited for either; should
            // its container go on, it is ended then.
            self.hold.give_up();
        }
        checked?;
        remote::signal(self.helpers.as_ref(), self.pid, scope, signal).await
    }

    async fn look(&self) -> Result<Inspection, TransportError> {
        self.check()?;
        remote::inspect(self.helpers.as_ref(), self.pid, self.commands.as_deref()).await
    }

    /// Its number may be another's once it has ended, and in a paused container nothing can
    /// be done.
    fn check(&self) -> Result<(), TransportError> {
        let inside = &self.helpers.inside;
        let reason = match self.hold.end() {
            Some(_) => "the program has ended",
            None if inside.watch.now().is_paused() => "its container is paused",
            None => return Ok(()),
        };
        Err(TransportError::Unreachable {
            target: inside.name.to_string(),
            reason: reason.to_owned(),
        })
    }
}

impl ProcessControl for Control {
    fn wait(&self) -> BoxFuture<'_, ProcessEnd> {
        self.hold.ended().boxed()
    }

    fn signal(
        &self,
        scope: SignalScope,
        signal: i32,
    ) -> BoxFuture<'_, Result<usize, TransportError>> {
        self.send(scope, signal).boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, TransportError>> {
        self.look().boxed()
    }

    fn waits_for_input<'a>(
        &'a self,
        source: &'a InputSource,
    ) -> BoxFuture<'a, Result<Option<InputWait>, TransportError>> {
        async move {
            self.check()?;
            remote::waits_for_input(self.helpers.as_ref(), self.pid, source).await
        }
        .boxed()
    }

    fn keyboard(&self) -> Option<Writer> {
        let keyboard = Arc::clone(self.keyboard.as_ref()?);
        Some(Box::new(Keyboard(keyboard)))
    }

    fn forget_typed(&self) {
        // The engine cannot empty a terminal's input. What is typed never reaches the shell,
        // which reads elsewhere; the next command that reads may find it.
    }

    fn resize(&self, size: WindowSize) -> BoxFuture<'_, Result<(), TransportError>> {
        match self.keyboard {
            Some(_) => self.hold.resize(&self.helpers.inside, size).boxed(),
            None => std::future::ready(Err(TransportError::NoTerminal)).boxed(),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.running.lock().remove(&self.pid);
        let over = self
            .hold
            .end()
            .is_some_and(|end| end != ProcessEnd::Unknown);
        let (keep, ended) = (self.keep.take(), over);
        let (helpers, pid) = (Arc::clone(&self.helpers), self.pid);
        // Without a runtime the container's removal, or the next server, ends it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let watch = helpers.inside.watch.now();
            if !ended {
                watch.until_it_goes_on().await;
            }
            if !ended && watch.over().is_none() {
                let _unreachable = remote::drop_program(helpers.as_ref(), pid).await;
            }
            drop(keep);
        });
    }
}

/// What is typed into a terminal.
struct Keyboard(Arc<Mutex<Input>>);

impl Keyboard {
    fn with<T>(&self, typed: impl FnOnce(Pin<&mut Input>) -> T) -> T {
        let mut input = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        typed(Pin::new(&mut *input))
    }
}

impl AsyncWrite for Keyboard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.with(|input| input.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.with(|input| input.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // A keyboard has no end of its own: the terminal's is the program's.
        Poll::Ready(Ok(()))
    }
}

/// A hold on a program beside the session.
struct Helper(Hold);

impl ProcessControl for Helper {
    fn wait(&self) -> BoxFuture<'_, ProcessEnd> {
        self.0.ended().boxed()
    }

    fn signal(
        &self,
        _scope: SignalScope,
        _signal: i32,
    ) -> BoxFuture<'_, Result<usize, TransportError>> {
        // It ends by itself: nobody signals it.
        std::future::ready(Ok(0)).boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, TransportError>> {
        let nothing = Inspection {
            stopped: false,
            sleeping: false,
            children: 0,
            unread_input: None,
        };
        std::future::ready(Ok(nothing)).boxed()
    }

    fn keyboard(&self) -> Option<Writer> {
        None
    }

    fn forget_typed(&self) {}

    fn resize(&self, _size: WindowSize) -> BoxFuture<'_, Result<(), TransportError>> {
        std::future::ready(Err(TransportError::NoTerminal)).boxed()
    }
}
