//! The executions of a session that are over: kept for a number and an age, their output
//! within a bound, and their ids for good.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use execgate_core::ids::ExecutionId;
use tokio::time::Instant;

use crate::execution::{Execution, RetentionLimits};

/// Output of finished executions that one session keeps in memory, in bytes.
const KEPT_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// Ids that are remembered after their executions are forgotten, as 64-bit hashes: about
/// 16 MiB. Beyond it a session takes no more commands, since it could no longer refuse a
/// repeat.
const REMEMBERED_IDS: usize = 1024 * 1024;

/// What is over, the oldest first.
#[derive(Debug)]
pub(super) struct Ended {
    limits: RetentionLimits,
    executions: VecDeque<One>,
    /// How many of the first hold no output in memory any more.
    stripped: usize,
    output_bytes: usize,
    /// Hashes with a key of this process: nobody can choose ids that collide.
    forgotten: HashSet<u64>,
    hasher: RandomState,
}

#[derive(Debug)]
struct One {
    execution: Arc<Execution>,
    at: Instant,
    bytes: usize,
}

impl Ended {
    pub(super) fn new(limits: RetentionLimits) -> Self {
        Self {
            limits,
            executions: VecDeque::new(),
            stripped: 0,
            output_bytes: 0,
            forgotten: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Takes one that has just ended.
    pub(super) fn add(&mut self, execution: Arc<Execution>) {
        let bytes = execution.log.retained();
        self.output_bytes += bytes;
        self.executions.push_back(One {
            execution,
            at: Instant::now(),
            bytes,
        });
        // Counted, not added up anew: the cost of a command must not follow the number
        // of those before it.
        while self.output_bytes > KEPT_OUTPUT_BYTES {
            let Some(oldest) = self.executions.get(self.stripped) else {
                return;
            };
            oldest.execution.forget_output();
            self.output_bytes -= oldest.bytes;
            self.stripped += 1;
        }
    }

    /// Forgets one that is beyond the number or the age to be kept; answers its id.
    pub(super) fn expire(&mut self) -> Option<ExecutionId> {
        let oldest = self.executions.front()?;
        let beyond = self.executions.len() > self.limits.keep_count;
        if !beyond && oldest.at.elapsed() < self.limits.keep_for {
            return None;
        }
        let oldest = self.executions.pop_front()?;
        match self.stripped {
            0 => self.output_bytes -= oldest.bytes,
            _ => self.stripped -= 1,
        }
        self.forgotten
            .insert(self.hasher.hash_one(&oldest.execution.id));
        Some(oldest.execution.id.clone())
    }

    /// Whether an id stands for one that was forgotten.
    pub(super) fn has_forgotten(&self, id: &ExecutionId) -> bool {
        self.forgotten.contains(&self.hasher.hash_one(id))
    }

    /// Whether no more ids can be remembered.
    pub(super) fn is_full(&self) -> bool {
        self.forgotten.len() >= REMEMBERED_IDS
    }
}
