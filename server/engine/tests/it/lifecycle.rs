//! Sessions come and go, and leave nothing behind.

use std::time::Duration;

use execgate_core::ids::SessionId;
use execgate_core::outcome::{Cause, Channel, Outcome};
use execgate_engine::Error;
use execgate_engine::execution::Command;
use execgate_engine::session::{CloseReason, OnShellExit, SessionSettings, SessionState};
use execgate_engine::transport::Leftovers;

use crate::support::{Gate, SHELLS, command, defaults, finish, owner, seen};

fn alive(pid: &str) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn close_ends_what_has_detached_itself_and_says_so() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let script = "(setsid env -i /bin/sleep 999 & echo $!) ; nohup /bin/sleep 998 >/dev/null 2>&1 & echo $!; sleep 0.2";
    let result = gate.run(&session, script).await;
    let pids: Vec<String> = seen(&result).1.lines().map(str::to_owned).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| alive(pid)));
    let (_, ended) = gate
        .engine
        .close_session(&gate.principal, &session.id)
        .await
        .unwrap();
    assert!(!pids.iter().any(|pid| alive(pid)));
    let mut commands: Vec<&str> = ended
        .iter()
        .map(|process| process.command.as_str())
        .collect();
    commands.sort_unstable();
    assert_eq!(commands, ["/bin/sleep 998", "/bin/sleep 999"]);
}

#[tokio::test]
async fn background_jobs_may_be_kept() {
    let gate = Gate::open().await;
    let session = gate
        .session(SessionSettings {
            leftovers: Leftovers::Keep,
            ..defaults()
        })
        .await;
    let result = gate
        .run(&session, "sleep 3 >/dev/null 2>&1 & echo $!")
        .await;
    let pid = seen(&result).1.trim().to_owned();
    gate.close(&session).await;
    assert!(alive(&pid));
}

#[tokio::test]
async fn a_closed_session_can_be_read_and_no_more_and_a_stranger_sees_nothing() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let stranger = owner("stranger");
    let unseen = gate.engine.session(&stranger, &session.id).unwrap_err();
    assert!(matches!(unseen, Error::SessionNotFound { .. }));
    let follower = gate
        .start(&session, command("echo kept; sleep 600 &"))
        .await;
    let id = follower.execution().id.clone();
    finish(follower).await;
    let close = || gate.engine.close_session(&gate.principal, &session.id);
    let (_, ended) = close().await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(close().await.unwrap().1, ended);
    let engine = &gate.engine;
    let over = engine.session(&gate.principal, &session.id).unwrap_err();
    assert!(matches!(over, Error::SessionEnded { lost: false, .. }));
    let kept = engine.find_session(&gate.principal, &session.id).unwrap();
    assert_eq!(
        kept.snapshot().state,
        SessionState::Closed(CloseReason::Owner)
    );
    let execution = engine.execution(&gate.principal, &session.id, &id).unwrap();
    assert_eq!(seen(&finish(execution.follow()).await).1, "kept\n");
    // Who has closed it may use its id again.
    let again = engine
        .create_session(&gate.principal, Some(session.id.clone()), defaults())
        .await
        .unwrap();
    assert_eq!(again.snapshot().state, SessionState::Ready);
}

#[tokio::test]
async fn creating_a_session_again_gives_the_same_one() {
    let gate = Gate::open().await;
    let id = SessionId::parse("mine").unwrap();
    let create = |settings| {
        gate.engine
            .create_session(&gate.principal, Some(id.clone()), settings)
    };
    let first = create(defaults()).await.unwrap();
    let again = create(defaults()).await.unwrap();
    assert_eq!((first.id.as_str(), again.created), ("mine", first.created));
    let other = SessionSettings {
        cwd: Some("/usr".into()),
        ..defaults()
    };
    let refused = create(other).await.unwrap_err();
    assert!(
        matches!(refused, Error::SessionIdTaken { .. }),
        "{refused:?}"
    );
    let stranger = owner("stranger");
    let theirs = gate
        .engine
        .create_session(&stranger, Some(id.clone()), defaults())
        .await
        .unwrap();
    assert_ne!(theirs.created, first.created);
}

#[tokio::test]
async fn the_report_of_ended_processes_hides_secrets() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let token = format!("ghp_{}", "A1b2C3d4E5f6".repeat(3));
    gate.run(
        &session,
        &format!("sh -c 'sleep 60; :' {token} & sleep 0.1"),
    )
    .await;
    let (_, ended) = gate
        .engine
        .close_session(&gate.principal, &session.id)
        .await
        .unwrap();
    let commands = format!("{ended:?}");
    assert!(
        commands.contains("REDACTED") && !commands.contains(&token),
        "{commands}"
    );
}

#[tokio::test]
async fn closing_ends_the_running_command() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let mut follower = gate.start(&session, command("echo part; sleep 99")).await;
    for _ in 0..2 {
        follower.next().await.unwrap();
    }
    gate.close(&session).await;
    let result = follower
        .execution()
        .follow()
        .result(&session.settings.output_budget)
        .await;
    let ending = result.ending.unwrap();
    assert_eq!(ending.cause, Cause::SessionClosed);
    assert!(
        matches!(ending.outcome, Outcome::Signal(9 | 15)),
        "{ending:?}"
    );
    assert_eq!(&result.stdout.bytes[..], b"part\n");
}

#[tokio::test]
async fn an_idle_session_closes_itself() {
    let gate = Gate::open().await;
    let idle = SessionSettings {
        idle_ttl: Duration::from_millis(200),
        ..defaults()
    };
    let session = gate.session(idle).await;
    let gone = async {
        while gate.engine.session(&gate.principal, &session.id).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .unwrap();
    assert_eq!(
        session.snapshot().state,
        SessionState::Closed(CloseReason::Idle)
    );
}

#[tokio::test]
async fn a_session_may_ask_to_be_lost_with_its_shell() {
    let gate = Gate::open().await;
    let strict = SessionSettings {
        on_shell_exit: OnShellExit::Lose,
        ..defaults()
    };
    let session = gate.session(strict).await;
    let result = gate.run(&session, "exit 4").await;
    assert_eq!(seen(&result).0, Outcome::ExitCode(4));
    let over = gate.try_start(&session, command("true")).await.unwrap_err();
    // A retry must not find another session under its id.
    let id = Some(session.id.clone());
    let again = gate.engine.create_session(&gate.principal, id, defaults());
    let again = again.await.unwrap_err();
    assert!(matches!(again, Error::SessionEnded { lost: true, .. }));
    assert!(
        matches!(&*over, Error::SessionEnded { lost: true, .. }),
        "{over:?}"
    );
}

#[tokio::test]
async fn what_runs_and_speaks_in_the_background_can_be_seen() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    gate.run(&session, "sleep 611 & (sleep 0.2; echo late) &")
        .await;
    let wait = Duration::from_secs(10);
    let background = session.background();
    let read = background.read_output(Channel::Background, None, 1024, wait);
    assert_eq!(&read.await.unwrap().data[..], b"late\n");
    // The subshell that spoke may not be quite gone.
    let until_alone = async {
        loop {
            let jobs = session.jobs().await;
            if jobs.len() == 1 {
                return jobs;
            }
        }
    };
    let jobs = tokio::time::timeout(wait, until_alone).await.unwrap();
    assert_eq!(jobs[0].command, "sleep 611");
    // The processes of the command that runs are no background.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let running = gate.start(&session, command("sleep 1")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(session.jobs().await, jobs);
    finish(running).await;
}

#[tokio::test]
async fn a_restarted_shell_has_the_directory_and_what_was_exported() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        gate.run(
            &session,
            "cd /usr; export KEPT='it is'; unset PAGER; gone=1",
        )
        .await;
        // The shell is asked what it exports when it has rested.
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.run(&session, "exit 3").await;
        let after = gate
            .run(&session, "echo \"$KEPT $PWD [$gone] [$PAGER]\"")
            .await;
        assert_eq!(seen(&after).1, "it is /usr [] []\n", "{shell}");
        assert_eq!(session.snapshot().generation, 2, "{shell}");
        let stale = Command {
            expected_generation: Some(1),
            ..command("true")
        };
        let refused = gate.try_start(&session, stale).await.unwrap_err();
        assert!(
            matches!(
                &*refused,
                Error::GenerationMismatch {
                    expected: 1,
                    actual: 2,
                    ..
                }
            ),
            "{refused:?}"
        );
    }
}
