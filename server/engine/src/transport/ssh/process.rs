//! A channel as the rest of the engine knows processes.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use russh::client::Msg;
use russh::{Channel, ChannelWriteHalf, Pty};
use tokio::sync::watch;

use super::Link;
use super::channel::{Begun, Input, writer};
use crate::transport::{
    InputSource, InputWait, Inspection, NamedInput, Process, ProcessControl, ProcessEnd,
    ProgramStdin, SignalScope, TransportError, WindowSize, Writer, remote,
};

/// What a terminal is called where nobody says; the session's own TERM comes later.
const TERM: &str = "xterm-256color";

/// How a channel becomes a process.
pub(super) struct Shape {
    pub(super) stdin: ProgramStdin,
    /// Where the program reads, if that is not the channel.
    pub(super) commands: Option<NamedInput>,
    pub(super) terminal: bool,
}

/// Asks for a terminal that hands the orders through as they are; the loader makes it an
/// ordinary one.
pub(super) async fn request_terminal(
    channel: &Channel<Msg>,
    size: WindowSize,
) -> Result<(), russh::Error> {
    let raw = [
        (Pty::ECHO, 0),
        (Pty::ICANON, 0),
        (Pty::ISIG, 0),
        (Pty::ICRNL, 0),
        (Pty::OPOST, 0),
    ];
    let (columns, rows) = (size.columns.into(), size.rows.into());
    channel
        .request_pty(false, TERM, columns, rows, 0, 0, &raw)
        .await
}

/// A process of a session, which `link` knows by a number, or one beside sessions.
pub(super) fn into_process(
    begun: Begun,
    shape: Shape,
    pid: i32,
    link: Option<(Arc<Link>, u64)>,
) -> Process {
    let Begun {
        stdout,
        stderr,
        end,
        write,
        preface: _,
    } = begun;
    let (stdin, commands): (Option<Writer>, _) = match (shape.commands, shape.stdin) {
        (Some(input), _) => (Some(input.writer), Some((input.path, input.keep))),
        (None, ProgramStdin::Closed) => (None, None),
        (None, ProgramStdin::Private | ProgramStdin::Pipe) => {
            (Some(Box::new(Input::new(&write))), None)
        }
    };
    let (path, keep) = commands.unzip();
    Process {
        stdin,
        stdout: Box::new(stdout),
        stderr: (!shape.terminal).then(|| Box::new(stderr) as _),
        control: Box::new(SshControl {
            link,
            pid,
            end,
            write,
            terminal: shape.terminal,
            commands: path,
            keep: Mutex::new(keep),
        }),
    }
}

/// A hold on one program.
struct SshControl {
    /// The session's, and the program's number in it; nothing for a program beside it.
    link: Option<(Arc<Link>, u64)>,
    pid: i32,
    end: watch::Receiver<Option<ProcessEnd>>,
    write: Arc<ChannelWriteHalf<Msg>>,
    terminal: bool,
    /// The pipe that it reads its commands from.
    commands: Option<String>,
    keep: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl SshControl {
    async fn ended(&self) -> ProcessEnd {
        let mut end = self.end.clone();
        let known = end.wait_for(Option::is_some).await.map(|end| *end);
        known.ok().flatten().unwrap_or(ProcessEnd::Unknown)
    }

    fn link(&self) -> Result<&Link, TransportError> {
        let link = self.link.as_ref().filter(|_| self.end.borrow().is_none());
        link.map(|(link, _)| link.as_ref())
            .ok_or_else(|| TransportError::Unreachable {
                target: "the program".to_owned(),
                reason: "it has ended".to_owned(),
            })
    }
}

impl ProcessControl for SshControl {
    fn wait(&self) -> BoxFuture<'_, ProcessEnd> {
        self.ended().boxed()
    }

    fn signal(
        &self,
        scope: SignalScope,
        signal: i32,
    ) -> BoxFuture<'_, Result<usize, TransportError>> {
        async move {
            let control = self.link()?.control.as_ref();
            remote::signal(control, self.pid, scope, signal).await
        }
        .boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, TransportError>> {
        async move {
            let control = self.link()?.control.as_ref();
            remote::inspect(control, self.pid, self.commands.as_deref()).await
        }
        .boxed()
    }

    fn waits_for_input<'a>(
        &'a self,
        source: &'a InputSource,
    ) -> BoxFuture<'a, Result<Option<InputWait>, TransportError>> {
        async move {
            let control = self.link()?.control.as_ref();
            remote::waits_for_input(control, self.pid, source).await
        }
        .boxed()
    }

    fn keyboard(&self) -> Option<Writer> {
        self.terminal.then(|| writer(&self.write))
    }

    fn forget_typed(&self) {
        // SSH has no way to empty a terminal's input, and what is typed never reaches the
        // shell, which reads elsewhere; the next command that reads may find it.
    }

    fn resize(&self, size: WindowSize) -> BoxFuture<'_, Result<(), TransportError>> {
        async move {
            if !self.terminal {
                return Err(TransportError::NoTerminal);
            }
            let (columns, rows) = (size.columns.into(), size.rows.into());
            let sent = self.write.window_change(columns, rows, 0, 0).await;
            sent.map_err(|error| TransportError::Unreachable {
                target: "the terminal".to_owned(),
                reason: error.to_string(),
            })
        }
        .boxed()
    }
}

impl Drop for SshControl {
    fn drop(&mut self) {
        let keep = self
            .keep
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let write = Arc::clone(&self.write);
        let end = *self.end.borrow();
        if let Some((link, id)) = &self.link {
            link.lock_programs().remove(id);
            if end == Some(ProcessEnd::Unknown) {
                link.note_lost(self.pid);
            }
        }
        let over = end.is_some();
        let (link, pid) = (self.link.take(), self.pid);
        tokio::spawn(async move {
            if let (false, Some((link, _))) = (over, link) {
                // Without a terminal it outlives its channel.
                let _unreachable = remote::drop_program(link.control.as_ref(), pid).await;
            }
            drop(keep);
            // A channel that is gone needs no closing.
            let _gone = write.close().await;
        });
    }
}
