//! Where the server's own log lines go: standard error, as text or JSON. A line that was
//! written within a trace ends with its ids.
//!
//! Raw commands and output never become log fields; that is for the audit log.

use std::fmt;
use std::io::{IsTerminal, stderr};

use execgate_core::trace::TraceContext;
use execgate_engine::audit::HEAD_TARGET;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracer;
use serde::{Deserialize, Serialize};
use tracing::{Event, Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// What begins the names of our own spans' and lines' origins.
const OURS: &str = "execgate";
/// Where events come from that are for spans, and no log lines at the usual levels.
const MOMENTS: &str = "execgate::moment";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter makes no sense.
    #[error("read the log filter `{filter}`: {source}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// There is a log already.
    #[error("start logging: {source}")]
    Start {
        /// What tracing said.
        source: TryInitError,
    },
}

/// Starts logging for the whole process; `filter` is like `info,execgate=debug`. Spans go to
/// `tracer` besides, and signed heads of the audit log to `heads`, whatever the filter says.
pub fn start(
    filter: &str,
    format: LogFormat,
    tracer: Option<SdkTracer>,
    heads: Option<&SdkLoggerProvider>,
) -> Result<(), LoggingError> {
    // Lines are filtered; the spans around them stay, for their trace.
    let filter =
        parse_filter(filter)?.or(filter_fn(is_outer_span).with_max_level_hint(Level::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let lines = match format {
        LogFormat::Text => {
            let colours = stderr().is_terminal();
            let lines = lines.with_ansi(colours);
            let format = Format::default().with_ansi(colours);
            lines.event_format(Stamped(format, end_text)).boxed()
        }
        LogFormat::Json => {
            let format = Format::default().json();
            lines.json().event_format(Stamped(format, end_json)).boxed()
        }
    };
    let spans = tracer.map(|tracer| {
        let layer: OpenTelemetryLayer<Registry, SdkTracer> = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_context_activation(false)
            .with_error_events_to_status(false)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false);
        layer.with_filter(filter_fn(is_traced).with_max_level_hint(Level::DEBUG))
    });
    let heads = heads.map(|provider| {
        let is_head = |metadata: &Metadata<'_>| metadata.target() == HEAD_TARGET;
        let layer = OpenTelemetryTracingBridge::new(provider);
        layer.with_filter(filter_fn(is_head).with_max_level_hint(Level::INFO))
    });
    let started = tracing_subscriber::registry()
        .with(spans)
        .with(heads)
        .with(lines.with_filter(filter));
    started
        .try_init()
        .map_err(|source| LoggingError::Start { source })
}

fn is_outer_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with(OURS) && *metadata.level() <= Level::INFO
}

fn is_traced(metadata: &Metadata<'_>) -> bool {
    match metadata.is_span() {
        true => metadata.target().starts_with(OURS) && *metadata.level() <= Level::DEBUG,
        false => metadata.target() == MOMENTS,
    }
}

pub(crate) fn parse_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LoggingError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

/// The ids that the lines within a span end with.
struct TraceIds {
    trace: String,
    span: String,
}

/// Has the lines within `span` end with the ids of `context`.
pub(crate) fn stamp(span: &Span, context: &TraceContext) {
    span.with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>();
        if let Some(span) = registry.and_then(|registry| registry.span(id)) {
            span.extensions_mut().replace(TraceIds {
                trace: context.trace_id_text(),
                span: context.span_id_text(),
            });
        }
    });
}

/// A format whose lines end with trace ids, where there are any.
struct Stamped<F>(F, fn(&mut String, &TraceIds));

impl<S, N, F> FormatEvent<S, N> for Stamped<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(ids) = span.extensions().get::<TraceIds>() {
                self.1(&mut line, ids);
                break;
            }
        }
        writer.write_str(&line)
    }
}

fn end_text(line: &mut String, ids: &TraceIds) {
    line.truncate(line.trim_end().len());
    line.push_str(&format!(" trace_id={} span_id={}\n", ids.trace, ids.span));
}

fn end_json(line: &mut String, ids: &TraceIds) {
    // One object a line: its last brace is the last of all.
    line.truncate(line.trim_end().len());
    if line.pop() == Some('}') {
        let (trace, span) = (&ids.trace, &ids.span);
        line.push_str(&format!(
            ",\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}\n"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let error = parse_filter("execgate=loudly").unwrap_err().to_string();
        assert!(
            error.starts_with("read the log filter `execgate=loudly`: "),
            "{error}"
        );
        assert!(parse_filter("info,execgate_engine=debug").is_ok());
    }

    #[test]
    fn lines_of_either_kind_end_with_the_ids_of_their_trace() {
        let ids = TraceIds {
            trace: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span: "b7ad6b7169203331".to_owned(),
        };
        let mut text = "12:00 INFO hello\n".to_owned();
        end_text(&mut text, &ids);
        assert_eq!(
            text,
            "12:00 INFO hello trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331\n"
        );
        let mut json = "{\"level\":\"INFO\"}\n".to_owned();
        end_json(&mut json, &ids);
        assert_eq!(
            json,
            "{\"level\":\"INFO\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\
             \"span_id\":\"b7ad6b7169203331\"}\n"
        );
    }
}
