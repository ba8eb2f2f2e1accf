//! Pieces of output, cut and joined.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use execgate_core::outcome::Channel;

/// Output of one channel, without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::execution) struct Piece {
    pub(in crate::execution) position: u64,
    pub(in crate::execution) channel: Channel,
    pub(in crate::execution) offset: u64,
    pub(in crate::execution) time: SystemTime,
    pub(in crate::execution) data: Bytes,
}

impl Piece {
    /// The position after it.
    pub(in crate::execution) fn end(&self) -> u64 {
        self.position + self.data.len() as u64
    }

    /// The offset after it.
    pub(in crate::execution) fn end_offset(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    /// Its part from one position up to another.
    pub(in crate::execution) fn cut(&self, from: u64, to: u64) -> Self {
        let place = |position: u64| {
            let within = position.clamp(self.position, self.end()) - self.position;
            usize::try_from(within).unwrap_or(0)
        };
        let (start, end) = (place(from), place(to).max(place(from)));
        Self {
            position: self.position + start as u64,
            offset: self.offset + start as u64,
            data: self.data.slice(start..end),
            ..*self
        }
    }

    /// Whether the other one goes on where this one ends.
    pub(super) fn joins(&self, next: &Self) -> bool {
        self.channel == next.channel && self.end_offset() == next.offset
    }
}

/// Joins the first of these pieces with those that go on where it ends, as far as one
/// event may hold. Copies only where the first piece is a small part of it.
pub(in crate::execution) fn gather<'a>(
    mut pieces: impl Iterator<Item = Piece> + 'a,
    most: usize,
) -> Option<Piece> {
    let mut first = pieces.next()?;
    if first.data.len() > most / 2 {
        return Some(first);
    }
    let mut joined: Option<BytesMut> = None;
    for next in pieces {
        let bytes = joined.as_ref().map_or(first.data.len(), BytesMut::len);
        let goes_on = next.channel == first.channel && first.offset + bytes as u64 == next.offset;
        if !goes_on || bytes + next.data.len() > most {
            break;
        }
        joined
            .get_or_insert_with(|| BytesMut::from(&first.data[..]))
            .extend_from_slice(&next.data);
    }
    if let Some(joined) = joined {
        first.data = joined.freeze();
    }
    Some(first)
}
