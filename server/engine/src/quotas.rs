//! How much there may be at once: of each principal ([`Quotas`], looked up in a
//! [`QuotaTable`]) and of all together ([`ServerLimits`]). What is in use is counted in the
//! `ledger`; sessions are counted where they are listed (`directory`). Nothing here waits: a
//! limit that is reached is an answer.

mod ledger;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use execgate_core::ids::Principal;

use crate::authority::ByPrincipal;

pub(crate) use ledger::{Hold, Ledger};

/// When to ask again where a session or a running command has to end first.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What one principal may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Sessions at once.
    pub sessions: usize,
    /// Executions that run or wait for their turn at once.
    pub executions: usize,
    /// Bytes of output in memory: what running executions may come to hold, and what is kept
    /// of finished ones.
    pub retained_bytes: u64,
    /// Calls; whoever serves them measures that.
    pub requests: RequestRate,
}

/// How many calls a principal may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestRate {
    /// In the long run, for each second.
    pub per_second: NonZeroU32,
    /// At once, after a silence.
    pub burst: NonZeroU32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            // A fleet of agents of one person, on one machine.
            sessions: 64,
            // One in each session, and as many programs beside them.
            executions: 128,
            // As much as so many executions may hold.
            retained_bytes: 512 * 1024 * 1024,
            // More than a caller that waits for each answer can make, and than work needs;
            // a loop that has gone wild makes more.
            requests: RequestRate {
                per_second: const { NonZeroU32::new(5000).unwrap() },
                burst: const { NonZeroU32::new(10_000).unwrap() },
            },
        }
    }
}

/// What each principal may have: the same for all, or its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaTable {
    others: Quotas,
    own: ByPrincipal<Quotas>,
}

impl QuotaTable {
    /// The same for every principal.
    #[must_use]
    pub fn new(all: Quotas) -> Self {
        Self {
            others: all,
            own: ByPrincipal::default(),
        }
    }

    /// The same table, in which these principals have their own.
    #[must_use]
    pub fn with(self, own: ByPrincipal<Quotas>) -> Self {
        Self { own, ..self }
    }

    /// What a principal may have.
    #[must_use]
    pub fn of(&self, principal: &Principal) -> Quotas {
        self.own.of(principal).copied().unwrap_or(self.others)
    }
}

/// What all principals together may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Sessions at once.
    pub sessions: usize,
    /// Executions that run or wait for their turn at once.
    pub executions: usize,
    /// Bytes of output in memory.
    pub retained_bytes: u64,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            sessions: 96,
            executions: 256,
            retained_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// Of what there is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Sessions.
    Sessions,
    /// Executions that run or wait.
    Executions,
    /// Output in memory, in bytes.
    RetainedBytes,
}

impl LimitKind {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Executions => "running executions",
            Self::RetainedBytes => "bytes of retained output",
        }
    }
}

/// Who has too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitHolder {
    /// One principal.
    Principal(Principal),
    /// One session.
    Session,
    /// All principals together.
    Server,
}

impl fmt::Display for LimitHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => write!(f, "principal {principal}"),
            Self::Session => f.write_str("the session"),
            Self::Server => f.write_str("the server"),
        }
    }
}

/// A limit that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// Of what there is too much.
    pub kind: LimitKind,
    /// Who has it.
    pub holder: LimitHolder,
    /// How much that is now.
    pub current: u64,
    /// How much it may be.
    pub limit: u64,
    /// When to try again.
    pub retry_after: Duration,
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            holder,
            current,
            limit,
            retry_after: _,
        } = self;
        let kind = kind.name();
        write!(f, "{holder} has {current} {kind}, and the limit is {limit}")
    }
}
