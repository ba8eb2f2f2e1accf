//! How much is measured.

/// Numbers of turns, commands, bytes and sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Turns that every contender of a race gets.
    pub(crate) turns: usize,
    /// Commands in a turn, where one takes some hundred microseconds.
    pub(crate) commands: usize,
    /// Commands in a turn, where one takes some ten milliseconds.
    pub(crate) slow_commands: usize,
    /// Commands in a turn, where one takes some hundred milliseconds.
    pub(crate) very_slow_commands: usize,
    /// Bytes of one stream.
    pub(crate) stream_bytes: u64,
    /// Streams of every contender.
    pub(crate) streams: usize,
    /// Idle sessions whose cost is taken.
    pub(crate) idle_sessions: &'static [usize],
    /// Seconds for which idle sessions are watched.
    pub(crate) idle_seconds: u64,
    /// Sessions that run commands at the same time.
    pub(crate) parallel_sessions: &'static [usize],
    /// Commands of a parallel turn, shared by the sessions.
    pub(crate) parallel_commands: usize,
    /// Other sessions beside the one that is timed.
    pub(crate) other_sessions: &'static [usize],
    /// Bytes of streams of which each is as fast as the others, if nothing grows.
    pub(crate) growing_streams: &'static [u64],
    /// Commands that a session has run before it is timed.
    pub(crate) earlier_commands: &'static [usize],
}

impl Plan {
    /// Turns of what is measured beside the chief rows: half as many.
    pub(crate) fn fewer_turns(self) -> usize {
        self.turns.div_ceil(2)
    }
}

/// A result.
pub(crate) const FULL: Plan = Plan {
    turns: 16,
    commands: 200,
    slow_commands: 6,
    very_slow_commands: 1,
    stream_bytes: 200_000_000,
    streams: 5,
    idle_sessions: &[1, 100, 1_000, 4_000],
    idle_seconds: 10,
    parallel_sessions: &[1, 8, 64, 256],
    parallel_commands: 2_000,
    other_sessions: &[1, 10, 100, 1_000],
    growing_streams: &[20_000_000, 200_000_000, 2_000_000_000],
    earlier_commands: &[10, 1_000, 10_000, 100_000],
};

/// A look.
pub(crate) const QUICK: Plan = Plan {
    turns: 3,
    commands: 150,
    slow_commands: 4,
    very_slow_commands: 1,
    stream_bytes: 50_000_000,
    streams: 2,
    idle_sessions: &[1, 100],
    idle_seconds: 3,
    parallel_sessions: &[1, 8, 64],
    parallel_commands: 1_000,
    other_sessions: &[1, 10, 100],
    growing_streams: &[5_000_000, 50_000_000],
    earlier_commands: &[10, 1_000, 5_000],
};
