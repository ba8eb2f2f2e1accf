//! `[telemetry]`: log lines, traces and metrics, and where they go.
//!
//! The variables of the OpenTelemetry specification (`OTEL_*`, read in [`super::otel`]) win
//! over the file, as flags and variables do everywhere here. Nothing leaves the machine where
//! there is no endpoint, and nothing listens where there is no `prometheus`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::duration::HumanDuration;
use super::secret::{SecretSource, SecretText, fetch, one_source};
use super::{ConfigError, Variables, otel};
use crate::logging::{LogFormat, parse_filter};

/// Spans that wait for the collector at most: a few seconds of a busy server, and some MB.
const QUEUE_SPANS: NonZeroU32 = NonZeroU32::new(2048).unwrap();
/// Most that may be asked for: spans are about a kilobyte each.
const MAX_QUEUE_SPANS: u32 = 1024 * 1024;
/// Spans in one message.
const BATCH_SPANS: NonZeroU32 = NonZeroU32::new(512).unwrap();
/// What the server calls itself in traces and metrics.
const SERVICE_NAME: &str = "execgate";

/// `[telemetry]` as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryKeys {
    pub(super) log: String,
    pub(super) log_format: LogFormat,
    pub(super) endpoint: Option<String>,
    pub(super) protocol: Protocol,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: HumanDuration,
    pub(super) traces: bool,
    pub(super) metrics: bool,
    pub(super) heads: bool,
    pub(super) service_name: String,
    pub(super) sampler: Sampler,
    pub(super) sampling_ratio: Ratio,
    pub(super) queue_spans: NonZeroU32,
    pub(super) batch_spans: NonZeroU32,
    pub(super) batch_delay: HumanDuration,
    pub(super) metrics_interval: HumanDuration,
    pub(super) flush_limit: HumanDuration,
    pub(super) commands: ShownCommands,
    pub(super) prometheus: Option<SocketAddr>,
    pub(super) resource: BTreeMap<String, String>,
    headers: BTreeMap<String, HeaderKeys>,
}

/// The keys of one `[telemetry.headers.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderKeys {
    value: Option<SecretText>,
    env: Option<String>,
    file: Option<PathBuf>,
}

impl Default for TelemetryKeys {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            endpoint: None,
            protocol: Protocol::Grpc,
            ca_file: None,
            timeout: HumanDuration::from_secs(10),
            traces: true,
            metrics: true,
            heads: true,
            service_name: SERVICE_NAME.to_owned(),
            sampler: Sampler::ParentbasedTraceidratio,
            sampling_ratio: Ratio(1.0),
            queue_spans: QUEUE_SPANS,
            batch_spans: BATCH_SPANS,
            batch_delay: HumanDuration::from_secs(5),
            metrics_interval: HumanDuration::from_secs(60),
            flush_limit: HumanDuration::from_secs(3),
            commands: ShownCommands::None,
            prometheus: None,
            resource: BTreeMap::new(),
            headers: BTreeMap::new(),
        }
    }
}

/// `[telemetry]`: what the server tells of itself, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Telemetry {
    /// What is logged, like `info,execgate_engine=debug`.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The collector, `http://HOST:PORT` or `https://HOST:PORT`; nothing is sent where there
    /// is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Who vouches for an `https` collector; the system's authorities where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long the collector may take for one message.
    pub timeout: HumanDuration,
    /// Whether traces are sent.
    pub traces: bool,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Whether signed heads of the audit log are sent, as log records.
    pub heads: bool,
    /// What the server calls itself.
    pub service_name: String,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// The part of them, for samplers that go by one.
    pub sampling_ratio: Ratio,
    /// Spans that wait for the collector; what comes beyond is dropped and counted.
    pub queue_spans: NonZeroU32,
    /// Spans in one message.
    pub batch_spans: NonZeroU32,
    /// How long a span may wait for others to go with.
    pub batch_delay: HumanDuration,
    /// Time between two messages of metrics.
    pub metrics_interval: HumanDuration,
    /// How long the end of the server may wait for the last message.
    pub flush_limit: HumanDuration,
    /// Whether spans show their commands.
    pub commands: ShownCommands,
    /// Where Prometheus finds the metrics; nowhere by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<SocketAddr>,
    /// What is said of this server in every message.
    pub resource: BTreeMap<String, String>,
    /// What is sent with every message.
    pub headers: BTreeMap<String, Header>,
}

/// How the collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
}

/// Which traces are recorded. The names are OpenTelemetry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Sampler {
    AlwaysOn,
    AlwaysOff,
    Traceidratio,
    ParentbasedAlwaysOn,
    ParentbasedAlwaysOff,
    ParentbasedTraceidratio,
}

/// A part between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Ratio(f64);

// It is never NaN.
impl Eq for Ratio {}

impl Ratio {
    /// The part.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = String;

    fn try_from(part: f64) -> Result<Self, String> {
        match (0.0..=1.0).contains(&part) {
            true => Ok(Self(part)),
            false => Err(format!("{part} is not between 0 and 1")),
        }
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

/// Whether spans show their commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownCommands {
    /// No.
    #[default]
    None,
    /// As the audit log has them: redacted.
    Redacted,
}

/// A header of messages to the collector, its value at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Where it came from.
    #[serde(flatten)]
    pub source: SecretSource,
    /// The value.
    #[serde(skip)]
    pub value: SecretText,
}

impl TelemetryKeys {
    /// Fetches the headers and lets the variables win.
    pub(super) fn load(self, variables: Variables<'_>) -> Result<Telemetry, ConfigError> {
        let mut headers = BTreeMap::new();
        for (name, keys) in self.headers {
            let problem = |problem| ConfigError::Secret {
                name: format!("telemetry.headers.{name}"),
                problem,
            };
            let source = one_source(&name, keys.value, keys.env, keys.file).map_err(problem)?;
            let value = fetch(&source, variables).map_err(problem)?;
            headers.insert(name.to_lowercase(), Header { source, value });
        }
        let mut telemetry = Telemetry {
            log: self.log,
            log_format: self.log_format,
            endpoint: self.endpoint.filter(|endpoint| !endpoint.is_empty()),
            protocol: self.protocol,
            ca_file: self.ca_file,
            timeout: self.timeout,
            traces: self.traces,
            metrics: self.metrics,
            heads: self.heads,
            service_name: self.service_name,
            sampler: self.sampler,
            sampling_ratio: self.sampling_ratio,
            queue_spans: self.queue_spans,
            batch_spans: self.batch_spans,
            batch_delay: self.batch_delay,
            metrics_interval: self.metrics_interval,
            flush_limit: self.flush_limit,
            commands: self.commands,
            prometheus: self.prometheus,
            resource: self.resource,
            headers,
        };
        otel::apply(&mut telemetry, variables)?;
        Ok(telemetry)
    }
}

impl Telemetry {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let value = |key, problem| Err(ConfigError::Value { key, problem });
        if let Err(error) = parse_filter(&self.log) {
            return value("telemetry.log", error.to_string());
        }
        if let Some(endpoint) = &self.endpoint {
            let uri = endpoint.parse::<http::Uri>();
            let scheme = uri.as_ref().ok().and_then(http::Uri::scheme_str);
            if !matches!(scheme, Some("http" | "https")) {
                let problem = format!("`{endpoint}` is no `http://HOST:PORT` or `https://…`");
                return value("telemetry.endpoint", problem);
            }
        }
        let (queue, batch) = (self.queue_spans.get(), self.batch_spans.get());
        if queue > MAX_QUEUE_SPANS {
            let problem = format!("{queue} is more than {MAX_QUEUE_SPANS}");
            return value("telemetry.queue_spans", problem);
        }
        if batch > queue {
            let problem = format!("{batch} is more than telemetry.queue_spans");
            return value("telemetry.batch_spans", problem);
        }
        for (name, header) in &self.headers {
            let good = http::HeaderName::try_from(name.as_str()).is_ok()
                && http::HeaderValue::try_from(header.value.expose()).is_ok()
                && !name.ends_with("-bin");
            if !good {
                let problem = format!("`{name}` or its value cannot be a header");
                return value("telemetry.headers", problem);
            }
        }
        Ok(())
    }
}
