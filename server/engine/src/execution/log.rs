//! What an execution keeps of its events, and how readers follow it.
//!
//! The log holds a bounded number of bytes. While somebody reads, the writer waits for
//! the slowest reader when the log is full (the command is slowed); when nobody reads,
//! the oldest output is let go, and a later reader is told of the gap.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use execgate_core::outcome::Channel;
use tokio::sync::Notify;

use super::{Event, EventKind, Execution};

/// Output that one execution keeps in memory if the operator does not say, in bytes:
/// enough for a reader to catch up with a fast command, little enough for 64 sessions on
/// a small machine.
pub const RETAINED_BYTES: usize = 4 * 1024 * 1024;

/// What an event costs beside its data, in bytes, so that many tiny events are bounded too.
const EVENT_BYTES: usize = 128;

/// The events of one execution.
#[derive(Debug)]
pub(crate) struct EventLog {
    inner: Mutex<Inner>,
    /// Something was pushed, or the log was closed.
    changed: Notify,
    /// A reader moved on, or went.
    room: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Event>,
    next_sequence: u64,
    bytes: usize,
    /// The next sequence each reader wants.
    readers: BTreeMap<u64, u64>,
    next_reader: u64,
    /// Bytes to keep.
    limit: usize,
    closed: bool,
}

fn cost(kind: &EventKind) -> usize {
    match kind {
        EventKind::Output { data, .. } => EVENT_BYTES + data.len(),
        EventKind::Started
        | EventKind::Gap { .. }
        | EventKind::Notice(_)
        | EventKind::Finished(_) => EVENT_BYTES,
    }
}

impl EventLog {
    pub(super) fn new(limit: usize) -> Self {
        let inner = Inner {
            next_sequence: 1,
            limit,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            changed: Notify::new(),
            room: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an event. Always takes it: who pushes output asks [`Self::is_full`] before
    /// it reads more.
    pub(crate) fn push(&self, kind: EventKind) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        let sequence = inner.next_sequence;
        inner.next_sequence += 1;
        inner.bytes += cost(&kind);
        inner.events.push_back(Event {
            sequence,
            time: SystemTime::now(),
            kind,
        });
        inner.evict();
        drop(inner);
        self.changed.notify_waiters();
    }

    /// No more events will come.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Whether the command must wait for a reader.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    /// Waits until the log is not full.
    pub(crate) async fn until_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }

    /// How many read now.
    pub(crate) fn followers(&self) -> usize {
        self.lock().readers.len()
    }

    /// Bytes held now.
    pub(crate) fn retained(&self) -> usize {
        self.lock().bytes
    }

    /// Lets go of everything but the first event and the last.
    pub(crate) fn forget_output(&self) {
        let mut inner = self.lock();
        inner
            .events
            .retain(|event| cost(&event.kind) <= EVENT_BYTES);
        inner.bytes = inner.events.len() * EVENT_BYTES;
    }
}

impl Inner {
    fn is_full(&self) -> bool {
        self.bytes > self.limit
    }

    /// Makes room as far as every reader has read; `Started` stays.
    fn evict(&mut self) {
        let read = self.readers.values().copied().min().unwrap_or(u64::MAX);
        while self.is_full() {
            match self.events.get(1) {
                Some(oldest) if oldest.sequence < read => {
                    self.bytes -= cost(&oldest.kind);
                    self.events.remove(1);
                }
                _ => return,
            }
        }
    }

    /// The first event kept with this sequence or a later one.
    fn at(&self, sequence: u64) -> Option<&Event> {
        let index = self
            .events
            .partition_point(|event| event.sequence < sequence);
        self.events.get(index)
    }
}

/// A reader of an execution's events. Dropping it ends the reading, not the execution.
#[derive(Debug)]
pub struct Follower {
    execution: Arc<Execution>,
    reader: u64,
    next: u64,
    /// The next offset expected on each channel.
    offsets: BTreeMap<Channel, u64>,
    /// An event that waits behind a gap.
    behind_gap: Option<Event>,
}

impl Follower {
    pub(super) fn new(execution: Arc<Execution>) -> Self {
        let mut inner = execution.log.lock();
        let reader = inner.next_reader;
        inner.next_reader += 1;
        inner.readers.insert(reader, 1);
        drop(inner);
        Self {
            execution,
            reader,
            next: 1,
            offsets: BTreeMap::new(),
            behind_gap: None,
        }
    }

    /// The execution that is followed.
    #[must_use]
    pub fn execution(&self) -> &Arc<Execution> {
        &self.execution
    }

    /// The next event; nothing after the last. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.behind_gap.take() {
            return Some(event);
        }
        let event = self.next_kept().await?;
        Some(self.mind_the_gap(event))
    }

    async fn next_kept(&mut self) -> Option<Event> {
        // Its own handle on the execution, so that waiting borrows nothing of self.
        let execution = Arc::clone(&self.execution);
        loop {
            let mut changed = std::pin::pin!(execution.log.changed.notified());
            changed.as_mut().enable();
            {
                let mut inner = execution.log.lock();
                if let Some(event) = inner.at(self.next).cloned() {
                    self.next = event.sequence + 1;
                    inner.readers.insert(self.reader, self.next);
                    let was_full = inner.is_full();
                    inner.evict();
                    drop(inner);
                    if was_full {
                        execution.log.room.notify_waiters();
                    }
                    return Some(event);
                }
                if inner.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Puts a gap before an event that does not join on.
    fn mind_the_gap(&mut self, event: Event) -> Event {
        let jump = match &event.kind {
            EventKind::Output {
                channel: Channel::Background,
                ..
            } => None,
            EventKind::Output {
                channel,
                offset,
                data,
            } => {
                let expected = self.offsets.entry(*channel).or_default();
                let from = std::mem::replace(expected, offset + data.len() as u64);
                (from < *offset).then_some((*channel, from, *offset))
            }
            EventKind::Finished(ending) => ending.totals.iter().find_map(|total| {
                let expected = self.offsets.entry(total.channel).or_default();
                let from = std::mem::replace(expected, total.bytes);
                (from < total.bytes).then_some((total.channel, from, total.bytes))
            }),
            EventKind::Started | EventKind::Gap { .. } | EventKind::Notice(_) => None,
        };
        let Some((channel, from, to)) = jump else {
            return event;
        };
        let gap = Event {
            sequence: event.sequence - 1,
            time: event.time,
            kind: EventKind::Gap { channel, from, to },
        };
        self.behind_gap = Some(event);
        gap
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut inner = self.execution.log.lock();
        inner.readers.remove(&self.reader);
        inner.evict();
        drop(inner);
        self.execution.log.room.notify_waiters();
    }
}
