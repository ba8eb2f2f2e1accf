//! Programs beside the shell: where and with what they start, and how they end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use execgate_core::outcome::{Cause, LaunchFailureKind, ObservedBy, Outcome};
use execgate_engine::Error;
use execgate_engine::execution::{Command, EventKind, Notice, TimeoutAction};

use crate::support::{Gate, SHELLS, argv, command, finish, seen};

#[tokio::test]
async fn a_program_has_the_shells_directory_and_what_it_exports() {
    for shell in SHELLS {
        let gate = Gate::open().await;
        let session = gate.shell(shell).await;
        let script = "cd /usr; export A='it'\\''s \"a\" $b `c` \\d\n  two'; B=private; unset PAGER; export TAB='\t\r\u{1b}'; false";
        gate.run(&session, script).await;
        let result = finish(gate.start(&session, argv(&["env", "-0"])).await).await;
        let env: BTreeMap<String, String> = seen(&result)
            .1
            .split_terminator('\0')
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(env["A"], "it's \"a\" $b `c` \\d\n  two", "{shell}");
        assert_eq!(env["PWD"], "/usr", "{shell}");
        assert_eq!(env.get("B"), None, "{shell}");
        assert_eq!(env.get("PAGER"), None, "{shell}");
        assert_eq!(env["TAB"], "\t\r\u{1b}", "{shell}");
        let pwd = finish(gate.start(&session, argv(&["pwd"])).await).await;
        assert_eq!(seen(&pwd).1, "/usr\n", "{shell}");
        // Nothing of it is left in the shell, and asking did not change `$?`.
        let after = gate.run(&session, "echo $? $B").await;
        assert_eq!(seen(&after).1, "1 private\n", "{shell}");
    }
}

#[tokio::test]
async fn no_shell_reads_the_arguments() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let words = ["printf", "%s|", "$HOME", "a b", "*", "", "it's", ";exit"];
    let follower = gate.start(&session, argv(&words)).await;
    let command = follower.execution().command.clone();
    let result = finish(follower).await;
    assert_eq!(seen(&result).1, "$HOME|a b|*||it's|;exit|");
    assert_eq!(
        command,
        "printf '%s|' '$HOME' 'a b' '*' '' 'it'\\''s' ';exit'"
    );
}

#[tokio::test]
async fn the_kernel_vouches_for_codes_and_signals() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    for (script, outcome) in [
        ("exit 137", Outcome::ExitCode(137)),
        ("kill -KILL $$", Outcome::Signal(9)),
        ("kill -SEGV $$", Outcome::Signal(11)),
    ] {
        let result = finish(gate.start(&session, argv(&["sh", "-c", script])).await).await;
        let ending = result.ending.unwrap();
        assert_eq!(
            (ending.outcome.clone(), ending.observed_by, ending.cause),
            (outcome, ObservedBy::Kernel, Cause::Exited)
        );
    }
}

#[tokio::test]
async fn what_cannot_be_launched_says_why() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let here = Command {
        cwd: Some("/nowhere".into()),
        ..argv(&["true"])
    };
    for (command, kind, errno) in [
        (argv(&["no-such-program"]), LaunchFailureKind::NotFound, 2),
        (
            argv(&["/etc/passwd"]),
            LaunchFailureKind::PermissionDenied,
            13,
        ),
        (here, LaunchFailureKind::WorkingDirectory, 2),
    ] {
        let result = finish(gate.start(&session, command).await).await;
        assert_eq!(
            result.ending.unwrap().outcome,
            Outcome::LaunchFailure { kind, errno }
        );
    }
}

#[tokio::test]
async fn several_run_at_once_beside_a_script() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let script = gate.start(&session, command("sleep 1; echo script")).await;
    let begun = Instant::now();
    let mut programs = Vec::new();
    for number in 0..8 {
        let script = format!("sleep 0.5; echo {number}");
        programs.push(gate.start(&session, argv(&["sh", "-c", &script])).await);
    }
    for (number, program) in programs.into_iter().enumerate() {
        assert_eq!(seen(&finish(program).await).1, format!("{number}\n"));
    }
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(seen(&finish(script).await).1, "script\n");
}

#[tokio::test]
async fn a_time_limit_ends_a_program_that_refuses() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let stubborn = Command {
        timeout: Some(Duration::from_millis(300)),
        ..argv(&["sh", "-c", "trap '' INT TERM; while :; do sleep 1; done"])
    };
    let result = finish(gate.start(&session, stubborn).await).await;
    let ending = result.ending.unwrap();
    assert_eq!(
        (ending.outcome.clone(), ending.cause),
        (Outcome::Signal(9), Cause::Timeout)
    );
    let polite = Command {
        timeout: Some(Duration::from_millis(300)),
        ..argv(&["sleep", "60"])
    };
    let result = finish(gate.start(&session, polite).await).await;
    let ending = result.ending.unwrap();
    assert_eq!(
        (ending.outcome.clone(), ending.cause),
        (Outcome::Signal(2), Cause::Timeout)
    );
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_hold_its_end_and_goes_with_the_session() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let leaving = argv(&["sh", "-c", "sleep 600 & echo $!"]);
    let result = finish(gate.start(&session, leaving).await).await;
    let pid = seen(&result).1.trim().to_owned();
    let alive = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(alive());
    gate.close(&session).await;
    assert!(!alive());
}

#[tokio::test]
async fn closing_the_session_ends_programs_and_says_so() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let program = gate.start(&session, argv(&["sleep", "60"])).await;
    gate.close(&session).await;
    let ending = finish(program).await.ending.unwrap();
    assert_eq!(ending.cause, Cause::SessionClosed);
}

#[tokio::test]
async fn a_signal_reaches_programs_and_commands() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let caught = "trap 'echo hup; exit 4' HUP; echo ready; while :; do sleep 0.05; done";
    let program = gate.start(&session, argv(&["sh", "-c", caught])).await;
    let id = program.execution().id.clone();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = gate
        .engine
        .signal(&gate.principal, &session.id, &id, 1)
        .await;
    assert!(sent.unwrap() >= 1);
    let (outcome, stdout, _) = seen(&finish(program).await);
    assert_eq!(
        (outcome, stdout.as_str()),
        (Outcome::ExitCode(4), "ready\nhup\n")
    );
    let script = gate.start(&session, command("sleep 60; echo $?")).await;
    let id = script.execution().id.clone();
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.engine
        .signal(&gate.principal, &session.id, &id, 15)
        .await
        .unwrap();
    assert_eq!(seen(&finish(script).await).1, "143\n");
    let over = gate
        .engine
        .signal(&gate.principal, &session.id, &id, 15)
        .await;
    assert!(matches!(
        over,
        Err(Error::ExecutionNotRunning { finished: true, .. })
    ));
}

#[tokio::test]
async fn a_stopped_command_says_so_until_it_goes_on() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    for command in [
        command("sleep 0.5; echo done"),
        argv(&["sh", "-c", "sleep 0.5; echo done"]),
    ] {
        let follower = gate.start(&session, command).await;
        let execution = std::sync::Arc::clone(follower.execution());
        let signal = |number| {
            gate.engine
                .signal(&gate.principal, &session.id, &execution.id, number)
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        signal(20).await.unwrap();
        assert!(execution.is_stopped());
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(execution.ending().is_none());
        signal(18).await.unwrap();
        assert!(!execution.is_stopped());
        assert_eq!(seen(&finish(follower).await).1, "done\n");
    }
}

#[tokio::test]
async fn a_limit_may_kill_at_once_or_only_tell() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let limited = |script: &str, timeout_action| Command {
        timeout: Some(Duration::from_millis(200)),
        timeout_action,
        ..command(script)
    };
    let begun = Instant::now();
    let stubborn = limited(
        "trap '' INT TERM; sleep 60; echo after",
        TimeoutAction::Kill,
    );
    let result = finish(gate.start(&session, stubborn).await).await;
    assert_eq!(seen(&result).1, "after\n");
    assert!(result.timed_out());
    assert!(begun.elapsed() < Duration::from_millis(900));
    let told = limited("sleep 0.5; echo done", TimeoutAction::Tell);
    let result = finish(gate.start(&session, told).await).await;
    assert_eq!(seen(&result).1, "done\n");
    assert!(!result.timed_out());
    let notice = Notice::TimeoutFired {
        limit: Duration::from_millis(200),
    };
    assert_eq!(result.notices, [notice]);
}

#[tokio::test]
async fn an_interrupt_ends_a_command_also_while_it_is_being_started() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        for _ in 0..10 {
            let limited = Command {
                timeout: Some(Duration::from_secs(20)),
                ..command("echo begun; sleep 60; echo never")
            };
            let mut follower = gate.start(&session, limited).await;
            let id = follower.execution().id.clone();
            while let Some(event) = follower.next().await {
                if matches!(event.kind, EventKind::Output { .. }) {
                    break;
                }
            }
            let sent = gate.engine.signal(&gate.principal, &session.id, &id, 2);
            sent.await.unwrap();
            let result = finish(follower).await;
            assert_eq!(seen(&result).0, Outcome::Signal(2), "{shell}");
        }
    }
}
