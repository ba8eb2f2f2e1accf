//! The audit store: where records become durable, and are read again.
//!
//! [`AuditStore`] is the narrow interface the engine works with; [`SegmentLog`]
//! is the embedded store. What a record says and how it is chained is decided
//! in `execgate_core::audit`; nothing here looks into a record but to filter.
//!
//! The way of one record: `append` → encoded and written, by its caller where nobody is in
//! the way, or through a queue (bounded by bytes) → one sync for all that want it, by a
//! thread → answers. After the first failure nothing is written any more: fail closed.
//!
//! Two threads follow what has been written, by reading it again: one hashes it into the
//! tree, signs heads and applies retention (`sealer`), one keeps the index for queries
//! (`indexer`). Neither is on the way of a command, and what they make can be made anew.

mod committer;
mod cursor;
mod directory;
mod error;
mod follow;
mod heads;
mod index;
mod index_reader;
mod indexer;
mod line_check;
mod memory;
mod queries;
mod query;
mod reader;
mod recovery;
mod retention;
mod sealer;
mod segment;
mod segment_log;
mod verify;
mod writer;

use std::fmt;

use futures::future::BoxFuture;
use tokio::sync::watch;

pub use error::AuditError;
pub use execgate_core::audit::{Appended, AuditKind, AuditRecord, Digest, Micros, NewRecord};
pub use heads::{HeadExport, SignedHead};
pub use memory::MemoryLog;
pub use query::{
    AuditPage, AuditQuery, DEFAULT_PAGE_RECORDS, Decision, MAX_PAGE_BYTES, MAX_PAGE_RECORDS,
    PageStart,
};
pub use retention::LogRetention;
pub use sealer::HEAD_TARGET;
pub use segment_log::{
    AuditStatistics, IndexMode, MAX_SEGMENT_BYTES, SEGMENT_BYTES, SegmentLog, SegmentLogOptions,
    SyncMode,
};
pub use verify::{Defect, DefectKind, Verification, VerifyRequest, records, verify_directory};

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

    /// The last record written, now and from now on.
    fn follow(&self) -> watch::Receiver<AuditHead>;

    /// The signed head of all that is written now; nothing where the store does not sign.
    fn signed_head(&self) -> BoxFuture<'static, Result<Option<SignedHead>, AuditError>>;

    /// Checks what is written now.
    fn verify(
        &self,
        request: VerifyRequest,
    ) -> BoxFuture<'static, Result<Verification, AuditError>>;

    /// The last record written.
    fn head(&self) -> AuditHead {
        *self.follow().borrow()
    }
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

#[cfg(test)]
mod tests;
