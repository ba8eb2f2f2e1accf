//! The executions of one session: which is in the foreground, which wait, which are
//! kept, and which ids may not be used again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use execgate_core::audit::Digest;
use execgate_core::ids::ExecutionId;

use crate::execution::Execution;

/// Finished executions kept for late readers.
pub(crate) const KEPT_EXECUTIONS: usize = 256;

/// Output of finished executions kept by one session, in bytes.
const KEPT_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// Executions that may wait for their turn.
pub(crate) const QUEUE_LIMIT: usize = 64;

/// Programs that may run beside the shell at once.
const BESIDE_LIMIT: usize = 64;

/// Ids that are remembered after their executions are forgotten; beyond it a session
/// takes no more ids of the client's choice, since it could no longer refuse a repeat.
const REMEMBERED_IDS: usize = 65_536;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Executions {
    known: HashMap<ExecutionId, Arc<Execution>>,
    /// In the order in which they were asked for.
    order: VecDeque<ExecutionId>,
    /// The scripts; the first has the foreground.
    active: VecDeque<ExecutionId>,
    /// The programs beside the shell.
    beside: HashSet<ExecutionId>,
    /// The finished ones that still hold output, and how many bytes.
    outputs: VecDeque<(Arc<Execution>, usize)>,
    output_bytes: usize,
    forgotten: HashSet<ExecutionId>,
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
    /// What is known under an id, if anything, before a command is judged.
    pub(crate) fn lookup(&self, id: &ExecutionId, payload: Digest) -> Option<Reserved> {
        match self.known.get(id) {
            Some(execution) if execution.payload == payload => {
                Some(Reserved::Existing(Arc::clone(execution)))
            }
            Some(_) => Some(Reserved::Reused),
            None if self.forgotten.contains(id) => Some(Reserved::Forgotten),
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
        if full || self.forgotten.len() >= REMEMBERED_IDS {
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
            let bytes = execution.log.retained();
            self.output_bytes += bytes;
            self.outputs.push_back((Arc::clone(execution), bytes));
        }
        while self.order.len() > KEPT_EXECUTIONS {
            let Some(oldest) = self.order.front().cloned() else {
                break;
            };
            if self.active.contains(&oldest) || self.beside.contains(&oldest) {
                break;
            }
            self.order.pop_front();
            self.known.remove(&oldest);
            self.forgotten.insert(oldest);
        }
        // Counted, not added up anew: the cost of a command must not follow the number
        // of those before it.
        while self.output_bytes > KEPT_OUTPUT_BYTES || self.outputs.len() > KEPT_EXECUTIONS {
            let Some((execution, bytes)) = self.outputs.pop_front() else {
                break;
            };
            execution.log.forget_output();
            self.output_bytes -= bytes;
        }
    }

    /// One execution.
    pub(crate) fn get(&self, id: &ExecutionId) -> Option<Arc<Execution>> {
        self.known.get(id).cloned()
    }

    /// All that are kept, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Execution>> {
        self.order
            .iter()
            .filter_map(|id| self.known.get(id))
            .cloned()
            .collect()
    }
}
