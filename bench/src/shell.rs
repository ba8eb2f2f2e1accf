//! The least that a persistent shell takes: bash, three pipes, `eval`, and a mark at the end
//! of both streams. No policy, no record, no redaction, no time limit, no confinement.

use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::Result;
use crate::race::Contender;

/// Ends a command on each stream; measured commands print no such byte.
pub(crate) const MARK: u8 = 0x1e;

/// Largest read, in bytes: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// A bash on three pipes.
#[derive(Debug)]
pub(crate) struct BareShell {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    buffer: Vec<u8>,
    /// Marks of the present command that were seen on stdout; two end it.
    marks: usize,
    child: Child,
}

/// The lines that run a script without single quotes in it: it prints what it does, then two
/// marks around its exit code on stdout and one on stderr.
pub(crate) fn request(script: &str) -> String {
    format!("eval '{script}' </dev/null\nprintf '\\036%s\\036' $?; printf '\\036' >&2\n")
}

impl BareShell {
    /// Starts one.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]);
        Self::of(command)
    }

    /// The one that this command starts.
    pub(crate) fn of(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = "the shell has no pipes";
        Ok(Self {
            stdin: child.stdin.take().ok_or(missing)?,
            stdout: child.stdout.take().ok_or(missing)?,
            stderr: child.stderr.take().ok_or(missing)?,
            buffer: vec![0; READ_BYTES],
            marks: 2,
            child,
        })
    }

    /// Starts a command without single quotes in it.
    pub(crate) async fn begin(&mut self, script: &str) -> Result<()> {
        self.stdin.write_all(request(script).as_bytes()).await?;
        self.marks = 0;
        Ok(())
    }

    /// The next bytes of the command's output; nothing at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            if self.marks == 2 {
                let mut mark = [0; 1];
                self.stderr.read_exact(&mut mark).await?;
                return Ok(None);
            }
            let read = self.stdout.read(&mut self.buffer).await?;
            let bytes = self.buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return Err("the shell has ended".into());
            }
            let first = self.marks == 0;
            let end = memchr::memchr(MARK, bytes).unwrap_or(bytes.len());
            self.marks += memchr::memchr_iter(MARK, bytes).count();
            if first && end > 0 {
                return Ok(self.buffer.get(..end));
            }
        }
    }

    /// Tells it to end, and waits until it has.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.stdin);
        self.child.wait().await?;
        Ok(())
    }
}

#[tonic::async_trait(?Send)]
impl Contender for BareShell {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.begin(script).await?;
        while self.next().await?.is_some() {}
        Ok(())
    }

    async fn stream(&mut self, script: &str, bytes: u64) -> Result<f64> {
        let start = Instant::now();
        self.begin(script).await?;
        let mut came = 0;
        while let Some(bytes) = self.next().await? {
            came += bytes.len() as u64;
        }
        match came == bytes {
            true => Ok(start.elapsed().as_secs_f64()),
            false => Err(format!("{came} bytes came").into()),
        }
    }
}
