//! The thread that makes the log evident: it hashes what is on stable storage into the
//! tree, signs heads, and applies retention.
//!
//! ```text
//! more is durable ─► leaves ─► 256 records or 5 s since the last head ─► sign ─► file
//!     `heads`, synced ─► log line, file, command
//! shutdown, or somebody asks ─► sign at once
//! ```
//! The tree starts from the file `tree`, a signed resume point; where that is missing or
//! not ours, from what retention left, or from nothing: then all that is kept is read.
//! A failure here stops no command. It is logged, and tried again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use execgate_core::audit::{
    Digest, MAX_NOTE_BYTES, Micros, NoteSigner, NoteVerifier, ResumePoint, TreeHead,
};
use tokio::sync::{oneshot, watch};

use super::AuditHead;
use super::cursor::Cursor;
use super::directory::Directory;
use super::error::AuditError;
use super::follow::{Message, Waker};
use super::heads::{Exporter, HeadExport, Heads, SignedHead, Sync, write_aside};
use super::retention::Retainer;
use super::segment_log::SyncMode;

/// Where the log lines of signed heads come from: by this name they can be sent elsewhere.
pub const HEAD_TARGET: &str = "execgate::audit::head";
/// Records after which a head is signed.
const HEAD_RECORDS: u64 = 256;
/// How long a record may be without a head.
const HEAD_INTERVAL: Duration = Duration::from_secs(5);
/// How long what comes together is gathered.
const GATHER: Duration = Duration::from_millis(20);
/// Records read before the inbox is looked at again.
const STEP_RECORDS: usize = 4096;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The file of the place from which the tree goes on.
const TREE_NAME: &str = "tree";
/// The file of what retention has left of the records it removed.
pub(super) const STUB_NAME: &str = "stub";

/// What a sealer is made of.
#[derive(Debug)]
pub(super) struct SealerParts {
    pub(super) dir: Arc<Directory>,
    pub(super) signer: Arc<NoteSigner>,
    /// Keys that signed before it: what they left is gone on from.
    pub(super) previous: Vec<NoteVerifier>,
    pub(super) sync: SyncMode,
    pub(super) export: HeadExport,
    pub(super) head: watch::Receiver<AuditHead>,
    pub(super) waker: Waker,
    pub(super) retainer: Option<Retainer>,
}

/// The sealer.
#[derive(Debug)]
pub(super) struct Sealer {
    parts: SealerParts,
    exporter: Option<Exporter>,
    heads: Heads,
    cursor: Cursor,
    /// The tree over what may be signed.
    point: ResumePoint,
    /// Hashes of records that are written and not yet on stable storage.
    pending: VecDeque<Digest>,
    signed: Option<SignedHead>,
    unsigned_since: Option<Instant>,
    /// When the tree was last kept.
    kept: Option<Instant>,
    /// When a head was last told to the server's log, which need not have each of many.
    logged: Option<Instant>,
    /// What was wrong the last time.
    problem: Option<String>,
}

impl Sealer {
    /// Reads what was left behind. Refuses a log that is shorter than its newest head.
    pub(super) fn open(mut parts: SealerParts) -> Result<Self, AuditError> {
        let (heads, newest) = Heads::open(Arc::clone(&parts.dir))?;
        let keys = keys(&parts.signer, &parts.previous);
        let newest = newest.and_then(|note| {
            let opened = |key: &NoteVerifier| Some((key.clone(), key.open_head(&note).ok()?));
            let (verifier, head) = keys.iter().find_map(opened)?;
            Some(SignedHead {
                head,
                // Told only once the tree has come that far.
                hash: Digest::default(),
                time: Micros::default(),
                note,
                verifier,
            })
        });
        let last = parts.head.borrow().sequence;
        if let Some(newest) = &newest
            && newest.head.size > last
            && parts.sync == SyncMode::Durable
        {
            return Err(AuditError::Truncated {
                dir: parts.dir.path().to_owned(),
                last,
                signed: newest.head.size,
            });
        }
        let point = starting_point(parts.dir.path(), &keys, last)?;
        let export = std::mem::take(&mut parts.export);
        Ok(Self {
            exporter: Exporter::start(export)?,
            heads,
            cursor: Cursor::at(point.first()),
            point,
            pending: VecDeque::new(),
            signed: newest,
            unsigned_since: None,
            kept: None,
            logged: None,
            problem: None,
            parts,
        })
    }

    /// Works until it is told to finish.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        self.parts.waker.heard();
        let mut wait = Duration::ZERO;
        loop {
            let (message, mut asked) = match inbox.recv_timeout(wait) {
                Ok(Message::Sign { answer }) => (None, Some(answer)),
                Ok(message) => (Some(message), None),
                Err(RecvTimeoutError::Timeout) => (None, None),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let closing = match message {
                Some(Message::Close { answer }) => Some(answer),
                Some(_) => {
                    std::thread::sleep(GATHER);
                    self.parts.waker.heard();
                    None
                }
                None => None,
            };
            let force = asked.is_some() || closing.is_some();
            if closing.is_some() {
                // The last head is said, however soon after another one.
                self.logged = None;
            }
            let worked = self.work(force);
            if closing.is_none() {
                self.retain();
            } else {
                self.keep_tree();
            }
            self.tell(&worked);
            wait = self.next_wait(worked.is_err());
            if let Some(answer) = asked.take() {
                answer_head(answer, worked, self.signed.clone(), self.point.previous);
            }
            if let Some(answer) = closing {
                // The directory is given up before it is said.
                drop(self);
                let _caller_gone = answer.send(());
                return;
            }
        }
    }

    /// Says once that something is wrong, and not each time that it is tried again.
    fn tell(&mut self, worked: &Result<(), AuditError>) {
        let problem = worked.as_ref().err().map(ToString::to_string);
        if let Some(error) = &problem
            && self.problem != problem
        {
            tracing::error!(error, "audit heads are not signed");
        }
        self.problem = problem;
    }

    /// Reads all there is, and signs if it is time or wanted.
    fn work(&mut self, force: bool) -> Result<(), AuditError> {
        loop {
            let head = *self.parts.head.borrow();
            let safe = match self.parts.sync {
                SyncMode::Durable => head.durable,
                SyncMode::Never => head.sequence,
            };
            self.read(head.sequence, safe)?;
            if self.cursor.next() > head.sequence {
                break;
            }
        }
        self.check_newest()?;
        if self.is_due() || (force && self.unsigned() > 0) {
            self.sign()?;
        }
        if self.kept.is_none_or(|kept| kept.elapsed() >= HEAD_INTERVAL) {
            self.keep_tree();
        }
        Ok(())
    }

    fn read(&mut self, last: u64, safe: u64) -> Result<(), AuditError> {
        let pending = &mut self.pending;
        let dir = self.parts.dir.path();
        self.cursor.read(dir, last, STEP_RECORDS, |line, _| {
            pending.push_back(line.hash);
            Ok(())
        })?;
        while self.point.frontier.size() < safe
            && let Some(hash) = self.pending.pop_front()
        {
            self.point.push(hash);
            self.check_newest()?;
            self.unsigned_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// The tree has to have the root that was signed when it had this size.
    fn check_newest(&self) -> Result<(), AuditError> {
        match &self.signed {
            Some(signed)
                if signed.head.size == self.point.frontier.size()
                    && signed.head.root != self.point.frontier.root() =>
            {
                Err(AuditError::HeadMismatch {
                    dir: self.parts.dir.path().to_owned(),
                    signed: signed.head.size,
                })
            }
            _ => Ok(()),
        }
    }

    fn signed_size(&self) -> u64 {
        self.signed.as_ref().map_or(0, |signed| signed.head.size)
    }

    fn unsigned(&self) -> u64 {
        self.point
            .frontier
            .size()
            .saturating_sub(self.signed_size())
    }

    fn is_due(&self) -> bool {
        let first = self.signed.is_none();
        let old = self
            .unsigned_since
            .is_some_and(|since| since.elapsed() >= HEAD_INTERVAL);
        match self.unsigned() {
            0 => false,
            unsigned => first || old || unsigned >= HEAD_RECORDS,
        }
    }

    fn next_wait(&self, failed: bool) -> Duration {
        match self.unsigned_since {
            _ if failed => RETRY,
            Some(since) if self.unsigned() > 0 => HEAD_INTERVAL.saturating_sub(since.elapsed()),
            _ => self
                .parts
                .retainer
                .as_ref()
                .map_or(Retainer::LOOK_INTERVAL, Retainer::until_next_look),
        }
    }

    fn sign(&mut self) -> Result<(), AuditError> {
        let signer = &self.parts.signer;
        let head = TreeHead {
            size: self.point.frontier.size(),
            root: self.point.frontier.root(),
        };
        let note = signer.sign_head(&head);
        self.heads.append(&note)?;
        let quiet = |logged: Instant| logged.elapsed() < HEAD_INTERVAL;
        if !self.logged.is_some_and(quiet) {
            tracing::info!(
                target: HEAD_TARGET,
                { audit.head.size = head.size, audit.head.root = %head.root, audit.head.note = note },
                "audit head signed"
            );
            self.logged = Some(Instant::now());
        }
        if let Some(exporter) = &self.exporter {
            exporter.offer(note.clone());
        }
        self.signed = Some(SignedHead {
            head,
            hash: self.point.previous,
            time: Micros::from(SystemTime::now()),
            note,
            verifier: signer.verifier().clone(),
        });
        self.unsigned_since = None;
        Ok(())
    }

    /// Keeps the place, so that the next start need not read everything. Worth no sync:
    /// what is lost or torn is no note, and then more is read.
    fn keep_tree(&mut self) {
        let path = self.parts.dir.path().join(TREE_NAME);
        let note = self.point.sign(&self.parts.signer);
        if let Err(error) = write_aside(&path, &note, Sync::Never) {
            tracing::warn!(%error, "the audit log's tree is not kept");
        }
        self.kept = Some(Instant::now());
    }

    /// Removes what is no longer kept, as far as a head covers it.
    fn retain(&mut self) {
        let covered = self.signed_size();
        let Some(retainer) = &mut self.parts.retainer else {
            return;
        };
        if !retainer.is_due() {
            return;
        }
        match retainer.apply(
            &self.parts.dir,
            (&self.parts.signer, &self.parts.previous),
            covered,
        ) {
            Ok(None) => {}
            Ok(Some(removed)) => {
                let verifier = self.parts.signer.verifier();
                if let Err(error) = self.heads.forget(verifier, removed) {
                    tracing::error!(%error, "old audit heads are not removed");
                }
            }
            Err(error) => tracing::error!(%error, "old audit records are not removed"),
        }
    }
}

fn answer_head(
    answer: oneshot::Sender<Result<SignedHead, AuditError>>,
    worked: Result<(), AuditError>,
    signed: Option<SignedHead>,
    hash: Digest,
) {
    let signed = signed.map(|signed| SignedHead { hash, ..signed });
    let head = worked.and_then(|()| signed.ok_or(AuditError::NotSigned));
    // The caller may have gone.
    let _gone = answer.send(head);
}

/// The keys whose notes count: the one that signs, and those before it.
pub(super) fn keys(signer: &NoteSigner, previous: &[NoteVerifier]) -> Vec<NoteVerifier> {
    let mut keys = vec![signer.verifier().clone()];
    keys.extend_from_slice(previous);
    keys
}

/// Where the tree goes on: the nearest place before `last` that one of our keys has signed.
fn starting_point(dir: &Path, keys: &[NoteVerifier], last: u64) -> Result<ResumePoint, AuditError> {
    for name in [TREE_NAME, STUB_NAME] {
        if let Some(point) = resume_point(dir, name, keys)?
            && point.frontier.size() <= last
        {
            return Ok(point);
        }
    }
    Ok(ResumePoint::default())
}

/// The resume point in a file, if one of our keys has signed it.
pub(super) fn resume_point(
    dir: &Path,
    name: &str,
    keys: &[NoteVerifier],
) -> Result<Option<ResumePoint>, AuditError> {
    let note = read_note(dir, name)?;
    Ok(note.and_then(|note| {
        keys.iter()
            .find_map(|key| ResumePoint::open(key, &note).ok())
    }))
}

/// The note in a file, if there is one.
pub(super) fn read_note(dir: &Path, name: &str) -> Result<Option<String>, AuditError> {
    use std::io::Read;
    let path = dir.join(name);
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AuditError::io("open", &path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_NOTE_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(AuditError::io("read", &path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
