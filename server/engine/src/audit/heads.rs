//! The signed heads of the log, beside its segments: one note after the other in the file
//! `heads`, five lines each. And the way out for them, so that somebody else has them too.

use std::fs::{File, OpenOptions, rename};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use execgate_core::audit::{Digest, Micros, NoteVerifier, TreeHead};

use super::directory::{Directory, FILE_MODE};
use super::error::AuditError;

/// The file of the heads.
pub(super) const HEADS_NAME: &str = "heads";
/// Lines of one head's note.
const NOTE_LINES: usize = 5;
/// Bytes of the heads that are read: a million of them, years of work.
const MAX_HEADS_BYTES: u64 = 256 * 1024 * 1024;
/// How long the command that takes a head may run.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether it has ended.
const COMMAND_LOOK: Duration = Duration::from_millis(20);

/// A head, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// What it says.
    pub head: TreeHead,
    /// Hash of the last record that it covers.
    pub hash: Digest,
    /// When it was signed.
    pub time: Micros,
    /// The signed note.
    pub note: String,
    /// The key to check it with.
    pub verifier: NoteVerifier,
}

/// Where heads go beside the log's own directory and the server's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadExport {
    /// A file that holds the newest.
    pub file: Option<PathBuf>,
    /// A program and its arguments that gets each on stdin; under load, the newest.
    pub command: Vec<String>,
}

/// The notes in `dir`, oldest first. What is not five lines at the end is left out, and
/// whether there is such a thing is said.
pub(super) fn read_notes(dir: &Path) -> Result<(Vec<String>, bool), AuditError> {
    let path = dir.join(HEADS_NAME);
    let mut text = Vec::new();
    match File::open(&path) {
        Ok(file) => file
            .take(MAX_HEADS_BYTES)
            .read_to_end(&mut text)
            .map(drop)
            .map_err(AuditError::io("read", &path))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(AuditError::io("open", &path)(error)),
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let mut notes = lines.chunks_exact(NOTE_LINES);
    let mut whole: Vec<String> = notes.by_ref().map(<[&str]>::concat).collect();
    let mut torn = !notes.remainder().is_empty();
    if whole.last().is_some_and(|note| !note.ends_with('\n')) {
        whole.pop();
        torn = true;
    }
    Ok((whole, torn))
}

/// Puts `text` into the file `name`: whole or not at all, also after a power cut.
pub(super) fn replace(dir: &Directory, name: &str, text: &str) -> Result<(), AuditError> {
    let path = dir.path().join(name);
    write_aside(&path, text, Sync::Data).map_err(AuditError::io("write", &path))?;
    dir.sync()
}

/// Whether what is written has to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    Data,
    Never,
}

/// Writes beside `path` and puts it there under its name.
pub(super) fn write_aside(path: &Path, text: &str, sync: Sync) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    if sync == Sync::Data {
        file.sync_data()?;
    }
    rename(&draft, path)
}

/// The file being added to.
#[derive(Debug)]
pub(super) struct Heads {
    dir: Arc<Directory>,
    path: PathBuf,
    file: File,
    /// Bytes of whole notes; a failed write leaves more, which the next one replaces.
    bytes: u64,
}

impl Heads {
    /// Opens the file; a torn note at its end goes. The newest note comes with it.
    pub(super) fn open(dir: Arc<Directory>) -> Result<(Self, Option<String>), AuditError> {
        let path = dir.path().join(HEADS_NAME);
        let (notes, _torn) = read_notes(dir.path())?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(AuditError::io("open", &path))?;
        let bytes = notes.iter().map(|note| note.len() as u64).sum();
        file.set_len(bytes)
            .map_err(AuditError::io("truncate", &path))?;
        dir.sync()?;
        let heads = Self {
            dir,
            path,
            file,
            bytes,
        };
        Ok((heads, notes.into_iter().next_back()))
    }

    /// Adds one, durably.
    pub(super) fn append(&mut self, note: &str) -> Result<(), AuditError> {
        use std::os::unix::fs::FileExt;
        self.file
            .write_all_at(note.as_bytes(), self.bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(AuditError::io("write", &self.path))?;
        self.bytes = self.bytes.saturating_add(note.len() as u64);
        Ok(())
    }

    /// Forgets the heads of trees that are no larger than what retention removed.
    pub(super) fn forget(
        &mut self,
        verifier: &NoteVerifier,
        removed: u64,
    ) -> Result<(), AuditError> {
        let (notes, _torn) = read_notes(self.dir.path())?;
        let kept: String = notes
            .into_iter()
            .filter(|note| {
                verifier
                    .open_head(note)
                    .map_or(true, |head| head.size > removed)
            })
            .collect();
        replace(&self.dir, HEADS_NAME, &kept)?;
        let (heads, _newest) = Self::open(Arc::clone(&self.dir))?;
        *self = heads;
        Ok(())
    }
}

/// Hands heads out, on a thread of its own: what takes them may be slow.
#[derive(Debug)]
pub(super) struct Exporter {
    shared: Arc<(Mutex<Outbox>, Condvar)>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Outbox {
    newest: Option<String>,
    closed: bool,
}

impl Exporter {
    /// Starts the thread, if anybody wants heads.
    pub(super) fn start(export: HeadExport) -> Result<Option<Self>, AuditError> {
        if export == HeadExport::default() {
            return Ok(None);
        }
        let shared = Arc::new((Mutex::new(Outbox::default()), Condvar::new()));
        let inner = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("audit-export".to_owned())
            .spawn(move || {
                while let Some(note) = next_head(&inner) {
                    hand_out(&export, &note);
                }
            })
            .map_err(AuditError::io(
                "start the exporter of",
                Path::new(HEADS_NAME),
            ))?;
        Ok(Some(Self {
            shared,
            thread: Some(thread),
        }))
    }

    /// Takes the newest head; one that has not been handed out yet is left out.
    pub(super) fn offer(&self, note: String) {
        let (outbox, changed) = &*self.shared;
        lock(outbox).newest = Some(note);
        changed.notify_one();
    }
}

impl Drop for Exporter {
    /// Waits until the newest head is out.
    fn drop(&mut self) {
        let (outbox, changed) = &*self.shared;
        lock(outbox).closed = true;
        changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has logged what went wrong.
            let _panicked = thread.join();
        }
    }
}

fn lock(outbox: &Mutex<Outbox>) -> MutexGuard<'_, Outbox> {
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_head((outbox, changed): &(Mutex<Outbox>, Condvar)) -> Option<String> {
    let mut outbox = lock(outbox);
    loop {
        if let Some(note) = outbox.newest.take() {
            return Some(note);
        }
        if outbox.closed {
            return None;
        }
        outbox = changed.wait(outbox).unwrap_or_else(PoisonError::into_inner);
    }
}

fn hand_out(export: &HeadExport, note: &str) {
    if let Some(file) = &export.file
        && let Err(error) = write_aside(file, note, Sync::Data)
    {
        tracing::error!(file = %file.display(), %error, "audit head not written");
    }
    if let Err(error) = run(&export.command, note) {
        tracing::error!(%error, "audit head not taken by the command for it");
    }
}

fn run(command: &[String], note: &str) -> std::io::Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A note fits into a pipe; what does not want it need not read it.
        let _unread = stdin.write_all(note.as_bytes());
    }
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(std::io::Error::other(format!("it ended with {status}"))),
            None if start.elapsed() < COMMAND_LIMIT => thread::sleep(COMMAND_LOOK),
            None => {
                child.kill()?;
                child.wait()?;
                return Err(std::io::Error::other(format!(
                    "it did not end within {COMMAND_LIMIT:?}"
                )));
            }
        }
    }
}
