//! What is put: bytes, a local file, or a reader, with size and hash known beforehand.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::{PIECE_BYTES, hex};
use crate::error::Error;

/// Something to put into a session: bytes, or by a [`Path`] a local file.
pub struct Source(Kind);

enum Kind {
    Bytes(Bytes),
    Path(PathBuf),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl Source {
    /// What a reader has, up to its end. Since its size and hash have to be known
    /// first, it goes through a local temporary file.
    pub fn reader(reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(Kind::Reader(Box::new(reader)))
    }

    /// Reads all of it once.
    pub(crate) async fn open(self) -> Result<OpenSource, Error> {
        match self.0 {
            Kind::Bytes(data) => Ok(OpenSource {
                size: data.len() as u64,
                sha256: hex(&Sha256::digest(&data)),
                mode: None,
                origin: Origin::Bytes(data),
            }),
            Kind::Path(path) => {
                let failed = |source| Error::LocalFile {
                    path: path.clone(),
                    source,
                };
                OpenSource::of_file(&path).await.map_err(failed)
            }
            Kind::Reader(reader) => {
                let failed = |source| Error::LocalFile {
                    path: PathBuf::from("(reader)"),
                    source,
                };
                OpenSource::of_reader(reader).await.map_err(failed)
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bytes(data) => write!(f, "Source({} bytes)", data.len()),
            Kind::Path(path) => write!(f, "Source({})", path.display()),
            Kind::Reader(_) => f.write_str("Source(reader)"),
        }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self(Kind::Path(path.to_owned()))
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self(Kind::Path(path))
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        Self(Kind::Path(path.clone()))
    }
}

impl From<Bytes> for Source {
    fn from(data: Bytes) -> Self {
        Self(Kind::Bytes(data))
    }
}

impl From<Vec<u8>> for Source {
    fn from(data: Vec<u8>) -> Self {
        Self(Kind::Bytes(data.into()))
    }
}

impl From<&[u8]> for Source {
    fn from(data: &[u8]) -> Self {
        Self(Kind::Bytes(Bytes::copy_from_slice(data)))
    }
}

impl<const N: usize> From<&[u8; N]> for Source {
    fn from(data: &[u8; N]) -> Self {
        Self(Kind::Bytes(Bytes::copy_from_slice(data)))
    }
}

/// A source that was measured and is now read piece by piece.
pub(crate) struct OpenSource {
    pub(crate) size: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
    /// Permissions of a local file.
    pub(crate) mode: Option<u32>,
    origin: Origin,
}

enum Origin {
    Bytes(Bytes),
    File(File),
}

impl OpenSource {
    async fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        let metadata = file.metadata().await?;
        let mode = permissions(&metadata);
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut digest = Sha256::new();
        let mut size = 0;
        loop {
            let piece = read_piece(&mut file).await?;
            if piece.is_empty() {
                break;
            }
            digest.update(&piece);
            size += piece.len() as u64;
        }
        Self::measured(file, size, digest, mode).await
    }

    async fn of_reader(mut reader: Box<dyn AsyncRead + Send + Unpin>) -> io::Result<Self> {
        let temporary = tokio::task::spawn_blocking(tempfile::tempfile).await??;
        let mut file = File::from_std(temporary);
        let mut digest = Sha256::new();
        let mut size = 0;
        loop {
            let piece = read_piece(&mut reader).await?;
            if piece.is_empty() {
                break;
            }
            digest.update(&piece);
            size += piece.len() as u64;
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        Self::measured(file, size, digest, None).await
    }

    async fn measured(
        mut file: File,
        size: u64,
        digest: Sha256,
        mode: Option<u32>,
    ) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0)).await?;
        Ok(Self {
            size,
            sha256: hex(&digest.finalize()),
            mode,
            origin: Origin::File(file),
        })
    }

    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Bytes> {
        match &mut self.origin {
            Origin::Bytes(data) => Ok(data.split_to(data.len().min(PIECE_BYTES))),
            Origin::File(file) => read_piece(file).await,
        }
    }
}

/// A whole piece, or what is left.
async fn read_piece(reader: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    let mut limited = reader.take(PIECE_BYTES as u64);
    while limited.read_buf(&mut piece).await? > 0 {}
    Ok(piece.freeze())
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems have no permissions to tell"
)]
fn permissions(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(metadata.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn permissions(_: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut source: OpenSource) -> (u64, String, Vec<usize>, Vec<u8>) {
        let (mut pieces, mut all) = (Vec::new(), Vec::new());
        loop {
            let piece = source.next().await.unwrap();
            if piece.is_empty() {
                return (source.size, source.sha256, pieces, all);
            }
            pieces.push(piece.len());
            all.extend_from_slice(&piece);
        }
    }

    #[tokio::test]
    async fn every_kind_of_source_gives_the_same_pieces() {
        let data: Vec<u8> = (0..2_500_000u32).map(|n| (n % 251) as u8).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &data).unwrap();
        let sources = [
            Source::from(data.clone()),
            Source::from(file.path()),
            Source::reader(io::Cursor::new(data.clone())),
        ];
        let sha256 = hex(&Sha256::digest(&data));
        let pieces = vec![PIECE_BYTES, PIECE_BYTES, data.len() - 2 * PIECE_BYTES];
        for source in sources {
            let name = format!("{source:?}");
            let seen = read(source.open().await.unwrap()).await;
            let expected = (
                data.len() as u64,
                sha256.clone(),
                pieces.clone(),
                data.clone(),
            );
            assert!(seen == expected, "{name}");
        }
    }

    #[tokio::test]
    async fn local_file_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("absent"), dir.path().to_owned()] {
            let error = Source::from(&path).open().await.err().unwrap();
            assert!(matches!(error, Error::LocalFile { .. }), "{error:?}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
    }
}
