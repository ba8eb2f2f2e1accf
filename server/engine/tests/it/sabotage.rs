//! Commands that try to break the framing. After each, the next command gives its own
//! right result, or the session has said that its shell was restarted. Nothing hangs.

mod scripts;

use std::time::Duration;

use execgate_core::outcome::Outcome;
use execgate_engine::execution::ExecResult;

use scripts::{Price, SABOTAGE};

use crate::support::{Gate, SHELLS, exited, restarted, seen};

async fn check(shell: &str) {
    let gate = Gate::open().await;
    for (script, price) in SABOTAGE {
        let session = gate.shell(shell).await;
        gate.run(&session, "kept=yes").await;
        let first = gate.run_for(&session, script, Duration::from_secs(5)).await;
        // What happens between two commands must be survived too.
        if script.contains("TMOUT") {
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        let probe = "\\command echo alive \"${kept-}\"; (exit 7)";
        let mut second = gate.run(&session, probe).await;
        if matches!(seen(&second).0, Outcome::Lost { .. }) {
            // It never ran and the session says so; the next one must run.
            assert!(restarted(&second), "{shell}: {script}: {second:?}");
            let third = gate.run(&session, probe).await;
            second = ExecResult {
                notices: second.notices,
                ..third
            };
        }
        let (outcome, stdout, stderr) = seen(&second);
        let said = restarted(&first) || restarted(&second);
        let stderr = if script.contains("set -") {
            String::new()
        } else {
            stderr
        };
        let stdout = stdout
            .replace("T\n", "")
            .replace("E\n", "")
            .replace("later\n", "");
        let kept = if said { "" } else { "yes" };
        let context = format!("{shell}: {script}: {first:?} {second:?}");
        assert_eq!(
            (outcome, stdout, stderr),
            exited(7, &format!("alive {kept}\n"), ""),
            "{context}"
        );
        assert!(!said || *price == Price::Restart, "{context}");
        let ended = first.ending.as_ref().map(|ending| ending.outcome.clone());
        assert!(ended.is_some(), "{context}");
        gate.close(&session).await;
    }
}

#[tokio::test]
async fn bash_survives_sabotage() {
    check("bash").await;
}

#[tokio::test]
async fn dash_survives_sabotage() {
    check("dash").await;
}

#[tokio::test]
async fn busybox_survives_sabotage() {
    check("busybox").await;
}

#[tokio::test]
async fn the_shells_own_end_is_an_exact_outcome() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        let exit = gate.run(&session, "cd /usr; exit 3").await;
        assert_eq!(seen(&exit), exited(3, "", ""), "{shell}");
        assert!(restarted(&exit), "{shell}");
        let killed = gate.run(&session, "kill -9 $$").await;
        assert_eq!(
            seen(&killed).0,
            execgate_core::outcome::Outcome::Signal(9),
            "{shell}"
        );
        assert_eq!(session.snapshot().generation, 3, "{shell}");
        gate.close(&session).await;
    }
}
