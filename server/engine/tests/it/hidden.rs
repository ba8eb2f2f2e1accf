//! What a session learns of secrets, and that they stay hidden from then on: on every
//! stream, in every encoding, in the records.

use std::collections::BTreeMap;

use bytes::Bytes;
use execgate_core::redact::{Alphabet, Secret, TokenRule};
use execgate_engine::Error;
use execgate_engine::execution::{Command, Stdin};
use execgate_engine::secrets::SecretReference;
use execgate_engine::session::{AddedRedaction, Session, SessionSettings};
use execgate_engine::transport::WindowSize;

use crate::support::{DEPLOY_SECRET, Gate, SHELLS, argv, command, defaults, finish, seen};

const VALUE: &str = "Corr3ct-horse/42";

async fn stdout(gate: &Gate, session: &Session, script: &str) -> String {
    seen(&gate.run(session, script).await).1
}

#[tokio::test]
async fn an_assigned_secret_is_hidden_from_its_own_command_on() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        let assign = format!("export BUILD_TOKEN='{VALUE}'; printf '%s\\n' \"$BUILD_TOKEN\"");
        assert_eq!(
            stdout(&gate, &session, &assign).await,
            "[REDACTED:BUILD_TOKEN]\n"
        );
        for (script, expected) in [
            (
                "printf 'a%sb\\n' \"$BUILD_TOKEN\"",
                "a[REDACTED:BUILD_TOKEN]b\n",
            ),
            (
                "printf %s \"$BUILD_TOKEN\" | od -An -v -tx1 | tr -d ' \\n'",
                "[REDACTED:BUILD_TOKEN]",
            ),
            (
                "printf '%s\\n' \"${BUILD_TOKEN%????????}\" \"${BUILD_TOKEN#????????}\" .",
                "[REDACTED:BUILD_TOKEN]\n.\n",
            ),
        ] {
            assert_eq!(stdout(&gate, &session, script).await, expected, "{shell}");
        }
        let encoded = stdout(&gate, &session, "printf %s \"$BUILD_TOKEN\" | base64").await;
        assert!(encoded.starts_with("[REDACTED:BUILD_TOKEN]"), "{encoded}");
        gate.close(&session).await;
    }
    let log = format!("{:?}", gate.records().await);
    assert!(log.contains("REDACTED") && !log.contains(VALUE), "{log}");
}

#[tokio::test]
async fn a_secret_variable_of_session_or_command_is_hidden_everywhere_in_it() {
    let gate = Gate::open().await;
    let variables = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let session = gate
        .session(SessionSettings {
            env: variables("SESSION_SECRET", "of-the-session-1"),
            ..defaults()
        })
        .await;
    assert_eq!(
        stdout(&gate, &session, "echo \"<$SESSION_SECRET>\"").await,
        "<[REDACTED:SESSION_SECRET]>\n"
    );
    let program = Command {
        env: variables("API_KEY", "of-the-program-2"),
        ..argv(&["sh", "-c", "echo \"<$API_KEY>\""])
    };
    let result = finish(gate.start(&session, program).await).await;
    assert_eq!(seen(&result).1, "<[REDACTED:API_KEY]>\n");
    // The shell's own streams know it as well, and so do texts about the command.
    assert_eq!(
        stdout(&gate, &session, "echo of-the-program-2").await,
        "[REDACTED:API_KEY]\n"
    );
    let follower = gate.start(&session, command(": of-the-program-2")).await;
    assert_eq!(follower.execution().command, ": [REDACTED:API_KEY]");
    finish(follower).await;
    let other = gate.session(defaults()).await;
    assert_eq!(
        stdout(&gate, &other, "echo of-the-program-2").await,
        "of-the-program-2\n"
    );
}

#[tokio::test]
async fn a_secret_learned_meanwhile_counts_for_what_runs_already() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let reads = Command {
        stdin: Stdin::Open,
        ..command("cat")
    };
    let follower = gate.start(&session, reads).await;
    let learns = argv(&["env", &format!("A_TOKEN={VALUE}"), "true"]);
    finish(gate.start(&session, learns).await).await;
    let input = (Some(0), Bytes::from(format!("{VALUE}\n")), true);
    let id = follower.execution().id.clone();
    let written = gate
        .engine
        .write_stdin(&gate.principal, &session.id, &id, input);
    written.await.unwrap();
    assert_eq!(seen(&finish(follower).await).1, "[REDACTED:A_TOKEN]\n");
}

#[tokio::test]
async fn a_learned_secret_is_hidden_on_a_terminal_and_in_the_background() {
    let gate = Gate::open().await;
    let session = gate
        .session(SessionSettings {
            terminal: Some(WindowSize {
                rows: 24,
                columns: 80,
            }),
            ..defaults()
        })
        .await;
    let script = format!("MY_SECRET={VALUE}; printf '<\\033[1m%s\\033[0m>\\n' \"$MY_SECRET\"");
    assert_eq!(
        stdout(&gate, &session, &script).await,
        "<\u{1b}[1m[REDACTED:MY_SECRET]\u{1b}[0m>\r\n"
    );
    let session = gate.session(defaults()).await;
    let script = format!("MY_SECRET={VALUE}; (sleep 0.2; echo \"<$MY_SECRET>\") & true");
    gate.run(&session, &script).await;
    let background = gate.run(&session, "wait; sleep 0.1").await;
    let shown =
        String::from_utf8_lossy(&background.background.bytes).into_owned() + &seen(&background).1;
    assert_eq!(shown, "<[REDACTED:MY_SECRET]>\n");
}

fn deploy_as(variable: &str) -> Vec<SecretReference> {
    vec![SecretReference {
        name: "deploy".to_owned(),
        variable: variable.to_owned(),
    }]
}

/// Says how long a variable's value is and whether it is exported, for a value that is
/// never shown.
fn describe(variable: &str) -> String {
    format!(
        "printf '%s %s\\n' \"${{#{variable}}}\" \"$(env | grep -c ^{variable}=)\"; \
         printf '%s\\n' \"${variable}\""
    )
}

#[tokio::test]
async fn a_named_secret_is_in_one_commands_environment_and_gone_after_it() {
    let gate = Gate::open().await;
    let present = format!("{} 1\n[REDACTED:deploy]\n", DEPLOY_SECRET.len());
    for shell in SHELLS {
        let session = gate.shell(shell).await;
        let with_secret = Command {
            secrets: deploy_as("KEY"),
            ..command(&describe("KEY"))
        };
        let result = finish(gate.start(&session, with_secret.clone()).await).await;
        assert_eq!(seen(&result).1, present, "{shell}");
        let after = stdout(
            &gate,
            &session,
            "printf '%s' \"${KEY-unset}\"; env | grep -c KEY",
        )
        .await;
        assert_eq!(after, "unset0\n", "{shell}");
        // The old value comes back, and a program beside the shell gets it too.
        gate.run(&session, "export KEY=old").await;
        finish(gate.start(&session, with_secret).await).await;
        assert_eq!(
            stdout(&gate, &session, "echo $KEY").await,
            "old\n",
            "{shell}"
        );
        let program = Command {
            secrets: deploy_as("KEY"),
            ..argv(&["sh", "-c", &describe("KEY")])
        };
        let result = finish(gate.start(&session, program).await).await;
        assert_eq!(seen(&result).1, present, "{shell}");
        gate.close(&session).await;
    }
    let log = format!("{:?}", gate.records().await);
    assert!(
        !log.contains(DEPLOY_SECRET) && !log.contains("deploy key"),
        "{log}"
    );
}

#[tokio::test]
async fn a_named_secret_of_a_session_is_in_its_shell_and_in_no_list_of_processes() {
    let gate = Gate::open().await;
    let session = gate
        .session(SessionSettings {
            secrets: deploy_as("DEPLOY_KEY"),
            ..defaults()
        })
        .await;
    let present = format!("{} 1\n[REDACTED:deploy]\n", DEPLOY_SECRET.len());
    assert_eq!(
        stdout(&gate, &session, &describe("DEPLOY_KEY")).await,
        present
    );
    // Markers would show it: what is printed of it is hidden, so it is looked for here.
    let lists = "for p in /proc/[0-9]*; do tr '\\0' ' ' <\"$p/cmdline\"; done 2>/dev/null | \
                 grep -c 'deploy.key'";
    assert_eq!(stdout(&gate, &session, lists).await, "1\n");
    gate.run(&session, "kill -9 $$").await;
    assert_eq!(
        stdout(&gate, &session, &describe("DEPLOY_KEY")).await,
        present
    );
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_refused_before_anything_runs() {
    let gate = Gate::open().await;
    let session = gate.session(defaults()).await;
    let unknown = Command {
        secrets: vec![SecretReference {
            name: "nothing".to_owned(),
            variable: "X".to_owned(),
        }],
        ..command("true")
    };
    let refused = gate.try_start(&session, unknown.clone()).await.unwrap_err();
    assert!(
        matches!(&*refused, Error::SecretNotFound { secret } if secret == "nothing"),
        "{refused:?}"
    );
    let settings = SessionSettings {
        secrets: unknown.secrets,
        ..defaults()
    };
    let refused = gate
        .engine
        .create_session(&gate.principal, None, settings)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::SecretNotFound { .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_session_hides_more_than_the_operator_and_no_less() {
    let gate = Gate::open().await;
    let redaction = AddedRedaction {
        values: vec![("ticket".to_owned(), Secret::new("T-4711-blue"))],
        rules: vec![TokenRule {
            name: "acme".to_owned(),
            prefix: "acme_".to_owned(),
            alphabet: Alphabet::Alnum,
            min_length: 6,
        }],
    };
    let session = gate
        .session(SessionSettings {
            redaction,
            ..defaults()
        })
        .await;
    let token = "ghp_a8Kd0Xz3Qm7Rt2Vb9Lc4a8Kd0Xz3Qm7Rt2Vb9Lc4";
    let shown = stdout(
        &gate,
        &session,
        &format!("echo T-4711-blue acme_abc123 {token}"),
    )
    .await;
    assert_eq!(
        shown,
        "[REDACTED:ticket] [REDACTED:acme] [REDACTED:github-token]\n"
    );
}
