//! What an execution keeps of its output, as a pure state: no I/O, no waiting.
//!
//! All channels stand in one journal, in the order in which their bytes came. A *position*
//! counts the journal's bytes; an *offset* those of one channel.
//!
//! ```text
//! dropped │ segments, in slots on disk │ chunks, in memory │ position
//!         └ first                      └ tail              └ ends
//! ```
//!
//! When memory is over its bound, the oldest chunks become a [`Batch`] that somebody
//! writes to disk; they stay readable here until that is [`Journal::committed`]. When the
//! disk is full too, the oldest output goes if it may: always with [`Overflow::Evict`],
//! and otherwise once a reader has had it. If it may not, the journal is full and the
//! command waits.

mod offsets;
mod piece;
mod segment;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use execgate_core::outcome::Channel;

use super::spill::{SpillFile, record_bytes};
use super::{EventKind, Notice, Overflow};
pub(super) use offsets::Offsets;
pub(super) use piece::{Piece, gather};
pub(super) use segment::{Batch, Place, Segment, Written};

/// What a chunk or a mark costs beside its data, in bytes, so that many tiny ones are
/// bounded too.
const ENTRY_BYTES: usize = 128;

/// Up to this size chunks of one channel become one, in bytes: copying that much is
/// cheaper than keeping another entry.
const MERGED_BYTES: usize = 4 * 1024;

/// Most data in one segment, in bytes: what a page cache takes in a tenth of a millisecond.
const SEGMENT_BYTES: usize = 256 * 1024;

/// Least of it, where memory is short.
const SMALLEST_SEGMENT: usize = 4 * 1024;

/// Room in a slot for the headers of records, in bytes.
const SLOT_HEADERS: usize = 4 * 1024;

/// Notices kept, as the API says.
const MAX_NOTICES: usize = 100;

/// What a reader was given may be lost on the way to it: so many bytes behind the foremost
/// reader do not count as read while there is a choice.
const REPLAY_BYTES: u64 = 1024 * 1024;

/// Something that happened between two bytes of output.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// Counts the execution's marks from 0.
    pub(super) number: u64,
    pub(super) position: u64,
    pub(super) time: SystemTime,
    pub(super) kind: EventKind,
}

/// Bounds of one journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) memory: usize,
    /// Bytes on disk.
    pub(super) disk: u64,
    pub(super) overflow: Overflow,
}

/// The state.
#[derive(Debug)]
pub(super) struct Journal {
    bounds: Bounds,
    marks: VecDeque<Mark>,
    next_mark: u64,
    segments: VecDeque<Segment>,
    file: Option<Arc<SpillFile>>,
    free: Vec<u32>,
    /// Slots there may be; fewer where the disk had no room.
    slots: u64,
    chunks: VecDeque<Piece>,
    /// Bytes of memory in use.
    memory: usize,
    /// The position after the batch that is being written.
    in_flight: Option<u64>,
    position: u64,
    /// Where each channel stands: at the first chunk, and at the end.
    tail: Offsets,
    ends: Offsets,
    /// What readers have had of each channel, and the position of the foremost.
    read: Offsets,
    taken: u64,
    storage_failed: bool,
    throttled: bool,
    /// The command is being ended: it is not held up any more.
    released: bool,
    pub(super) closed: bool,
}

impl Journal {
    pub(super) fn new(bounds: Bounds) -> Self {
        let slot = slot_bytes(bounds.memory) as u64;
        Self {
            bounds,
            marks: VecDeque::new(),
            next_mark: 0,
            segments: VecDeque::new(),
            file: None,
            free: Vec::new(),
            slots: bounds.disk / slot,
            chunks: VecDeque::new(),
            memory: 0,
            in_flight: None,
            position: 0,
            tail: Offsets::default(),
            ends: Offsets::default(),
            // Nobody waits for what background jobs wrote.
            read: Offsets::default().with(Channel::Background, u64::MAX),
            taken: 0,
            storage_failed: false,
            throttled: false,
            released: false,
            closed: false,
        }
    }

    /// Adds output.
    pub(super) fn append(&mut self, channel: Channel, offset: u64, mut data: Bytes) {
        let time = SystemTime::now();
        if self.ends.get(channel) == 0 && offset > 0 {
            // The background channel began before this execution.
            self.tail = self.tail.with(channel, offset);
        }
        let mut offset = offset;
        while !data.is_empty() {
            let data = data.split_to(data.len().min(segment_bytes(self.bounds.memory)));
            let position = self.position;
            self.position += data.len() as u64;
            let piece = Piece {
                position,
                channel,
                offset,
                time,
                data,
            };
            offset = piece.end_offset();
            self.ends = self.ends.with(channel, offset);
            self.add(piece);
        }
    }

    fn add(&mut self, piece: Piece) {
        self.memory += piece.data.len();
        let written = self.in_flight.unwrap_or(0);
        if let Some(last) = self.chunks.back_mut()
            && last.position >= written
            && last.joins(&piece)
            && last.data.len() + piece.data.len() <= MERGED_BYTES
        {
            let mut both = BytesMut::with_capacity(last.data.len() + piece.data.len());
            both.extend_from_slice(&last.data);
            both.extend_from_slice(&piece.data);
            last.data = both.freeze();
            return;
        }
        self.memory += ENTRY_BYTES;
        self.chunks.push_back(piece);
    }

    /// Adds something that happened.
    pub(super) fn mark(&mut self, kind: EventKind) {
        self.marks.push_back(Mark {
            number: self.next_mark,
            position: self.position,
            time: SystemTime::now(),
            kind,
        });
        self.next_mark += 1;
        if self.marks.len() > MAX_NOTICES + 2 {
            // The first is Started.
            self.marks.remove(1);
        }
    }

    /// Makes room; answers what is to be written for that.
    pub(super) fn settle(&mut self) -> Option<Batch> {
        while self.memory > self.bounds.memory {
            if self.in_flight.is_some() {
                if self.released && self.memory > self.bounds.memory + self.slack() {
                    self.drop_oldest();
                    continue;
                }
                return None;
            }
            if let Some(batch) = self.batch() {
                return Some(batch);
            }
            if !self.may_drop_oldest() {
                return None;
            }
            self.drop_oldest();
        }
        None
    }

    /// The same for who has just written: a little more than must be, so that the next
    /// time is not at once.
    pub(super) fn settle_further(&mut self) -> Option<Batch> {
        match self.settle() {
            None if self.memory > self.bounds.memory / 4 * 3 && self.in_flight.is_none() => {
                self.batch()
            }
            due => due,
        }
    }

    fn batch(&mut self) -> Option<Batch> {
        if self.storage_failed {
            return None;
        }
        let used = (self.segments.len() + self.free.len()) as u64;
        let slot = match self.free.pop() {
            None if used >= self.slots => return None,
            slot => slot,
        };
        let (mut bytes, mut pieces) = (0, Vec::new());
        let most = slot_bytes(self.bounds.memory);
        for chunk in &self.chunks {
            bytes += record_bytes(chunk.data.len());
            if bytes > most {
                break;
            }
            self.in_flight = Some(chunk.end());
            pieces.push(chunk.clone());
        }
        Some(Batch {
            pieces,
            slot,
            file: self.file.clone(),
        })
    }

    /// A batch was written, or could not be.
    pub(super) fn committed(&mut self, batch: &Batch, written: Written) {
        self.in_flight = None;
        let (file, slot, bytes) = match written {
            Written::Done(file, slot, bytes) => (file, slot, bytes),
            Written::NoRoom => {
                self.slots = self.segments.len() as u64;
                return;
            }
            Written::Failed => {
                self.storage_failed = true;
                self.free.extend(batch.slot);
                self.mark(EventKind::Notice(Notice::StorageFailed));
                return;
            }
        };
        let (Some(first), Some(last)) = (batch.pieces.first(), batch.pieces.last()) else {
            return;
        };
        let (start, end) = (first.position, last.end());
        self.file = Some(file);
        // What was let go meanwhile is not brought back.
        if self.chunks.front().map(|chunk| chunk.position) != Some(start) {
            self.free.push(slot);
            return;
        }
        let from = self.tail;
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.position < end)
        {
            self.drop_chunk();
        }
        self.segments.push_back(Segment {
            start,
            end,
            slot,
            bytes,
            from,
            to: self.tail,
        });
    }

    /// Whether the command must wait.
    pub(super) fn is_full(&self) -> bool {
        let held = match self.in_flight {
            // The disk is at work: a little more may come meanwhile.
            Some(_) => self.memory > self.bounds.memory + self.slack(),
            None => self.memory > self.bounds.memory && !self.is_read(),
        };
        held && !self.released && !self.closed
    }

    /// The command is being ended: its last bytes must come through.
    pub(super) fn release(&mut self) {
        self.released = true;
    }

    fn slack(&self) -> usize {
        4 * segment_bytes(self.bounds.memory)
    }

    /// Whether some reader has had each byte.
    fn is_read(&self) -> bool {
        self.read.reaches(&self.ends)
    }

    /// Whether the oldest output may go.
    fn may_drop_oldest(&self) -> bool {
        if self.bounds.overflow == Overflow::Evict || self.released {
            return true;
        }
        let (to, end) = match (self.segments.front(), self.chunks.front()) {
            (Some(segment), _) => (segment.to, segment.end),
            (None, Some(chunk)) => (
                self.tail.with(chunk.channel, chunk.end_offset()),
                chunk.end(),
            ),
            (None, None) => return false,
        };
        let most = self.bounds.memory as u64 + self.bounds.disk;
        let replay = REPLAY_BYTES.min(most / 4);
        self.read.reaches(&to) && (end + replay <= self.taken || self.is_read())
    }

    fn drop_oldest(&mut self) {
        match self.segments.pop_front() {
            Some(segment) => self.free.push(segment.slot),
            None => self.drop_chunk(),
        }
    }

    fn drop_chunk(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.memory -= ENTRY_BYTES + chunk.data.len();
            self.tail = self.tail.with(chunk.channel, chunk.end_offset());
        }
    }

    /// The command has been waiting for readers: says so, once.
    pub(super) fn note_throttled(&mut self) {
        if !self.throttled && self.in_flight.is_none() && self.is_full() {
            self.throttled = true;
            let retained = self.position - self.first_position();
            self.mark(EventKind::Notice(Notice::OutputThrottled { retained }));
        }
    }

    /// A reader has had a channel up to an offset, and the journal up to a position.
    pub(super) fn took(&mut self, channel: Channel, offset: u64, position: u64) {
        self.read = self.read.with(channel, offset.max(self.read.get(channel)));
        self.taken = self.taken.max(position);
    }

    /// The first mark with this number or a later one.
    pub(super) fn mark_from(&self, number: u64) -> Option<&Mark> {
        let index = self.marks.partition_point(|mark| mark.number < number);
        self.marks.get(index)
    }

    /// Where a position that is kept is found; a piece is cut before `stop`.
    pub(super) fn find(&self, position: u64, stop: u64, most: usize) -> Place {
        let index = self.segments.partition_point(|s| s.end <= position);
        if let (Some(segment), Some(file)) = (self.segments.get(index), &self.file) {
            return Place::Spilled(segment.clone(), Arc::clone(file));
        }
        let index = self.chunks.partition_point(|c| c.end() <= position);
        let chunks = self.chunks.range(index..);
        let pieces = chunks
            .take_while(|chunk| chunk.position < stop)
            .map(|chunk| chunk.cut(position, stop));
        gather(pieces, most).map_or(Place::Ahead, Place::Here)
    }

    /// Whether a segment is still kept.
    pub(super) fn keeps(&self, segment: &Segment) -> bool {
        self.first_position() <= segment.start && !self.segments.is_empty()
    }

    /// The oldest position that is kept.
    pub(super) fn first_position(&self) -> u64 {
        match (self.segments.front(), self.chunks.front()) {
            (Some(segment), _) => segment.start,
            (None, Some(chunk)) => chunk.position,
            (None, None) => self.position,
        }
    }

    /// Where each channel begins in what is kept.
    pub(super) fn firsts(&self) -> Offsets {
        self.segments.front().map_or(self.tail, |first| first.from)
    }

    /// Where each channel ends.
    pub(super) fn ends(&self) -> Offsets {
        self.ends
    }

    /// Whether output was lost because the disk did not take it.
    pub(super) fn storage_failed(&self) -> bool {
        self.storage_failed
    }

    /// Bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.memory + self.marks.len() * ENTRY_BYTES
    }

    /// Lets go of what is on disk.
    pub(super) fn forget_spilled(&mut self) {
        self.segments.clear();
        self.free.clear();
        self.file = None;
        self.slots = 0;
    }

    /// Whether anything is, or will be, on disk.
    pub(super) fn has_spilled(&self) -> bool {
        self.file.is_some() || self.in_flight.is_some()
    }

    /// Whether a batch is on its way.
    #[cfg(test)]
    pub(super) fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Lets go of all output.
    pub(super) fn forget_output(&mut self) {
        self.forget_spilled();
        self.chunks.clear();
        self.tail = self.ends;
        self.memory = 0;
    }
}

/// Most data in a segment of an execution that keeps so much in memory.
fn segment_bytes(memory: usize) -> usize {
    (memory / 4).clamp(SMALLEST_SEGMENT, SEGMENT_BYTES)
}

/// Bytes of a slot.
pub(super) fn slot_bytes(memory: usize) -> usize {
    segment_bytes(memory) + SLOT_HEADERS
}
