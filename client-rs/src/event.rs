//! What happens while a command runs.

use bytes::Bytes;
use execgate_proto::v1;
use execgate_proto::v1::exec_event::Kind;

use crate::error::Error;
use crate::outcome::Finished;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The first event, always.
    Started(Started),
    /// Bytes of output.
    Output(Output),
    /// Bytes that are gone.
    Gap(Gap),
    /// Something worth knowing.
    Notice(Notice),
    /// The last event, always.
    Finished(Finished),
}

/// A stream of output bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, through the session's terminal.
    Terminal,
    /// What arrived between commands.
    Background,
}

/// What is running.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// The execution's id within its session.
    pub execution_id: String,
    /// Generation of the session it runs in.
    pub generation: u64,
    /// The command, redacted.
    pub command: String,
    /// Working directory at the start.
    pub cwd: String,
    /// Whether it was found running or finished, instead of being started.
    pub deduplicated: bool,
}

/// A piece of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Which channel.
    pub channel: Channel,
    /// Offset of the first byte in it.
    pub offset: u64,
    /// The bytes; a character may be split between two pieces.
    pub data: Bytes,
}

/// A range of one channel that this stream does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Which channel.
    pub channel: Channel,
    /// First missing byte.
    pub from_offset: u64,
    /// One past the last missing byte.
    pub to_offset: u64,
    /// Why it is missing.
    pub reason: v1::GapReason,
}

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Notice {
    /// Place among the execution's notices, from 1.
    pub number: u64,
    /// The same in words.
    pub message: String,
    /// What it is about; `None` if this client does not know the kind.
    pub kind: Option<v1::notice::Kind>,
}

impl Event {
    /// The bytes, if this is a piece of standard output.
    #[must_use]
    pub fn stdout(&self) -> Option<&Bytes> {
        self.bytes_of(Channel::Stdout)
    }

    /// The bytes, if this is a piece of standard error.
    #[must_use]
    pub fn stderr(&self) -> Option<&Bytes> {
        self.bytes_of(Channel::Stderr)
    }

    /// The bytes, if this is a piece of a terminal's output.
    #[must_use]
    pub fn terminal(&self) -> Option<&Bytes> {
        self.bytes_of(Channel::Terminal)
    }

    fn bytes_of(&self, channel: Channel) -> Option<&Bytes> {
        match self {
            Self::Output(output) if output.channel == channel => Some(&output.data),
            _ => None,
        }
    }

    /// `None` for what a caller need not see: signs of life, and kinds and channels
    /// of a newer server.
    pub(crate) fn from_proto(event: v1::ExecEvent) -> Result<Option<Self>, Error> {
        Ok(match event.kind {
            Some(Kind::Started(started)) => Some(Self::Started(started.into())),
            Some(Kind::Output(output)) => Channel::from_proto(output.channel()).map(|channel| {
                Self::Output(Output {
                    channel,
                    offset: output.offset,
                    data: output.data,
                })
            }),
            Some(Kind::Gap(gap)) => Channel::from_proto(gap.channel()).map(|channel| {
                Self::Gap(Gap {
                    channel,
                    from_offset: gap.from_offset,
                    to_offset: gap.to_offset,
                    reason: gap.reason(),
                })
            }),
            Some(Kind::Notice(notice)) => Some(Self::Notice(notice.into())),
            Some(Kind::Finished(finished)) => Some(Self::Finished(finished.try_into()?)),
            Some(Kind::KeepAlive(_) | Kind::Validated(_)) | None => None,
        })
    }
}

impl Channel {
    pub(crate) fn from_proto(channel: v1::Channel) -> Option<Self> {
        match channel {
            v1::Channel::Unspecified => None,
            v1::Channel::Stdout => Some(Self::Stdout),
            v1::Channel::Stderr => Some(Self::Stderr),
            v1::Channel::Terminal => Some(Self::Terminal),
            v1::Channel::Background => Some(Self::Background),
        }
    }

    pub(crate) fn to_proto(self) -> v1::Channel {
        match self {
            Self::Stdout => v1::Channel::Stdout,
            Self::Stderr => v1::Channel::Stderr,
            Self::Terminal => v1::Channel::Terminal,
            Self::Background => v1::Channel::Background,
        }
    }
}

impl From<v1::Started> for Started {
    fn from(started: v1::Started) -> Self {
        Self {
            execution_id: started.execution_id,
            generation: started.generation,
            command: started.command,
            cwd: started.cwd,
            deduplicated: started.deduplicated,
        }
    }
}

impl From<v1::Notice> for Notice {
    fn from(notice: v1::Notice) -> Self {
        Self {
            number: notice.number,
            message: notice.message,
            kind: notice.kind,
        }
    }
}
