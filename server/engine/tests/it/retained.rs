//! What is kept of commands that write more than anybody reads.

use std::time::Duration;

use execgate_core::outcome::Outcome;
use execgate_engine::execution::{Command, CommandLine, Overflow};

use crate::support::{Gate, command, defaults, exited, seen};

#[tokio::test]
async fn a_flood_that_outlives_its_program_does_not_hold_up_its_end() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let words = ["sh", "-c", "yes & echo $! >&2"];
    let flood = Command {
        line: CommandLine::Argv(words.map(str::to_owned).into()),
        ..command("")
    };
    let follower = gate.start(&session, flood).await;
    let result = follower.result(&session.settings.output_budget);
    let result = tokio::time::timeout(Duration::from_secs(20), result).await;
    assert_eq!(seen(&result.unwrap()).0, Outcome::ExitCode(0));
    gate.close(&session).await;
}

#[tokio::test]
async fn cancelling_a_flood_that_nobody_reads_keeps_the_shell() {
    let gate = Gate::open().await;
    let session = gate.shell("bash").await;
    gate.run(&session, "kept=yes").await;
    let flood = Command {
        overflow: Overflow::Backpressure,
        ..command("yes")
    };
    let unread = gate.start(&session, flood).await;
    let next = Command {
        queue_if_busy: true,
        ..command("echo $kept")
    };
    let id = unread.execution().id.clone();
    session.cancel(&id).await.unwrap();
    let follower = gate.start(&session, next).await;
    let result = follower.result(&session.settings.output_budget).await;
    assert_eq!(seen(&result), exited(0, "yes\n", ""));
    gate.close(&session).await;
}
