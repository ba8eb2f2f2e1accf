//! Which records somebody wants to read, and the pages they get.

use execgate_core::audit::{AuditBody, AuditCause, AuditKind, AuditRecord, Micros};

/// Records in one page at most, so that a page fits in memory and in a message.
pub const MAX_PAGE_RECORDS: usize = 1000;
/// Records in a page when the query does not say.
pub const DEFAULT_PAGE_RECORDS: usize = 100;
/// Payload bytes in one page (the last record may exceed it): half of what gRPC
/// clients take in one message by default.
pub const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

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
    /// Only intents, or only denials.
    pub decision: Option<Decision>,
    /// Only outcomes with one of these causes; any record if empty.
    pub causes: Vec<AuditCause>,
    /// Only outcomes that are anything but a code of 0.
    pub failed_only: bool,
    /// Only records whose redacted command holds this text.
    pub text: Option<String>,
    /// Only up to this sequence: pages that go together see one log.
    pub through: Option<u64>,
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
    /// The last sequence that was looked at, for the next page's `through`.
    pub through: u64,
}

/// What the policy said of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was admitted.
    Allowed,
    /// It was refused.
    Denied,
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
            && self
                .through
                .is_none_or(|through| record.sequence <= through)
            && self.admits_body(&record.body)
    }

    fn admits_body(&self, body: &AuditBody) -> bool {
        let outcome = body.outcome();
        let decided = match self.decision {
            None => true,
            Some(Decision::Allowed) => body.kind() == AuditKind::ExecutionIntent,
            Some(Decision::Denied) => body.kind() == AuditKind::ExecutionDenied,
        };
        let text = self.text.as_deref();
        decided
            && (self.causes.is_empty()
                || outcome.is_some_and(|outcome| self.causes.contains(&outcome.cause)))
            && (!self.failed_only || outcome.is_some_and(|outcome| outcome.outcome.failed()))
            && text.is_none_or(|text| body.command().is_some_and(|command| command.contains(text)))
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
