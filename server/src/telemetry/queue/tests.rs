//! Facts about the queue, with an exporter that answers when it is told to.

use std::borrow::Cow;
use std::sync::Mutex;
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use tokio::sync::Semaphore;

use super::*;
use crate::config::{Config, Overrides};

/// How a collector behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Takes,
    Refuses,
}

/// A collector that takes a message for each permit.
#[derive(Debug)]
struct Collector {
    answer: Answer,
    permits: Semaphore,
    taken: Mutex<Vec<usize>>,
}

#[derive(Debug)]
struct Line(Arc<Collector>);

impl SpanExporter for Line {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.permits.acquire().await.unwrap().forget();
        self.0.taken.lock().unwrap().push(batch.len());
        match self.0.answer {
            Answer::Takes => Ok(()),
            Answer::Refuses => Err(OTelSdkError::InternalFailure("no".to_owned())),
        }
    }
}

fn span() -> SpanData {
    SpanData {
        span_context: SpanContext::empty_context(),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed("s"),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::<KeyValue>::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

fn settings(keys: &str) -> Settings {
    let file = crate::config::FileConfig::parse(
        std::path::Path::new("gate.toml"),
        &format!("data_dir = '/d'\n[telemetry]\n{keys}"),
    );
    let config = Config::resolve(file.unwrap(), Overrides::default(), &|_| None);
    config.unwrap().telemetry
}

/// A queue with a collector that takes `permits` messages, on a runtime of its own.
fn queue(keys: &str, answer: Answer, permits: usize) -> (SpanQueue, Arc<Collector>, impl Drop) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let collector = Arc::new(Collector {
        answer,
        permits: Semaphore::new(permits),
        taken: Mutex::default(),
    });
    let queue = SpanQueue::new(
        runtime.handle(),
        Line(Arc::clone(&collector)),
        &settings(keys),
        &Arc::default(),
        &Arc::new(Complaint::new("a test")),
    );
    struct Ended(Option<tokio::runtime::Runtime>);
    impl Drop for Ended {
        fn drop(&mut self) {
            if let Some(runtime) = self.0.take() {
                runtime.shutdown_background();
            }
        }
    }
    (queue, collector, Ended(Some(runtime)))
}

/// Far longer than anything takes: a hang becomes a failure.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_flush_sends_what_waits_in_full_batches() {
    let keys = "queue_spans = 100\nbatch_spans = 8\nbatch_delay = '1h'";
    let (queue, collector, _runtime) = queue(keys, Answer::Takes, 100);
    for _ in 0..20 {
        queue.take(span());
    }
    assert_eq!(queue.flush(LONG), 0);
    let taken = collector.taken.lock().unwrap().clone();
    assert_eq!(taken.iter().sum::<usize>(), 20);
    assert!(taken.iter().all(|batch| *batch <= 8), "{taken:?}");
    assert_eq!(queue.drops.exported.load(Ordering::Relaxed), 20);
}

#[test]
fn a_collector_that_never_answers_costs_spans_and_nobody_waits() {
    let keys = "queue_spans = 10\nbatch_spans = 1\nbatch_delay = '1ms'\ntimeout = '1h'";
    let (queue, _collector, _runtime) = queue(keys, Answer::Takes, 0);
    for _ in 0..100 {
        queue.take(span());
    }
    // Ten wait, one is under way, or not yet; what is beyond is counted.
    let dropped = queue.drops.queue_full.load(Ordering::Relaxed);
    assert!((89..=90).contains(&dropped), "{dropped}");
    assert_eq!(queue.flush(Duration::from_millis(1)), 100 - dropped);
}

#[test]
fn one_that_does_not_answer_in_time_is_given_up_message_by_message() {
    let keys = "queue_spans = 10\nbatch_spans = 1\nbatch_delay = '1ms'\ntimeout = '1ms'";
    let (queue, _collector, _runtime) = queue(keys, Answer::Takes, 0);
    for _ in 0..5 {
        queue.take(span());
    }
    assert_eq!(queue.flush(LONG), 0);
    assert_eq!(queue.drops.export_failed.load(Ordering::Relaxed), 5);
}

#[test]
fn what_is_refused_is_counted_and_not_sent_again() {
    let keys = "queue_spans = 10\nbatch_spans = 2\nbatch_delay = '1h'";
    let (queue, collector, _runtime) = queue(keys, Answer::Refuses, 100);
    for _ in 0..4 {
        queue.take(span());
    }
    assert_eq!(queue.flush(LONG), 0);
    assert_eq!(*collector.taken.lock().unwrap(), [2, 2]);
    assert_eq!(queue.drops.export_failed.load(Ordering::Relaxed), 4);
}
