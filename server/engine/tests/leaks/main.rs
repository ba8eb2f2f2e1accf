//! Sessions leave nothing behind: alone in its process, whose descriptors it counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use crate::support::{Gate, defaults, seen};

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../it/support.rs"]
mod support;

fn alive(pid: &str) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn sessions_leave_no_process_and_no_descriptor() {
    let gate = Gate::open().await;
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let first = gate.session(defaults()).await;
    gate.close(&first).await;
    let before = descriptors();
    // By hand: EXECGATE_TEST_SESSIONS=1000, 64 at once.
    let wanted = std::env::var("EXECGATE_TEST_SESSIONS")
        .ok()
        .and_then(|text| text.parse().ok());
    let (rounds, at_once) = wanted.map_or((5, 8), |sessions: usize| (sessions.div_ceil(64), 64));
    for _ in 0..rounds {
        let opening = (0..at_once).map(|_| gate.session(defaults()));
        let sessions = futures::future::join_all(opening).await;
        let running = sessions.iter().map(|session| gate.run(session, "echo $$"));
        let results = futures::future::join_all(running).await;
        let closing = sessions.iter().map(|session| gate.close(session));
        futures::future::join_all(closing).await;
        assert!(!results.iter().any(|result| alive(seen(result).1.trim())));
    }
    // Launchers end on their own after the last word; their sockets are ours to close.
    let settled = async {
        while descriptors() > before || zombies() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settled)
        .await
        .unwrap();
}

/// Children that have ended and that nobody has waited for.
fn zombies() -> usize {
    let status = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok());
    let parent = format!("PPid:\t{}\n", std::process::id());
    status
        .filter(|status| status.contains(&parent) && status.contains("State:\tZ"))
        .count()
}
