//! A process for each command: what people do who have no session.

use std::process::Stdio;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::Result;
use crate::race::Contender;

/// Largest read, in bytes: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// A program whose last argument is the script.
#[derive(Debug, Clone)]
pub(crate) struct PerCommand {
    program: String,
    arguments: Vec<String>,
}

impl PerCommand {
    /// This program with these arguments before the script.
    pub(crate) fn new<S: Into<String>>(
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
        }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg(script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

#[tonic::async_trait(?Send)]
impl Contender for PerCommand {
    async fn once(&mut self, script: &str) -> Result<()> {
        let output = self.command(script).output().await?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("{}: {} {said}", self.program, output.status).into())
            }
        }
    }

    async fn stream(&mut self, script: &str, bytes: u64) -> Result<f64> {
        let start = Instant::now();
        let mut child = self.command(script).stderr(Stdio::null()).spawn()?;
        let mut stdout = child.stdout.take().ok_or("it has no pipe")?;
        let (mut buffer, mut came) = (vec![0; READ_BYTES], 0);
        loop {
            match stdout.read(&mut buffer).await? {
                0 => break,
                read => came += read as u64,
            }
        }
        child.wait().await?;
        match came == bytes {
            true => Ok(start.elapsed().as_secs_f64()),
            false => Err(format!("{came} bytes came").into()),
        }
    }
}
