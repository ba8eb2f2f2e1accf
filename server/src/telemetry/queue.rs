//! Spans on their way to the collector: a bounded queue that nobody waits for, and one task
//! that empties it. What finds no room, or is not taken in time, is dropped and counted.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::complaint::Complaint;
use crate::config::Telemetry as Settings;

/// What became of spans that were recorded.
#[derive(Debug, Default)]
pub(super) struct Drops {
    /// There was no room.
    pub(super) queue_full: AtomicU64,
    /// The collector did not take them.
    pub(super) export_failed: AtomicU64,
    /// The collector has them.
    pub(super) exported: AtomicU64,
    accepted: AtomicU64,
}

impl Drops {
    /// Spans that were accepted and of which nothing is known yet.
    fn on_the_way(&self) -> u64 {
        let done =
            self.exported.load(Ordering::Relaxed) + self.export_failed.load(Ordering::Relaxed);
        self.accepted.load(Ordering::Relaxed).saturating_sub(done)
    }
}

/// The queue's end where spans come in.
#[derive(Debug)]
pub(super) struct SpanQueue {
    spans: mpsc::Sender<SpanData>,
    flushes: mpsc::UnboundedSender<blocking::Sender<()>>,
    drops: Arc<Drops>,
    complaint: Arc<Complaint>,
}

/// The same, as the SDK wants it.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Arc<SpanQueue>);

/// The end where they go out.
struct Sending<E> {
    exporter: E,
    spans: mpsc::Receiver<SpanData>,
    flushes: mpsc::UnboundedReceiver<blocking::Sender<()>>,
    batch: usize,
    delay: Duration,
    limit: Duration,
    drops: Arc<Drops>,
    complaint: Arc<Complaint>,
}

impl SpanQueue {
    /// A queue that is emptied by a task of `runtime`.
    pub(super) fn new(
        runtime: &Handle,
        exporter: impl SpanExporter + 'static,
        settings: &Settings,
        drops: &Arc<Drops>,
        complaint: &Arc<Complaint>,
    ) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (spans, inbox) = mpsc::channel(size(settings.queue_spans.get()));
        let (flushes, asked) = mpsc::unbounded_channel();
        let sending = Sending {
            exporter,
            spans: inbox,
            flushes: asked,
            batch: size(settings.batch_spans.get()),
            delay: settings.batch_delay.get(),
            limit: settings.timeout.get(),
            drops: Arc::clone(drops),
            complaint: Arc::clone(complaint),
        };
        runtime.spawn(sending.run());
        Self {
            spans,
            flushes,
            drops: Arc::clone(drops),
            complaint: Arc::clone(complaint),
        }
    }

    fn take(&self, span: SpanData) {
        match self.spans.try_send(span) {
            Ok(()) => drop(self.drops.accepted.fetch_add(1, Ordering::Relaxed)),
            Err(_full_or_over) => {
                self.drops.queue_full.fetch_add(1, Ordering::Relaxed);
                self.complaint.dropped(1, "the queue is full");
            }
        }
    }

    /// Has everything sent now, and waits for that; answers how many spans are left.
    pub(super) fn flush(&self, limit: Duration) -> u64 {
        let (done, flushed) = blocking::channel();
        if self.flushes.send(done).is_ok() {
            let _late = flushed.recv_timeout(limit);
        }
        self.drops.on_the_way()
    }
}

impl SpanProcessor for Shared {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.take(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// The queue is closed by whoever made it, not by the SDK.
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _resource: &Resource) {}
}

impl<E: SpanExporter + 'static> Sending<E> {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(self.batch);
        let mut asked = None;
        loop {
            self.fill(&mut batch, &mut asked).await;
            if batch.is_empty() && asked.is_none() {
                return;
            }
            self.send(&mut batch).await;
            if asked.is_some() && self.spans.is_empty() {
                // Dropping it says that it is done.
                asked = None;
            }
        }
    }

    /// Gathers spans until there are enough, or the first has waited long enough, or somebody
    /// asks for all of them. An empty batch that nobody asked for is the end.
    async fn fill(&mut self, batch: &mut Vec<SpanData>, asked: &mut Option<blocking::Sender<()>>) {
        let mut due: Option<Instant> = None;
        while batch.len() < self.batch {
            if asked.is_some() {
                match self.spans.try_recv() {
                    Ok(span) => batch.push(span),
                    Err(_empty) => return,
                }
                continue;
            }
            tokio::select! {
                span = self.spans.recv() => match span {
                    Some(span) => {
                        batch.push(span);
                        due.get_or_insert_with(|| Instant::now() + self.delay);
                    }
                    None => return,
                },
                Some(flush) = self.flushes.recv() => *asked = Some(flush),
                () = until(due) => return,
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<SpanData>) {
        let spans = batch.len() as u64;
        if spans == 0 {
            return;
        }
        let sent = timeout(self.limit, self.exporter.export(std::mem::take(batch))).await;
        let problem = match sent {
            Ok(Ok(())) => {
                self.drops.exported.fetch_add(spans, Ordering::Relaxed);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "the collector does not answer".to_owned(),
        };
        self.drops.export_failed.fetch_add(spans, Ordering::Relaxed);
        self.complaint.dropped(spans, &problem);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
