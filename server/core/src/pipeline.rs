//! The only interpreter of a session's bytes: raw chunks in, events out.
//!
//! ```text
//! stream ─► scanner (markers) ─► redactor ─► totals (offset, lines, sha256) ─► event
//! ```
//!
//! Each stream has a lane. A lane is at any time either *starting* (bytes are thrown
//! away until the shell's first marker), *idle* (bytes are background output), *awaiting*
//! (the same, until the command's start marker, which comes on the first lane only) or
//! *running* (bytes are the command's, until its end marker). A command has ended when
//! every lane has seen its end marker. No clock and no I/O here: the caller says when a stream is idle.

mod scanner;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::framing::{STATUS_NO_CWD, Streams, Token};
use crate::outcome::{Channel, ChannelTotals};
use crate::redact::{RedactionCounts, RedactionRules, Redactor};
use scanner::{Marker, Piece, Scanner};

/// Most bytes in one output event. Python streams 690 MB/s in chunks of 64 KiB and
/// 80 MB/s in chunks of 4 KiB.
pub const MAX_OUTPUT_EVENT_BYTES: usize = 64 * 1024;

/// Which stream of the shell's process a chunk was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its fd 1, or the terminal.
    Stdout,
    /// Its fd 2.
    Stderr,
}

/// What came out of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineEvent {
    /// Redacted output, at most [`MAX_OUTPUT_EVENT_BYTES`].
    Output {
        /// The channel.
        channel: Channel,
        /// Where the data starts in the channel's redacted stream.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// The command has ended, and all its output is out.
    Ended(CommandEnd),
    /// What the shell exports, as it prints it: see [`crate::environment`]. Not redacted,
    /// for no eyes.
    Environment(Bytes),
}

/// How the shell says a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEnd {
    /// Its status; nothing where the working directory could not be entered.
    pub status: Option<i32>,
    /// The shell's working directory now.
    pub cwd: String,
}

/// The pipeline of one shell.
#[derive(Debug)]
pub struct Pipeline {
    rules: RedactionRules,
    lanes: Vec<Lane>,
    /// Background output of all lanes is one channel.
    background: Tally,
    end: Option<CommandEnd>,
}

impl Pipeline {
    /// A pipeline for a shell that will print `ready` when it can take commands; until
    /// then its output is nobody's.
    #[must_use]
    pub fn new(
        streams: Streams,
        marker_start: &[u8],
        rules: RedactionRules,
        ready: &Token,
    ) -> Self {
        let channels: &[Channel] = match streams {
            Streams::Separate => &[Channel::Stdout, Channel::Stderr],
            Streams::Terminal => &[Channel::Terminal],
        };
        let lanes = channels
            .iter()
            .map(|&channel| Lane::starting(channel, marker_start, &rules, ready))
            .collect();
        Self {
            rules,
            lanes,
            background: Tally::default(),
            end: None,
        }
    }

    /// A pipeline for a program without a shell: every byte is its output, from the first
    /// to the last.
    #[must_use]
    pub fn direct(rules: RedactionRules) -> Self {
        let lanes = [Channel::Stdout, Channel::Stderr]
            .map(|channel| Lane::new(channel, Phase::Running, None, &rules));
        Self {
            lanes: lanes.into(),
            rules,
            background: Tally::default(),
            end: None,
        }
    }

    /// Goes on under other rules, also within a running command: what a session has learned
    /// counts at once.
    pub fn set_rules(&mut self, rules: RedactionRules) {
        for lane in &mut self.lanes {
            lane.redactor.set_rules(&rules);
            lane.background_rules = rules.clone();
        }
        self.rules = rules;
    }

    /// An idle shell was asked for its environment, with this token.
    pub fn await_environment(&mut self, token: &Token) {
        if let Some(lane) = self.lanes.first_mut() {
            lane.await_marker(token);
        }
    }

    /// A command was sent whose markers carry `token`: its bytes come next.
    pub fn begin(&mut self, token: &Token, events: &mut Vec<PipelineEvent>) {
        self.end = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            lane.await_token(token);
            if index > 0 {
                lane.begin(&self.rules, &mut self.background, events);
            }
        }
    }

    /// Whether the shell has read the command that was sent last.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.lanes.iter().all(|lane| lane.phase != Phase::Awaiting)
    }

    /// Takes the next bytes of one stream.
    pub fn push(&mut self, stream: Stream, input: Bytes, events: &mut Vec<PipelineEvent>) {
        let mut pieces = Vec::new();
        match lane_of(&mut self.lanes, stream).map(|lane| &mut lane.scanner) {
            Some(Some(scanner)) => scanner.push(input, &mut pieces),
            Some(None) => pieces.push(Piece::Data(input)),
            None => {}
        }
        for piece in pieces {
            self.take(stream, piece, events);
        }
    }

    fn take(&mut self, stream: Stream, piece: Piece, events: &mut Vec<PipelineEvent>) {
        let Some(lane) = lane_of(&mut self.lanes, stream) else {
            return;
        };
        match piece {
            Piece::Data(data) => lane.output(data, &mut self.background, events),
            Piece::Start => lane.begin(&self.rules, &mut self.background, events),
            Piece::Environment(text) => events.push(PipelineEvent::Environment(text)),
            Piece::End(marker) => {
                lane.end(&mut self.background, events);
                if let Marker::Status { status, cwd } = marker {
                    self.end = Some(command_end(&status, cwd));
                }
                if self.lanes.iter().all(|lane| lane.phase == Phase::Idle)
                    && let Some(end) = self.end.take()
                {
                    events.push(PipelineEvent::Ended(end));
                }
            }
        }
    }

    /// Nothing has come for a while: lets go of what redaction holds back and may.
    pub fn flush_idle(&mut self, events: &mut Vec<PipelineEvent>) {
        for lane in &mut self.lanes {
            lane.flush_idle(&mut self.background, events);
        }
    }

    /// Whether something is held back that [`Self::flush_idle`] might let go.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.lanes.iter().any(|lane| lane.redactor.held() > 0)
    }

    /// No more bytes will come for this command: lets go of all that is held back.
    pub fn abandon(&mut self, events: &mut Vec<PipelineEvent>) {
        for lane in &mut self.lanes {
            let mut pieces = Vec::new();
            if let Some(scanner) = &mut lane.scanner {
                scanner.finish(&mut pieces);
            }
            for piece in pieces {
                if let Piece::Data(data) = piece {
                    lane.output(data, &mut self.background, events);
                }
            }
            lane.end(&mut self.background, events);
        }
    }

    /// The totals of the command that ended last, or runs.
    #[must_use]
    pub fn totals(&self) -> Vec<ChannelTotals> {
        self.lanes.iter().map(Lane::command_totals).collect()
    }
}

/// The lane of a stream; a terminal has one for both.
fn lane_of(lanes: &mut [Lane], stream: Stream) -> Option<&mut Lane> {
    let index = match stream {
        Stream::Stdout => 0,
        Stream::Stderr => lanes.len().checked_sub(1)?,
    };
    lanes.get_mut(index)
}

fn command_end(status: &str, cwd: String) -> CommandEnd {
    let status = match status {
        STATUS_NO_CWD => None,
        number => number.parse().ok(),
    };
    CommandEnd { status, cwd }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Idle,
    Awaiting,
    Running,
}

/// One stream on its way from bytes to events.
#[derive(Debug)]
struct Lane {
    channel: Channel,
    phase: Phase,
    /// Nothing where there are no markers.
    scanner: Option<Scanner>,
    redactor: Redactor,
    command: Tally,
    background_rules: RedactionRules,
    scratch: Vec<Bytes>,
}

impl Lane {
    fn starting(
        channel: Channel,
        marker_start: &[u8],
        rules: &RedactionRules,
        ready: &Token,
    ) -> Self {
        let mut scanner = Scanner::new(marker_start);
        scanner.await_token(ready.clone());
        Self::new(channel, Phase::Starting, Some(scanner), rules)
    }

    fn new(
        channel: Channel,
        phase: Phase,
        scanner: Option<Scanner>,
        rules: &RedactionRules,
    ) -> Self {
        Self {
            channel,
            phase,
            scanner,
            redactor: Redactor::new(rules),
            command: Tally::default(),
            background_rules: rules.clone(),
            scratch: Vec::new(),
        }
    }

    fn await_marker(&mut self, token: &Token) {
        if let Some(scanner) = &mut self.scanner {
            scanner.await_token(token.clone());
        }
    }

    fn await_token(&mut self, token: &Token) {
        self.phase = Phase::Awaiting;
        self.command = Tally::default();
        self.await_marker(token);
    }

    /// What was held back so far is background output; the command's bytes come next.
    fn begin(
        &mut self,
        rules: &RedactionRules,
        background: &mut Tally,
        events: &mut Vec<PipelineEvent>,
    ) {
        self.release(background, events);
        self.redactor = Redactor::new(rules);
        self.phase = Phase::Running;
    }

    fn output(&mut self, data: Bytes, background: &mut Tally, events: &mut Vec<PipelineEvent>) {
        if self.phase == Phase::Starting {
            return;
        }
        self.redactor.push_bytes(data, &mut self.scratch);
        self.emit(background, events);
    }

    fn flush_idle(&mut self, background: &mut Tally, events: &mut Vec<PipelineEvent>) {
        if self.redactor.held() == 0 {
            return;
        }
        let mut out = Vec::new();
        self.redactor.flush_idle(&mut out);
        self.scratch.push(Bytes::from(out));
        self.emit(background, events);
    }

    /// The marker came, or the stream ended: the command's bytes are complete.
    fn end(&mut self, background: &mut Tally, events: &mut Vec<PipelineEvent>) {
        self.release(background, events);
        self.command.redacted = self.redactor.counts().clone();
        self.redactor = Redactor::new(&self.background_rules);
        self.phase = Phase::Idle;
    }

    /// Lets go of all that the redactor holds back: no more of this text will come.
    fn release(&mut self, background: &mut Tally, events: &mut Vec<PipelineEvent>) {
        let mut out = Vec::new();
        self.redactor.finish(&mut out);
        self.scratch.push(Bytes::from(out));
        self.emit(background, events);
    }

    /// Turns what the redactor let go into events.
    fn emit(&mut self, background: &mut Tally, events: &mut Vec<PipelineEvent>) {
        let (channel, tally) = match self.phase {
            Phase::Running => (self.channel, &mut self.command),
            Phase::Idle | Phase::Awaiting => (Channel::Background, background),
            Phase::Starting => {
                self.scratch.clear();
                return;
            }
        };
        for mut data in self.scratch.drain(..) {
            while !data.is_empty() {
                let chunk = data.split_to(data.len().min(MAX_OUTPUT_EVENT_BYTES));
                let offset = tally.add(&chunk);
                events.push(PipelineEvent::Output {
                    channel,
                    offset,
                    data: chunk,
                });
            }
        }
    }

    fn command_totals(&self) -> ChannelTotals {
        let redacted = match self.phase {
            Phase::Running => self.redactor.counts(),
            Phase::Starting | Phase::Idle | Phase::Awaiting => &self.command.redacted,
        };
        ChannelTotals {
            channel: self.channel,
            bytes: self.command.bytes,
            lines: self.command.lines + u64::from(self.command.open_line),
            redacted: redacted.clone(),
            sha256: self.command.sha256.clone().finalize().into(),
        }
    }
}

/// What has left a lane.
#[derive(Debug, Default)]
struct Tally {
    bytes: u64,
    lines: u64,
    /// Whether the last byte was no line end.
    open_line: bool,
    redacted: RedactionCounts,
    sha256: Sha256,
}

impl Tally {
    /// Counts a chunk and says at which offset it stands.
    fn add(&mut self, chunk: &[u8]) -> u64 {
        let offset = self.bytes;
        self.bytes += chunk.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', chunk).count() as u64;
        self.open_line = chunk.last().is_some_and(|&last| last != b'\n');
        self.sha256.update(chunk);
        offset
    }
}
