//! Reading retained output after the fact: a range of one channel, or all that is kept of
//! it under a budget.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use execgate_core::budget::OutputBudget;
use execgate_core::outcome::Channel;
use tokio::time::timeout;

use super::collect::Window;
use super::follower::{Follower, Presence};
use super::journal::Offsets;
use super::{CollectedStream, EventKind, Execution};

/// Why retained output cannot be read from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing has come there yet.
    #[error("read from {offset}: the channel ends at {next_offset}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: u64,
        /// The end.
        next_offset: u64,
    },
    /// It is no longer kept.
    #[error("read from {offset}: what is kept begins at {first_offset}")]
    Evicted {
        /// The offset asked for.
        offset: u64,
        /// The first byte that is kept.
        first_offset: u64,
    },
}

/// What is kept of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedRange {
    /// The channel.
    pub channel: Channel,
    /// The first byte that is kept.
    pub first_offset: u64,
    /// One past the newest byte so far.
    pub end_offset: u64,
}

/// Output that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRead {
    /// The bytes.
    pub data: Bytes,
    /// Where they begin.
    pub offset: u64,
    /// What is kept of the channel.
    pub retained: RetainedRange,
    /// Whether no more will come.
    pub complete: bool,
}

impl Execution {
    /// What is kept of each channel that has, or had, output.
    #[must_use]
    pub fn retained(&self) -> Vec<RetainedRange> {
        let (firsts, ends) = self.ranges();
        let ranges = Offsets::CHANNELS.map(|channel| RetainedRange {
            channel,
            first_offset: firsts.get(channel),
            end_offset: ends.get(channel),
        });
        ranges
            .into_iter()
            .filter(|range| range.end_offset > 0)
            .collect()
    }

    /// Reads at most `limit` bytes of a channel, from an offset or from the first byte
    /// kept; waits up to `wait` for a byte if there is none yet.
    ///
    /// # Errors
    /// Where the offset is not in what is kept.
    pub async fn read_output(
        self: &Arc<Self>,
        channel: Channel,
        offset: Option<u64>,
        limit: usize,
        wait: Duration,
    ) -> Result<OutputRead, ReadError> {
        let range = self.range(channel);
        let offset = offset.unwrap_or(range.first_offset);
        check(offset, range)?;
        if offset == range.end_offset && !wait.is_zero() {
            // No byte came in time: then there is none to be read.
            let _none = timeout(wait, self.until_past(channel, offset)).await;
        }
        let complete = self.log.lock().closed;
        let mut follower = self.look_at(channel, offset);
        let mut data = BytesMut::new();
        while data.len() < limit
            && let Some(event) = follower.next_kept().await
        {
            match event.kind {
                EventKind::Output { data: piece, .. } => {
                    let some = piece.len().min(limit - data.len());
                    data.extend_from_slice(piece.get(..some).unwrap_or_default());
                }
                // What was let go meanwhile is not skipped in silence.
                EventKind::Gap { .. } if data.is_empty() => check(offset, self.range(channel))?,
                EventKind::Gap { .. } => break,
                EventKind::Started | EventKind::Notice(_) | EventKind::Finished(_) => {}
            }
        }
        Ok(OutputRead {
            data: data.freeze(),
            offset,
            retained: self.range(channel),
            complete,
        })
    }

    /// All that is kept of a channel so far, under a budget.
    pub async fn read_budgeted(
        self: &Arc<Self>,
        channel: Channel,
        budget: &OutputBudget,
    ) -> (CollectedStream, RetainedRange, bool) {
        let (range, complete) = (self.range(channel), self.log.lock().closed);
        let mut follower = self.look_at(channel, range.first_offset);
        let mut window = Window::default();
        while let Some(event) = follower.next_kept().await {
            match event.kind {
                EventKind::Output { data, .. } => window.push(data),
                EventKind::Gap { from, to, .. } => window.omit(to - from),
                EventKind::Started | EventKind::Notice(_) | EventKind::Finished(_) => {}
            }
        }
        (window.under(budget), range, complete)
    }

    /// A reader of one channel that is nobody's.
    fn look_at(self: &Arc<Self>, channel: Channel, offset: u64) -> Follower {
        let wanted = Offsets::everywhere(u64::MAX).with(channel, offset);
        Follower::new(Arc::clone(self), wanted, Presence::Looks)
    }

    async fn until_past(&self, channel: Channel, offset: u64) {
        loop {
            let mut changed = std::pin::pin!(self.log.changed.notified());
            changed.as_mut().enable();
            {
                let journal = self.log.lock();
                if journal.closed || journal.ends().get(channel) > offset {
                    return;
                }
            }
            changed.await;
        }
    }

    fn ranges(&self) -> (Offsets, Offsets) {
        let journal = self.log.lock();
        (journal.firsts(), journal.ends())
    }

    fn range(&self, channel: Channel) -> RetainedRange {
        let (firsts, ends) = self.ranges();
        RetainedRange {
            channel,
            first_offset: firsts.get(channel),
            end_offset: ends.get(channel),
        }
    }
}

fn check(offset: u64, range: RetainedRange) -> Result<(), ReadError> {
    if offset > range.end_offset {
        let next_offset = range.end_offset;
        return Err(ReadError::OffsetOutOfRange {
            offset,
            next_offset,
        });
    }
    if offset < range.first_offset {
        let first_offset = range.first_offset;
        return Err(ReadError::Evicted {
            offset,
            first_offset,
        });
    }
    Ok(())
}
