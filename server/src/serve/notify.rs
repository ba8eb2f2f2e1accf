//! What the service manager is told (`sd_notify`): that the server is ready, reads its policies
//! again, stops, and, where it wants to know, that it is alive. Without a service manager all
//! of it is nothing.
//!
//! The sign of life comes from the runtime that serves, after a look at what every call needs:
//! where that hangs, no sign is sent, and the service manager starts the server anew.

use std::io;
use std::time::Duration;

use execgate_engine::Engine;
use sd_notify::NotifyState;
use tokio::task::{JoinHandle, spawn_blocking};

/// Signs of life within the time after which the service manager gives up: one may come late.
const SIGNS_PER_LIMIT: u32 = 3;

/// The server takes calls.
pub(super) fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The policies are being read again; [`ready`] ends that.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => complain(&error),
    }
}

/// The server stops, which may take so long.
pub(super) fn stopping(limit: Duration) {
    let micros = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
    say(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("draining"),
    ]);
}

/// Shows that the server is alive for as long as it is. Ends at once where nobody asks.
pub(super) async fn show_life(engine: &Engine) {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        let mut telling: Option<JoinHandle<()>> = None;
        let alive = || {
            engine.is_responsive();
            // Whoever watches and does not read must not hold up whom it watches.
            if telling.as_ref().is_none_or(JoinHandle::is_finished) {
                telling = Some(spawn_blocking(|| say(&[NotifyState::Watchdog])));
            }
        };
        ping(limit / SIGNS_PER_LIMIT, alive).await;
    }
}

async fn ping(interval: Duration, mut alive: impl FnMut()) {
    // An interval of nothing is none.
    let mut turns = tokio::time::interval(interval.max(Duration::from_millis(1)));
    // After a stall one sign says as much as many.
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        alive();
    }
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        complain(&error);
    }
}

fn complain(error: &io::Error) {
    tracing::warn!(%error, "the service manager cannot be told");
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_loop_that_hangs_shows_no_life() {
        let (told, signs) = mpsc::channel();
        let (hang, hung) = mpsc::channel::<()>();
        let (blocked, is_blocked) = mpsc::channel();
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let alive = move || told.send(()).unwrap_or_default();
                let pinging = tokio::spawn(ping(Duration::from_millis(2), alive));
                tokio::time::sleep(Duration::from_millis(20)).await;
                // The one thread waits for something that is not the runtime's.
                blocked.send(()).unwrap();
                hung.recv().unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                pinging.abort();
            });
        });
        is_blocked.recv().unwrap();
        assert!(signs.try_iter().count() > 0);
        let silence = signs.recv_timeout(Duration::from_millis(100));
        assert_eq!(silence, Err(mpsc::RecvTimeoutError::Timeout));
        hang.send(()).unwrap();
        signs.recv().unwrap();
        serving.join().unwrap();
    }
}
