//! One execution's file: slots that are written and read whole. All of it blocks.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use execgate_core::outcome::Channel;
use rustix::io::pwritev;

use super::SpillStore;
use crate::execution::journal::{Piece, Segment};

/// Channel, offset, microseconds, length.
const HEADER_BYTES: usize = 1 + 8 + 8 + 4;

/// Slices in one write: half of what the system takes, headers and data.
const SLICES: usize = 512;

/// What a record of so many bytes takes in a slot.
pub(in crate::execution) const fn record_bytes(data: usize) -> usize {
    HEADER_BYTES + data
}

/// The spilled output of one execution.
#[derive(Debug)]
pub(in crate::execution) struct SpillFile {
    file: File,
    slot_bytes: u64,
    slots: AtomicU32,
    store: Arc<SpillStore>,
}

impl SpillFile {
    pub(super) fn new(file: File, slot_bytes: u64, store: Arc<SpillStore>) -> Self {
        Self {
            file,
            slot_bytes,
            slots: AtomicU32::new(0),
            store,
        }
    }

    /// One more slot; nothing where the shared room is used up. One thread writes.
    pub(in crate::execution) fn another_slot(&self) -> Option<u32> {
        let reserved = self.store.reserve(self.slot_bytes);
        reserved.then(|| self.slots.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes a slot; answers its bytes.
    pub(in crate::execution) fn write(&self, slot: u32, pieces: &[Piece]) -> io::Result<u64> {
        let headers: Vec<[u8; HEADER_BYTES]> = pieces.iter().map(header).collect();
        let mut slices = Vec::with_capacity(pieces.len() * 2);
        for (header, piece) in headers.iter().zip(pieces) {
            slices.push(IoSlice::new(header));
            slices.push(IoSlice::new(&piece.data));
        }
        let start = self.place(slot);
        let mut at = start;
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let some = left.len().min(SLICES);
            let written = match pwritev(&self.file, left.get(..some).unwrap_or_default(), at) {
                Err(rustix::io::Errno::INTR) => continue,
                written => written?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at += written as u64;
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(at - start)
    }

    /// Reads what a segment holds.
    pub(in crate::execution) fn read(&self, segment: &Segment) -> io::Result<Vec<Piece>> {
        let mut bytes = vec![0; usize::try_from(segment.bytes).unwrap_or(0)];
        self.file
            .read_exact_at(&mut bytes, self.place(segment.slot))?;
        let (mut rest, mut position) = (Bytes::from(bytes), segment.start);
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let piece = take_piece(&mut rest, position)
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            position = piece.end();
            pieces.push(piece);
        }
        Ok(pieces)
    }

    fn place(&self, slot: u32) -> u64 {
        u64::from(slot) * self.slot_bytes
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let slots = u64::from(self.slots.load(Ordering::Relaxed));
        self.store.give_back(slots * self.slot_bytes);
    }
}

fn header(piece: &Piece) -> [u8; HEADER_BYTES] {
    let since = piece.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    let length = u32::try_from(piece.data.len()).unwrap_or(u32::MAX);
    let mut header = [0; HEADER_BYTES];
    let fields = std::iter::once(channel_code(piece.channel))
        .chain(piece.offset.to_le_bytes())
        .chain(micros.to_le_bytes())
        .chain(length.to_le_bytes());
    header
        .iter_mut()
        .zip(fields)
        .for_each(|(byte, field)| *byte = field);
    header
}

fn take_piece(rest: &mut Bytes, position: u64) -> Option<Piece> {
    let channel = channel_of(rest.try_get_u8().ok()?)?;
    let offset = rest.try_get_u64_le().ok()?;
    let micros = rest.try_get_u64_le().ok()?;
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    (length > 0 && length <= rest.len()).then(|| Piece {
        position,
        channel,
        offset,
        time: time_of(micros),
        data: rest.split_to(length),
    })
}

fn time_of(micros: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_micros(micros))
        .unwrap_or(UNIX_EPOCH)
}

fn channel_code(channel: Channel) -> u8 {
    match channel {
        Channel::Stdout => 1,
        Channel::Stderr => 2,
        Channel::Terminal => 3,
        Channel::Background => 4,
    }
}

fn channel_of(code: u8) -> Option<Channel> {
    match code {
        1 => Some(Channel::Stdout),
        2 => Some(Channel::Stderr),
        3 => Some(Channel::Terminal),
        4 => Some(Channel::Background),
        _ => None,
    }
}
