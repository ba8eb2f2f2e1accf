//! What a session's shell calls by names of its own: the aliases that its executions
//! defined. The judge is handed them, because what `x rm` runs depends on them.
//!
//! Functions need no memory: their bodies are judged where they are defined, and an
//! allow-list allows a function only within the script that defines it. Whether an earlier
//! execution came as far as its definition is nothing that its text could tell.

use std::collections::{BTreeMap, BTreeSet};

/// Most names that are remembered of one session, and most bodies of one alias. A session
/// of real work defines a few dozen; one that defines more is refused to.
pub(super) const MAX_NAMES: usize = 1000;

/// Longest body of an alias in bytes that is remembered.
const MAX_BODY_BYTES: usize = 4096;

/// Aliases, as far as judged scripts defined them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionNames {
    /// Each alias with everything that it may stand for: `unalias` and a second definition
    /// may not have been reached. `None` is a body that nobody saw.
    aliases: BTreeMap<String, BTreeSet<Option<String>>>,
}

impl SessionNames {
    /// Adds what a script defines that may run.
    pub fn learn(&mut self, defined: &Self) {
        for (name, bodies) in &defined.aliases {
            for body in bodies {
                self.define_alias(name, body.as_deref());
            }
        }
    }

    /// Whether there is no room for more names.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.aliases.len() >= MAX_NAMES
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.aliases.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn define_alias(&mut self, name: &str, body: Option<&str>) {
        if self.is_full() && !self.aliases.contains_key(name) {
            return;
        }
        let body = body.filter(|body| body.len() <= MAX_BODY_BYTES);
        let bodies = self.aliases.entry(name.to_owned()).or_default();
        match bodies.len() < MAX_NAMES {
            true => bodies.insert(body.map(str::to_owned)),
            false => bodies.insert(None),
        };
    }

    pub(super) fn alias(&self, name: &str) -> impl Iterator<Item = Option<&str>> {
        let bodies = self.aliases.get(name).into_iter().flatten();
        bodies.map(Option::as_deref)
    }
}
