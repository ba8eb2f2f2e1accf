//! Where what is gotten goes: a local file, replaced as a whole or not at all.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

/// A local file being written. Until `commit` the file is what it was; dropping this
/// leaves it so.
pub(crate) struct OpenTarget {
    pub(crate) file: File,
    temporary: TempPath,
    path: PathBuf,
}

impl OpenTarget {
    pub(crate) async fn create(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        run(move || {
            // A symbolic link is written through.
            let path = path.canonicalize().unwrap_or(path);
            if path.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            let directory = directory.unwrap_or(Path::new("."));
            let temporary = NamedTempFile::with_prefix_in(".execgate-get-", directory)?;
            let (file, temporary) = temporary.into_parts();
            Ok(Self {
                file: File::from_std(file),
                temporary,
                path,
            })
        })
        .await
    }

    /// Keeps what was written, with these permissions if they are known.
    pub(crate) async fn commit(self, mode: Option<u32>) -> io::Result<()> {
        let Self {
            mut file,
            temporary,
            path,
        } = self;
        file.flush().await?;
        let file = file.into_std().await;
        run(move || {
            set_permissions(&file, mode)?;
            temporary.persist(path).map_err(|error| error.error)
        })
        .await
    }
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// What comes out of a session gives nobody another's rights here.
#[cfg(unix)]
fn set_permissions(file: &std::fs::File, mode: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match mode {
        Some(mode) => file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777)),
        None => Ok(()),
    }
}

#[cfg(not(unix))]
fn set_permissions(_: &std::fs::File, _: Option<u32>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn target_is_replaced_at_the_commit_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();

        let mut dropped = OpenTarget::create(&path).await.unwrap();
        dropped.file.write_all(b"new").await.unwrap();
        dropped.file.flush().await.unwrap();
        drop(dropped);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["file"]);

        let mut kept = OpenTarget::create(&path).await.unwrap();
        kept.file.write_all(b"new").await.unwrap();
        kept.commit(Some(0o4750)).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["file"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o750);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn symbolic_link_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let mut target = OpenTarget::create(&link).await.unwrap();
        target.file.write_all(b"new").await.unwrap();
        target.commit(None).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
