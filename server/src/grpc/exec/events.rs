//! An execution's events as one call sees them: from its offsets on, numbered, in
//! bounded pieces, with a sign of life in every silence, until the end, the deadline or
//! the caller's going.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use execgate_core::outcome::Channel;
use execgate_engine::execution::{Event, EventKind, Follower};
use execgate_proto::v1;
use futures::Stream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use v1::exec_event::Kind;

use super::Started;
use super::caller::Caller;
use crate::grpc::from_proto::Attach;
use crate::grpc::refusal::Refusal;
use crate::grpc::to_proto::{self, ExecutionView};

/// Output in one event at most, in bytes: what Python still takes at full speed.
pub(crate) const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// The events of one execution for one call.
pub(super) struct Events {
    // Dropped before the caller, who counts those who are left.
    follower: Follower,
    view: ExecutionView,
    caller: Caller,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Per channel, the first byte wanted.
    offsets: Vec<(Channel, u64)>,
    notices_seen: u64,
    /// Pieces of what was taken from the follower.
    pending: VecDeque<Event>,
    sequence: u64,
    notices: u64,
    over: bool,
}

impl Events {
    /// All events, for the call that asked for the execution.
    pub(super) fn new(started: Started, deadline: Option<Instant>) -> Self {
        Self {
            follower: started.follower,
            view: started.view,
            caller: started.caller,
            deadline: deadline.map(|at| Box::pin(sleep_until(at))),
            offsets: Vec::new(),
            notices_seen: 0,
            pending: VecDeque::new(),
            sequence: 0,
            notices: 0,
            over: false,
        }
    }

    /// The events that a returning caller does not have yet.
    pub(super) fn attached(
        view: ExecutionView,
        attach: &Attach,
        deadline: Option<Instant>,
    ) -> Result<Self, Refusal> {
        let follower = view.execution.follow_from(&attach.offsets)?;
        Ok(Self {
            follower,
            caller: Caller::following(&view.session, &view.execution),
            view,
            deadline: deadline.map(|at| Box::pin(sleep_until(at))),
            offsets: attach.offsets.clone(),
            notices_seen: attach.notices_seen,
            pending: VecDeque::new(),
            sequence: 0,
            notices: 0,
            over: false,
        })
    }

    /// The same as a stream.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<v1::ExecEvent, Refusal>> {
        futures::stream::unfold(self, async |mut events| {
            let event = events.next().await?;
            Some((event, events))
        })
    }

    async fn next(&mut self) -> Option<Result<v1::ExecEvent, Refusal>> {
        while !self.over {
            if let Some(event) = self.pending.pop_front() {
                return Some(Ok(self.number(event)));
            }
            tokio::select! {
                biased;
                () = passes(self.deadline.as_mut()) => {
                    self.over = true;
                    let execution = self.view.execution.id.clone();
                    return Some(Err(Refusal::DeadlineExceeded { execution }));
                }
                event = self.follower.next() => match event {
                    Some(event) => self.take(event),
                    None => self.over = true,
                },
                () = sleep(self.view.edge.defaults.keep_alive) => {
                    let kind = Kind::KeepAlive(v1::KeepAlive {});
                    return Some(Ok(self.message(SystemTime::now(), kind)));
                }
            }
        }
        None
    }

    /// Takes of an event what this call wants.
    fn take(&mut self, event: Event) {
        match event.kind {
            EventKind::Output {
                channel,
                offset,
                ref data,
            } => {
                let data = data.clone();
                self.take_output(&event, channel, offset, data);
            }
            EventKind::Gap { .. } => self.pending.push_back(event),
            EventKind::Notice(_) => {
                self.notices += 1;
                if self.notices > self.notices_seen {
                    self.pending.push_back(event);
                }
            }
            EventKind::Started | EventKind::Finished(_) => self.pending.push_back(event),
        }
    }

    /// Takes the part that is wanted, in pieces.
    fn take_output(&mut self, event: &Event, channel: Channel, mut offset: u64, mut data: Bytes) {
        let known = self.wanted(channel).saturating_sub(offset);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(data.len());
        let _known = data.split_to(known);
        offset += known as u64;
        while !data.is_empty() {
            let data = data.split_to(data.len().min(MAX_CHUNK_BYTES));
            let end = offset + data.len() as u64;
            self.push(
                event,
                EventKind::Output {
                    channel,
                    offset,
                    data,
                },
            );
            offset = end;
        }
    }

    /// The first byte of a channel that the caller does not have.
    fn wanted(&self, channel: Channel) -> u64 {
        let named = self.offsets.iter().find(|(named, _)| *named == channel);
        named.map_or(0, |(_, offset)| *offset)
    }

    fn push(&mut self, event: &Event, kind: EventKind) {
        self.pending.push_back(Event {
            sequence: event.sequence,
            time: event.time,
            kind,
        });
    }

    fn number(&mut self, event: Event) -> v1::ExecEvent {
        if matches!(event.kind, EventKind::Finished(_)) {
            self.over = true;
            self.caller.dismiss();
        }
        let kind = to_proto::event_kind(event.kind, self.notices, &self.view);
        self.message(event.time, kind)
    }

    fn message(&mut self, time: SystemTime, kind: Kind) -> v1::ExecEvent {
        self.sequence += 1;
        v1::ExecEvent {
            sequence: self.sequence,
            time: Some(to_proto::timestamp(time)),
            kind: Some(kind),
        }
    }
}

/// The only event of a call that ran nothing.
pub(super) fn validated(verdict: v1::PolicyVerdict) -> v1::ExecEvent {
    v1::ExecEvent {
        sequence: 1,
        time: Some(to_proto::timestamp(SystemTime::now())),
        kind: Some(Kind::Validated(v1::Validated {
            verdict: Some(verdict),
        })),
    }
}

async fn passes(deadline: Option<&mut Pin<Box<Sleep>>>) {
    match deadline {
        Some(deadline) => deadline.await,
        None => std::future::pending().await,
    }
}
