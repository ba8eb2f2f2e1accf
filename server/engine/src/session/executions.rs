//! The executions of one session: which is in the foreground, which wait, which are
//! kept, and which ids may not be used again.

mod ended;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use execgate_core::audit::Digest;
use execgate_core::ids::ExecutionId;

use crate::error::Error;
use crate::execution::{Execution, RetentionLimits};
use ended::Ended;

/// Executions that may wait for their turn.
pub(crate) const QUEUE_LIMIT: usize = 64;

/// Programs that may run beside the shell at once.
const BESIDE_LIMIT: usize = 64;

/// The table.
#[derive(Debug)]
pub(crate) struct Executions {
    known: HashMap<ExecutionId, Arc<Execution>>,
    /// In the order in which they were asked for.
    order: VecDeque<ExecutionId>,
    /// The scripts; the first has the foreground.
    active: VecDeque<ExecutionId>,
    /// The programs beside the shell.
    beside: HashSet<ExecutionId>,
    ended: Ended,
}

/// Where an execution is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the shell, now or not at all.
    Foreground,
    /// In the shell, when it is its turn.
    Queue,
    /// Beside the shell.
    Beside,
}

/// What came of asking for an id.
#[derive(Debug)]
pub(crate) enum Reserved {
    /// It is new, and entered.
    New,
    /// The same command was asked for before under this id.
    Existing(Arc<Execution>),
    /// The id stands for another command.
    Reused,
    /// The id was used, and what it stood for is forgotten.
    Forgotten,
    /// Another execution has the foreground.
    Busy(ExecutionId),
    /// Too many wait, or too many ids are remembered.
    Full,
}

impl Executions {
    /// A table that keeps so much of what is over.
    pub(crate) fn new(limits: RetentionLimits) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            active: VecDeque::new(),
            beside: HashSet::new(),
            ended: Ended::new(limits),
        }
    }

    /// What is known under an id, if anything, before a command is judged.
    pub(crate) fn lookup(&mut self, id: &ExecutionId, payload: Digest) -> Option<Reserved> {
        self.expire();
        match self.known.get(id) {
            Some(execution) if execution.payload == payload => {
                Some(Reserved::Existing(Arc::clone(execution)))
            }
            Some(_) => Some(Reserved::Reused),
            None if self.ended.has_forgotten(id) => Some(Reserved::Forgotten),
            None => None,
        }
    }

    /// Enters an execution where it is to run.
    pub(crate) fn reserve(&mut self, execution: &Arc<Execution>, place: Place) -> Reserved {
        if let Some(known) = self.lookup(&execution.id, execution.payload) {
            return known;
        }
        if let (Some(running), Place::Foreground) = (self.active.front(), place) {
            return Reserved::Busy(running.clone());
        }
        let full = match place {
            Place::Foreground | Place::Queue => self.active.len() > QUEUE_LIMIT,
            Place::Beside => self.beside.len() >= BESIDE_LIMIT,
        };
        if full || self.ended.is_full() {
            return Reserved::Full;
        }
        match place {
            Place::Foreground | Place::Queue => self.active.push_back(execution.id.clone()),
            Place::Beside => drop(self.beside.insert(execution.id.clone())),
        }
        self.order.push_back(execution.id.clone());
        self.known
            .insert(execution.id.clone(), Arc::clone(execution));
        Reserved::New
    }

    /// Frees an id whose execution never started.
    pub(crate) fn release(&mut self, id: &ExecutionId) {
        self.active.retain(|active| active != id);
        self.beside.remove(id);
        self.order.retain(|known| known != id);
        self.known.remove(id);
    }

    /// The execution is over: it keeps its place in the table, within bounds.
    pub(crate) fn finished(&mut self, id: &ExecutionId) {
        self.active.retain(|active| active != id);
        self.beside.remove(id);
        if let Some(execution) = self.known.get(id) {
            self.ended.add(Arc::clone(execution));
        }
        self.expire();
    }

    /// Forgets what has been kept for long enough.
    fn expire(&mut self) {
        while let Some(id) = self.ended.expire() {
            self.known.remove(&id);
            match self.order.front() {
                Some(first) if *first == id => drop(self.order.pop_front()),
                _ => self.order.retain(|known| *known != id),
            }
        }
    }

    /// Lets go of all output; what is known of the executions stays.
    pub(crate) fn forget_output(&mut self) {
        for execution in self.known.values() {
            execution.forget_output();
        }
    }

    /// One execution.
    pub(crate) fn find(&mut self, id: &ExecutionId) -> Result<Arc<Execution>, Error> {
        self.expire();
        let execution = id.clone();
        match self.known.get(id) {
            Some(known) => Ok(Arc::clone(known)),
            None if self.ended.has_forgotten(id) => Err(Error::ExecutionExpired { execution }),
            None => Err(Error::ExecutionNotFound { execution }),
        }
    }

    /// All that are kept, oldest first.
    pub(crate) fn all(&mut self) -> Vec<Arc<Execution>> {
        self.expire();
        self.order
            .iter()
            .filter_map(|id| self.known.get(id))
            .cloned()
            .collect()
    }
}
