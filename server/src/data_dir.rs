//! The data directory: private to its owner, and the secrets the server makes
//! for itself at first start.
//!
//! A secret file holds 64 hex digits and a line feed. It appears under its name
//! whole or not at all, so that a client that waits for it never reads half.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, hard_link, remove_file, symlink_metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use execgate_core::audit::{HashKey, NoteSigner};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

/// The directory is its owner's alone.
const DIRECTORY_MODE: u32 = 0o700;
/// So is each secret in it.
const FILE_MODE: u32 = 0o600;
/// Permission bits that others must not have.
const OTHERS_MODE: u32 = 0o077;
/// Bytes of a secret: out of reach of any search.
const SECRET_BYTES: usize = 32;
/// Bytes of a secret's file at most; anything longer is not one.
const MAX_FILE_BYTES: u64 = 128;
/// The audit log's directory.
pub(crate) const AUDIT_NAME: &str = "audit";
/// The directory of output that memory does not hold.
const RETAINED_NAME: &str = "retained";
/// The directory of checkpoints.
const CHECKPOINTS_NAME: &str = "checkpoints";
/// The keys of SSH hosts that were trusted on first use.
const LEARNED_HOSTS_NAME: &str = "ssh_known_hosts";
/// The key of the keyed hashes in the audit log.
const HASH_KEY_NAME: &str = "audit-hash.key";
/// The key that signs heads of the audit log.
const SIGNING_KEY_NAME: &str = "audit-sign.key";

/// A data directory that is private to the user the server runs as.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A system call failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read or change it.
    #[error("use {}: {problem}", path.display())]
    Insecure {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A secret's file holds something else.
    #[error("read {}: it does not hold 64 hex digits", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl DataDir {
    /// Makes the directory if need be, and refuses one that others can enter.
    pub fn prepare(path: &Path) -> Result<Self, DataDirError> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(failed("create", path))?;
        let metadata = symlink_metadata(path).map_err(failed("inspect", path))?;
        if !metadata.is_dir() {
            return Err(insecure(path, "it is not a directory"));
        }
        check_private(path, &metadata)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the audit log is.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.path.join(AUDIT_NAME)
    }

    /// Where executions keep output that memory does not hold.
    #[must_use]
    pub fn retained(&self) -> PathBuf {
        self.path.join(RETAINED_NAME)
    }

    /// Where checkpoints are.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS_NAME)
    }

    /// Where the keys of SSH hosts are kept that were trusted on first use.
    #[must_use]
    pub fn learned_hosts(&self) -> PathBuf {
        self.path.join(LEARNED_HOSTS_NAME)
    }

    /// The key of the keyed hashes in the audit log, made at first start.
    pub fn hash_key(&self) -> Result<HashKey, DataDirError> {
        self.secret(HASH_KEY_NAME).map(HashKey::new)
    }

    /// The key that signs heads of the audit log: the one in `given`, or one made at first
    /// start.
    pub fn audit_signer(&self, given: Option<&Path>) -> Result<NoteSigner, DataDirError> {
        let seed = match given {
            Some(path) => load(path)?,
            None => self.secret(SIGNING_KEY_NAME)?,
        };
        Ok(NoteSigner::from_seed(&Zeroizing::new(seed)))
    }

    /// The secret called `name`, made at first start.
    pub(crate) fn secret(&self, name: &str) -> Result<[u8; SECRET_BYTES], DataDirError> {
        let path = self.path.join(name);
        match load(&path) {
            Err(DataDirError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.create(name, &path)?;
                // Whoever was first: this is what everybody reads.
                load(&path)
            }
            loaded => loaded,
        }
    }

    /// Writes a new secret beside and links it to its name, if that is still free.
    fn create(&self, name: &str, path: &Path) -> Result<(), DataDirError> {
        let nonce = HEXLOWER.encode(&random::<8>(path)?);
        let draft = self.path.join(format!(".{name}.{nonce}"));
        let text = HEXLOWER.encode(&random::<SECRET_BYTES>(path)?);
        let written = write_draft(&draft, &text);
        let linked = written.and_then(|()| match hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        // The draft may not exist if writing failed; its own error counts.
        let _absent = remove_file(&draft);
        linked.map_err(failed("create", path))?;
        let dir = File::open(&self.path).map_err(failed("open", &self.path))?;
        dir.sync_all().map_err(failed("sync", &self.path))
    }
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(draft)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn load(path: &Path) -> Result<[u8; SECRET_BYTES], DataDirError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(failed("open", path))?;
    let metadata = file.metadata().map_err(failed("inspect", path))?;
    if !metadata.is_file() {
        return Err(insecure(path, "it is not a file"));
    }
    check_private(path, &metadata)?;
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut text)
        .map_err(failed("read", path))?;
    HEXLOWER
        .decode(text.trim_ascii_end())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| DataDirError::Malformed {
            path: path.to_owned(),
        })
}

fn check_private(path: &Path, metadata: &Metadata) -> Result<(), DataDirError> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(insecure(path, "it belongs to another user"));
    }
    if metadata.mode() & OTHERS_MODE != 0 {
        return Err(insecure(
            path,
            "others have access to it; take it from them with `chmod go=`",
        ));
    }
    Ok(())
}

fn random<const BYTES: usize>(path: &Path) -> Result<[u8; BYTES], DataDirError> {
    let mut bytes = [0; BYTES];
    // Up to 256 bytes come whole or not at all.
    let drawn = getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|errno| failed("find randomness for", path)(errno.into()))?;
    if drawn == BYTES {
        return Ok(bytes);
    }
    Err(failed("find randomness for", path)(
        io::ErrorKind::UnexpectedEof.into(),
    ))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    move |source| DataDirError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

fn insecure(path: &Path, problem: &'static str) -> DataDirError {
    DataDirError::Insecure {
        path: path.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_directory_and_its_secrets_are_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("a/b")).unwrap();
        dir.secret("key").unwrap();
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["key"]);
        assert_eq!(
            (mode(dir.path()), mode(&dir.path().join("key"))),
            (0o700, 0o600)
        );
    }

    #[test]
    fn a_secret_stays_the_same_and_differs_by_name() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("data")).unwrap();
        let first = dir.secret("one").unwrap();
        assert_eq!(dir.secret("one").unwrap(), first);
        assert_ne!(dir.secret("two").unwrap(), first);
    }

    #[test]
    fn servers_that_start_together_agree_on_the_secret() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("data")).unwrap();
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| dir.secret("key").unwrap()))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        assert!(secrets.iter().all(|secret| Some(secret) == secrets.first()));
    }

    #[test]
    fn what_others_can_reach_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let dir = DataDir::prepare(&path).unwrap();
        dir.secret("key").unwrap();
        fs::set_permissions(path.join("key"), Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            dir.secret("key"),
            Err(DataDirError::Insecure { .. })
        ));
        fs::set_permissions(&path, Permissions::from_mode(0o710)).unwrap();
        assert!(matches!(
            DataDir::prepare(&path),
            Err(DataDirError::Insecure { .. })
        ));
        let link = root.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(
            DataDir::prepare(&link),
            Err(DataDirError::Insecure { .. })
        ));
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("data")).unwrap();
        write_draft(&dir.path().join("key"), "short").unwrap();
        assert!(matches!(
            dir.secret("key"),
            Err(DataDirError::Malformed { .. })
        ));
    }
}
