//! Where a reader of an execution stands, and what of a new stream it has had before.
//!
//! Streams of one execution may cut its output differently. Each begins with its own
//! start, and a proxy may repeat what it sent; none of it reaches a reader twice.

use std::collections::BTreeMap;

use bytes::Buf as _;
use execgate_proto::v1;

use crate::error::Error;
use crate::event::{Channel, Event};

/// What was delivered so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    started: bool,
    next: BTreeMap<Channel, u64>,
    notices_seen: u64,
}

impl Position {
    /// Before the first event of a stream that begins at these offsets.
    pub(crate) fn at(offsets: impl IntoIterator<Item = (Channel, u64)>) -> Self {
        Self {
            next: offsets.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether the start was delivered.
    pub(crate) fn started(&self) -> bool {
        self.started
    }

    /// The next byte of each channel that had any.
    pub(crate) fn offsets(&self) -> &BTreeMap<Channel, u64> {
        &self.next
    }

    /// A request for what follows.
    pub(crate) fn request(&self, session_id: String, execution_id: String) -> v1::AttachRequest {
        let offset_of = |(channel, offset): (&Channel, &u64)| v1::ChannelOffset {
            channel: channel.to_proto().into(),
            offset: *offset,
        };
        v1::AttachRequest {
            session_id,
            execution_id,
            offsets: self.next.iter().map(offset_of).collect(),
            notices_seen: self.notices_seen,
        }
    }

    /// What of an event is new.
    ///
    /// # Errors
    /// When bytes are missing of which no gap was told.
    pub(crate) fn admit(&mut self, event: Event) -> Result<Option<Event>, Error> {
        Ok(match event {
            Event::Started(started) => {
                let again = std::mem::replace(&mut self.started, true);
                (!again).then_some(Event::Started(started))
            }
            Event::Output(mut output) => {
                let next = self.next.entry(output.channel).or_default();
                // What comes between commands counts from the session's beginning.
                if output.channel == Channel::Background {
                    *next = (*next).max(output.offset);
                }
                let Some(known) = next.checked_sub(output.offset) else {
                    return Err(Error::Protocol {
                        what: "output is missing without a gap",
                    });
                };
                let known = usize::try_from(known).unwrap_or(usize::MAX);
                output.data.advance(known.min(output.data.len()));
                output.offset = *next;
                *next = next.saturating_add(output.data.len() as u64);
                (!output.data.is_empty()).then_some(Event::Output(output))
            }
            Event::Gap(mut gap) => {
                let next = self.next.entry(gap.channel).or_default();
                gap.from_offset = gap.from_offset.max(*next);
                let is_new = gap.from_offset < gap.to_offset;
                *next = (*next).max(gap.to_offset);
                is_new.then_some(Event::Gap(gap))
            }
            Event::Notice(notice) => {
                let is_new = notice.number == 0 || notice.number > self.notices_seen;
                self.notices_seen = self.notices_seen.max(notice.number);
                is_new.then_some(Event::Notice(notice))
            }
            Event::Finished(finished) => Some(Event::Finished(finished)),
        })
    }
}

#[cfg(test)]
mod tests;
