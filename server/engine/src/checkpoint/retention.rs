//! Forgets what is too old, also in workspaces that nobody comes back to, and removes stores
//! that hold nothing.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use execgate_core::audit::Origin;
use execgate_core::ids::{Principal, SessionId};

use super::apart::apart;
use super::space::{Checkpoints, Space};
use super::workspace::forget;
use crate::audit::AuditStore;
use crate::error::Error;
use crate::session::Recorder;

/// Time between two looks at all stores; ages are counted in days.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Looks at all stores now and again, until the engine is gone.
pub(crate) fn watch(checkpoints: &Arc<Checkpoints>, audit: &Arc<dyn AuditStore>) {
    let (checkpoints, audit) = (Arc::downgrade(checkpoints), Arc::clone(audit));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let Some(checkpoints) = Weak::upgrade(&checkpoints) else {
                return;
            };
            let looked = apart(look(checkpoints, Arc::clone(&audit))).await;
            if let Err(error) = looked {
                tracing::warn!(%error, "old checkpoints were not forgotten");
            }
        }
    });
}

async fn look(checkpoints: Arc<Checkpoints>, audit: Arc<dyn AuditStore>) -> Result<(), Error> {
    for space in checkpoints.all() {
        expire(&checkpoints, &space, &audit).await?;
    }
    Ok(checkpoints.drop_empty()?)
}

async fn expire(
    checkpoints: &Checkpoints,
    space: &Space,
    audit: &Arc<dyn AuditStore>,
) -> Result<(), Error> {
    let expired = space.expired(&checkpoints.settings, SystemTime::now());
    if expired.is_empty() {
        return Ok(());
    }
    // Whoever works with it forgets what is old when that is done.
    let Ok(work) = Arc::clone(&space.work).try_lock_owned() else {
        return Ok(());
    };
    for (checkpoint, reason) in expired {
        let Ok(session) = SessionId::parse(&checkpoint.session) else {
            continue;
        };
        let principal = Principal::new(space.key.principal.as_str());
        let recorder = Recorder::new(Arc::clone(audit), principal, session, Origin::default());
        forget(space, &recorder, &checkpoint.workspace, &checkpoint, reason).await?;
    }
    space.collect(work.tree)?;
    Ok(())
}
