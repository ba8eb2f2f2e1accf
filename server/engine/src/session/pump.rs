//! One process and the pipeline that its output goes through: bytes in, bytes out, its end.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use execgate_core::pipeline::{Pipeline, PipelineEvent, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::redaction::FollowedRules;
use crate::transport::{Process, ProcessControl, ProcessEnd, Writer};

/// First and smallest size of a read, in bytes: an idle session should cost little.
const SMALLEST_READ: usize = 512;

/// Largest read, in bytes: a quarter of the pipe, so that the command can go on writing.
const LARGEST_READ: usize = 256 * 1024;

/// A read of so many bytes, and another task gets its turn before the next: a flood that is
/// always ready would otherwise keep the thread until the runtime's own patience ends, a
/// hundred such reads later.
const FAIR_READ: usize = 64 * 1024;

/// Most bytes that are read after a process has ended: twice what its pipes can hold. What
/// comes beyond is written by somebody who lives on.
const LEFT_BEHIND: usize = 4 * 1024 * 1024;

/// A process, read through its pipeline.
pub(crate) struct Pump {
    process: Process,
    pub(crate) pipeline: Pipeline,
    rules: FollowedRules,
    /// Written for the process, not yet taken by its channel.
    input: BytesMut,
    stdout: ReadBuffer,
    stderr: ReadBuffer,
    /// The last read was a large one.
    flooding: bool,
}

/// What a process can do.
#[derive(Debug)]
pub(crate) enum PumpEvent {
    /// Something came out; the events are in the buffer that was passed in.
    Output,
    /// It is over.
    Ended(ProcessEnd),
}

impl Pump {
    /// A pump for a process that has just started.
    pub(crate) fn new(process: Process, pipeline: Pipeline, rules: FollowedRules) -> Self {
        Self {
            process,
            pipeline,
            rules,
            input: BytesMut::new(),
            stdout: ReadBuffer::new(),
            stderr: ReadBuffer::new(),
            flooding: false,
        }
    }

    /// Adds to what the process will read.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Moves bytes both ways until something comes out or the process ends. May be
    /// cancelled without loss.
    pub(crate) async fn next(
        &mut self,
        reading: bool,
        events: &mut Vec<PipelineEvent>,
    ) -> PumpEvent {
        if std::mem::take(&mut self.flooding) {
            tokio::task::yield_now().await;
        }
        loop {
            let Self {
                process,
                input,
                stdout,
                stderr,
                pipeline,
                rules,
                flooding,
            } = self;
            let (read_stdout, read_stderr) = (reading && stdout.open, reading && stderr.open);
            tokio::select! {
                biased;
                written = write_optional(&mut process.stdin, input), if !input.is_empty() => {
                    match written {
                        Ok(bytes) => input.advance(bytes),
                        // It is gone, or closed its input; its end says so.
                        Err(_) => input.clear(),
                    }
                }
                read = process.stdout.read_buf(stdout.room()), if read_stdout => {
                    if let Some(data) = stdout.took(read) {
                        *flooding = data.len() >= FAIR_READ;
                        rules.refresh(pipeline);
                        pipeline.push(Stream::Stdout, data, events);
                        return PumpEvent::Output;
                    }
                }
                read = read_optional(&mut process.stderr, stderr), if read_stderr => {
                    if let Some(data) = stderr.took(read) {
                        *flooding = data.len() >= FAIR_READ;
                        rules.refresh(pipeline);
                        pipeline.push(Stream::Stderr, data, events);
                        return PumpEvent::Output;
                    }
                }
                end = process.control.wait() => return PumpEvent::Ended(end),
            }
        }
    }

    /// Takes what has already come out, without waiting for more; at most `reads` reads.
    pub(crate) fn drain(&mut self, reads: usize, events: &mut Vec<PipelineEvent>) {
        use futures::FutureExt;
        for _ in 0..reads {
            self.flooding = false;
            match self.next(true, events).now_or_never() {
                Some(PumpEvent::Output) => {}
                Some(PumpEvent::Ended(_)) | None => return,
            }
        }
    }

    /// Takes what a process that has ended left behind. Its end may be known before its
    /// last bytes, and background jobs may hold the streams open: so it is read until
    /// they end or say nothing for `quiet`, or until more has come than can have been left.
    pub(crate) async fn drain_ended(&mut self, quiet: Duration, events: &mut Vec<PipelineEvent>) {
        let mut left = LEFT_BEHIND;
        while left > 0 && (self.stdout.open || self.stderr.open) {
            let Self {
                process,
                stdout,
                stderr,
                pipeline,
                rules,
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
                left = left.saturating_sub(data.len());
                rules.refresh(pipeline);
                pipeline.push(stream, data, events);
            }
        }
    }

    /// Lets go of what redaction holds back and may, under the rules of now.
    pub(crate) fn flush_idle(&mut self, events: &mut Vec<PipelineEvent>) {
        self.refresh();
        self.pipeline.flush_idle(events);
    }

    /// Hands the pipeline what its session has learned since.
    pub(crate) fn refresh(&mut self) {
        self.rules.refresh(&mut self.pipeline);
    }

    /// The hold on the process.
    pub(crate) fn control(&self) -> &dyn ProcessControl {
        self.process.control.as_ref()
    }

    /// The process's standard input, to be fed by somebody else.
    pub(crate) fn take_stdin(&mut self) -> Option<Writer> {
        self.process.stdin.take()
    }
}

async fn write_optional(writer: &mut Option<Writer>, bytes: &[u8]) -> io::Result<usize> {
    match writer {
        Some(writer) => writer.write(bytes).await,
        None => Err(io::ErrorKind::BrokenPipe.into()),
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
