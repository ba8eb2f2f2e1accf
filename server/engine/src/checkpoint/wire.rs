//! What the server and the program that looks after a local session's files say to each
//! other: frames of bytes, a length before each. The program belongs to the session's user,
//! so nothing that it says is trusted: lengths are bounded, paths are parsed again.

mod codec;

use std::io::{self, Read, Write};

use codec::{Reader, Writer};
use execgate_core::checkpoint::{FileKind, Omission, Step, TreePath};

use super::found::{Found, Listing, OmittedName, Signature};

/// Longest frame, in bytes: a directory of some hundred thousand names.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a file in one frame.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// What the server asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Look at the workspace: at all of it, or at what happened since the last look.
    Look {
        complete: bool,
        max_file_bytes: u64,
        patterns: Vec<String>,
    },
    /// Read these files.
    Read { paths: Vec<TreePath> },
    /// Make room for what is to be written, under this name.
    Stage { name: String },
    /// Put a file aside; its content follows in as many frames as it takes.
    Put { number: u32, mode: u32, size: u64 },
    /// Put a link aside.
    PutLink { number: u32, leads: Vec<u8> },
    /// A piece of the file that is being put aside.
    Data { bytes: Vec<u8> },
    /// Say whether everything has been put aside.
    Staged,
    /// Do this. Files are named by their number, links by where they lead.
    Step { step: Order },
    /// Say whether everything has been done, and clear up.
    Done,
}

/// A step as it is done on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Mode { path: TreePath, mode: u32 },
    Remove { path: TreePath },
    RemoveDirectory { path: TreePath },
    MakeDirectory { path: TreePath },
    Place { path: TreePath, number: u32 },
}

impl Order {
    /// The order for a step that brings nothing.
    pub(crate) fn plain(step: &Step) -> Option<Self> {
        Some(match step.clone() {
            Step::Mode { path, mode } => Self::Mode { path, mode },
            Step::Remove { path } => Self::Remove { path },
            Step::RemoveDirectory { path } => Self::RemoveDirectory { path },
            Step::MakeDirectory { path } => Self::MakeDirectory { path },
            Step::Place { .. } | Step::Link { .. } => return None,
        })
    }

    /// Where it happens.
    pub(crate) fn path(&self) -> &TreePath {
        match self {
            Self::Mode { path, .. }
            | Self::Remove { path }
            | Self::RemoveDirectory { path }
            | Self::MakeDirectory { path }
            | Self::Place { path, .. } => path,
        }
    }

    /// What it does, in words.
    pub(crate) fn action(&self) -> &'static str {
        match self {
            Self::Mode { .. } => "set the mode of",
            Self::Remove { .. } => "remove",
            Self::RemoveDirectory { .. } => "remove the directory",
            Self::MakeDirectory { .. } => "make the directory",
            Self::Place { .. } => "write",
        }
    }
}

/// What the program answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A look begins.
    Looking {
        complete: bool,
        watching: bool,
        clock: i64,
    },
    /// One directory of it.
    Listing(Listing),
    /// A look has ended.
    Looked,
    /// A file's content follows, in as many frames as it takes.
    File {
        number: u32,
        signature: Signature,
        mode: u32,
        clock: i64,
        size: u64,
    },
    /// A piece of it.
    Data { bytes: Vec<u8> },
    /// A file cannot be had; without a reason it is gone.
    Left {
        number: u32,
        reason: Option<Omission>,
    },
    /// What was asked has been done.
    Done,
    /// What was asked could not be done.
    Failed {
        action: String,
        path: TreePath,
        errno: i32,
    },
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Ask {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Look {
                complete,
                max_file_bytes,
                patterns,
            } => {
                out.byte(1).byte((*complete).into()).long(*max_file_bytes);
                out.count(patterns.len());
                for pattern in patterns {
                    out.bytes(pattern.as_bytes());
                }
            }
            Self::Read { paths } => {
                out.byte(2).count(paths.len());
                for path in paths {
                    out.bytes(path.as_bytes());
                }
            }
            Self::Stage { name } => drop(out.byte(3).bytes(name.as_bytes())),
            Self::Put { number, mode, size } => {
                out.byte(4).short(*number).short(*mode).long(*size);
            }
            Self::Data { bytes } => drop(out.byte(5).bytes(bytes)),
            Self::PutLink { number, leads } => drop(out.byte(9).short(*number).bytes(leads)),
            Self::Staged => drop(out.byte(6)),
            Self::Step { step } => step.encode(out.byte(7)),
            Self::Done => drop(out.byte(8)),
        }
        out.0
    }

    /// Reads it.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader(bytes);
        Ok(match from.byte()? {
            1 => Self::Look {
                complete: from.flag()?,
                max_file_bytes: from.long()?,
                patterns: from.list(Reader::text)?,
            },
            2 => Self::Read {
                paths: from.list(Reader::path)?,
            },
            3 => Self::Stage { name: from.text()? },
            4 => Self::Put {
                number: from.short()?,
                mode: from.short()?,
                size: from.long()?,
            },
            5 => Self::Data {
                bytes: from.bytes()?,
            },
            6 => Self::Staged,
            7 => Self::Step {
                step: Order::decode(&mut from)?,
            },
            8 => Self::Done,
            9 => Self::PutLink {
                number: from.short()?,
                leads: from.bytes()?,
            },
            _ => return Err(broken()),
        })
    }
}

impl Order {
    fn encode(&self, out: &mut Writer) {
        let path = self.path().as_bytes();
        match self {
            Self::Mode { mode, .. } => drop(out.byte(0).bytes(path).short(*mode)),
            Self::Remove { .. } => drop(out.byte(1).bytes(path)),
            Self::RemoveDirectory { .. } => drop(out.byte(2).bytes(path)),
            Self::MakeDirectory { .. } => drop(out.byte(3).bytes(path)),
            Self::Place { number, .. } => drop(out.byte(4).bytes(path).short(*number)),
        }
    }

    fn decode(from: &mut Reader<'_>) -> io::Result<Self> {
        let (sort, path) = (from.byte()?, from.path()?);
        Ok(match sort {
            0 => Self::Mode {
                path,
                mode: from.short()?,
            },
            1 => Self::Remove { path },
            2 => Self::RemoveDirectory { path },
            3 => Self::MakeDirectory { path },
            4 => Self::Place {
                path,
                number: from.short()?,
            },
            _ => return Err(broken()),
        })
    }
}

impl Answer {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Looking {
                complete,
                watching,
                clock,
            } => {
                out.byte(1).byte((*complete).into());
                out.byte((*watching).into()).time(*clock);
            }
            Self::Listing(listing) => encode_listing(listing, out.byte(2)),
            Self::Looked => drop(out.byte(3)),
            Self::File {
                number,
                signature,
                mode,
                clock,
                size,
            } => {
                out.byte(4).short(*number).signature(signature);
                out.short(*mode).time(*clock).long(*size);
            }
            Self::Data { bytes } => drop(out.byte(5).bytes(bytes)),
            Self::Left { number, reason } => {
                out.byte(6).short(*number).byte(reason.is_some().into());
                if let Some(reason) = reason {
                    out.omission(*reason);
                }
            }
            Self::Done => drop(out.byte(7)),
            Self::Failed {
                action,
                path,
                errno,
            } => {
                out.byte(8).bytes(action.as_bytes()).bytes(path.as_bytes());
                out.short(errno.cast_unsigned());
            }
        }
        out.0
    }

    /// Reads it.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader(bytes);
        Ok(match from.byte()? {
            1 => Self::Looking {
                complete: from.flag()?,
                watching: from.flag()?,
                clock: from.time()?,
            },
            2 => Self::Listing(decode_listing(&mut from)?),
            3 => Self::Looked,
            4 => Self::File {
                number: from.short()?,
                signature: from.signature()?,
                mode: from.short()?,
                clock: from.time()?,
                size: from.long()?,
            },
            5 => Self::Data {
                bytes: from.bytes()?,
            },
            6 => Self::Left {
                number: from.short()?,
                reason: match from.flag()? {
                    true => Some(from.omission()?),
                    false => None,
                },
            },
            7 => Self::Done,
            8 => Self::Failed {
                action: from.text()?,
                path: from.path()?,
                errno: from.short()?.cast_signed(),
            },
            _ => return Err(broken()),
        })
    }
}

fn encode_listing(listing: &Listing, out: &mut Writer) {
    out.bytes(listing.path.as_bytes()).short(listing.mode);
    out.count(listing.found.len());
    for found in &listing.found {
        let kind = match found.kind {
            FileKind::File => 0,
            FileKind::Link => 1,
            FileKind::Directory => 2,
        };
        out.bytes(&found.name).byte(kind).short(found.mode);
        out.signature(&found.signature).bytes(&found.leads);
    }
    out.count(listing.omitted.len());
    for omitted in &listing.omitted {
        out.bytes(&omitted.name).omission(omitted.reason);
        out.byte(omitted.directory.into());
    }
}

fn decode_listing(from: &mut Reader<'_>) -> io::Result<Listing> {
    Ok(Listing {
        path: from.path()?,
        mode: from.short()? & 0o7777,
        found: from.list(|from| {
            Ok(Found {
                name: from.name()?,
                kind: from.kind()?,
                mode: from.short()? & 0o7777,
                signature: from.signature()?,
                leads: from.bytes()?,
            })
        })?,
        omitted: from.list(|from| {
            Ok(OmittedName {
                name: from.name()?,
                reason: from.omission()?,
                directory: from.flag()?,
            })
        })?,
    })
}

/// Writes one frame.
pub(crate) fn write_frame(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(|_| broken())?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(frame)
}

/// Reads one frame; nothing at the end.
pub(crate) fn read_frame(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = frame_length(length)?;
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// How long a frame is, if that may be.
pub(crate) fn frame_length(length: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| broken())?;
    match length <= MAX_FRAME_BYTES {
        true => Ok(length),
        false => Err(broken()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_said_comes_back() {
        let path = TreePath::parse(b"a/\xff").unwrap();
        let listing = Listing {
            path: path.clone(),
            mode: 0o700,
            found: vec![Found {
                name: b"l\n".to_vec(),
                kind: FileKind::Link,
                mode: 0o777,
                signature: Signature {
                    size: 1,
                    modified: -2,
                    changed: 3,
                    inode: u64::MAX,
                },
                leads: b"..".to_vec(),
            }],
            omitted: vec![OmittedName {
                name: b".env".to_vec(),
                reason: Omission::Secret,
                directory: false,
            }],
        };
        for answer in [
            Answer::Listing(listing),
            Answer::Looking {
                complete: true,
                watching: false,
                clock: 5,
            },
            Answer::Left {
                number: 1,
                reason: Some(Omission::Changing),
            },
            Answer::Failed {
                action: "write".to_owned(),
                path: path.clone(),
                errno: 28,
            },
        ] {
            assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
        }
        let step = Order::Place { path, number: 7 };
        let ask = Ask::Step { step };
        assert_eq!(Ask::decode(&ask.encode()).unwrap(), ask);
    }

    proptest! {
        #[test]
        fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = (Answer::decode(&bytes), Ask::decode(&bytes));
        }
    }
}
