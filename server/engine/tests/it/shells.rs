//! What persists, what comes out, and how it ends, in each shell.

use std::time::{Duration, Instant};

use execgate_core::outcome::{Cause, Channel, LaunchFailureKind, Outcome};
use execgate_engine::Error;
use execgate_engine::execution::{Command, EventKind, Overflow};
use sha2::{Digest, Sha256};

use crate::support::{Gate, SHELLS, command, exited, seen};

#[tokio::test]
async fn state_persists_between_commands() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        let first = gate
            .run(
                &session,
                "cd /tmp; export A=1; B=2; f(){ echo hi; }; alias x=f; set -f",
            )
            .await;
        assert_eq!(seen(&first), exited(0, "", ""), "{shell}");
        let second = gate
            .run(&session, "x; echo $A $B *; pwd; env | grep ^A=; false")
            .await;
        assert_eq!(
            seen(&second),
            exited(1, "hi\n1 2 *\n/tmp\nA=1\n", ""),
            "{shell}"
        );
        let third = gate.run(&session, "echo $?").await;
        assert_eq!(
            seen(&third),
            exited(0, "1\n", ""),
            "{shell}: $? is state too"
        );
        assert_eq!(third.ending.unwrap().cwd.as_deref(), Some("/tmp"));
        gate.close(&session).await;
    }
}

#[tokio::test]
async fn both_streams_come_apart_and_byte_for_byte() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        let script = r"printf 'a\000b\r\377\036xg:\n'; printf '\200no newline' >&2";
        let result = gate.run(&session, script).await;
        assert_eq!(&result.stdout.bytes[..], b"a\0b\r\xff\x1exg:\n", "{shell}");
        assert_eq!(&result.stderr.bytes[..], b"\x80no newline", "{shell}");
        gate.close(&session).await;
    }
}

#[tokio::test]
async fn output_arrives_while_the_command_runs() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let script = "for i in 1 2; do echo $i; echo e$i >&2; sleep 0.7; done";
    let mut follower = gate.start(&session, command(script)).await;
    let start = Instant::now();
    let mut arrivals = Vec::new();
    while let Some(event) = follower.next().await {
        if let EventKind::Output { channel, data, .. } = event.kind {
            arrivals.push((start.elapsed().as_millis() / 600, channel, data.to_vec()));
        }
    }
    arrivals.sort();
    let expected = [
        (0, Channel::Stdout, b"1\n".to_vec()),
        (0, Channel::Stderr, b"e1\n".to_vec()),
        (1, Channel::Stdout, b"2\n".to_vec()),
        (1, Channel::Stderr, b"e2\n".to_vec()),
    ];
    assert_eq!(arrivals, expected);
}

#[tokio::test]
async fn a_hundred_megabytes_come_through_whole() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let mut follower = gate
        .start(&session, command("yes | head -c 100000000"))
        .await;
    let (mut hash, mut next) = (Sha256::new(), 0);
    let mut ending = None;
    while let Some(event) = follower.next().await {
        match event.kind {
            EventKind::Output { offset, data, .. } => {
                assert_eq!(offset, next);
                next += data.len() as u64;
                hash.update(&data);
            }
            EventKind::Finished(end) => ending = Some(end),
            EventKind::Started => {}
            other => panic!("{other:?}"),
        }
    }
    let expected = Sha256::digest(b"y\n".repeat(50_000_000));
    let totals = &ending.unwrap().totals[0];
    assert_eq!(
        (next, totals.bytes, totals.lines),
        (100_000_000, 100_000_000, 50_000_000)
    );
    assert_eq!(
        (hash.finalize(), totals.sha256),
        (expected, expected.into())
    );
}

#[tokio::test]
async fn a_timeout_stops_the_command_and_keeps_the_shell() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        for script in [
            "sleep 30",
            "while :; do :; done",
            "trap '' INT; sleep 30",
            "trap '' INT TERM; sleep 30",
        ] {
            let session = gate.shell(shell).await;
            gate.run(&session, "kept=yes").await;
            let result = gate
                .run_for(
                    &session,
                    &format!("echo partial; {script}"),
                    Duration::from_millis(500),
                )
                .await;
            let ending = result.ending.as_ref().unwrap();
            assert_eq!(ending.cause, Cause::Timeout, "{shell}: {script}");
            assert!(
                matches!(ending.outcome, Outcome::Signal(_)),
                "{shell}: {script}: {ending:?}"
            );
            assert_eq!(&result.stdout.bytes[..], b"partial\n", "{shell}: {script}");
            let next = gate.run(&session, "echo $kept").await;
            assert_eq!(
                seen(&next),
                exited(0, "yes\n", ""),
                "{shell}: {script}: {:?} {:?}",
                result.notices,
                next.notices
            );
            gate.close(&session).await;
        }
    }
}

#[tokio::test]
async fn a_timeout_spares_background_jobs_of_earlier_commands() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    gate.run(&session, "sleep 60 & job=$!; sleep 0.1").await;
    gate.run_for(
        &session,
        "trap '' INT TERM; sleep 30",
        Duration::from_millis(300),
    )
    .await;
    let next = gate.run(&session, "kill -0 $job && echo lives").await;
    assert_eq!(seen(&next), exited(0, "lives\n", ""));
}

#[tokio::test]
async fn the_shell_adds_nothing_of_its_own_to_stderr() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    for script in [
        "yes | head -c 2 >/dev/null",
        "sleep 0 & :",
        "(kill -9 $BASHPID); :",
    ] {
        let (_, _, stderr) = seen(&gate.run(&session, script).await);
        assert_eq!(stderr, "", "{script}");
    }
}

#[tokio::test]
async fn cancelling_stops_the_command() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let follower = gate.start(&session, command("sleep 30")).await;
    session.cancel(&follower.execution().id).await.unwrap();
    let result = follower.result(&session.settings.output_budget).await;
    let ending = result.ending.unwrap();
    // SIGINT may come between fork and exec and be lost; then SIGTERM ends it.
    assert_eq!(ending.cause, Cause::Cancelled);
    assert!(
        matches!(ending.outcome, Outcome::Signal(2 | 15)),
        "{ending:?}"
    );
}

#[tokio::test]
async fn a_second_command_is_refused_or_waits() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let first = gate.start(&session, command("sleep 0.3; n=1")).await;
    let refused = gate.try_start(&session, command("true")).await.unwrap_err();
    assert!(
        matches!(&*refused, Error::SessionBusy { running, .. } if *running == first.execution().id)
    );
    let queued = Command {
        queue_if_busy: true,
        ..command("echo $n")
    };
    let result = gate
        .start(&session, queued)
        .await
        .result(&session.settings.output_budget)
        .await;
    assert_eq!(seen(&result), exited(0, "1\n", ""));
}

#[tokio::test]
async fn variables_and_directory_of_one_command_do_not_stay() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        gate.run(&session, "cd /; export V=old").await;
        let mut once = command("echo $V; env | grep ^V=; pwd");
        once.env.insert("V".into(), "it's new".into());
        once.cwd = Some("/usr".into());
        let result = gate
            .start(&session, once)
            .await
            .result(&session.settings.output_budget)
            .await;
        assert_eq!(
            seen(&result),
            exited(0, "it's new\nV=it's new\n/usr\n", ""),
            "{shell}"
        );
        assert_eq!(result.ending.unwrap().cwd.as_deref(), Some("/"), "{shell}");
        assert_eq!(session.snapshot().cwd, "/", "{shell}");
        let after = gate.run(&session, "echo $V; pwd").await;
        assert_eq!(seen(&after), exited(0, "old\n/\n", ""), "{shell}");
        gate.close(&session).await;
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_a_launch_failure() {
    let gate = Gate::open().await;
    let session = gate.shell("dash").await;
    let nowhere = Command {
        cwd: Some("/no/such".into()),
        ..command("echo ran")
    };
    let result = gate
        .start(&session, nowhere)
        .await
        .result(&session.settings.output_budget)
        .await;
    let failure = Outcome::LaunchFailure {
        kind: LaunchFailureKind::WorkingDirectory,
        errno: 0,
    };
    assert_eq!(seen(&result), (failure, String::new(), String::new()));
}

#[tokio::test]
async fn late_output_of_a_background_job_is_not_the_next_commands() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    gate.run(&session, "mkfifo /tmp/eg.$$; (cat /tmp/eg.$$; echo late) &")
        .await;
    gate.run(&session, "echo go >/tmp/eg.$$; rm /tmp/eg.$$; sleep 0")
        .await;
    // The job's words come at some time between the commands, or in one of them.
    gate.run(&session, "wait").await;
    let result = gate.run(&session, "echo mine").await;
    assert_eq!(seen(&result), exited(0, "mine\n", ""));
}

#[tokio::test]
async fn a_long_command_runs() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        let text = "x".repeat(200_000);
        let result = gate
            .run(&session, &format!("printf %s '{text}' | wc -c"))
            .await;
        assert_eq!(seen(&result).1.trim(), "200000", "{shell}");
        gate.close(&session).await;
    }
}

#[tokio::test]
async fn a_shell_that_waits_for_a_slow_reader_is_not_taken_for_a_broken_one() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        gate.run(&session, "kept=yes").await;
        let script = "i=0; while [ $i -lt 90000 ]; do i=$((i+1)); \
                      echo 0123456789012345678901234567890123456789012345678901234567890123456789; done";
        let mut follower = gate.start(&session, command(script)).await;
        // Longer than it takes to find a shell broken; nothing else can be waited for.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut read = 0;
        while let Some(event) = follower.next().await {
            if let EventKind::Output { data, .. } = event.kind {
                read += data.len();
            }
        }
        let next = gate.run(&session, "echo $kept").await;
        assert_eq!(
            (read, seen(&next)),
            (90_000 * 71, exited(0, "yes\n", "")),
            "{shell}"
        );
        gate.close(&session).await;
    }
}

#[tokio::test]
async fn output_that_nobody_reads_is_let_go_and_a_late_reader_sees_the_gap() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let follower = gate
        .start(
            &session,
            Command {
                overflow: Overflow::Evict,
                ..command("yes | head -c 10000000")
            },
        )
        .await;
    let execution = std::sync::Arc::clone(follower.execution());
    drop(follower);
    // Another command waits its turn: the first one has ended when it starts.
    let queued = Command {
        queue_if_busy: true,
        ..command("true")
    };
    gate.start(&session, queued).await;
    let (mut late, mut missing, mut read) = (execution.follow(), 0, 0);
    while let Some(event) = late.next().await {
        match event.kind {
            EventKind::Gap { from, to, .. } => missing += to - from,
            EventKind::Output { data, .. } => read += data.len() as u64,
            EventKind::Started | EventKind::Notice(_) | EventKind::Finished(_) => {}
        }
    }
    assert_eq!(missing + read, 10_000_000);
    assert!(
        read > 3_000_000 && missing > 0,
        "{read} read, {missing} missing"
    );
}
