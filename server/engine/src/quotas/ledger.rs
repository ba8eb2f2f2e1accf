//! What is in use: executions that run or wait, and the memory that output takes or may come
//! to take. Each execution has a [`Hold`] for as long as it is known. A running one holds as
//! much memory as its output may take, a finished one what it takes; so the bound holds
//! whatever commands write. Where it is reached, finished executions give their output up,
//! the oldest first, of the principal whose quota it is, else of the one that holds most.
//!
//! ```text
//! admit ─► runs (holds its bound) ─► finished (holds what is there) ─► let go (holds nothing)
//! ```
//! No other lock is taken while this one is held, and no execution is dropped under it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use execgate_core::ids::Principal;
use tokio::sync::watch;

use super::{LimitHolder, LimitKind, LimitReached, QuotaTable, RETRY_AFTER, ServerLimits};
use crate::execution::Execution;

/// The accounts of all principals.
#[derive(Debug)]
pub(crate) struct Ledger {
    limits: ServerLimits,
    quotas: QuotaTable,
    accounts: Mutex<Accounts>,
    /// How many run or wait, for those who wait for their end.
    running: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Accounts {
    of: HashMap<Principal, Account>,
    retained: u64,
    /// Numbers finished executions in the order of their end.
    next: u64,
}

#[derive(Debug, Default)]
struct Account {
    running: usize,
    /// Executions that are known, whatever they hold.
    holds: usize,
    retained: u64,
    finished: BTreeMap<u64, Weak<Execution>>,
}

/// What one execution has of its principal's account; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Arc<Ledger>,
    principal: Principal,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    runs: bool,
    bytes: u64,
    /// Where it stands among the finished ones.
    place: Option<u64>,
}

/// What stands in the way of another execution.
enum Obstacle {
    /// Nothing that finished executions could give.
    Reached(LimitReached),
    /// So many bytes, which these may give.
    Bytes(LimitReached, u64, Vec<Weak<Execution>>),
}

impl Ledger {
    pub(crate) fn new(limits: ServerLimits, quotas: QuotaTable) -> Arc<Self> {
        Arc::new(Self {
            limits,
            quotas,
            accounts: Mutex::default(),
            running: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What principals may have.
    pub(crate) fn quotas(&self) -> &QuotaTable {
        &self.quotas
    }

    /// What all may have together.
    pub(crate) fn limits(&self) -> &ServerLimits {
        &self.limits
    }

    /// Waits until nothing runs or waits.
    pub(crate) async fn until_idle(&self) {
        let mut running = self.running.subscribe();
        // The sender lives as long as this ledger.
        let _gone = running.wait_for(|running| *running == 0).await;
    }

    /// Room for another execution, whose output may take so many bytes of memory.
    pub(crate) fn admit(
        self: &Arc<Self>,
        principal: &Principal,
        bytes: u64,
    ) -> Result<Hold, LimitReached> {
        let (reached, wanted, candidates) = match self.try_admit(principal, bytes) {
            Ok(hold) => return Ok(hold),
            Err(Obstacle::Reached(reached)) => return Err(reached),
            Err(Obstacle::Bytes(reached, wanted, candidates)) => (reached, wanted, candidates),
        };
        let mut given = 0;
        for execution in candidates.iter().filter_map(Weak::upgrade) {
            if given >= wanted {
                break;
            }
            // Whoever reads it now is not robbed.
            if execution.log.followers() == 0 {
                given += execution.forget_output();
            }
        }
        if given < wanted {
            return Err(reached);
        }
        self.try_admit(principal, bytes)
            .map_err(|obstacle| match obstacle {
                Obstacle::Reached(reached) | Obstacle::Bytes(reached, _, _) => reached,
            })
    }

    fn try_admit(self: &Arc<Self>, principal: &Principal, bytes: u64) -> Result<Hold, Obstacle> {
        let quotas = self.quotas.of(principal);
        let mut accounts = self.lock();
        let all = *self.running.borrow();
        let account = accounts.of.get(principal);
        let (own, own_bytes) = account.map_or((0, 0), |own| (own.running, own.retained));
        let holder = || LimitHolder::Principal(principal.clone());
        let reached = |kind, holder, current, limit| LimitReached {
            kind,
            holder,
            current,
            limit,
            retry_after: RETRY_AFTER,
        };
        let kind = LimitKind::Executions;
        if own >= quotas.executions {
            let reached = reached(kind, holder(), own as u64, quotas.executions as u64);
            return Err(Obstacle::Reached(reached));
        }
        if all >= self.limits.executions {
            let limit = self.limits.executions as u64;
            let reached = reached(kind, LimitHolder::Server, all as u64, limit);
            return Err(Obstacle::Reached(reached));
        }
        let kind = LimitKind::RetainedBytes;
        let missing = |held: u64, limit: u64| (held + bytes).saturating_sub(limit);
        let wanted = missing(own_bytes, quotas.retained_bytes);
        if wanted > 0 {
            let reached = reached(kind, holder(), own_bytes, quotas.retained_bytes);
            let candidates = account.map(Account::candidates).unwrap_or_default();
            return Err(Obstacle::Bytes(reached, wanted, candidates));
        }
        let wanted = missing(accounts.retained, self.limits.retained_bytes);
        if wanted > 0 {
            let (held, limit) = (accounts.retained, self.limits.retained_bytes);
            let reached = reached(kind, LimitHolder::Server, held, limit);
            let candidates = accounts.of_the_richest();
            return Err(Obstacle::Bytes(reached, wanted, candidates));
        }
        let account = accounts.of.entry(principal.clone()).or_default();
        account.running += 1;
        account.holds += 1;
        account.retained += bytes;
        accounts.retained += bytes;
        self.running.send_modify(|running| *running += 1);
        Ok(Hold {
            ledger: Arc::clone(self),
            principal: principal.clone(),
            state: Mutex::new(State {
                runs: true,
                bytes,
                place: None,
            }),
        })
    }
}

impl Accounts {
    /// What may be let go of the principal that holds most.
    fn of_the_richest(&self) -> Vec<Weak<Execution>> {
        let givers = self.of.values().filter(|own| !own.finished.is_empty());
        let richest = givers.max_by_key(|own| own.retained);
        richest.map(Account::candidates).unwrap_or_default()
    }
}

impl Account {
    /// The finished executions, the oldest first.
    fn candidates(&self) -> Vec<Weak<Execution>> {
        self.finished.values().cloned().collect()
    }
}

impl Hold {
    /// The execution is over and keeps so many bytes.
    pub(crate) fn finished(&self, bytes: usize, execution: &Weak<Execution>) {
        self.change(|accounts| {
            accounts.next += 1;
            State {
                runs: false,
                bytes: bytes as u64,
                place: (bytes > 0).then_some(accounts.next),
            }
        });
        let Some(place) = self.state().place else {
            return;
        };
        let mut accounts = self.ledger.lock();
        if let Some(account) = accounts.of.get_mut(&self.principal) {
            account.finished.insert(place, Weak::clone(execution));
        }
    }

    /// Its output is gone; answers how much that was.
    pub(crate) fn let_go(&self) -> u64 {
        let State { runs, bytes, .. } = self.state();
        self.change(|_accounts| State {
            runs,
            bytes: 0,
            place: None,
        });
        bytes
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, next: impl FnOnce(&mut Accounts) -> State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut accounts = self.ledger.lock();
        let (before, after) = (*state, next(&mut accounts));
        *state = after;
        accounts.retained = (accounts.retained + after.bytes).saturating_sub(before.bytes);
        if let Some(account) = accounts.of.get_mut(&self.principal) {
            account.retained = (account.retained + after.bytes).saturating_sub(before.bytes);
            if let Some(place) = before.place {
                account.finished.remove(&place);
            }
            if before.runs && !after.runs {
                account.running = account.running.saturating_sub(1);
            }
        }
        drop(accounts);
        if before.runs && !after.runs {
            let ended = |running: &mut usize| *running = running.saturating_sub(1);
            self.ledger.running.send_modify(ended);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.change(|_accounts| State {
            runs: false,
            bytes: 0,
            place: None,
        });
        let mut accounts = self.ledger.lock();
        if let Some(account) = accounts.of.get_mut(&self.principal) {
            account.holds = account.holds.saturating_sub(1);
            if account.holds == 0 {
                // Principals come and go.
                accounts.of.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ByPrincipal;
    use crate::quotas::{Quotas, RequestRate};

    const SIZE: u64 = 100;

    fn ledger(own: Quotas, all: ServerLimits) -> Arc<Ledger> {
        Ledger::new(all, QuotaTable::new(own))
    }

    fn quotas(executions: usize, retained_bytes: u64) -> Quotas {
        Quotas {
            executions,
            retained_bytes,
            ..Quotas::default()
        }
    }

    fn limits(executions: usize, retained_bytes: u64) -> ServerLimits {
        ServerLimits {
            executions,
            retained_bytes,
            ..ServerLimits::default()
        }
    }

    fn who(name: &str) -> Principal {
        Principal::new(name)
    }

    fn told(refused: Result<Hold, LimitReached>) -> String {
        refused.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn one_at_its_quota_leaves_others_alone() {
        let ledger = ledger(quotas(2, 1000), limits(3, 1000));
        let (one, other) = (who("one"), who("other"));
        let first = ledger.admit(&one, SIZE).unwrap();
        let _second = ledger.admit(&one, SIZE).unwrap();
        let refused = told(ledger.admit(&one, SIZE));
        assert_eq!(
            refused,
            "principal one has 2 running executions, and the limit is 2"
        );
        let _its = ledger.admit(&other, SIZE).unwrap();
        let refused = told(ledger.admit(&other, SIZE));
        assert_eq!(
            refused,
            "the server has 3 running executions, and the limit is 3"
        );
        drop(first);
        ledger.admit(&other, SIZE).unwrap();
    }

    #[test]
    fn memory_is_held_until_it_is_let_go() {
        let ledger = ledger(quotas(9, 2 * SIZE), limits(9, 3 * SIZE));
        let (one, other) = (who("one"), who("other"));
        let first = ledger.admit(&one, SIZE).unwrap();
        let second = ledger.admit(&one, SIZE).unwrap();
        let refused = told(ledger.admit(&one, SIZE));
        assert_eq!(
            refused,
            "principal one has 200 bytes of retained output, and the limit is 200"
        );
        first.finished(0, &Weak::new());
        let third = ledger.admit(&one, SIZE).unwrap();
        third.finished(60, &Weak::new());
        let _its = ledger.admit(&other, SIZE).unwrap();
        let refused = told(ledger.admit(&other, SIZE));
        assert_eq!(
            refused,
            "the server has 260 bytes of retained output, and the limit is 300"
        );
        assert_eq!(third.let_go(), 60);
        ledger.admit(&other, SIZE).unwrap();
        drop((second, third));
    }

    #[tokio::test]
    async fn idle_means_that_nothing_runs() {
        let ledger = ledger(Quotas::default(), ServerLimits::default());
        ledger.until_idle().await;
        let hold = ledger.admit(&who("one"), SIZE).unwrap();
        let waiting = tokio::spawn({
            let ledger = Arc::clone(&ledger);
            async move { ledger.until_idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        hold.finished(5, &Weak::new());
        waiting.await.unwrap();
        drop(hold);
        assert!(ledger.lock().of.is_empty());
        assert_eq!(ledger.lock().retained, 0);
    }

    #[test]
    fn a_principal_may_have_quotas_of_its_own() {
        let own = Quotas {
            requests: RequestRate {
                per_second: 1.try_into().unwrap(),
                burst: 1.try_into().unwrap(),
            },
            ..quotas(1, 1)
        };
        let table = QuotaTable::new(Quotas::default());
        let table = table.with(ByPrincipal::new([("one".to_owned(), own)]));
        assert_eq!(table.of(&who("one")), own);
        assert_eq!(table.of(&who("other")), Quotas::default());
    }
}
