//! The audit store: where records become durable, and are read again.
//!
//! [`AuditStore`] is the narrow interface the engine works with; [`SegmentLog`]
//! is the embedded store. What a record says and how it is chained is decided
//! in `execgate_core::audit`; nothing here looks into a record but to filter.
//!
//! The way of one record: `append` → queue (bounded by bytes) → writer thread:
//! encode all that waits, one write, one sync if any of them asked for it →
//! answers. After the first failure nothing is written any more: fail closed.

mod directory;
mod error;
mod reader;
mod recovery;
mod segment;
mod segment_log;
mod writer;

use std::fmt;

use futures::future::BoxFuture;

pub use error::AuditError;
pub use execgate_core::audit::{Appended, AuditKind, AuditRecord, Digest, Micros, NewRecord};
pub use segment_log::{
    AuditStatistics, MAX_SEGMENT_BYTES, SEGMENT_BYTES, SegmentLog, SegmentLogOptions, SyncMode,
};

/// Records in one page at most, so that a page fits in memory and in a message.
pub const MAX_PAGE_RECORDS: usize = 1000;
/// Records in a page when the query does not say.
pub const DEFAULT_PAGE_RECORDS: usize = 100;
/// Payload bytes in one page (the last record may exceed it): half of what gRPC
/// clients take in one message by default.
pub const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// When an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the record is on stable storage: survives a power cut.
    Synced,
    /// When the kernel has it: survives SIGKILL; synced with the next group,
    /// at the latest after a second.
    Written,
}

/// A place where audit records are kept.
///
/// Implementors owe: records get sequences without holes in the order in which
/// `append` was called on one handle; an answered record is found by every later
/// `list`; after a failed write every later append fails until the store is
/// opened anew; a future that is dropped does not take its record back.
pub trait AuditStore: fmt::Debug + Send + Sync + 'static {
    /// Appends one record. It is queued by the call itself, before the future is
    /// first polled, unless the queue is full.
    fn append(
        &self,
        record: NewRecord,
        durability: Durability,
    ) -> BoxFuture<'static, Result<Appended, AuditError>>;

    /// Reads one page.
    fn list(&self, query: AuditQuery) -> BoxFuture<'static, Result<AuditPage, AuditError>>;

    /// The sessions that were alive when the server before this one ended.
    fn lost_sessions(&self) -> Vec<LostSession>;

    /// The last record written.
    fn head(&self) -> BoxFuture<'static, Result<AuditHead, AuditError>>;
}

/// A session that a server left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostSession {
    /// Whose it was.
    pub principal: String,
    /// Its id.
    pub session_id: String,
    /// Why it is lost.
    pub reason: String,
}

/// Which records to read. Empty filters let everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only this principal's.
    pub principal: Option<String>,
    /// Only these sessions'; all if empty.
    pub session_ids: Vec<String>,
    /// Only this execution's.
    pub execution_id: Option<String>,
    /// Only these kinds; all if empty.
    pub kinds: Vec<AuditKind>,
    /// Only at or after this time.
    pub since: Option<Micros>,
    /// Only before this time.
    pub until: Option<Micros>,
    /// Where the page starts, and in which direction it goes.
    pub start: PageStart,
    /// Records at most; 0 means [`DEFAULT_PAGE_RECORDS`], and
    /// [`MAX_PAGE_RECORDS`] is the most.
    pub limit: usize,
}

/// Where a page starts: what a page token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// After this sequence, towards newer records.
    OldestFirst {
        /// 0 for the beginning of the log.
        after_sequence: u64,
    },
    /// Before this sequence, towards older records.
    NewestFirst {
        /// `None` for the end of the log.
        before_sequence: Option<u64>,
    },
}

impl Default for PageStart {
    fn default() -> Self {
        Self::OldestFirst { after_sequence: 0 }
    }
}

/// One page of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The records in the order asked for. A page may be short, even empty,
    /// while there are more: only `next` tells.
    pub records: Vec<AuditRecord>,
    /// The `start` of the next page, if there may be one.
    pub next: Option<PageStart>,
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// Sequence of the last record; 0 if there is none.
    pub sequence: u64,
    /// Its hash.
    pub hash: Digest,
    /// The highest sequence known to be on stable storage.
    pub durable: u64,
}

impl AuditQuery {
    /// True if `record` passes every filter, wherever the page starts.
    #[must_use]
    pub fn admits(&self, record: &AuditRecord) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        let session = record.session_id.as_ref();
        same(&self.principal, Some(&record.principal))
            && same(&self.execution_id, record.execution_id.as_deref())
            && (self.session_ids.is_empty()
                || session.is_some_and(|session| self.session_ids.contains(session)))
            && (self.kinds.is_empty() || self.kinds.contains(&record.body.kind()))
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
    }

    /// The number of records this query may get.
    #[must_use]
    pub const fn effective_limit(&self) -> usize {
        match self.limit {
            0 => DEFAULT_PAGE_RECORDS,
            limit if limit > MAX_PAGE_RECORDS => MAX_PAGE_RECORDS,
            limit => limit,
        }
    }
}

#[cfg(test)]
mod tests;
