//! The operator's policy, which can be replaced while sessions live: each command is
//! judged by the one that holds when it comes.

use std::sync::{PoisonError, RwLock};

use execgate_core::policy::{Policy, PolicyStack};

/// The operator's policy.
#[derive(Debug)]
pub struct OperatorPolicy(RwLock<Policy>);

impl OperatorPolicy {
    pub(crate) fn new(policy: Policy) -> Self {
        Self(RwLock::new(policy))
    }

    /// The policy that holds now.
    #[must_use]
    pub fn current(&self) -> Policy {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The policy that holds now, narrowed by a session's own.
    #[must_use]
    pub fn stack(&self, own: Option<&Policy>) -> PolicyStack {
        let operator = PolicyStack::new(self.current());
        match own {
            Some(own) => operator.narrowed_by(own.clone()),
            None => operator,
        }
    }

    pub(crate) fn replace(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }
}
