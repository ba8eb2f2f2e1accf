//! What the server tells of itself: traces and metrics, to a collector (OTLP) and to
//! Prometheus. This is the one place that knows OpenTelemetry; the engine tells facts and
//! opens spans, and knows nothing of where they go.
//!
//! Everything here may be missing, slow or broken without anybody noticing but whoever looks
//! at the traces: what leaves the machine is sent by a thread with a runtime of its own, out
//! of queues that are bounded and never waited for, and the end of the server waits a bounded
//! time for the last of it.
//!
//! ```text
//! spans ─► queue (drops, counts) ─┐
//! facts ─► instruments ─┬─────────┴─► thread `telemetry` ─► collector
//!                       └──────────── thread `telemetry` ◄─ Prometheus
//! ```

mod complaint;
mod exporters;
mod instruments;
mod meters;
mod place;
mod queue;
mod scrape;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use self::complaint::Complaint;
pub use self::exporters::ExporterError;
use self::meters::Meters;
use self::queue::{Drops, SpanQueue};
use crate::config::{Sampler, ShownCommands, Telemetry as Settings};
use crate::logging::{self, LoggingError};

/// Whose spans and metrics they are.
const SCOPE: &str = "execgate";

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Logging cannot be started.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// What goes to the collector cannot be sent.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    /// A system call failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted.
        operation: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Everything that is told, to be closed at the end.
#[derive(Debug)]
pub struct Telemetry {
    told: Arc<Told>,
    settings: Settings,
    spans: Option<Arc<SpanQueue>>,
    metrics: Option<SdkMeterProvider>,
    heads: Option<SdkLoggerProvider>,
    /// Where Prometheus finds them.
    prometheus: Option<SocketAddr>,
    /// Ends the thread, which nothing else may.
    thread: Option<oneshot::Sender<()>>,
}

/// What the engine and the edge tell things to.
#[derive(Debug)]
pub(crate) struct Told {
    meters: Option<Meters>,
    traces: bool,
    commands: ShownCommands,
}

impl Telemetry {
    /// Starts logging, and whatever else is asked for. `names` are those that the operator has
    /// given to secrets and redaction rules: other names are a session's own.
    ///
    /// # Errors
    /// Where the settings cannot be used or an address cannot be listened on; never because a
    /// collector is not there.
    pub fn start(settings: &Settings, names: HashSet<String>) -> Result<Self, TelemetryError> {
        let sends = settings.endpoint.is_some();
        let (traces, metrics) = (sends && settings.traces, sends && settings.metrics);
        let (heads, listens) = (sends && settings.heads, settings.prometheus.is_some());
        if !(traces || metrics || heads || listens) {
            logging::start(&settings.log, settings.log_format, None, None)?;
            return Ok(Self::silent(settings));
        }
        let (handle, thread) = own_thread().map_err(failed("start the telemetry thread"))?;
        let _inside = handle.enter();
        let resource = resource(settings);
        let drops = Arc::new(Drops::default());
        let complaint = Arc::new(Complaint::new(&settings.log_target()));
        let (tracer, spans) = match traces {
            false => (None, None),
            true => {
                let exporter = exporters::spans(settings, &resource)?;
                let queue = SpanQueue::new(&handle, exporter, settings, &drops, &complaint);
                let queue = Arc::new(queue);
                (
                    Some(tracer(settings, &queue, resource.clone())),
                    Some(queue),
                )
            }
        };
        let heads = heads.then(|| exporters::heads(settings, resource.clone()));
        let heads = heads.transpose()?;
        logging::start(&settings.log, settings.log_format, tracer, heads.as_ref())?;
        let mut provider = SdkMeterProvider::builder().with_resource(resource);
        if metrics {
            provider = provider.with_reader(exporters::metrics(settings, &complaint)?);
        }
        let mut prometheus = None;
        if let Some(address) = settings.prometheus {
            let (reader, registry) = scrape::reader()?;
            provider = provider.with_reader(reader);
            let operation = format!("listen on {address} for Prometheus");
            let listening = scrape::listen(&handle, address, registry);
            prometheus = Some(listening.map_err(failed(&operation))?);
        }
        let provider = provider.build();
        let meters =
            (metrics || listens).then(|| Meters::new(&provider.meter(SCOPE), drops, names));
        Ok(Self {
            told: Arc::new(Told {
                meters,
                traces,
                commands: settings.commands,
            }),
            settings: settings.clone(),
            spans,
            metrics: (metrics || listens).then_some(provider),
            heads,
            prometheus,
            thread: Some(thread),
        })
    }

    fn silent(settings: &Settings) -> Self {
        Self {
            told: Arc::new(Told {
                meters: None,
                traces: false,
                commands: settings.commands,
            }),
            settings: settings.clone(),
            spans: None,
            metrics: None,
            heads: None,
            prometheus: None,
            thread: None,
        }
    }

    /// What things are told to.
    pub(crate) fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told)
    }

    /// Where Prometheus finds the metrics.
    pub(crate) fn prometheus(&self) -> Option<SocketAddr> {
        self.prometheus
    }

    /// Sends what is left, for as long as the settings allow. What a collector has not taken
    /// by then is lost, and said to be.
    pub fn close(mut self) {
        let limit = self.settings.flush_limit.get();
        let until = Instant::now() + limit;
        let metrics = self.metrics.take();
        let metrics = metrics.map(|provider| closing(move || drop(provider.shutdown())));
        let heads = self.heads.take();
        let heads = heads.map(|provider| closing(move || drop(provider.shutdown())));
        if let Some(spans) = self.spans.take() {
            let left = spans.flush(limit);
            if left > 0 {
                tracing::warn!(spans = left, "the collector has not taken the last spans");
            }
        }
        for closed in [metrics, heads].into_iter().flatten() {
            let left = until.saturating_duration_since(Instant::now());
            let _late = closed.recv_timeout(left);
        }
        drop(self.thread.take());
    }
}

impl Settings {
    /// What a complaint calls the collector.
    fn log_target(&self) -> String {
        self.endpoint.clone().unwrap_or_default()
    }
}

/// Has something closed that waits for the collector without a limit that could be set; says
/// when it is.
fn closing(close: impl FnOnce() + Send + 'static) -> mpsc::Receiver<()> {
    let (done, closed) = mpsc::channel();
    thread::spawn(move || {
        close();
        // Nobody may wait any more.
        let _late = done.send(());
    });
    closed
}

/// A thread with a runtime, which ends when the sender is dropped.
fn own_thread() -> io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::Builder::new()
        .name("telemetry".to_owned())
        .spawn(move || {
            // Dropped or sent, it is the end.
            let _stopped = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
    Ok((handle, stop))
}

fn resource(settings: &Settings) -> Resource {
    let own = settings.resource.iter();
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .with_attributes(own.map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .with_service_name(settings.service_name.clone())
        .build()
}

fn tracer(settings: &Settings, queue: &Arc<SpanQueue>, resource: Resource) -> SdkTracer {
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler(settings))
        .with_span_processor(queue::Shared(Arc::clone(queue)))
        .with_resource(resource)
        .build();
    let scope = InstrumentationScope::builder(SCOPE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    provider.tracer_with_scope(scope)
}

fn sampler(settings: &Settings) -> SdkSampler {
    let ratio = || SdkSampler::TraceIdRatioBased(settings.sampling_ratio.get());
    let below = |root| SdkSampler::ParentBased(Box::new(root));
    match settings.sampler {
        Sampler::AlwaysOn => SdkSampler::AlwaysOn,
        Sampler::AlwaysOff => SdkSampler::AlwaysOff,
        Sampler::Traceidratio => ratio(),
        Sampler::ParentbasedAlwaysOn => below(SdkSampler::AlwaysOn),
        Sampler::ParentbasedAlwaysOff => below(SdkSampler::AlwaysOff),
        Sampler::ParentbasedTraceidratio => below(ratio()),
    }
}

fn failed(operation: &str) -> impl FnOnce(io::Error) -> TelemetryError {
    let operation = operation.to_owned();
    move |source| TelemetryError::Io { operation, source }
}
