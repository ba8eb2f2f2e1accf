//! Which sessions there are, and which there were: every request goes through here, so
//! that a directory shared by many nodes can stand behind the same few calls.
//!
//! A session that is over can be read for a while. Its id is not used again unless its owner
//! closed it: a retry must not run in another session what it began in one that is lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use execgate_core::ids::{Principal, SessionId};

use crate::error::Error;
use crate::quotas::{Ledger, LimitHolder, LimitKind, LimitReached, RETRY_AFTER};
use crate::session::{CloseReason, Session, SessionState};

/// Ids of ended sessions that are remembered, so that they are not used again.
const REMEMBERED_SESSIONS: usize = 4096;

/// Ended sessions that can still be read.
const KEPT_SESSIONS: usize = 256;

/// Ended sessions whose output is kept too; each holds up to 16 MiB in memory.
const KEPT_OUTPUTS: usize = 16;

/// A session as its principal names it.
type Key = (Principal, SessionId);

/// The sessions of this server. Ids are scoped to their principal.
#[derive(Debug)]
pub(crate) struct SessionDirectory {
    inner: Mutex<Inner>,
    ledger: Arc<Ledger>,
    /// How long an ended session can be read.
    keep_for: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<Key, Arc<Session>>,
    /// Places taken by sessions that are being created.
    reserved: Vec<Key>,
    ended: HashMap<Key, Ended>,
    /// The remembered ids, oldest first.
    ended_order: VecDeque<Key>,
    /// Those of them that can still be read, oldest first.
    kept: VecDeque<Key>,
}

/// A session that is over.
#[derive(Debug)]
struct Ended {
    reason: String,
    /// By accident.
    lost: bool,
    /// Its owner closed it, and so knows: its id may be used again.
    reusable: bool,
    /// When an earlier server's was found.
    left_behind: Option<SystemTime>,
    at: Instant,
    /// Nothing once it can no longer be read.
    session: Option<Arc<Session>>,
}

/// A session that an earlier server left without closing it: nothing of it is kept but this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// Whose it was.
    pub principal: Principal,
    /// Its id.
    pub id: SessionId,
    /// Why it is lost.
    pub reason: String,
    /// When that was found out.
    pub found: SystemTime,
}

/// A place for a session that is being created; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    directory: &'a SessionDirectory,
    key: Key,
}

impl SessionDirectory {
    /// A directory of as many sessions as `ledger` lets there be.
    pub(crate) fn new(ledger: Arc<Ledger>, keep_for: Duration) -> Self {
        Self {
            inner: Mutex::new(Inner::default()),
            ledger,
            keep_for,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new session.
    pub(crate) fn reserve(
        &self,
        principal: &Principal,
        id: &SessionId,
    ) -> Result<Place<'_>, Error> {
        let key = (principal.clone(), id.clone());
        let mut inner = self.lock();
        if let Some(ended) = inner.ended.get(&key).filter(|ended| !ended.reusable) {
            return Err(Error::SessionEnded {
                session: id.clone(),
                lost: ended.lost,
                reason: ended.reason.clone(),
            });
        }
        // One that has just ended may not have left yet.
        if let Some(over) = inner.live.get(&key).and_then(|session| session.end()) {
            return Err(over);
        }
        if inner.live.contains_key(&key) || inner.reserved.contains(&key) {
            return Err(Error::SessionIdTaken {
                session: id.clone(),
            });
        }
        self.check_limits(&inner, principal)?;
        inner.reserved.push(key.clone());
        Ok(Place {
            directory: self,
            key,
        })
    }

    /// Whether there may be one more.
    fn check_limits(&self, inner: &Inner, principal: &Principal) -> Result<(), LimitReached> {
        let keys = inner.live.keys().chain(&inner.reserved);
        let own = keys.filter(|(owner, _)| owner == principal).count();
        let all = inner.live.len() + inner.reserved.len();
        let mine = LimitHolder::Principal(principal.clone());
        let counts = [
            (mine, own, self.ledger.quotas().of(principal).sessions),
            (LimitHolder::Server, all, self.ledger.limits().sessions),
        ];
        let over = counts.into_iter().find(|(_, count, limit)| count >= limit);
        over.map_or(Ok(()), |(holder, current, limit)| {
            Err(LimitReached {
                kind: LimitKind::Sessions,
                holder,
                current: current as u64,
                limit: limit as u64,
                retry_after: RETRY_AFTER,
            })
        })
    }

    /// The principal's session, which is alive.
    pub(crate) fn get(&self, principal: &Principal, id: &SessionId) -> Result<Arc<Session>, Error> {
        let session = self.find(principal, id)?;
        match session.end() {
            None => Ok(session),
            Some(error) => Err(error),
        }
    }

    /// The principal's session, alive or over and still kept.
    pub(crate) fn find(
        &self,
        principal: &Principal,
        id: &SessionId,
    ) -> Result<Arc<Session>, Error> {
        let key = (principal.clone(), id.clone());
        let mut inner = self.lock();
        inner.expire(self.keep_for);
        match (inner.live.get(&key), inner.ended.get(&key)) {
            (Some(session), _) => Ok(Arc::clone(session)),
            (None, Some(ended)) => ended.session.clone().ok_or_else(|| Error::SessionExpired {
                session: id.clone(),
                reason: ended.reason.clone(),
            }),
            (None, None) => Err(Error::SessionNotFound {
                session: id.clone(),
            }),
        }
    }

    /// The principal's sessions, or everybody's, oldest first; those that are over while
    /// they are kept.
    pub(crate) fn list(&self, principal: Option<&Principal>) -> Vec<Arc<Session>> {
        let mut inner = self.lock();
        inner.expire(self.keep_for);
        let kept = inner
            .ended
            .values()
            .filter_map(|ended| ended.session.as_ref());
        let mut sessions: Vec<Arc<Session>> = inner
            .live
            .values()
            .chain(kept)
            .filter(|s| principal.is_none_or(|principal| s.principal == *principal))
            .cloned()
            .collect();
        drop(inner);
        sessions.sort_by(|a, b| {
            (a.created, &a.id, &a.principal).cmp(&(b.created, &b.id, &b.principal))
        });
        sessions
    }

    /// The principal's sessions, or everybody's, that an earlier server left, for as long as what is over is
    /// kept.
    pub(crate) fn left_behind(&self, principal: Option<&Principal>) -> Vec<LeftBehind> {
        let inner = self.lock();
        let own = inner.ended.iter().filter(|((owner, _), ended)| {
            principal.is_none_or(|principal| owner == principal)
                && ended.at.elapsed() < self.keep_for
        });
        let mut left: Vec<LeftBehind> = own
            .filter_map(|((owner, id), ended)| {
                Some(LeftBehind {
                    principal: owner.clone(),
                    id: id.clone(),
                    reason: ended.reason.clone(),
                    found: ended.left_behind?,
                })
            })
            .collect();
        drop(inner);
        left.sort_by(|a, b| a.id.cmp(&b.id));
        left
    }

    /// All sessions of the server.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().live.values().cloned().collect()
    }

    /// A session of the server before this one: its id is not used again.
    pub(crate) fn remember_lost(&self, principal: Principal, id: SessionId, reason: String) {
        let key = (principal, id);
        let mut inner = self.lock();
        let ended = Ended {
            reason,
            lost: true,
            reusable: false,
            left_behind: Some(SystemTime::now()),
            at: Instant::now(),
            session: None,
        };
        if inner.ended.insert(key.clone(), ended).is_none() {
            inner.ended_order.push_back(key);
        }
        inner.expire(self.keep_for);
    }

    /// A session's task has ended.
    pub(crate) fn ended(&self, session: &Session, reason: &str) {
        let key = (session.principal.clone(), session.id.clone());
        let mut inner = self.lock();
        let Some(session) = inner.live.remove(&key) else {
            return;
        };
        let (reason, lost) = match session.snapshot().state {
            SessionState::Lost { reason, .. } => (reason, true),
            _ => (reason.to_owned(), false),
        };
        let ended = Ended {
            reusable: reason == CloseReason::Owner.as_str(),
            reason,
            lost,
            left_behind: None,
            at: Instant::now(),
            session: Some(session),
        };
        inner.ended.insert(key.clone(), ended);
        inner.ended_order.push_back(key.clone());
        inner.kept.push_back(key);
        inner.expire(self.keep_for);
    }
}

impl Inner {
    /// Lets go of what has been kept for long enough, or has too many after it.
    fn expire(&mut self, keep_for: Duration) {
        while let Some(key) = self.kept.front() {
            let old = match self.ended.get(key) {
                Some(ended) => ended.at.elapsed() >= keep_for,
                None => true,
            };
            if !old && self.kept.len() <= KEPT_SESSIONS {
                break;
            }
            if let Some(ended) = self.ended.get_mut(key) {
                ended.session = None;
            }
            self.kept.pop_front();
        }
        if let Some(at) = self.kept.len().checked_sub(KEPT_OUTPUTS + 1)
            && let Some(ended) = self.kept.get(at).and_then(|key| self.ended.get(key))
            && let Some(session) = &ended.session
        {
            session.executions().forget_output();
        }
        while self.ended_order.len() > REMEMBERED_SESSIONS {
            if let Some(oldest) = self.ended_order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }
}

impl Place<'_> {
    /// The session is there.
    pub(crate) fn fill(self, session: Arc<Session>) {
        let mut inner = self.directory.lock();
        inner.ended.remove(&self.key);
        inner.ended_order.retain(|key| *key != self.key);
        inner.kept.retain(|key| *key != self.key);
        inner.live.insert(self.key.clone(), session);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.directory
            .lock()
            .reserved
            .retain(|key| *key != self.key);
    }
}
