//! What an execution keeps of its events: the journal, who waits for it, and who writes
//! what memory does not hold. Writers push and never wait here: who pushes output asks
//! [`EventLog::is_full`] before it reads more.
//!
//! Writing to disk blocks, so it is done on the runtime's threads for that, by one of them
//! for each log; an execution that never exceeds its memory never meets them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::journal::{Batch, Bounds, Journal, Written, slot_bytes};
use super::spill::SpillStore;
use super::{EventKind, Execution, Overflow, Retention};

/// How long a command waits for readers before they are told: a reader that is a moment
/// behind need not know.
const THROTTLED_AFTER: Duration = Duration::from_secs(1);

/// The events of one execution.
#[derive(Debug)]
pub(crate) struct EventLog {
    journal: Mutex<Journal>,
    followers: Mutex<usize>,
    /// Something was pushed, or the log was closed.
    pub(super) changed: Notify,
    /// There may be room again.
    room: Notify,
    /// Since when it has been full.
    full: Mutex<Option<Instant>>,
    store: Option<Arc<SpillStore>>,
    slot_bytes: u64,
    owner: Weak<Execution>,
}

impl EventLog {
    /// The log of `owner`.
    pub(super) fn new(retention: &Retention, overflow: Overflow, owner: Weak<Execution>) -> Self {
        let memory = retention.limits().memory_bytes;
        Self {
            journal: Mutex::new(Journal::new(Bounds {
                memory,
                disk: retention.disk_bytes(),
                overflow,
            })),
            followers: Mutex::new(0),
            changed: Notify::new(),
            room: Notify::new(),
            full: Mutex::new(None),
            store: retention.store().cloned(),
            slot_bytes: slot_bytes(memory) as u64,
            owner,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an event. Always takes it.
    pub(crate) fn push(&self, kind: EventKind) {
        let mut journal = self.lock();
        if journal.closed {
            return;
        }
        match kind {
            EventKind::Output {
                channel,
                offset,
                data,
            } => journal.append(channel, offset, data),
            // A reader's own, where it finds nothing.
            EventKind::Gap { .. } => {}
            EventKind::Started | EventKind::Notice(_) | EventKind::Finished(_) => {
                journal.mark(kind);
            }
        }
        let batch = journal.settle();
        drop(journal);
        self.changed.notify_waiters();
        if let Some(batch) = batch {
            self.write_behind(batch);
        }
    }

    /// No more events will come.
    pub(crate) fn close(&self) {
        let mut journal = self.lock();
        journal.closed = true;
        let spilled = journal.has_spilled();
        drop(journal);
        self.changed.notify_waiters();
        self.room.notify_waiters();
        if let (true, Some(store)) = (spilled, &self.store) {
            store.finished(Weak::clone(&self.owner));
        }
    }

    /// Whether the command must wait for a reader, or for the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    /// Waits until the log is not full. Where that takes long, readers are told. May be
    /// cancelled without loss.
    pub(crate) async fn until_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            let Some(since) = self.full_since() else {
                return;
            };
            tokio::select! {
                () = room => {}
                () = sleep_until(since + THROTTLED_AFTER) => {
                    *self.lock_full() = None;
                    self.lock().note_throttled();
                    self.changed.notify_waiters();
                }
            }
        }
    }

    /// Since when the log has been full, or since when readers know.
    fn full_since(&self) -> Option<Instant> {
        let full = self.is_full();
        let mut since = self.lock_full();
        match full {
            true => Some(*since.get_or_insert_with(Instant::now)),
            false => since.take().and(None),
        }
    }

    fn lock_full(&self) -> MutexGuard<'_, Option<Instant>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The command is being ended: from now on it waits for no reader, so that its last
    /// bytes come through; what does not fit is let go, the oldest first.
    pub(crate) fn release(&self) {
        self.lock().release();
        self.room.notify_waiters();
    }

    /// Readers have moved on: writes what waited for that.
    pub(super) fn settle(&self) {
        let mut journal = self.lock();
        let batch = journal.settle();
        let full = journal.is_full();
        drop(journal);
        if !full {
            self.room.notify_waiters();
        }
        if let Some(batch) = batch {
            self.write_behind(batch);
        }
    }

    /// Whose log it is.
    pub(super) fn owner(&self) -> &Weak<Execution> {
        &self.owner
    }

    /// How many read now.
    pub(crate) fn followers(&self) -> usize {
        *self.lock_followers()
    }

    pub(super) fn lock_followers(&self) -> MutexGuard<'_, usize> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory held now.
    pub(crate) fn retained(&self) -> usize {
        self.lock().memory()
    }

    /// Lets go of all output; what happened is kept.
    pub(crate) fn forget_output(&self) {
        self.lock().forget_output();
    }

    /// Lets go of what is on disk.
    pub(super) fn forget_spilled(&self) {
        self.lock().forget_spilled();
    }

    fn write_behind(&self, batch: Batch) {
        let Some(execution) = self.owner.upgrade() else {
            return;
        };
        let write = move || execution.log.write(batch);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_none) => write(),
        }
    }

    /// Writes a batch, and those that have become due meanwhile. Blocks.
    fn write(&self, mut batch: Batch) {
        loop {
            let written = self.try_write(&batch).unwrap_or_else(|error| {
                tracing::warn!(%error, "retained output could not be written to disk");
                Written::Failed
            });
            let mut journal = self.lock();
            journal.committed(&batch, written);
            let next = journal.settle_further();
            let full = journal.is_full();
            drop(journal);
            self.changed.notify_waiters();
            if !full {
                self.room.notify_waiters();
            }
            match next {
                Some(next) => batch = next,
                None => return,
            }
        }
    }

    fn try_write(&self, batch: &Batch) -> std::io::Result<Written> {
        let file = match (&batch.file, &self.store) {
            (Some(file), _) => Some(Arc::clone(file)),
            (None, Some(store)) => store.create(self.slot_bytes)?,
            (None, None) => None,
        };
        let Some(file) = file else {
            return Ok(Written::NoRoom);
        };
        let Some(slot) = batch.slot.or_else(|| file.another_slot()) else {
            return Ok(Written::NoRoom);
        };
        let bytes = file.write(slot, &batch.pieces)?;
        Ok(Written::Done(file, slot, bytes))
    }
}
