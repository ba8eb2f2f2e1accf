//! Commands that try to break the framing. After each, the next command gives its own
//! right result, or the session has said that its shell was restarted. Nothing hangs.

use std::time::Duration;

use execgate_core::outcome::Outcome;
use execgate_engine::execution::ExecResult;

use crate::support::{Gate, SHELLS, exited, restarted, seen};

/// Scripts, and whether a restart is an acceptable price.
const SABOTAGE: &[(&str, Price)] = &[
    ("echo hi # comment", Price::None),
    ("sleep 0.1 &", Price::None),
    ("cat <<X\nfoo\nX", Price::None),
    ("cat <<X\nfoo", Price::None),
    ("echo \"abc", Price::None),
    ("echo 'abc", Price::None),
    ("echo $(", Price::None),
    ("if then fi", Price::None),
    ("set -u", Price::None),
    ("set -x", Price::None),
    ("set -v", Price::None),
    ("set -C", Price::None),
    ("set -a", Price::None),
    ("set -f", Price::None),
    ("exec >/dev/null", Price::None),
    ("exec 2>/dev/null", Price::None),
    ("exec 1>&-", Price::None),
    ("exec 0<&-", Price::None),
    ("exec 8>&- 9>&-", Price::None),
    ("exec 7>&- 10>&- 11>&- 12>&-", Price::Restart),
    ("IFS=0123456789", Price::None),
    ("PATH=", Price::None),
    ("unset PATH", Price::None),
    ("unset PWD; unset HOME", Price::None),
    ("printf(){ :; }", Price::None),
    ("eval(){ :; }", Price::None),
    ("alias eval=: printf=: command=: return=:", Price::None),
    ("trap 'echo T' DEBUG", Price::None),
    ("trap 'echo E' ERR", Price::None),
    ("trap 'echo bye' EXIT", Price::None),
    ("cat", Price::None),
    ("read x", Price::None),
    ("TMOUT=1", Price::Restart),
    (
        "PROMPT_COMMAND='echo P'; PS1='$(echo S)'; PS0='$(echo Z)'; PS2=x; PS4=y",
        Price::None,
    ),
    ("readonly PWD OLDPWD PS1 PS2 PS4 IFS", Price::None),
    (
        "sh -c 'printf \"\\036xg:aaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaa 0 /\\036\"'",
        Price::None,
    ),
    ("(sleep 0.3; echo later) &", Price::None),
    ("set -e; false", Price::Restart),
    ("set -e; false && true", Price::Restart),
    ("set -n", Price::Restart),
    ("exit 3", Price::Restart),
    ("kill -9 $$", Price::Restart),
    ("kill -STOP $$", Price::None),
    ("exec cat", Price::Restart),
    ("exec sleep 0", Price::Restart),
    ("command(){ :; }", Price::Restart),
    ("ulimit -n 3", Price::Restart),
    ("enable -n eval printf command", Price::Restart),
    ("enable -n .", Price::Restart),
    ("shopt -s extdebug; trap false DEBUG", Price::Restart),
    ("set -o posix", Price::None),
    ("return 3", Price::Restart),
    ("break; continue", Price::None),
    ("stty raw; stty sane", Price::None),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Price {
    /// The shell and its state must survive.
    None,
    /// The shell may be replaced, and the session says so.
    Restart,
}

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
