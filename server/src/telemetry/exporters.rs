//! What speaks OTLP: the exporters of spans, of metrics and of the audit log's heads. Connections are made when there
//! is something to send, so a collector that is away is noticed then, and by nobody else.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::trace::SpanExporter as _;

use super::complaint::Complaint;
use crate::config::Telemetry as Settings;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The settings do not fit.
    #[error("prepare to send telemetry: {source}")]
    Build {
        /// What is wrong with them.
        source: ExporterBuildError,
    },
    /// The authorities' file cannot be read.
    #[error("read {}: {source}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Metrics cannot be offered to Prometheus.
    #[error("offer metrics to Prometheus: {problem}")]
    Prometheus {
        /// What is in the way.
        problem: String,
    },
}

/// Sends spans. Must be called within the runtime that is to do it.
pub(super) fn spans(
    settings: &Settings,
    resource: &Resource,
) -> Result<SpanExporter, ExporterError> {
    let builder = SpanExporter::builder().with_tonic();
    let mut exporter = configured(builder, settings)?
        .build()
        .map_err(|source| ExporterError::Build { source })?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// Sends metrics, again and again. Must be called within the runtime that is to do it.
pub(super) fn metrics(
    settings: &Settings,
    complaint: &Arc<Complaint>,
) -> Result<PeriodicReader<Watched<MetricExporter>>, ExporterError> {
    let builder = MetricExporter::builder().with_tonic();
    let exporter = configured(builder, settings)?
        .build()
        .map_err(|source| ExporterError::Build { source })?;
    let watched = Watched {
        exporter,
        complaint: Arc::clone(complaint),
    };
    let reader = PeriodicReader::builder(watched);
    Ok(reader
        .with_interval(settings.metrics_interval.get())
        .build())
}

/// Sends signed heads of the audit log, as log records. Must be called within the runtime that
/// is to do it.
pub(super) fn heads(
    settings: &Settings,
    resource: Resource,
) -> Result<SdkLoggerProvider, ExporterError> {
    let builder = LogExporter::builder().with_tonic();
    let exporter = configured(builder, settings)?
        .build()
        .map_err(|source| ExporterError::Build { source })?;
    let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter);
    Ok(provider.with_resource(resource).build())
}

fn configured<B: WithExportConfig + WithTonicConfig>(
    builder: B,
    settings: &Settings,
) -> Result<B, ExporterError> {
    let endpoint = settings.endpoint.clone().unwrap_or_default();
    let encrypted = endpoint.starts_with("https:");
    let headers = settings.headers.iter().filter_map(|(name, header)| {
        let mut value = http::HeaderValue::try_from(header.value.expose()).ok()?;
        value.set_sensitive(true);
        Some((http::HeaderName::try_from(name.as_str()).ok()?, value))
    });
    let builder = builder
        .with_endpoint(endpoint)
        .with_timeout(settings.timeout.get())
        .with_metadata(MetadataMap::from_headers(headers.collect()));
    if !encrypted {
        return Ok(builder);
    }
    let tls = match &settings.ca_file {
        None => ClientTlsConfig::new().with_native_roots(),
        Some(path) => {
            let pem = fs::read(path).map_err(|source| ExporterError::Authorities {
                path: path.clone(),
                source,
            })?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
    };
    Ok(builder.with_tls_config(tls))
}

/// An exporter whose failures are said, within bounds.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    complaint: Arc<Complaint>,
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let sent = self.exporter.export(metrics).await;
        if let Err(error) = &sent {
            self.complaint.failed(&error.to_string());
        }
        sent
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
