//! What stands on disk, what is on its way there, and where a reader finds what it wants.

use std::sync::Arc;

use super::{Offsets, Piece};
use crate::execution::spill::SpillFile;

/// Output in a slot.
#[derive(Debug, Clone)]
pub(in crate::execution) struct Segment {
    pub(in crate::execution) start: u64,
    pub(in crate::execution) end: u64,
    pub(in crate::execution) slot: u32,
    /// Bytes of the slot that are used.
    pub(in crate::execution) bytes: u64,
    /// Where each channel stands at its beginning and its end.
    pub(in crate::execution) from: Offsets,
    pub(in crate::execution) to: Offsets,
}

/// Chunks that are to be written.
#[derive(Debug)]
pub(in crate::execution) struct Batch {
    pub(in crate::execution) pieces: Vec<Piece>,
    /// A slot that is free; nothing where a new one is needed.
    pub(in crate::execution) slot: Option<u32>,
    pub(in crate::execution) file: Option<Arc<SpillFile>>,
}

/// What came of a batch.
#[derive(Debug)]
pub(in crate::execution) enum Written {
    /// It is in this slot of this file.
    Done(Arc<SpillFile>, u32, u64),
    /// There is no room on disk for another slot.
    NoRoom,
    /// The disk did not take it.
    Failed,
}

/// Where a position is found.
#[derive(Debug)]
pub(in crate::execution) enum Place {
    /// On disk.
    Spilled(Segment, Arc<SpillFile>),
    /// In memory.
    Here(Piece),
    /// It has not come yet.
    Ahead,
}
