//! A reader of an execution's events: from its own place, through what is on disk, then in
//! memory, then live. It holds one segment at most and delays nobody.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use execgate_core::outcome::Channel;
use execgate_core::pipeline::MAX_OUTPUT_EVENT_BYTES;
use tokio::task::JoinHandle;

use super::journal::{Journal, Offsets, Piece, Place, Segment, gather};
use super::{Event, EventKind, Execution, GapReason, ReadError};

/// A reader of an execution's events. Dropping it ends the reading, not the execution.
#[derive(Debug)]
pub struct Follower {
    execution: Arc<Execution>,
    presence: Presence,
    /// The next position, and the next mark.
    position: u64,
    mark: u64,
    /// The next offset that is wanted on each channel.
    wanted: Offsets,
    /// Events to be given out.
    ready: VecDeque<Event>,
    loading: Option<Loading>,
    /// What was read from disk.
    loaded: VecDeque<Piece>,
    storage_failed: bool,
    sequence: u64,
}

/// What a reader is to the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Somebody follows it.
    Follows,
    /// Somebody takes a look.
    Looks,
}

/// What to do where nothing more has come yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    Wait,
    Stop,
}

#[derive(Debug)]
struct Loading {
    segment: Segment,
    pieces: JoinHandle<io::Result<Vec<Piece>>>,
}

enum Look {
    /// Look again.
    Again,
    /// Nothing more has come yet.
    Nothing,
    /// Nothing more will come.
    End,
}

impl Follower {
    pub(super) fn new(execution: Arc<Execution>, wanted: Offsets, presence: Presence) -> Self {
        if presence == Presence::Follows {
            *execution.log.lock_followers() += 1;
        }
        Self {
            execution,
            presence,
            position: 0,
            mark: 0,
            wanted,
            ready: VecDeque::new(),
            loading: None,
            loaded: VecDeque::new(),
            storage_failed: false,
            sequence: 0,
        }
    }

    /// A reader that has everything before these offsets.
    pub(super) fn from_offsets(
        execution: Arc<Execution>,
        offsets: &[(Channel, u64)],
    ) -> Result<Self, ReadError> {
        let mut journal = execution.log.lock();
        let ends = journal.ends();
        let mut wanted = Offsets::default();
        for &(channel, offset) in offsets {
            let next_offset = ends.get(channel);
            // The background channel goes on beyond this execution.
            if offset > next_offset && channel != Channel::Background {
                return Err(ReadError::OffsetOutOfRange {
                    offset,
                    next_offset,
                });
            }
            wanted = wanted.with(channel, offset);
            journal.took(channel, offset.min(next_offset), 0);
        }
        drop(journal);
        execution.log.settle();
        Ok(Self::new(execution, wanted, Presence::Follows))
    }

    /// The execution that is followed.
    #[must_use]
    pub fn execution(&self) -> &Arc<Execution> {
        &self.execution
    }

    /// The next event; nothing after the last. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<Event> {
        self.step(Ahead::Wait).await
    }

    /// The next event that is there already; nothing after the last of them.
    pub async fn next_kept(&mut self) -> Option<Event> {
        self.step(Ahead::Stop).await
    }

    async fn step(&mut self, ahead: Ahead) -> Option<Event> {
        // Its own handle on the execution, so that waiting borrows nothing of self.
        let execution = Arc::clone(&self.execution);
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.loading.is_some() {
                self.load().await;
                continue;
            }
            let mut changed = std::pin::pin!(execution.log.changed.notified());
            changed.as_mut().enable();
            match self.look() {
                Look::Again => {}
                Look::End => return None,
                Look::Nothing if ahead == Ahead::Stop => return None,
                Look::Nothing => changed.await,
            }
        }
    }

    /// Takes a step in the journal.
    fn look(&mut self) -> Look {
        let execution = Arc::clone(&self.execution);
        let journal = execution.log.lock();
        let mut stop = u64::MAX;
        if let Some(mark) = journal.mark_from(self.mark) {
            if mark.position <= self.position {
                self.mark = mark.number + 1;
                let (time, kind) = (mark.time, mark.kind.clone());
                let reason = self.gap_reason(&journal);
                drop(journal);
                self.give_mark(time, kind, reason);
                return Look::Again;
            }
            stop = mark.position;
        }
        if let Some(piece) = self.take_loaded(stop) {
            self.give(journal, piece);
            execution.log.settle();
            return Look::Again;
        }
        let first = journal.first_position();
        if self.position < first {
            self.position = first.min(stop);
            return Look::Again;
        }
        match journal.find(self.position, stop, MAX_OUTPUT_EVENT_BYTES) {
            Place::Here(piece) => {
                self.give(journal, piece);
                execution.log.settle();
            }
            Place::Spilled(segment, _) if self.wanted.reaches(&segment.to) => {
                self.position = segment.end.min(stop);
            }
            Place::Spilled(segment, file) => {
                drop(journal);
                let wanted = segment.clone();
                let pieces = tokio::task::spawn_blocking(move || file.read(&wanted));
                self.loading = Some(Loading { segment, pieces });
            }
            Place::Ahead if journal.closed => return Look::End,
            Place::Ahead => return Look::Nothing,
        }
        Look::Again
    }

    /// Waits for what is read from disk.
    async fn load(&mut self) {
        let Some(loading) = self.loading.as_mut() else {
            return;
        };
        let read = (&mut loading.pieces).await;
        let Some(Loading { segment, .. }) = self.loading.take() else {
            return;
        };
        // Its slot may have got other output meanwhile.
        let kept = self.execution.log.lock().keeps(&segment);
        match read {
            Ok(Ok(pieces)) if kept => self.loaded = pieces.into(),
            _ if !kept => {}
            _ => {
                tracing::warn!("retained output could not be read from disk");
                self.storage_failed = true;
                self.position = segment.end;
            }
        }
    }

    /// The next of what was read from disk, up to `stop`.
    fn take_loaded(&mut self, stop: u64) -> Option<Piece> {
        while self
            .loaded
            .front()
            .is_some_and(|piece| piece.end() <= self.position)
        {
            self.loaded.pop_front();
        }
        let pieces = self.loaded.iter();
        let pieces = pieces
            .take_while(|piece| piece.position < stop)
            .map(|piece| piece.cut(self.position, stop));
        gather(pieces, MAX_OUTPUT_EVENT_BYTES)
    }

    /// Gives out of a piece what is wanted, behind a gap where it does not join on.
    fn give(&mut self, mut journal: std::sync::MutexGuard<'_, Journal>, piece: Piece) {
        let (channel, end) = (piece.channel, piece.end_offset());
        self.position = piece.end();
        journal.took(channel, end, piece.end());
        let reason = self.gap_reason(&journal);
        drop(journal);
        let wanted = self.wanted.get(channel);
        if end <= wanted {
            return;
        }
        self.wanted = self.wanted.with(channel, end);
        if wanted < piece.offset && channel != Channel::Background {
            let (from, to) = (wanted, piece.offset);
            self.ready_event(
                piece.time,
                EventKind::Gap {
                    channel,
                    from,
                    to,
                    reason,
                },
            );
        }
        let skipped = wanted.saturating_sub(piece.offset);
        let piece = piece.cut(piece.position + skipped, piece.end());
        self.ready_event(
            piece.time,
            EventKind::Output {
                channel,
                offset: piece.offset,
                data: piece.data,
            },
        );
    }

    /// Gives out something that happened; what is missing before the end comes first.
    fn give_mark(&mut self, time: SystemTime, kind: EventKind, reason: GapReason) {
        if let EventKind::Finished(ending) = &kind {
            for total in &ending.totals {
                let (channel, from, to) =
                    (total.channel, self.wanted.get(total.channel), total.bytes);
                if from < to {
                    self.wanted = self.wanted.with(channel, to);
                    self.ready_event(
                        time,
                        EventKind::Gap {
                            channel,
                            from,
                            to,
                            reason,
                        },
                    );
                }
            }
        }
        self.ready_event(time, kind);
    }

    fn gap_reason(&self, journal: &Journal) -> GapReason {
        match self.storage_failed || journal.storage_failed() {
            true => GapReason::StorageFailed,
            false => GapReason::Evicted,
        }
    }

    fn ready_event(&mut self, time: SystemTime, kind: EventKind) {
        self.sequence += 1;
        self.ready.push_back(Event {
            sequence: self.sequence,
            time,
            kind,
        });
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.presence == Presence::Follows {
            *self.execution.log.lock_followers() -= 1;
        }
    }
}
