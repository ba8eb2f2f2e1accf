//! The gate is not reachable from inside its own sessions.

use crate::support::{Gate, SHELLS, defaults, seen};

#[tokio::test]
async fn a_session_reads_neither_the_data_directory_nor_the_servers_memory() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let token = gate.data.path().join("token");
    let server = std::process::id();
    for script in [
        format!("cat {}", token.display()),
        format!("ls {}/audit", gate.data.path().display()),
        format!("cat /proc/{server}/environ"),
        format!("cat /proc/{server}/maps"),
        format!("kill -CONT {server}"),
        "kill -CONT $PPID".to_owned(),
        "cat /proc/$PPID/environ".to_owned(),
    ] {
        let (outcome, stdout, _) = seen(&gate.run(&session, &script).await);
        assert_ne!(
            outcome,
            execgate_core::outcome::Outcome::ExitCode(0),
            "{script}"
        );
        assert_eq!(stdout, "", "{script}");
    }
}

#[tokio::test]
async fn a_child_cannot_write_into_the_shells_input() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        let script =
            "for f in /proc/$$/fd/*; do (echo 'echo INJECTED >&8' >$f) 2>/dev/null; done; :";
        gate.run(&session, script).await;
        let (_, stdout, _) = seen(&gate.run(&session, "echo next").await);
        assert_eq!(stdout, "next\n", "{shell}");
        gate.close(&session).await;
    }
}

#[tokio::test]
async fn the_environment_is_built_not_inherited() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let (_, stdout, _) = seen(&gate.run(&session, "env | cut -d= -f1 | sort").await);
    let names: Vec<&str> = stdout.lines().collect();
    assert!(!names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
    assert!(
        names.contains(&"PATH") && names.contains(&"HOME"),
        "{names:?}"
    );
}
