//! The target's time since boot, told from here: a question takes longer to get there than
//! a short command takes to run, so ages cannot be counted from its arrival.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A target's clock.
#[derive(Debug, Default)]
pub(in crate::transport) struct Clock(OnceLock<(u64, Instant)>);

impl Clock {
    /// The time there was just now this many hundredths of a second since boot. The answer
    /// was on its way for a while, so that the clock is a little slow, never fast.
    pub(super) fn set(&self, ticks: u64) {
        let _first = self.0.set((ticks, Instant::now()));
    }

    /// The tick there a while ago.
    pub(super) fn before(&self, age: Duration) -> Option<u64> {
        let (ticks, then) = self.0.get()?;
        let since = then.elapsed().as_millis() / 10;
        let age = age.as_millis() / 10 + 1;
        let now = u128::from(*ticks) + since;
        u64::try_from(now.saturating_sub(age)).ok()
    }
}
