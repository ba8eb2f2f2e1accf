//! The end of what a lost session left on a target that could not be reached then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Beside, close};
use crate::transport::Leftovers;

/// How long a target may be away for what was left there to be ended: a network that is
/// mended or a machine that starts again takes less, and a session holds no task for longer.
pub(in crate::transport) const LATER_LIMIT: Duration = Duration::from_secs(120);

/// Pause between two tries.
pub(in crate::transport) const LATER_PAUSE: Duration = Duration::from_secs(1);

/// Ends what carries this marker as soon as the target answers again. Numbers of processes
/// say nothing any more by then.
pub(in crate::transport) fn close_later(beside: Arc<dyn Beside>, marker: String) {
    tokio::spawn(async move {
        let limit = Instant::now() + LATER_LIMIT;
        while Instant::now() < limit {
            tokio::time::sleep(LATER_PAUSE).await;
            let closed = close(beside.as_ref(), &marker, &[], Leftovers::Kill).await;
            if let Some(standing) = beside.standing() {
                standing.end().await;
            }
            if let Ok(ended) = closed {
                let target = beside.target();
                tracing::info!(target, ended = ended.len(), "a lost session was cleaned up");
                return;
            }
        }
    });
}
