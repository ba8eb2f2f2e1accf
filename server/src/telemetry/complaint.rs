//! One line a minute at most about a collector that does not take what it is sent, however
//! much that is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two lines about the same collector.
const PAUSE: Duration = Duration::from_secs(60);

/// What has gone wrong and has not been said yet.
#[derive(Debug)]
pub(super) struct Complaint {
    collector: String,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    said: Option<Instant>,
    spans: u64,
    failures: u64,
}

impl Complaint {
    pub(super) fn new(collector: &str) -> Self {
        Self {
            collector: collector.to_owned(),
            pending: Mutex::default(),
        }
    }

    /// Spans were dropped.
    pub(super) fn dropped(&self, spans: u64, reason: &str) {
        self.note(spans, 0, reason, Instant::now());
    }

    /// A message was not taken.
    pub(super) fn failed(&self, reason: &str) {
        self.note(0, 1, reason, Instant::now());
    }

    /// Says it, or keeps it for later; answers whether it was said.
    fn note(&self, spans: u64, failures: u64, reason: &str, now: Instant) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.spans += spans;
        pending.failures += failures;
        let since = pending.said.map(|said| now.saturating_duration_since(said));
        if since.is_some_and(|since| since < PAUSE) {
            return false;
        }
        let Pending {
            spans, failures, ..
        } = std::mem::take(&mut *pending);
        pending.said = Some(now);
        drop(pending);
        let collector = &self.collector;
        tracing::warn!(
            collector,
            spans_dropped = spans,
            messages_failed = failures,
            reason,
            "telemetry is lost; nothing else is touched by it"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_one_line_a_minute_and_nothing_is_forgotten() {
        let complaint = Complaint::new("http://127.0.0.1:1");
        let start = Instant::now();
        let said = |second: u64| {
            let now = start + Duration::from_secs(second);
            complaint.note(10, 1, "it is away", now)
        };
        let lines = (0..180).filter(|second| said(*second)).count();
        assert_eq!(lines, 3);
        let pending = complaint.pending.lock().unwrap();
        // What came after the third line waits for the fourth.
        assert_eq!((pending.spans, pending.failures), (59 * 10, 59));
    }
}
