//! Packs: many objects in one file, and the index by which one of them is found. One pack is
//! written for each checkpoint that has something new, in one go and from nothing but its
//! objects; deltas are neither written nor read.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use sha2::{Digest, Sha256};

use super::object::{ObjectId, ObjectKind};

/// Bytes of a pack's header.
pub const HEADER_BYTES: usize = 12;
/// Bytes of the checksum at a pack's end.
pub const CHECKSUM_BYTES: usize = 32;
/// Longest header of an object: its kind, and 64 bits of size in sevens.
pub const MAX_ENTRY_HEADER_BYTES: usize = 11;
/// How hard is compressed: the least. Time counts more here than room.
const LEVEL: Compression = Compression::new(1);
/// What an index begins with: its magic and version 2.
const INDEX_MAGIC: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// Bytes of an index before its names: magic and 256 counts.
const NAMES_AT: usize = 8 + 256 * 4;
/// Offsets from here on stand in a table of their own.
const FAR: u64 = 0x8000_0000;

/// A pack's header.
#[must_use]
pub fn header(objects: u32) -> [u8; HEADER_BYTES] {
    let mut header = *b"PACK\0\0\0\x02\0\0\0\0";
    let [.., a, b, c, d] = &mut header;
    [*a, *b, *c, *d] = objects.to_be_bytes();
    header
}

/// Where an object stands in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Its name.
    pub id: ObjectId,
    /// Checksum of its bytes in the pack.
    pub crc: u32,
    /// Where they begin.
    pub offset: u64,
}

/// An object as it stands in a pack.
///
/// # Errors
/// None in memory; the signature is the encoder's.
pub fn entry(kind: ObjectKind, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(content.len() / 2 + 32);
    let mut size = content.len() as u64;
    let mut byte = (kind.code() << 4) | low(size, 0x0f);
    size >>= 4;
    while size > 0 {
        bytes.push(byte | 0x80);
        byte = low(size, 0x7f);
        size >>= 7;
    }
    bytes.push(byte);
    let mut encoder = ZlibEncoder::new(bytes, LEVEL);
    encoder.write_all(content)?;
    encoder.finish()
}

/// The checksum of an object's bytes in a pack.
#[must_use]
pub fn checksum(entry: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(entry);
    crc.sum()
}

/// What an object is and how large, and how many bytes say so.
#[must_use]
pub fn entry_header(bytes: &[u8]) -> Option<(ObjectKind, u64, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let kind = ObjectKind::from_code((first >> 4) & 7)?;
    let mut size = u64::from(first & 0x0f);
    let (mut used, mut shift, mut more) = (1, 4_u32, first & 0x80 != 0);
    for &byte in rest.iter().take(MAX_ENTRY_HEADER_BYTES) {
        if !more {
            break;
        }
        size |= u64::from(byte & 0x7f).checked_shl(shift)?;
        (used, shift, more) = (used + 1, shift + 7, byte & 0x80 != 0);
    }
    (!more).then_some((kind, size, used))
}

/// Reads the compressed content behind an object's header.
///
/// # Errors
/// Where it is damaged, or not of this size.
pub fn content(compressed: impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(1 << 24));
    ZlibDecoder::new(compressed)
        .take(size.saturating_add(1))
        .read_to_end(&mut content)?;
    match content.len() as u64 == size {
        true => Ok(content),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The index of a pack.
#[must_use]
pub fn index(objects: &mut [Packed], pack_checksum: &[u8; CHECKSUM_BYTES]) -> Vec<u8> {
    objects.sort_by_key(|object| object.id);
    let mut bytes = INDEX_MAGIC.to_vec();
    for first in 0..=u8::MAX {
        let up_to = objects.partition_point(|object| object.id.0.first() <= Some(&first));
        bytes.extend(u32::try_from(up_to).unwrap_or(u32::MAX).to_be_bytes());
    }
    for object in objects.iter() {
        bytes.extend(object.id.0);
    }
    for object in objects.iter() {
        bytes.extend(object.crc.to_be_bytes());
    }
    let mut far = Vec::new();
    for object in objects.iter() {
        let offset = match object.offset < FAR {
            true => object.offset,
            false => {
                far.push(object.offset);
                FAR | (far.len() as u64 - 1)
            }
        };
        bytes.extend(u32::try_from(offset).unwrap_or(u32::MAX).to_be_bytes());
    }
    for offset in far {
        bytes.extend(offset.to_be_bytes());
    }
    bytes.extend(pack_checksum);
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

/// The index of a pack, to be asked.
#[derive(Debug)]
pub struct PackIndex {
    bytes: Vec<u8>,
    count: usize,
}

impl PackIndex {
    /// Reads an index; nothing where it is none.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let magic = bytes.get(..8)?;
        let count = u32::from_be_bytes(bytes.get(NAMES_AT - 4..NAMES_AT)?.try_into().ok()?);
        let count = usize::try_from(count).ok()?;
        let least = NAMES_AT + count.checked_mul(32 + 4 + 4)? + 2 * CHECKSUM_BYTES;
        (magic == INDEX_MAGIC && bytes.len() >= least).then_some(Self { bytes, count })
    }

    /// Where an object stands in the pack, if it is there.
    #[must_use]
    pub fn find(&self, id: &ObjectId) -> Option<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(middle)?.cmp(id.0.as_slice()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.offset(middle),
            }
        }
        None
    }

    /// The objects of the pack, by name.
    pub fn ids(&self) -> impl Iterator<Item = ObjectId> + '_ {
        (0..self.count).filter_map(|at| Some(ObjectId(self.name(at)?.try_into().ok()?)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn name(&self, at: usize) -> Option<&[u8]> {
        let from = NAMES_AT + at * 32;
        self.bytes.get(from..from + 32)
    }

    fn offset(&self, at: usize) -> Option<u64> {
        let offsets = NAMES_AT + self.count * 36;
        let word = |from: usize| self.bytes.get(from..from + 4)?.try_into().ok();
        let near = u64::from(u32::from_be_bytes(word(offsets + at * 4)?));
        if near & FAR == 0 {
            return Some(near);
        }
        let from = offsets + self.count * 4 + usize::try_from(near & !FAR).ok()? * 8;
        let far = self.bytes.get(from..from + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(far))
    }
}

fn low(size: u64, mask: u64) -> u8 {
    u8::try_from(size & mask).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_back_from_its_bytes() {
        for size in [0_usize, 1, 15, 16, 2047, 2048, 70_000] {
            let text = vec![b'x'; size];
            let bytes = entry(ObjectKind::Tree, &text).unwrap();
            let (kind, read, used) = entry_header(&bytes).unwrap();
            assert_eq!((kind, read), (ObjectKind::Tree, size as u64));
            assert_eq!(content(&bytes[used..], read).unwrap(), text);
            assert!(content(&bytes[used..], read + 1).is_err());
        }
    }

    #[test]
    fn an_index_finds_what_is_in_it_near_and_far() {
        let offsets = [12, 0x7fff_ffff, FAR, FAR + 5];
        let mut objects: Vec<Packed> = (0_u8..)
            .zip(offsets)
            .map(|(n, offset)| Packed {
                id: ObjectId([n * 60; 32]),
                crc: 1,
                offset,
            })
            .collect();
        let read = PackIndex::parse(index(&mut objects, &[0; 32])).unwrap();
        for (n, offset) in (0_u8..).zip(offsets) {
            assert_eq!(read.find(&ObjectId([n * 60; 32])), Some(offset));
        }
        assert_eq!(read.find(&ObjectId([1; 32])), None);
        assert_eq!((read.len(), read.ids().count()), (4, 4));
        assert!(PackIndex::parse(vec![0; 2000]).is_none());
    }
}
