//! Which sessions there are, and which there were: every request goes through here, so
//! that a directory shared by many nodes can stand behind the same few calls.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_core::ids::{Principal, SessionId};

use crate::error::Error;
use crate::session::{Session, SessionState};

/// Ended sessions that are remembered, to say why they are over.
const REMEMBERED_SESSIONS: usize = 4096;

/// A session as its principal names it.
type Key = (Principal, SessionId);

/// The sessions of this server. Ids are scoped to their principal.
#[derive(Debug)]
pub(crate) struct SessionDirectory {
    inner: Mutex<Inner>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<Key, Arc<Session>>,
    /// Places taken by sessions that are being created.
    reserved: Vec<Key>,
    ended: HashMap<Key, String>,
    ended_order: VecDeque<Key>,
}

/// A place for a session that is being created; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    directory: &'a SessionDirectory,
    key: Key,
}

impl SessionDirectory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            inner: Mutex::new(Inner::default()),
            limit,
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
        if inner.live.contains_key(&key) || inner.reserved.contains(&key) {
            return Err(Error::SessionIdTaken {
                session: id.clone(),
            });
        }
        if inner.live.len() + inner.reserved.len() >= self.limit {
            return Err(Error::LimitReached {
                what: "sessions",
                limit: self.limit as u64,
                retry_after: std::time::Duration::from_secs(5),
            });
        }
        inner.reserved.push(key.clone());
        Ok(Place {
            directory: self,
            key,
        })
    }

    /// The principal's session, alive or lost.
    pub(crate) fn get(&self, principal: &Principal, id: &SessionId) -> Result<Arc<Session>, Error> {
        let key = (principal.clone(), id.clone());
        let inner = self.lock();
        match (inner.live.get(&key), inner.ended.get(&key)) {
            (Some(session), _) => Ok(Arc::clone(session)),
            (None, Some(reason)) => Err(Error::SessionExpired {
                session: id.clone(),
                reason: reason.clone(),
            }),
            (None, None) => Err(Error::SessionNotFound {
                session: id.clone(),
            }),
        }
    }

    /// The principal's sessions, oldest first.
    pub(crate) fn list(&self, principal: &Principal) -> Vec<Arc<Session>> {
        let mut sessions: Vec<Arc<Session>> = self
            .lock()
            .live
            .values()
            .filter(|s| s.principal == *principal)
            .cloned()
            .collect();
        sessions.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        sessions
    }

    /// All sessions of the server.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().live.values().cloned().collect()
    }

    /// A session's task has ended.
    pub(crate) fn ended(&self, session: &Session, reason: &str) {
        let key = (session.principal.clone(), session.id.clone());
        let mut inner = self.lock();
        inner.live.remove(&key);
        let reason = match session.snapshot().state {
            SessionState::Lost { reason } => reason,
            _ => reason.to_owned(),
        };
        if inner.ended.insert(key.clone(), reason).is_none() {
            inner.ended_order.push_back(key);
        }
        while inner.ended_order.len() > REMEMBERED_SESSIONS {
            if let Some(oldest) = inner.ended_order.pop_front() {
                inner.ended.remove(&oldest);
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
