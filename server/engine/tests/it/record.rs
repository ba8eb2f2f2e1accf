//! What is recorded, and when: the intent before the command, the outcome before its
//! `Finished`, a denial instead of both; and nothing runs that cannot be recorded.

use std::os::unix::fs::PermissionsExt;

use execgate_core::audit::{AuditBody, AuditKind, AuditOutcome};
use execgate_core::policy::Policy;
use execgate_engine::Error;
use execgate_engine::audit::{AuditQuery, AuditRecord, AuditStore};
use execgate_engine::execution::EventKind;

use crate::support::{Gate, command, defaults};

/// A directory in which a session's user may write.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    directory
}

async fn records(gate: &Gate) -> Vec<AuditRecord> {
    gate.audit
        .list(AuditQuery::default())
        .await
        .unwrap()
        .records
}

async fn kinds(gate: &Gate) -> Vec<AuditKind> {
    records(gate)
        .await
        .iter()
        .map(|record| record.body.kind())
        .collect()
}

#[tokio::test]
async fn the_intent_comes_before_the_command_and_the_outcome_before_finished() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let mut follower = gate
        .start(&session, command("exit_code() { return 3; }; exit_code"))
        .await;
    let before = kinds(&gate).await;
    assert_eq!(
        before[..2],
        [AuditKind::SessionCreated, AuditKind::ExecutionIntent]
    );
    while let Some(event) = follower.next().await {
        if let EventKind::Finished(_) = event.kind {
            let outcome = records(&gate).await.pop().unwrap();
            assert_eq!(
                outcome.execution_id.as_deref(),
                Some(follower.execution().id.as_str())
            );
            let AuditBody::ExecutionOutcome(body) = outcome.body else {
                panic!("{outcome:?}");
            };
            assert_eq!(body.outcome, AuditOutcome::Exit { code: 3 });
        }
    }
}

#[tokio::test]
async fn a_denied_command_is_recorded_and_never_runs() {
    let gate = Gate::with_policy(Policy::lists(&[], &["touch".to_owned()]).unwrap()).await;
    let session = gate.session(defaults()).await;
    let directory = open_directory();
    let script = format!("touch {}/ran", directory.path().display());
    let denied = gate
        .try_start(&session, command(&script))
        .await
        .unwrap_err();
    assert!(matches!(&*denied, Error::PolicyDenied(_)), "{denied:?}");
    assert!(!directory.path().join("ran").exists());
    let expected = [AuditKind::SessionCreated, AuditKind::ExecutionDenied];
    assert_eq!(kinds(&gate).await, expected);
    // The session goes on, and what is allowed does happen.
    gate.run(&session, &script.replace("touch ", ": > ")).await;
    assert!(directory.path().join("ran").exists());
}

#[tokio::test]
async fn nothing_runs_that_cannot_be_recorded() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    gate.audit.close().await.unwrap();
    let directory = open_directory();
    let script = format!("touch {}/ran", directory.path().display());
    let refused = gate
        .try_start(&session, command(&script))
        .await
        .unwrap_err();
    assert!(!directory.path().join("ran").exists());
    assert!(
        matches!(&*refused, Error::AuditUnavailable(_)),
        "{refused:?}"
    );
    let refused = gate
        .engine
        .create_session(&gate.principal, None, defaults())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::AuditUnavailable(_)), "{refused:?}");
}

#[tokio::test]
async fn the_record_hides_secrets_of_the_command() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let token = format!("ghp_{}", "A1b2C3d4E5f6".repeat(3));
    gate.run(&session, &format!(": {token}")).await;
    // A directory's name reaches the next command's record.
    gate.run(
        &session,
        &format!("mkdir -p /tmp/{token} && cd /tmp/{token} && rmdir $PWD"),
    )
    .await;
    gate.run(&session, "true").await;
    let log = format!("{:?}", records(&gate).await);
    assert!(log.contains("REDACTED") && !log.contains(&token), "{log}");
}
