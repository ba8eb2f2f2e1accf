//! Following the log: what is there, then what comes, in pages of the store and without
//! gaps, with a sign of life in every silence. Ends when the caller goes, or the server.

use std::collections::VecDeque;
use std::sync::Arc;

use execgate_engine::Error;
use execgate_engine::audit::{AuditHead, AuditQuery, AuditRecord, PageStart};
use execgate_proto::v1;
use futures::Stream;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::Status;

use super::refused;
use crate::grpc::edge::Edge;
use crate::grpc::refusal::Refusal;
use crate::grpc::to_proto;

/// One caller that follows.
pub(super) struct Tail {
    edge: Arc<Edge>,
    query: AuditQuery,
    head: watch::Receiver<AuditHead>,
    /// The next sequence to look at.
    next: u64,
    /// Records that were read and not sent yet.
    ready: VecDeque<AuditRecord>,
    /// Where to go on behind them.
    after_ready: u64,
    over: bool,
}

impl Tail {
    /// Follows from a sequence on, or from the next one to be written.
    pub(super) async fn start(
        edge: Arc<Edge>,
        query: AuditQuery,
        from: Option<u64>,
    ) -> Result<Self, Refusal> {
        let store = edge.engine.audit();
        let head = store.follow();
        let end = head.borrow().sequence.saturating_add(1);
        let next = from.unwrap_or(end).max(1);
        let oldest = AuditQuery {
            limit: 1,
            ..AuditQuery::default()
        };
        let oldest = store.list(oldest).await.map_err(refused)?;
        let first = oldest.records.first().map_or(end, |first| first.sequence);
        if !(first..=end).contains(&next) {
            return Err(Refusal::SequenceOutOfRange {
                sequence: next,
                first_sequence: first,
                next_sequence: end,
            });
        }
        Ok(Self {
            query,
            head,
            next,
            ready: VecDeque::new(),
            after_ready: next,
            over: false,
            edge,
        })
    }

    /// Where it stands.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The same as a stream.
    pub(super) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<v1::TailAuditRecordsResponse, Status>> {
        futures::stream::unfold(self, async |mut tail| {
            if tail.over {
                return None;
            }
            let answer = tail.answer().await.map_err(|refusal| {
                tail.over = true;
                Status::from(refusal)
            });
            Some((answer, tail))
        })
    }

    async fn answer(&mut self) -> Result<v1::TailAuditRecordsResponse, Refusal> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                self.next = match self.ready.is_empty() {
                    true => self.after_ready,
                    false => record.sequence.saturating_add(1),
                };
                return Ok(v1::TailAuditRecordsResponse {
                    record: Some(to_proto::audit_record(record)),
                    next_sequence: self.next,
                });
            }
            self.next = self.after_ready;
            if self.head.borrow_and_update().sequence >= self.next {
                self.read().await?;
                continue;
            }
            tokio::select! {
                () = self.edge.engine.until_over() => return Err(Error::ShuttingDown.into()),
                // A log that is closed is one of a server that stops.
                changed = self.head.changed() => changed.map_err(|_| Error::ShuttingDown)?,
                () = sleep(self.edge.defaults.keep_alive) => {
                    return Ok(v1::TailAuditRecordsResponse {
                        record: None,
                        next_sequence: self.next,
                    });
                }
            }
        }
    }

    /// Reads the next page.
    async fn read(&mut self) -> Result<(), Refusal> {
        let query = AuditQuery {
            start: PageStart::OldestFirst {
                after_sequence: self.next.saturating_sub(1),
            },
            ..self.query.clone()
        };
        let page = self.edge.engine.audit().list(query).await;
        let page = page.map_err(refused)?;
        self.after_ready = match page.next {
            Some(PageStart::OldestFirst { after_sequence }) => after_sequence.saturating_add(1),
            _ => page.through.saturating_add(1),
        };
        self.ready = page.records.into();
        Ok(())
    }
}
