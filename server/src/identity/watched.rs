//! What files say, read again when they are others: certificates and keys are replaced while
//! the server runs, and what is asked of them is true from the next call on.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What tells one state of a file from another; nothing where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(u64, i64, i64, u64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let found = fs::metadata(path).ok();
        Self(found.map(|found| (found.ino(), found.mtime(), found.mtime_nsec(), found.len())))
    }
}

/// Files, and what they said when they were last read.
pub(crate) struct Watched<T> {
    files: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    seen: Mutex<Option<Seen<T>>>,
}

struct Seen<T> {
    stamps: Vec<Stamp>,
    said: Result<Arc<T>, String>,
    /// The last that was good.
    good: Option<Arc<T>>,
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl<T> Watched<T> {
    /// What `read` makes of these files.
    pub(crate) fn new(
        files: impl IntoIterator<Item = PathBuf>,
        read: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            files: files.into_iter().collect(),
            read: Box::new(read),
            seen: Mutex::new(None),
        }
    }

    /// What they say now.
    ///
    /// # Errors
    /// What is wrong with them: what was good before is not good any more.
    pub(crate) fn now(&self) -> Result<Arc<T>, String> {
        match self.look().as_ref() {
            Some(seen) => seen.said.clone(),
            None => Err("it was never read".to_owned()),
        }
    }

    /// What they say now, or said when they were last good: one file of two may have been
    /// replaced and the other not yet.
    pub(crate) fn last_good(&self) -> Option<Arc<T>> {
        self.look().as_ref().and_then(|seen| seen.good.clone())
    }

    fn look(&self) -> MutexGuard<'_, Option<Seen<T>>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps: Vec<Stamp> = self.files.iter().map(|file| Stamp::of(file)).collect();
        if seen.as_ref().is_none_or(|seen| seen.stamps != stamps) {
            let said = (self.read)().map(Arc::new);
            if let Err(problem) = &said {
                tracing::error!(files = ?self.files, problem, "cannot be used as it is now");
            }
            let before = seen.take().and_then(|seen| seen.good);
            let good = said.as_ref().ok().cloned().or(before);
            *seen = Some(Seen { stamps, said, good });
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_is_another() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("f");
        let path = file.clone();
        let read = move || match fs::read_to_string(&path) {
            Ok(text) if text.starts_with("bad") => Err(text),
            Ok(text) => Ok(text),
            Err(error) => Err(error.kind().to_string()),
        };
        let watched = Watched::new([file.clone()], read);
        assert_eq!(watched.last_good(), None);
        assert!(watched.now().is_err());
        let put = |text: &str| {
            let new = root.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, &file).unwrap();
        };
        put("one");
        assert_eq!(watched.now().unwrap().as_str(), "one");
        put("bad");
        assert_eq!(watched.now(), Err("bad".to_owned()));
        assert_eq!(watched.last_good().unwrap().as_str(), "one");
        put("two");
        assert_eq!(watched.last_good().unwrap().as_str(), "two");
    }
}
