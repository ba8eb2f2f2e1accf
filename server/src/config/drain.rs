//! `[drain]`: how the server ends.

use serde::{Deserialize, Serialize};

use super::duration::HumanDuration;

/// `[drain]`: how long a server that was told to stop waits for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// For running commands to end by themselves.
    pub grace: HumanDuration,
    /// For callers to take what is left of their streams, once everything has ended.
    pub deliver: HumanDuration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            // Together with the closing of sessions less than the 10 s after which Docker
            // kills.
            grace: HumanDuration::from_secs(5),
            deliver: HumanDuration::from_secs(3),
        }
    }
}
