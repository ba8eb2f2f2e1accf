//! The end in good order.
//!
//! ```text
//! nothing new begins; health says so
//!   ─► what runs ends by itself          up to the grace
//!   ─► sessions are closed               which ends what is left, and says so in its stream
//!   ─► no new connections, GOAWAY        callers take what is left of their streams
//! ```
//! A second signal to stop leaves each of these the moment that is left of [`HURRY_LIMIT`].

use std::time::Duration;

use execgate_engine::Engine;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::notify;
use super::signals::Signals;
use crate::config::Drain;
use crate::grpc::{GrpcError, Health};

/// How long everything may take once a second signal has come.
const HURRY_LIMIT: Duration = Duration::from_millis(800);
/// The part of it that is kept for callers to be told.
const HURRY_DELIVERY: Duration = Duration::from_millis(300);
/// How long sessions may take to close, as the service manager is told.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);

/// Ends everything but the server's own task, which may be ended afterwards.
pub(super) async fn drain(
    limits: &Drain,
    engine: &Engine,
    health: &Health,
    (stop, server): (oneshot::Sender<()>, &mut JoinHandle<Result<(), GrpcError>>),
    signals: &mut Signals,
) {
    let (grace, deliver) = (limits.grace.get(), limits.deliver.get());
    notify::stopping(grace + deliver + CLOSE_LIMIT);
    health.draining().await;
    engine.begin_drain();
    let mut hurry = Hurry::default();
    tokio::select! {
        () = engine.until_idle() => {}
        () = sleep(grace) => tracing::info!("commands still run: they are ended"),
        () = hurry.until(signals, Duration::ZERO) => {}
    }
    tokio::select! {
        () = engine.shutdown() => {}
        () = hurry.until(signals, HURRY_LIMIT - HURRY_DELIVERY) => engine.give_up(),
    }
    health.gone().await;
    // A server that is gone already needs no telling.
    let _gone = stop.send(());
    tokio::select! {
        _ = server => {}
        () = sleep(deliver) => tracing::warn!("callers did not take their answers in time"),
        () = hurry.until(signals, HURRY_LIMIT) => {}
    }
}

/// Whether somebody hurries, and since when.
#[derive(Default)]
struct Hurry(Option<Instant>);

impl Hurry {
    /// Waits until somebody has hurried for so long.
    async fn until(&mut self, signals: &mut Signals, spent: Duration) {
        let since = match self.0 {
            Some(since) => since,
            None => {
                let signal = signals.next().await;
                tracing::info!(signal, "hurrying");
                *self.0.insert(Instant::now())
            }
        };
        sleep_until(since + spent).await;
    }
}
