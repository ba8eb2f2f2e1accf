//! A place in each channel.

use execgate_core::outcome::Channel;

/// One offset for each channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::execution) struct Offsets {
    stdout: u64,
    stderr: u64,
    terminal: u64,
    background: u64,
}

impl Offsets {
    /// All channels.
    pub(in crate::execution) const CHANNELS: [Channel; 4] = [
        Channel::Stdout,
        Channel::Stderr,
        Channel::Terminal,
        Channel::Background,
    ];

    /// The same offset everywhere.
    pub(in crate::execution) fn everywhere(offset: u64) -> Self {
        Self {
            stdout: offset,
            stderr: offset,
            terminal: offset,
            background: offset,
        }
    }

    /// That of one channel.
    pub(in crate::execution) fn get(&self, channel: Channel) -> u64 {
        match channel {
            Channel::Stdout => self.stdout,
            Channel::Stderr => self.stderr,
            Channel::Terminal => self.terminal,
            Channel::Background => self.background,
        }
    }

    /// The same, but for one channel.
    pub(in crate::execution) fn with(mut self, channel: Channel, offset: u64) -> Self {
        match channel {
            Channel::Stdout => self.stdout = offset,
            Channel::Stderr => self.stderr = offset,
            Channel::Terminal => self.terminal = offset,
            Channel::Background => self.background = offset,
        }
        self
    }

    /// Whether it is as far as the other one, on every channel.
    pub(in crate::execution) fn reaches(&self, other: &Self) -> bool {
        Self::CHANNELS
            .into_iter()
            .all(|channel| self.get(channel) >= other.get(channel))
    }
}
