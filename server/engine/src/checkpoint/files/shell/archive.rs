//! Files as an archive of tar, in the form that every tar reads: each is called by its number.

use std::io;

use super::super::{Load, Put, PutKind};

/// Bytes of a block.
const BLOCK: usize = 512;
/// Longest name of a link in a header.
const NAME: usize = 100;

/// The archive, piece by piece; each file is loaded when its turn comes.
pub(super) fn write<'a>(
    puts: &'a [Put],
    load: &'a Load<'a>,
) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send + 'a {
    let files = puts.iter().enumerate().map(move |(number, put)| {
        let content = load(&put.id)?;
        Ok(match put.what {
            PutKind::File(mode) => {
                let mut piece = header(&number.to_string(), mode, content.len(), b'0', b"");
                piece.extend_from_slice(&content);
                pad(&mut piece);
                piece
            }
            PutKind::Link => link(&number.to_string(), &content),
        })
    });
    // Two empty blocks end it.
    files.chain(std::iter::once_with(|| Ok(vec![0; 2 * BLOCK])))
}

fn link(name: &str, leads: &[u8]) -> Vec<u8> {
    let mut piece = Vec::new();
    if leads.len() > NAME {
        piece = header("././@LongLink", 0o644, leads.len() + 1, b'K', b"");
        piece.extend_from_slice(leads);
        piece.push(0);
        pad(&mut piece);
    }
    let short = leads.get(..NAME).unwrap_or(leads);
    piece.extend(header(name, 0o777, 0, b'2', short));
    piece
}

fn pad(piece: &mut Vec<u8>) {
    piece.resize(piece.len().next_multiple_of(BLOCK), 0);
}

fn header(name: &str, mode: u32, size: usize, sort: u8, leads: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut field = |width: usize, text: &[u8]| {
        let end = block.len() + width;
        block.extend_from_slice(text.get(..width).unwrap_or(text));
        block.resize(end, 0);
    };
    field(NAME, name.as_bytes());
    field(8, format!("{mode:07o}").as_bytes());
    // Nobody's and of no time: neither is brought back.
    field(8, b"0000000");
    field(8, b"0000000");
    field(12, format!("{size:011o}").as_bytes());
    field(12, b"00000000000");
    // The checksum counts itself as blanks.
    field(8, b"        ");
    field(1, &[sort]);
    field(NAME, leads);
    block.extend_from_slice(b"ustar  \0");
    block.resize(BLOCK, 0);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(place) = block.get_mut(148..156) {
        place.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}
