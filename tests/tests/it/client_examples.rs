//! The Rust client's examples, run as a user runs them.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use crate::support::Server;

/// Longer than any example takes, so that a hang becomes a failure.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs an example against the server; returns what it printed.
async fn run(name: &str, server: &Server) -> String {
    let program = built(name);
    let mut command = tokio::process::Command::new(&program);
    command
        .env("EXECGATE_ADDR", &server.address)
        .env("EXECGATE_TOKEN", server.token())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = output
        .await
        .unwrap_or_else(|_| panic!("{name}: did not end"))
        .unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{name}: {status}\n{stderr}");
    String::from_utf8(stdout).unwrap()
}

fn built(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(|deps| deps.parent()).unwrap();
    let program = target.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is missing: run `cargo build -p execgate-client --examples` first",
        program.display()
    );
    program
}

#[tokio::test]
async fn first_session_prints_what_its_comments_say() {
    let printed = run("first_session", &Server::start()).await;
    assert!(printed.starts_with("hello from /tmp\n"), "{printed}");
    let lines = [
        "Stdout: 1",
        "Stderr: e3",
        "timed out: true, kept: b\"waiting\\n\"",
    ];
    for line in lines {
        assert!(printed.contains(line), "{line:?} in {printed}");
    }
}

#[tokio::test]
async fn streaming_reads_on_where_it_left_off() {
    let printed = run("streaming", &Server::start()).await;
    let lines: Vec<_> = printed.lines().collect();
    let expected = [
        "started count",
        "1\\n at 0",
        "in all: \"1\\n2\\n3\\n\"",
        "Exited { code: 0, possible_signal: None } because Exited",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn agent_observes_what_became_of_each_idea() {
    let printed = run("agent", &Server::start()).await;
    for part in [
        "$ test -f main.py && echo there || echo missing\nthere\n[exit code Some(0), in /",
        "$ rm -rf /\n[denied: POLICY_DENIED: ",
        "$ seq 1 100000\n1\n2\n[... 588878 bytes in 99996 lines omitted ...]\n99999\n100000\n",
        "$ sleep 60\n[it took too long and was ended]\n",
    ] {
        assert!(printed.contains(part), "{part:?} in {printed}");
    }
}

#[tokio::test]
async fn files_go_in_and_come_out() {
    let printed = run("files", &Server::start()).await;
    let expected = "put 44 bytes, verified: true\nHELLO\nFILE_NOT_FOUND: get \"absent\": there is no such file\n";
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn repl_answers_each_line() {
    let printed = run("repl", &Server::start()).await;
    let expected = "8\n9\n10\n2\n42\n1400\nExited { code: 0, possible_signal: None }\n";
    assert_eq!(printed, expected);
}
