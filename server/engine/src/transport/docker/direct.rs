//! Programs where there is no shell to start them: in a container that was there, an exec
//! each; of an image, a container each, for nothing but the program could keep one running.
//!
//! ```text
//! image      spawn ─► container made, its streams held, started ─► ends ─► removed
//! container  spawn ─► exec with the program's own words; the engine cannot signal it
//! ```

use std::sync::Arc;

use bollard::container::AttachContainerResults;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Inside;
use super::container::{Owned, Recipe};
use super::errors::{in_full, refused};
use super::exec::{self, Request, launch_error};
use super::streams::{Frames, Input, hand_on};
use crate::session::signals;
use crate::transport::{
    EndedProcess, Inspection, Leftovers, NamedInput, Process, ProcessControl, ProcessEnd, Program,
    ProgramStdin, SignalScope, Transport, TransportError, WindowSize, Writer,
};

/// Where programs run.
#[derive(Debug)]
pub(super) enum Direct {
    /// In a container that was there.
    Entered(Inside),
    /// In containers that are made after this.
    Made(Box<Recipe>),
}

impl Direct {
    async fn start(&self, program: &Program) -> Result<Process, TransportError> {
        match self {
            Self::Entered(inside) => enter(inside, program).await,
            Self::Made(recipe) => make(recipe, program).await,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Entered(inside) => inside.name.to_string(),
            Self::Made(recipe) => recipe.target.clone(),
        }
    }
}

impl Transport for Direct {
    fn spawn<'a>(&'a self, program: &'a Program) -> BoxFuture<'a, Result<Process, TransportError>> {
        self.start(program).boxed()
    }

    fn open_input(&self) -> BoxFuture<'_, Result<NamedInput, TransportError>> {
        let error = TransportError::Unusable {
            target: self.name(),
            reason: "it has no shell, and so no commands with an input".to_owned(),
        };
        std::future::ready(Err(error)).boxed()
    }

    fn close(&self, _leftovers: Leftovers) -> BoxFuture<'_, Vec<EndedProcess>> {
        // Each program goes with its hold, which its execution lets go of.
        std::future::ready(Vec::new()).boxed()
    }
}

/// Program and arguments.
fn words(program: &Program) -> Vec<String> {
    let program_and = std::iter::once(&program.program);
    program_and.chain(&program.arguments).cloned().collect()
}

/// The environment as the engine takes it.
fn variables(program: &Program) -> Vec<String> {
    let pairs = program.env.iter();
    pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

async fn enter(inside: &Inside, program: &Program) -> Result<Process, TransportError> {
    let request = Request {
        argv: words(program),
        terminal: None,
        env: variables(program),
        cwd: Some(program.cwd.clone()),
    };
    let exec = exec::start(inside, request).await?;
    let control = Control::Entered {
        name: inside.name.to_string(),
        hold: exec.hold,
    };
    Ok(process(
        program,
        exec.stdin,
        exec.stdout,
        exec.stderr,
        control,
    ))
}

fn process(
    program: &Program,
    stdin: Input,
    stdout: Frames,
    stderr: Frames,
    control: Control,
) -> Process {
    Process {
        // Dropped, it is the end of the input.
        stdin: match program.stdin {
            ProgramStdin::Closed => None,
            ProgramStdin::Private | ProgramStdin::Pipe => Some(Box::new(stdin) as Writer),
        },
        stdout: Box::new(stdout),
        stderr: Some(Box::new(stderr)),
        control: Box::new(control),
    }
}

async fn make(recipe: &Recipe, program: &Program) -> Result<Process, TransportError> {
    let failed = |error| refused(&recipe.target, &error);
    let body = ContainerCreateBody {
        entrypoint: Some(words(program)),
        env: Some(variables(program)),
        working_dir: Some(program.cwd.clone()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        ..recipe.body()
    };
    let owned = recipe.create(body).await?;
    let id = owned.id().to_owned();
    let options = AttachContainerOptionsBuilder::new()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .stderr(true);
    let attached = recipe.engine.attach_container(&id, Some(options.build()));
    let AttachContainerResults { output, input } = match attached.await {
        Ok(attached) => attached,
        Err(error) => {
            owned.remove().await;
            return Err(failed(error));
        }
    };
    let (stdout_frames, stdout) = Frames::new();
    let (stderr_frames, stderr) = Frames::new();
    let (streams_ended, streams) = watch::channel(false);
    let reading = tokio::spawn(async move {
        hand_on(output, stdout_frames, stderr_frames).await;
        streams_ended.send_replace(true);
    });
    let ended = wait(recipe.engine.clone(), id.clone(), streams);
    let ended = ended.boxed().shared();
    let ending = tokio::spawn(ended.clone().map(drop));
    let started = recipe
        .engine
        .start_container(&id, None::<StartContainerOptions>);
    if let Err(error) = started.await {
        reading.abort();
        ending.abort();
        owned.remove().await;
        return Err(match error {
            bollard::errors::Error::DockerResponseServerError { .. } => {
                launch_error(program.program.clone(), in_full(&error))
            }
            error => failed(error),
        });
    }
    let control = Control::Made {
        engine: recipe.engine.clone(),
        owned: Arc::new(owned),
        ended,
        tasks: [reading, ending],
    };
    Ok(process(program, Input::new(input), stdout, stderr, control))
}

/// Waits for the end of a container's program.
async fn wait(
    engine: bollard::Docker,
    id: String,
    mut streams: watch::Receiver<bool>,
) -> ProcessEnd {
    // From now on, also where it is not started yet.
    let options = WaitContainerOptionsBuilder::new().condition("next-exit");
    let mut waiting = engine.wait_container(&id, Some(options.build()));
    let code = match waiting.next().await {
        Some(Ok(answer)) => answer.status_code,
        // A code that is not 0 comes as an error of the library's.
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(_)) | None => return ProcessEnd::Unknown,
    };
    // The last bytes come on another connection than the news of the end.
    let last = streams.wait_for(|ended| *ended).map(drop);
    let _held_open = tokio::time::timeout(exec::STREAMS_LIMIT, last).await;
    let seen = engine.inspect_container(&id, None::<InspectContainerOptions>);
    let state = seen.await.ok().and_then(|seen| seen.state);
    match (
        state.and_then(|state| state.oom_killed),
        i32::try_from(code),
    ) {
        (Some(true), _) => ProcessEnd::OutOfMemory,
        (_, Ok(code)) => ProcessEnd::Code(code),
        (_, Err(_)) => ProcessEnd::Unknown,
    }
}

/// A hold on a program.
enum Control {
    /// An exec. Letting go of it does not end it: nothing there could.
    Entered { name: String, hold: exec::Hold },
    /// A container, which is removed with the hold.
    Made {
        engine: bollard::Docker,
        owned: Arc<Owned>,
        ended: Shared<BoxFuture<'static, ProcessEnd>>,
        tasks: [JoinHandle<()>; 2],
    },
}

impl Control {
    async fn send(&self, scope: SignalScope, signal: i32) -> Result<usize, TransportError> {
        match self {
            Self::Entered { name, hold } => {
                if signal == signals::KILL {
                    // What cannot be ended is not waited for either.
                    hold.give_up();
                }
                Err(TransportError::Unusable {
                    target: name.clone(),
                    reason: "it has no shell that could signal its programs".to_owned(),
                })
            }
            Self::Made { engine, owned, .. } => {
                // It is one process to the engine, whatever it has started.
                if !matches!(scope, SignalScope::Foreground | SignalScope::Program) {
                    return Ok(0);
                }
                let options = KillContainerOptionsBuilder::new().signal(&signal.to_string());
                let sent = engine.kill_container(owned.id(), Some(options.build()));
                sent.await.map_err(|error| refused(owned.id(), &error))?;
                Ok(1)
            }
        }
    }
}

impl ProcessControl for Control {
    fn wait(&self) -> BoxFuture<'_, ProcessEnd> {
        match self {
            Self::Entered { hold, .. } => hold.ended().boxed(),
            Self::Made { ended, .. } => ended.clone().boxed(),
        }
    }

    fn signal(
        &self,
        scope: SignalScope,
        signal: i32,
    ) -> BoxFuture<'_, Result<usize, TransportError>> {
        self.send(scope, signal).boxed()
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

impl Drop for Control {
    fn drop(&mut self) {
        if let Self::Made { tasks, .. } = self {
            for task in tasks {
                task.abort();
            }
        }
    }
}
