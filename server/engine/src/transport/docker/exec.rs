//! One exec in a container: started for real or refused with the reason, its streams, and
//! its end as the engine observes it.
//!
//! The engine answers a start before it has tried: a program that is not there "starts",
//! prints the runtime's complaint on its stdout and ends with 126 or 127. So the engine is
//! asked what came of it before anything else is done.

use std::sync::Arc;
use std::time::Duration;

use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use execgate_core::outcome::LaunchFailureKind;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Inside;
use super::errors::{is_missing, refused};
use super::streams::{Frames, Input, hand_on};
use super::watch::Watch;
use crate::transport::{ProcessEnd, TransportError, WindowSize};

/// Bytes of a connection that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// How long the engine may take to say whether a program started: a hundred times of what
/// it takes.
const LAUNCH_LIMIT: Duration = Duration::from_secs(20);

/// Pause between two questions whether a program started.
const LAUNCH_PAUSE: Duration = Duration::from_millis(4);

/// Bytes of a runtime's complaint that are looked at, and how long it may take to come.
const COMPLAINT_BYTES: u64 = 4096;
const COMPLAINT_LIMIT: Duration = Duration::from_millis(500);

/// How long the streams of an exec that has ended may take to end: what it left in the
/// background may hold them open.
pub(super) const STREAMS_LIMIT: Duration = Duration::from_millis(250);

/// How a program ends by SIGKILL, as the engine counts, and how long the news that its
/// container died may take to follow.
const KILLED: i32 = 137;
const DEATH_LIMIT: Duration = Duration::from_millis(500);

/// Pause between two questions how an exec ended whose streams have.
const END_PAUSE: Duration = Duration::from_millis(100);

/// What to start.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) argv: Vec<String>,
    pub(super) terminal: Option<WindowSize>,
    /// `NAME=value`, beside what the container has.
    pub(super) env: Vec<String>,
    /// Where it starts; where the container does, if nothing is said.
    pub(super) cwd: Option<String>,
}

/// An exec that runs.
pub(super) struct Exec {
    pub(super) stdin: Input,
    pub(super) stdout: Frames,
    /// Nothing comes on it where there is a terminal.
    pub(super) stderr: Frames,
    pub(super) hold: Hold,
}

/// A hold on an exec. Dropping it lets go of the streams; the process lives on.
#[derive(Debug)]
pub(super) struct Hold {
    id: String,
    end: Arc<watch::Sender<Option<ProcessEnd>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Hold {
    /// Waits for the end.
    pub(super) async fn ended(&self) -> ProcessEnd {
        let mut end = self.end.subscribe();
        let known = end.wait_for(Option::is_some).await.map(|end| *end);
        known.ok().flatten().unwrap_or(ProcessEnd::Unknown)
    }

    /// The end, if it is known.
    pub(super) fn end(&self) -> Option<ProcessEnd> {
        *self.end.borrow()
    }

    /// Nobody waits for its end any more: it is out of reach and was to be killed.
    pub(super) fn give_up(&self) {
        self.end.send_replace(Some(ProcessEnd::Unknown));
    }

    /// Gives the terminal another size.
    pub(super) async fn resize(
        &self,
        inside: &Inside,
        size: WindowSize,
    ) -> Result<(), TransportError> {
        let size = ResizeExecOptions {
            height: size.rows,
            width: size.columns,
        };
        let asked = inside.engine.resize_exec(&self.id, size);
        asked.await.map_err(|error| refused(&inside.name, &error))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts an exec; comes back when its program runs.
pub(super) async fn start(inside: &Inside, request: Request) -> Result<Exec, TransportError> {
    let program = request.argv.first().cloned().unwrap_or_default();
    let terminal = request.terminal;
    let failed = |error| refused(&inside.name, &error);
    let watch = inside.watch.now();
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal.is_some()),
        cmd: Some(request.argv),
        env: Some(request.env),
        working_dir: request.cwd,
        user: inside.user.clone(),
        console_size: terminal.map(|size| vec![size.rows.into(), size.columns.into()]),
        ..ExecConfig::default()
    };
    let created = inside.engine.create_exec(&inside.id, config);
    let id = created.await.map_err(failed)?.id;
    let options = StartExecOptions {
        detach: false,
        // What is asked for here is how the bytes travel; the exec was made with its terminal
        // above. Unframed, a read that begins with a byte below 3 is one that the client
        // library takes for a frame's head, and it would wait for the frame's rest.
        tty: false,
        output_capacity: Some(READ_BYTES),
    };
    let started = inside.engine.start_exec(&id, Some(options));
    let (output, input) = match started.await.map_err(failed)? {
        StartExecResults::Attached { output, input } => (output, input),
        StartExecResults::Detached => return Err(vanished(inside)),
    };
    let (stdout_frames, mut stdout) = Frames::new();
    let (stderr_frames, stderr) = Frames::new();
    let (streams_ended, streams) = watch::channel(false);
    let reading = tokio::spawn(async move {
        hand_on(output, stdout_frames, stderr_frames).await;
        streams_ended.send_replace(true);
    });
    if let Launch::Failed = launch(inside, &id).await? {
        let complaint = complaint(&mut stdout).await;
        reading.abort();
        return Err(launch_error(program, complaint));
    }
    let end = Arc::new(watch::Sender::new(None));
    let sender = Arc::clone(&end);
    let ending = tokio::spawn(observe(inside.clone(), watch, id.clone(), streams, sender));
    Ok(Exec {
        stdin: Input::new(input),
        stdout,
        stderr,
        hold: Hold {
            id,
            end,
            tasks: [reading, ending],
        },
    })
}

fn vanished(inside: &Inside) -> TransportError {
    TransportError::Unreachable {
        target: inside.name.to_string(),
        reason: "the engine let go of an exec".to_owned(),
    }
}

enum Launch {
    Running,
    Failed,
}

/// What came of a start.
async fn launch(inside: &Inside, id: &str) -> Result<Launch, TransportError> {
    let asking = async {
        loop {
            let seen = inside.engine.inspect_exec(id);
            let seen = seen.await.map_err(|error| refused(&inside.name, &error))?;
            match (seen.pid.unwrap_or(0), seen.exit_code) {
                (1.., _) => return Ok(Launch::Running),
                (_, Some(_)) => return Ok(Launch::Failed),
                (_, None) => tokio::time::sleep(LAUNCH_PAUSE).await,
            }
        }
    };
    tokio::time::timeout(LAUNCH_LIMIT, asking)
        .await
        .unwrap_or_else(|_elapsed| Err(vanished(inside)))
}

/// What the runtime says of a program that did not start.
async fn complaint(stdout: &mut Frames) -> String {
    let mut text = Vec::new();
    let mut stdout = stdout.take(COMPLAINT_BYTES);
    let read = stdout.read_to_end(&mut text);
    let _part = tokio::time::timeout(COMPLAINT_LIMIT, read).await;
    String::from_utf8_lossy(&text).trim().to_owned()
}

pub(super) fn launch_error(program: String, complaint: String) -> TransportError {
    let says = |text: &str| complaint.contains(text);
    let missing = says("no such file or directory") || says("not found");
    let (kind, errno) = match () {
        () if missing => (LaunchFailureKind::NotFound, libc::ENOENT),
        () if says("permission denied") || says("is a directory") => {
            (LaunchFailureKind::PermissionDenied, libc::EACCES)
        }
        () if says("exec format error") => (LaunchFailureKind::NotExecutable, libc::ENOEXEC),
        () => (LaunchFailureKind::Other, 0),
    };
    TransportError::Launch {
        program,
        kind,
        errno,
        message: complaint,
    }
}

/// Finds out how an exec ends, by the engine's events or, where its streams have ended, by
/// asking.
async fn observe(
    inside: Inside,
    container: Arc<Watch>,
    id: String,
    mut streams: watch::Receiver<bool>,
    sender: Arc<watch::Sender<Option<ProcessEnd>>>,
) {
    let end = tokio::select! {
        end = container.end_of(&id) => end,
        end = asked(&inside, &container, &id, streams.clone()) => end,
    };
    // What ends a container ends its programs first, so that this may be news of both.
    let end = match end {
        ProcessEnd::Code(KILLED) => {
            let over = tokio::time::timeout(DEATH_LIMIT, container.until_over()).await;
            over.unwrap_or(end)
        }
        end => end,
    };
    // The last bytes come on another connection than the news of the end.
    if matches!(end, ProcessEnd::Code(_)) {
        let ended = streams.wait_for(|ended| *ended);
        let _held_open = tokio::time::timeout(STREAMS_LIMIT, ended).await;
    }
    sender.send_replace(Some(end));
}

async fn asked(
    inside: &Inside,
    container: &Watch,
    id: &str,
    mut streams: watch::Receiver<bool>,
) -> ProcessEnd {
    drop(streams.wait_for(|ended| *ended).await);
    loop {
        match inside.engine.inspect_exec(id).await {
            Ok(seen) if seen.running != Some(true) => {
                let code = seen.exit_code.and_then(|code| i32::try_from(code).ok());
                if let Some(code) = code {
                    return ProcessEnd::Code(code);
                }
            }
            Ok(_runs_without_streams) => {}
            // The engine has forgotten it: it was started anew, or its container is gone.
            Err(error) if is_missing(&error) => {
                return container.over().unwrap_or(ProcessEnd::Unknown);
            }
            // The watch finds out.
            Err(_) => {}
        }
        tokio::time::sleep(END_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(complaint: &str) -> (LaunchFailureKind, i32) {
        match launch_error("x".to_owned(), complaint.to_owned()) {
            TransportError::Launch { kind, errno, .. } => (kind, errno),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_runtimes_complaint_says_what_is_missing() {
        let failed = |rest: &str| {
            kind(&format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {rest}"
            ))
        };
        assert_eq!(
            failed("exec: \"nope\": executable file not found in $PATH: unknown"),
            (LaunchFailureKind::NotFound, libc::ENOENT)
        );
        assert_eq!(
            failed("exec: \"/etc/passwd\": permission denied: unknown"),
            (LaunchFailureKind::PermissionDenied, libc::EACCES)
        );
        assert_eq!(
            failed("exec /bin/x: exec format error: unknown"),
            (LaunchFailureKind::NotExecutable, libc::ENOEXEC)
        );
    }
}
