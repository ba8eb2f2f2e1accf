//! A Docker engine, a container that goes with its value, and the engine's API without a
//! client program: an exec that is held, and one for each command.

use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_stream::{Stream, StreamExt};

use crate::Result;
use crate::held::{HeldShell, Message, Wire};
use crate::race::Contender;

/// How the names of our containers begin.
pub(super) const PREFIX: &str = "execgate-bench-";

/// Of a small Debian with bash; the tests make it of this machine's packages.
pub(super) const IMAGE: &str = "execgate-test-runtime";

/// Largest read of a stream, in bytes: what execgate asks for.
const READ_BYTES: usize = 64 * 1024;

/// A container that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) host: String,
    pub(super) name: String,
    engine: Docker,
}

impl Container {
    /// Starts one in the engine that the variable names.
    pub(super) fn start() -> Result<Self> {
        let host = std::env::var("DOCKER_HOST").map_err(|_| "there is no Docker engine")?;
        said(script("scripts/docker-images").arg("runtime"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let name = format!("{PREFIX}{now}");
        let mut docker = Command::new("docker");
        docker.args([
            "run",
            "--detach",
            "--init",
            "--network",
            "none",
            "--name",
            &name,
        ]);
        said(docker.args([IMAGE, "sleep", "100000"]))?;
        Ok(Self {
            engine: Docker::connect_with_host(&host)?,
            host,
            name,
        })
    }

    /// The engine and the name, for one who is dropped before.
    pub(super) fn clone_handle(&self) -> (Docker, String) {
        (self.engine.clone(), self.name.clone())
    }

    /// A bash at the end of an attach stream.
    pub(super) async fn shell(&self) -> Result<HeldShell<Attached>> {
        let words = ["bash", "--noprofile", "--norc"];
        let attached = attach(&self.engine, &self.name, &words).await?;
        Ok(HeldShell(attached))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let removed = said(Command::new("docker").args(["rm", "--force", &self.name]));
        if let Err(error) = removed {
            eprintln!("docker rm --force {}: {error}", self.name);
        }
    }
}

/// Where an engine is; starts one, if none answers and this user can.
pub(crate) fn find_engine() -> Result<String> {
    said(&mut script("scripts/docker-engine"))
}

/// A script of the repository.
fn script(path: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(root.join(path));
    command.current_dir(root);
    command
}

/// What a program prints.
fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
        false => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(errors.trim().to_owned().into())
        }
    }
}

/// The streams of an exec.
pub(super) struct Attached {
    output: Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, Error>> + Send>>,
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

async fn attach(engine: &Docker, container: &str, words: &[&str]) -> Result<Attached> {
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(words.iter().map(|&word| word.to_owned()).collect()),
        ..ExecConfig::default()
    };
    let exec = engine.create_exec(container, config).await?.id;
    let options = StartExecOptions {
        output_capacity: Some(READ_BYTES),
        ..StartExecOptions::default()
    };
    match engine.start_exec(&exec, Some(options)).await? {
        StartExecResults::Attached { output, input } => Ok(Attached { output, input }),
        StartExecResults::Detached => Err("the exec is not attached".into()),
    }
}

#[tonic::async_trait(?Send)]
impl Wire for Attached {
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.input.write_all(bytes).await?;
        self.input.flush().await?;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Message> {
        match self.output.next().await.ok_or("the exec has ended")?? {
            LogOutput::StdOut { message } => Ok(Message::stdout(&message)),
            LogOutput::StdErr { message } => Ok(Message::stderr(&message)),
            LogOutput::StdIn { .. } | LogOutput::Console { .. } => Ok(Message::Other),
        }
    }
}

/// An exec for each command, without a client program.
pub(super) struct ExecPerCommand(pub(super) (Docker, String));

#[tonic::async_trait(?Send)]
impl Contender for ExecPerCommand {
    async fn once(&mut self, script: &str) -> Result<()> {
        let Self((engine, container)) = self;
        let words = ["bash", "--noprofile", "--norc", "-c", script];
        let mut attached = attach(engine, container, &words).await?;
        while let Some(output) = attached.output.next().await {
            output?;
        }
        Ok(())
    }
}
