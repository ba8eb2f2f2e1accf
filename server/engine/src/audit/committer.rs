//! Who may write, and when what is written is synced.
//!
//! ```text
//! caller ── free? ──▶ writes its record itself ──▶ wants a sync? ──▶ yields, asks for one, waits
//!    └── busy, full, slow, large ──▶ queue ──▶ the thread: all that waits, one write
//! the thread: asked for a sync, or a second has passed ──▶ one sync, without the lock ──▶ answers
//! ```
//! A record that is only written costs its caller a copy into the kernel's memory and no
//! change of threads. A sync never happens in a caller's thread. Who wants one lets all that
//! is ready run first, so that as many as work at once share it, and one alone waits for
//! nobody. What was queued is written before whoever comes later.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_core::audit::{Appended, NewRecord};
use tokio::sync::oneshot;

use super::Durability;
use super::error::AuditError;
use super::follow;
use super::writer::{Job, LAZY_SYNC_DELAY, Writer};

/// Records in one group at most, so that the first of them is not kept waiting
/// for ever by those that come after it.
const MAX_GROUP_RECORDS: usize = 1024;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Append(Box<Job>),
    /// Somebody waits for a sync, or something was written after a long silence.
    Look,
    /// Bring what is written to stable storage.
    Sync {
        answer: oneshot::Sender<Result<(), AuditError>>,
    },
    Close {
        answer: oneshot::Sender<Result<(), AuditError>>,
    },
}

/// How far a record has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// It is where it was asked to be, or cannot be.
    Done(Result<Appended, AuditError>),
    /// It is written; the answer comes when it is on stable storage.
    Written(oneshot::Receiver<Result<Appended, AuditError>>),
    /// It is to be queued.
    NotYet,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Queue {
    inbox: Sender<Message>,
    /// Records that are queued and not yet written.
    records: AtomicUsize,
}

impl Queue {
    pub(super) fn new(inbox: Sender<Message>) -> Self {
        Self {
            inbox,
            records: AtomicUsize::new(0),
        }
    }

    /// Has the thread write a record.
    pub(super) fn enqueue(&self, job: Job) {
        self.records.fetch_add(1, Ordering::AcqRel);
        self.send(Message::Append(Box::new(job)));
    }

    /// Tells the thread something; one that is gone drops it, and the answer with it.
    pub(super) fn send(&self, message: Message) {
        drop(self.inbox.send(message));
    }
}

/// The one way to the writer.
#[derive(Debug)]
pub(super) struct Committer {
    /// Nothing once the log is closed.
    writer: Mutex<Option<Writer>>,
    queue: Arc<Queue>,
    /// The thread has been told to look, and has not looked yet.
    told: AtomicBool,
    /// The thread sleeps until it is told.
    asleep: AtomicBool,
}

impl Committer {
    pub(super) fn new(writer: Writer, queue: Arc<Queue>) -> Self {
        Self {
            writer: Mutex::new(Some(writer)),
            queue,
            told: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
        }
    }

    /// Writes a record here and now, where nobody is before it and it takes no time.
    pub(super) fn write_now(&self, record: &NewRecord, durability: Durability) -> Progress {
        let Ok(mut writer) = self.writer.try_lock() else {
            return Progress::NotYet;
        };
        let Some(writer) = writer.as_mut() else {
            return Progress::Done(Err(AuditError::Closed));
        };
        // Asked under the lock: whoever queued before is seen.
        if self.queue.records.load(Ordering::Acquire) > 0 {
            return Progress::NotYet;
        }
        let appended = match writer.write_now(record) {
            None => return Progress::NotYet,
            Some(Err(error)) => return Progress::Done(Err(error)),
            Some(Ok(appended)) => appended,
        };
        if writer.unsynced_since().is_some() && self.asleep.load(Ordering::Acquire) {
            self.ask();
        }
        match durability {
            Durability::Synced if writer.syncs() => {
                let (answer, answered) = oneshot::channel();
                writer.wait_for_sync(appended, answer);
                Progress::Written(answered)
            }
            Durability::Synced | Durability::Written => Progress::Done(Ok(appended)),
        }
    }

    /// Has the thread sync for those who wait for it.
    pub(super) fn ask(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            self.queue.send(Message::Look);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until the inbox is closed or says so.
    pub(super) fn run(&self, inbox: Receiver<Message>) {
        let mut group = Vec::new();
        loop {
            let other = match self.next_message(&inbox) {
                Ok(Message::Append(job)) => {
                    group.push(*job);
                    take_waiting(&inbox, &mut group)
                }
                Ok(other) => Some(other),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // From here on what is written may have to be told of again.
            self.told.store(false, Ordering::Release);
            if !group.is_empty() {
                self.commit(&mut group);
            }
            match other {
                Some(Message::Sync { answer }) => {
                    let finished = self.lock().as_mut().map(Writer::finish);
                    let _caller_gone = answer.send(finished.unwrap_or(Err(AuditError::Closed)));
                }
                Some(Message::Close { answer }) => {
                    // Who still waits for an answer, a follower perhaps, gets none.
                    drop(inbox);
                    let closed = self.close();
                    if let Err(error) = &closed {
                        tracing::error!(%error, "audit log not closed in good order");
                    }
                    let _caller_gone = answer.send(closed);
                    return;
                }
                Some(Message::Append(_) | Message::Look) | None => {}
            }
            self.sync();
        }
    }

    fn commit(&self, group: &mut Vec<Job>) {
        let records = group.len();
        let mut writer = self.lock();
        if let Some(writer) = writer.as_mut() {
            writer.commit(group);
        }
        group.clear();
        // Before the lock goes: whoever has it next comes after these.
        self.queue.records.fetch_sub(records, Ordering::AcqRel);
    }

    /// One sync for all that wait for it, without the lock, so that others write meanwhile.
    fn sync(&self) {
        let begun = self.lock().as_mut().and_then(Writer::begin_sync);
        let Some(syncing) = begun else { return };
        let synced = syncing.run();
        if let Some(writer) = self.lock().as_mut() {
            writer.end_sync(&syncing, &synced);
        }
        // Without the lock: who is answered may write at once.
        syncing.answer(&synced);
    }

    /// Finishes, and lets those that follow finish. The lock goes before the answer, so
    /// that the caller can open again.
    fn close(&self) -> Result<(), AuditError> {
        let Some(writer) = self.lock().take() else {
            return Err(AuditError::Closed);
        };
        let (closed, followers) = writer.close();
        for follower in &followers {
            let (answer, answered) = oneshot::channel();
            follower.send(follow::Message::Close { answer });
            // One that is gone has finished.
            let _gone = answered.blocking_recv();
        }
        closed
    }

    /// Waits for a message, and no longer than what is written may wait for a sync. After a
    /// second in which nothing was, it sleeps until it is told.
    fn next_message(&self, inbox: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        let unsynced = self.lock().as_ref().and_then(Writer::unsynced_since);
        let wait = unsynced.map_or(LAZY_SYNC_DELAY, |since| {
            LAZY_SYNC_DELAY.saturating_sub(since.elapsed())
        });
        match inbox.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) if self.fall_asleep() => {
                let told = inbox.recv().map_err(|_| RecvTimeoutError::Disconnected);
                self.asleep.store(false, Ordering::Release);
                told
            }
            message => message,
        }
    }

    /// Whether nothing waits for a sync; then whoever writes next says so.
    fn fall_asleep(&self) -> bool {
        let writer = self.lock();
        let awake = writer
            .as_ref()
            .is_some_and(|writer| writer.unsynced_since().is_some());
        self.asleep.store(!awake, Ordering::Release);
        !awake
    }
}

/// Takes what else is queued, up to a message that is no record.
fn take_waiting(inbox: &Receiver<Message>, group: &mut Vec<Job>) -> Option<Message> {
    while group.len() < MAX_GROUP_RECORDS {
        match inbox.try_recv() {
            Ok(Message::Append(job)) => group.push(*job),
            Ok(Message::Look) => {}
            Ok(other) => return Some(other),
            Err(_) => break,
        }
    }
    None
}
