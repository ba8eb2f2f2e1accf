//! Standard input reaches the execution that it is for, and nothing else.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use execgate_core::outcome::Outcome;
use execgate_engine::Error;
use execgate_engine::execution::{Command, Follower, Stdin};
use execgate_engine::session::{Session, SessionSettings, WantedShell};
use execgate_engine::transport::WindowSize;
use sha2::{Digest as _, Sha256};

use crate::support::{Gate, SHELLS, argv, command, defaults, finish, seen};

impl Gate {
    async fn write(
        &self,
        session: &Session,
        follower: &Follower,
        (offset, data, eof): (Option<u64>, &str, bool),
    ) -> Result<u64, Error> {
        let data = Bytes::copy_from_slice(data.as_bytes());
        let id = follower.execution().id.clone();
        self.engine
            .write_stdin(&self.principal, &session.id, &id, (offset, data, eof))
            .await
    }
}

fn reading(script: &str, stdin: Stdin) -> Command {
    Command {
        stdin,
        ..command(script)
    }
}

fn inline(text: &str) -> Stdin {
    Stdin::Inline(Bytes::copy_from_slice(text.as_bytes()))
}

#[tokio::test]
async fn inline_input_is_read_to_its_end_in_every_shell() {
    for shell in SHELLS {
        let gate = Gate::open().await;
        let session = gate.shell(shell).await;
        for text in ["one\ntwo\n", "", "no line end"] {
            let follower = gate
                .start(&session, reading("cat; echo .", inline(text)))
                .await;
            let result = finish(follower).await;
            assert_eq!(
                seen(&result),
                (Outcome::ExitCode(0), format!("{text}.\n"), String::new()),
                "{shell}"
            );
        }
        // The shell itself has read none of it, and its state is as before.
        let after = gate
            .run(&session, "x=1; read line; echo \"$?$line\"; false")
            .await;
        assert_eq!(seen(&after).1, "1\n", "{shell}");
        let follower = gate
            .start(&session, reading("echo $? $x", inline("x")))
            .await;
        assert_eq!(seen(&finish(follower).await).1, "1 1\n", "{shell}");
    }
}

#[tokio::test]
async fn input_that_is_not_read_is_no_command() {
    for shell in SHELLS {
        let gate = Gate::open().await;
        let session = gate.shell(shell).await;
        let follower = gate
            .start(
                &session,
                reading("true", inline("touch /tmp/never\nexit 3\n")),
            )
            .await;
        assert_eq!(
            seen(&finish(follower).await).0,
            Outcome::ExitCode(0),
            "{shell}"
        );
        let next = gate.run(&session, "echo next").await;
        assert_eq!(seen(&next).1, "next\n", "{shell}");
    }
}

#[tokio::test]
async fn a_megabyte_of_input_arrives_whole() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let text = "0123456789abcdef".repeat(65_536);
    for command in [
        reading("sha256sum", inline(&text)),
        Command {
            stdin: inline(&text),
            ..argv(&["sha256sum"])
        },
    ] {
        let result = finish(gate.start(&session, command).await).await;
        let digest = HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
        assert_eq!(seen(&result).1, format!("{digest}  -\n"));
    }
}

#[tokio::test]
async fn an_open_input_takes_writes_once_and_ends_when_told() {
    for shell in SHELLS {
        let gate = Gate::open().await;
        let session = gate.shell(shell).await;
        let follower = gate.start(&session, reading("cat", Stdin::Open)).await;
        assert_eq!(
            gate.write(&session, &follower, (Some(0), "one\n", false))
                .await
                .unwrap(),
            4
        );
        // The same again, and more of the same: only what is new arrives.
        assert_eq!(
            gate.write(&session, &follower, (Some(0), "one\n", false))
                .await
                .unwrap(),
            4
        );
        assert_eq!(
            gate.write(&session, &follower, (Some(2), "e\ntwo\n", false))
                .await
                .unwrap(),
            8
        );
        let beyond = gate.write(&session, &follower, (Some(9), "x", false)).await;
        assert!(
            matches!(beyond, Err(Error::StdinOffset { next_offset: 8, .. })),
            "{beyond:?}"
        );
        assert_eq!(
            gate.write(&session, &follower, (None, "", true))
                .await
                .unwrap(),
            8
        );
        assert_eq!(
            gate.write(&session, &follower, (Some(4), "two\n", true))
                .await
                .unwrap_or(8),
            8
        );
        let id = follower.execution().id.clone();
        let result = finish(follower).await;
        assert_eq!(
            seen(&result),
            (Outcome::ExitCode(0), "one\ntwo\n".into(), String::new()),
            "{shell}"
        );
        let over = gate
            .engine
            .write_stdin(
                &gate.principal,
                &session.id,
                &id,
                (None, Bytes::new(), true),
            )
            .await;
        assert!(
            matches!(over, Err(Error::ExecutionNotRunning { finished: true, .. })),
            "{over:?}"
        );
    }
}

#[tokio::test]
async fn a_closed_input_takes_nothing() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    for command in [command("sleep 1"), argv(&["sleep", "1"])] {
        let follower = gate.start(&session, command).await;
        let refused = gate.write(&session, &follower, (None, "x", false)).await;
        assert!(
            matches!(refused, Err(Error::StdinNotOpen { .. })),
            "{refused:?}"
        );
        finish(follower).await;
    }
}

#[tokio::test]
async fn the_end_of_a_command_that_does_not_read_is_not_held_up() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    let follower = gate
        .start(&session, reading("sleep 0.2; echo done", Stdin::Open))
        .await;
    for _ in 0..2 {
        let much = "x".repeat(700_000);
        gate.write(&session, &follower, (None, &much, false))
            .await
            .unwrap();
    }
    // No room until the command ends: the write is told so, not lost silently.
    let waiting = gate.write(&session, &follower, (None, "y", false)).await;
    assert!(
        matches!(
            waiting,
            Err(Error::ExecutionNotRunning { finished: true, .. })
        ),
        "{waiting:?}"
    );
    assert_eq!(seen(&finish(follower).await).1, "done\n");
}

#[tokio::test]
async fn a_terminal_is_typed_into_and_forgets_what_nobody_read() {
    let gate = Gate::open().await;
    let session = gate
        .session(SessionSettings {
            shell: WantedShell::Named("bash".into()),
            terminal: Some(WindowSize {
                rows: 24,
                columns: 80,
            }),
            ..defaults()
        })
        .await;
    let follower = gate
        .start(
            &session,
            reading("stty -echo; read a; echo \"got $a\"", Stdin::Open),
        )
        .await;
    gate.write(&session, &follower, (None, "hello\nrm -rf /tmp/x\n", false))
        .await
        .unwrap();
    let result = finish(follower).await;
    assert!(seen(&result).1.contains("got hello"), "{:?}", seen(&result));
    let next = gate
        .start(&session, reading("read -t 1 b; echo \"[$b]\"", Stdin::Open))
        .await;
    assert!(seen(&finish(next).await).1.contains("[]"));
    let cat = gate.start(&session, reading("cat", Stdin::Open)).await;
    gate.write(&session, &cat, (None, "line\n", true))
        .await
        .unwrap();
    assert_eq!(seen(&finish(cat).await).1, "line\r\n");
}

#[tokio::test]
async fn input_is_recorded_by_length_and_hash() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    finish(
        gate.start(&session, reading("cat", inline("a secret")))
            .await,
    )
    .await;
    let follower = gate.start(&session, reading("cat", Stdin::Open)).await;
    gate.write(&session, &follower, (None, "abc", false))
        .await
        .unwrap();
    gate.write(&session, &follower, (None, "", true))
        .await
        .unwrap();
    finish(follower).await;
    let written: Vec<(u64, u64, bool)> = gate
        .records()
        .await
        .into_iter()
        .filter_map(|record| match record.body {
            execgate_core::audit::AuditBody::StdinWritten(w) => Some((w.offset, w.bytes, w.eof)),
            _ => None,
        })
        .collect();
    assert_eq!(written, [(0, 8, true), (0, 3, false), (3, 0, true)]);
}
