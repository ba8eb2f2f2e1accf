//! How many connections there are, in all and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Crowd {
    max: usize,
    max_per_peer: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// A place for one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    peer: Option<IpAddr>,
}

impl Crowd {
    /// A crowd of at most `max`, `max_per_peer` of them from one address.
    pub(crate) fn new(max: usize, max_per_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_peer,
            counts: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from this address, or from none; nothing where all are taken.
    pub(crate) fn enter(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Place> {
        let peer = peer.map(|peer| peer.to_canonical());
        let mut counts = self.lock();
        let own = peer.and_then(|peer| counts.of.get(&peer).copied());
        if counts.all >= self.max || own.unwrap_or(0) >= self.max_per_peer {
            return None;
        }
        counts.all += 1;
        if let Some(peer) = peer {
            *counts.of.entry(peer).or_default() += 1;
        }
        Some(Place {
            crowd: Arc::clone(self),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(peer) = self.peer
            && let Some(own) = counts.of.get_mut(&peer)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.of.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_its_own_places_only_and_gives_them_back() {
        let crowd = Crowd::new(3, 2);
        let [one, mapped, other] = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"];
        let enter = |peer: &str| crowd.enter(Some(peer.parse().unwrap()));
        let first = enter(one).unwrap();
        let _second = enter(mapped).unwrap();
        assert!(enter(one).is_none());
        let _third = enter(other).unwrap();
        assert!(crowd.enter(None).is_none());
        drop(first);
        let local = crowd.enter(None).unwrap();
        drop(local);
        enter(one).unwrap();
        assert_eq!(crowd.lock().of.len(), 2);
    }
}
