//! Numbers, names and lists as bytes, and back. Whatever comes back is checked: it was said
//! by somebody else's program.

use std::io;

use execgate_core::checkpoint::{FileKind, Omission, TreePath};

use super::broken;
use crate::checkpoint::found::Signature;

#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    pub(super) fn short(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn long(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn time(&mut self, time: i64) -> &mut Self {
        self.0.extend(time.to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.short(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn count(&mut self, items: usize) -> &mut Self {
        self.short(u32::try_from(items).unwrap_or(u32::MAX))
    }

    pub(super) fn signature(&mut self, of: &Signature) -> &mut Self {
        self.long(of.size)
            .time(of.modified)
            .time(of.changed)
            .long(of.inode)
    }

    pub(super) fn omission(&mut self, reason: Omission) -> &mut Self {
        let place = Omission::ALL.iter().position(|known| *known == reason);
        self.byte(place.and_then(|at| u8::try_from(at).ok()).unwrap_or(0))
    }
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(broken)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> io::Result<u8> {
        self.take(1)?.first().copied().ok_or_else(broken)
    }

    pub(super) fn flag(&mut self) -> io::Result<bool> {
        Ok(self.byte()? != 0)
    }

    pub(super) fn short(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?.try_into().map_err(|_| broken())?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn long(&mut self) -> io::Result<u64> {
        let bytes = self.take(8)?.try_into().map_err(|_| broken())?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn time(&mut self) -> io::Result<i64> {
        let bytes = self.take(8)?.try_into().map_err(|_| broken())?;
        Ok(i64::from_le_bytes(bytes))
    }

    pub(super) fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.short()?).map_err(|_| broken())?;
        Ok(self.take(length)?.to_vec())
    }

    pub(super) fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| broken())
    }

    pub(super) fn path(&mut self) -> io::Result<TreePath> {
        TreePath::parse(&self.bytes()?).map_err(|_| broken())
    }

    /// A name in a directory.
    pub(super) fn name(&mut self) -> io::Result<Vec<u8>> {
        let name = self.bytes()?;
        let plain = !name.is_empty() && name != b"." && name != b"..";
        match plain && !name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            true => Ok(name),
            false => Err(broken()),
        }
    }

    pub(super) fn signature(&mut self) -> io::Result<Signature> {
        Ok(Signature {
            size: self.long()?,
            modified: self.time()?,
            changed: self.time()?,
            inode: self.long()?,
        })
    }

    pub(super) fn omission(&mut self) -> io::Result<Omission> {
        let place = usize::from(self.byte()?);
        Omission::ALL.get(place).copied().ok_or_else(broken)
    }

    pub(super) fn kind(&mut self) -> io::Result<FileKind> {
        match self.byte()? {
            0 => Ok(FileKind::File),
            1 => Ok(FileKind::Link),
            2 => Ok(FileKind::Directory),
            _ => Err(broken()),
        }
    }

    /// As many items as it says, each read by `item`.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let count = self.short()?;
        // An item has at least one byte: more than are left cannot come.
        if usize::try_from(count).map_err(|_| broken())? > self.0.len() {
            return Err(broken());
        }
        (0..count).map(|_| item(self)).collect()
    }
}
