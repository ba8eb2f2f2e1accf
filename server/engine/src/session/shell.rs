//! One running shell: its process, the framing into it and the pipeline out of it.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use execgate_core::framing::{Framing, Nonce, Streams, Token};
use execgate_core::pipeline::{Pipeline, PipelineEvent, Stream};
use execgate_core::redact::RedactionRules;
use execgate_core::shell::ShellKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::Error;
use crate::random;
use crate::transport::{Process, ProcessEnd, Program, ProgramStreams, Transport, WindowSize};

/// How long a shell may take to print its first marker.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// First and smallest size of a read, in bytes: an idle session should cost little.
const SMALLEST_READ: usize = 4 * 1024;

/// Largest read, in bytes: a quarter of the pipe, so that the command can go on writing.
const LARGEST_READ: usize = 256 * 1024;

/// How to start a shell, now and after it has ended.
#[derive(Debug, Clone)]
pub(crate) struct ShellSpec {
    pub(crate) kind: ShellKind,
    /// A path or a name.
    pub(crate) program: String,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) terminal: Option<WindowSize>,
    pub(crate) redaction: RedactionRules,
}

/// A shell that takes commands.
pub(crate) struct Shell {
    process: Process,
    pub(crate) framing: Framing,
    pub(crate) pipeline: Pipeline,
    /// Written for the shell, not yet taken by its channel.
    input: BytesMut,
    stdout: ReadBuffer,
    stderr: ReadBuffer,
}

/// What a shell can do.
#[derive(Debug)]
pub(crate) enum ShellEvent {
    /// Something came out; the events are in the buffer that was passed in.
    Output,
    /// It is over.
    Ended(ProcessEnd),
}

impl Shell {
    /// Starts a shell and waits until it takes commands; answers its working directory.
    pub(crate) async fn start(
        transport: &dyn Transport,
        spec: &ShellSpec,
        cwd: &str,
    ) -> Result<(Self, String), Error> {
        let (streams, program_streams) = match spec.terminal {
            Some(size) => (Streams::Terminal, ProgramStreams::Terminal(size)),
            None => (Streams::Separate, ProgramStreams::Separate),
        };
        let program = Program {
            program: spec.program.clone(),
            arguments: spec
                .kind
                .arguments()
                .iter()
                .map(|&word| word.to_owned())
                .collect(),
            env: spec.env.clone(),
            cwd: cwd.to_owned(),
            streams: program_streams,
        };
        let process = transport.spawn(&program).await?;
        let framing = Framing::new(Nonce::new(random::bytes()?), streams);
        let ready = Token::new(random::bytes()?);
        let pipeline = Pipeline::new(
            streams,
            &framing.marker_start(),
            spec.redaction.clone(),
            &ready,
        );
        let mut shell = Self {
            process,
            input: BytesMut::from(framing.init(&ready).as_slice()),
            framing,
            pipeline,
            stdout: ReadBuffer::new(),
            stderr: ReadBuffer::new(),
        };
        let cwd = tokio::time::timeout(READY_LIMIT, shell.until_ready())
            .await
            .unwrap_or_else(|_elapsed| Err(not_ready("it said nothing in time")))?;
        Ok((shell, cwd))
    }

    async fn until_ready(&mut self) -> Result<String, Error> {
        let mut events = Vec::new();
        loop {
            if let ShellEvent::Ended(end) = self.next(true, &mut events).await {
                return Err(not_ready(&format!("it ended: {end:?}")));
            }
            for event in events.drain(..) {
                if let PipelineEvent::Ended(end) = event {
                    self.framing.learn(end.status);
                    return Ok(end.cwd);
                }
            }
        }
    }

    /// Adds to what the shell will read.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Moves bytes both ways until something comes out or the shell ends. May be
    /// cancelled without loss.
    pub(crate) async fn next(
        &mut self,
        reading: bool,
        events: &mut Vec<PipelineEvent>,
    ) -> ShellEvent {
        loop {
            let Self {
                process,
                input,
                stdout,
                stderr,
                pipeline,
                ..
            } = self;
            let (read_stdout, read_stderr) = (reading && stdout.open, reading && stderr.open);
            tokio::select! {
                biased;
                written = process.stdin.write(input), if !input.is_empty() => match written {
                    Ok(bytes) => input.advance(bytes),
                    // The shell is gone, or closed its input; its end says so.
                    Err(_) => input.clear(),
                },
                read = process.stdout.read_buf(stdout.room()), if read_stdout => {
                    if let Some(data) = stdout.took(read) {
                        pipeline.push(Stream::Stdout, data, events);
                        return ShellEvent::Output;
                    }
                }
                read = read_optional(&mut process.stderr, stderr), if read_stderr => {
                    if let Some(data) = stderr.took(read) {
                        pipeline.push(Stream::Stderr, data, events);
                        return ShellEvent::Output;
                    }
                }
                end = process.control.wait() => return ShellEvent::Ended(end),
            }
        }
    }

    /// Takes what has already come out, without waiting for more; at most `reads` reads.
    pub(crate) fn drain(&mut self, reads: usize, events: &mut Vec<PipelineEvent>) {
        use futures::FutureExt;
        for _ in 0..reads {
            match self.next(true, events).now_or_never() {
                Some(ShellEvent::Output) => {}
                Some(ShellEvent::Ended(_)) | None => return,
            }
        }
    }

    /// Takes what a shell that has ended left behind. Its end may be known before its
    /// last bytes, and background jobs may hold the streams open: so it is read until
    /// they end or say nothing for `quiet`.
    pub(crate) async fn drain_ended(&mut self, quiet: Duration, events: &mut Vec<PipelineEvent>) {
        while self.stdout.open || self.stderr.open {
            let Self {
                process,
                stdout,
                stderr,
                pipeline,
                ..
            } = self;
            let (stream, read) = tokio::select! {
                biased;
                read = process.stdout.read_buf(stdout.room()), if stdout.open => {
                    (Stream::Stdout, stdout.took(read))
                }
                read = read_optional(&mut process.stderr, stderr), if stderr.open => {
                    (Stream::Stderr, stderr.took(read))
                }
                () = tokio::time::sleep(quiet) => return,
            };
            if let Some(data) = read {
                pipeline.push(stream, data, events);
            }
        }
    }

    /// The hold on the shell's process.
    pub(crate) fn control(&self) -> &dyn crate::transport::ProcessControl {
        self.process.control.as_ref()
    }
}

fn not_ready(reason: &str) -> Error {
    Error::ShellNotReady {
        reason: reason.to_owned(),
    }
}

async fn read_optional(
    stream: &mut Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    buffer: &mut ReadBuffer,
) -> io::Result<usize> {
    match stream {
        Some(stream) => stream.read_buf(buffer.room()).await,
        None => Ok(0),
    }
}

/// Where a stream is read into: small while little comes, larger while much does.
#[derive(Debug)]
struct ReadBuffer {
    bytes: BytesMut,
    size: usize,
    open: bool,
}

impl ReadBuffer {
    fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            size: SMALLEST_READ,
            open: true,
        }
    }

    fn room(&mut self) -> &mut BytesMut {
        self.bytes.reserve(self.size);
        &mut self.bytes
    }

    /// What a read brought; nothing at the end of the stream.
    fn took(&mut self, read: io::Result<usize>) -> Option<Bytes> {
        let read = read.unwrap_or(0);
        if read == 0 {
            self.open = false;
            return None;
        }
        self.size = match read {
            full if full >= self.size => (self.size * 4).min(LARGEST_READ),
            little if little < self.size / 4 => (self.size / 2).max(SMALLEST_READ),
            _ => self.size,
        };
        Some(self.bytes.split().freeze())
    }
}
