//! What the disk takes that the measured servers write their audit log to: appending a
//! record's size and waiting until it is there.

use std::fs::File;
use std::io::Write;

use tempfile::TempDir;

use crate::Result;
use crate::race::Contender;

/// About what an audit record has, in bytes.
const RECORD: [u8; 200] = [b'r'; 200];

/// A file that grows.
#[derive(Debug)]
pub(crate) struct Appender {
    file: File,
    _folder: TempDir,
}

impl Appender {
    /// A new one, where the servers' data directories are.
    pub(crate) fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = File::create(folder.path().join("records"))?;
        Ok(Self {
            file,
            _folder: folder,
        })
    }

    /// Appends a record and waits for the disk.
    pub(crate) fn append(&mut self) -> Result<()> {
        self.file.write_all(&RECORD)?;
        self.file.sync_data()?;
        Ok(())
    }
}

#[tonic::async_trait(?Send)]
impl Contender for Appender {
    async fn once(&mut self, _script: &str) -> Result<()> {
        self.append()
    }
}
