//! A store that keeps everything in memory: for engines without a disk of their own, and
//! for tests. Chained and hashed like the other one; gone with the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_core::audit::merkle::Frontier;
use execgate_core::audit::{
    Appended, ChainState, Micros, NewRecord, NoteSigner, ResumePoint, TreeHead, decode_line,
};
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

use super::error::AuditError;
use super::line_check::LineCheck;
use super::query::{AuditPage, AuditQuery, MAX_PAGE_BYTES, PageStart};
use super::verify::{Verification, VerifyRequest};
use super::{AuditHead, AuditStore, Durability, LostSession, SignedHead};

/// The log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    inner: Arc<Mutex<Inner>>,
    head: watch::Sender<AuditHead>,
    signer: Option<Arc<NoteSigner>>,
}

#[derive(Debug, Default)]
struct Inner {
    chain: ChainState,
    frontier: Frontier,
    lines: Vec<Vec<u8>>,
}

impl MemoryLog {
    /// An empty log, whose heads are signed by `signer` if there is one.
    #[must_use]
    pub fn new(signer: Option<Arc<NoteSigner>>) -> Self {
        Self {
            inner: Arc::default(),
            head: watch::Sender::default(),
            signer,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: &NewRecord) -> Result<Appended, AuditError> {
        let mut inner = self.lock();
        let durable = inner.chain.sequence;
        let mut line = Vec::new();
        let appended = inner
            .chain
            .append(record, durable, &mut line)
            .map_err(|error| AuditError::Refused {
                problem: error.to_string(),
            })?;
        line.pop();
        inner.lines.push(line);
        inner.frontier.push(appended.hash);
        self.head.send_replace(AuditHead {
            sequence: appended.sequence,
            hash: appended.hash,
            durable: appended.sequence,
        });
        Ok(appended)
    }

    fn page(&self, query: &AuditQuery) -> AuditPage {
        let inner = self.lock();
        let through = query.through.unwrap_or(u64::MAX).min(inner.chain.sequence);
        let sequences: Box<dyn Iterator<Item = u64>> = match query.start {
            PageStart::OldestFirst { after_sequence } => {
                Box::new(after_sequence.saturating_add(1)..=through)
            }
            PageStart::NewestFirst { before_sequence } => {
                let before = before_sequence.unwrap_or(u64::MAX);
                Box::new((1..=through.min(before.saturating_sub(1))).rev())
            }
        };
        let mut page = AuditPage {
            through,
            ..AuditPage::default()
        };
        let mut bytes = 0_usize;
        for sequence in sequences {
            if page.records.len() >= query.effective_limit() || bytes >= MAX_PAGE_BYTES {
                page.next = Some(match query.start {
                    PageStart::OldestFirst { .. } => PageStart::OldestFirst {
                        after_sequence: sequence.saturating_sub(1),
                    },
                    PageStart::NewestFirst { .. } => PageStart::NewestFirst {
                        before_sequence: Some(sequence.saturating_add(1)),
                    },
                });
                break;
            }
            let index = usize::try_from(sequence.saturating_sub(1)).unwrap_or(usize::MAX);
            let record = inner
                .lines
                .get(index)
                .and_then(|line| decode_line(line).and_then(|line| line.record()).ok());
            if let Some(record) = record.filter(|record| query.admits(record)) {
                bytes = bytes.saturating_add(record.payload.len());
                page.records.push(record);
            }
        }
        page
    }

    fn sign(&self) -> Option<SignedHead> {
        let signer = self.signer.as_ref()?;
        let inner = self.lock();
        let head = TreeHead {
            size: inner.frontier.size(),
            root: inner.frontier.root(),
        };
        Some(SignedHead {
            head,
            hash: inner.chain.hash,
            time: Micros::from(std::time::SystemTime::now()),
            note: signer.sign_head(&head),
            verifier: signer.verifier().clone(),
        })
    }
}

impl AuditStore for MemoryLog {
    fn append(
        &self,
        record: NewRecord,
        _durability: Durability,
    ) -> BoxFuture<'static, Result<Appended, AuditError>> {
        let appended = self.push(&record);
        async move { appended }.boxed()
    }

    fn list(&self, query: AuditQuery) -> BoxFuture<'static, Result<AuditPage, AuditError>> {
        let page = self.page(&query);
        async move { Ok(page) }.boxed()
    }

    fn lost_sessions(&self) -> Vec<LostSession> {
        Vec::new()
    }

    fn follow(&self) -> watch::Receiver<AuditHead> {
        self.head.subscribe()
    }

    fn signed_head(&self) -> BoxFuture<'static, Result<Option<SignedHead>, AuditError>> {
        let head = self.sign();
        async move { Ok(head) }.boxed()
    }

    fn verify(
        &self,
        request: VerifyRequest,
    ) -> BoxFuture<'static, Result<Verification, AuditError>> {
        let keys = self.signer.iter().map(|signer| signer.verifier().clone());
        let keys = match request.keys.is_empty() {
            true => keys.collect(),
            false => request.keys.clone(),
        };
        let mut check = LineCheck::new(&request, keys, ResumePoint::default());
        for line in &self.lock().lines {
            if !check.wants_more() {
                break;
            }
            check.line(line);
        }
        if check.wants_more() {
            check.end();
        }
        let verified = check.finish();
        async move { Ok(verified) }.boxed()
    }
}
