//! Checkpoints belong to who made them.

use std::os::unix::fs::PermissionsExt;

use execgate_engine::Error;
use execgate_engine::checkpoint::{CreateCheckpoint, Difference};
use execgate_engine::session::SessionSettings;

use crate::support::{Gate, defaults, owner};

#[tokio::test]
async fn somebody_elses_checkpoint_is_one_that_is_not_there() {
    let gate = Gate::open().await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let settings = || SessionSettings {
        workspace: Some(folder.path().display().to_string()),
        ..defaults()
    };
    let session = gate.session(settings()).await;
    let made = gate
        .engine
        .create_checkpoint(&gate.principal, &session.id, CreateCheckpoint::default())
        .await;
    let (made, _unchanged) = made.unwrap();
    let own = gate.engine.checkpoints(&gate.principal);
    assert_eq!(own.as_slice(), std::slice::from_ref(&made));
    let other = owner("other");
    assert!(gate.engine.checkpoints(&other).is_empty());
    let missing = |error: Error| matches!(error, Error::CheckpointNotFound { checkpoint } if checkpoint == made.id);
    assert!(missing(
        gate.engine.checkpoint(&other, &made.id).unwrap_err()
    ));
    let deleted = gate.engine.delete_checkpoint(&other, &made.id).await;
    assert!(missing(deleted.unwrap_err()));
    let compared = gate.engine.compare_checkpoint(
        &other,
        Difference {
            from: made.id.clone(),
            to: Some(made.id.clone()),
            session: None,
            paths: Vec::new(),
            max_patch_bytes: 0,
        },
    );
    assert!(missing(compared.await.unwrap_err()));
    let from = SessionSettings {
        from_checkpoint: Some(made.id.clone()),
        ..settings()
    };
    let begun = gate.engine.create_session(&other, None, from).await;
    assert!(missing(begun.unwrap_err()));
}
