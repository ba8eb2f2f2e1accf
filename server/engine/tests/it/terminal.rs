//! Sessions with a terminal.

use execgate_core::outcome::Channel;
use execgate_engine::session::{SessionSettings, WantedShell};
use execgate_engine::transport::WindowSize;

use crate::support::{Gate, SHELLS, defaults, seen};

#[tokio::test]
async fn a_terminal_session_has_a_terminal_of_its_size() {
    let gate = Gate::open().await;
    for shell in SHELLS {
        let session = gate
            .session(SessionSettings {
                shell: WantedShell::Named(shell.into()),
                terminal: Some(WindowSize {
                    rows: 30,
                    columns: 100,
                }),
                ..defaults()
            })
            .await;
        let result = gate
            .run(
                &session,
                "stty size; test -t 0 && test -t 1 && test -t 2 && echo tty",
            )
            .await;
        assert_eq!(seen(&result).1, "30 100\r\ntty\r\n", "{shell}");
        assert_eq!(result.ending.unwrap().totals[0].channel, Channel::Terminal);
        let second = gate.run(&session, "echo two >&2").await;
        assert_eq!(seen(&second).1, "two\r\n", "{shell}");
        gate.close(&session).await;
    }
}
