//! Where the server's own log lines go: standard error, as text or JSON. A line that was
//! written within a call ends with its method, and within a trace with its ids. Spans are not
//! part of lines otherwise: to write down the fields of each would be work for each command.
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
use tracing_subscriber::registry::{LookupSpan, SpanRef};
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
    let filter = parse_filter(filter)?.and(filter_fn(is_event));
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
        // Lines are filtered; the spans around them stay, for their trace.
        .with(Kept.with_filter(filter_fn(is_outer_span).with_max_level_hint(Level::INFO)))
        .with(lines.with_filter(filter));
    started
        .try_init()
        .map_err(|source| LoggingError::Start { source })
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
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

/// Keeps spans, for what is attached to them.
struct Kept;

impl<S: Subscriber> Layer<S> for Kept {}

/// The ids that the lines within a span end with.
struct TraceIds(TraceContext);

/// The method that the lines within a call end with.
struct Method(&'static str);

/// Has the lines within a call's span end with its method.
pub(crate) fn name(span: &Span, method: &'static str) {
    attach(span, Method(method));
}

/// Has the lines within `span` end with the ids of `context`.
pub(crate) fn stamp(span: &Span, context: &TraceContext) {
    attach(span, TraceIds(context.clone()));
}

fn attach<T: Send + Sync + 'static>(span: &Span, what: T) {
    span.with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>();
        if let Some(span) = registry.and_then(|registry| registry.span(id)) {
            span.extensions_mut().replace(what);
        }
    });
}

/// What lines end with now, as names and values.
fn present() -> Vec<(&'static str, String)> {
    let (mut ids, mut method) = (None, None);
    Span::current().with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>();
        let span = registry.and_then(|registry| registry.span(id));
        for span in span.iter().flat_map(SpanRef::scope) {
            let extensions = span.extensions();
            if ids.is_none() {
                ids = extensions.get::<TraceIds>().map(|ids| ids.0.clone());
            }
            method = method.or(extensions.get::<Method>().map(|method| method.0));
        }
    });
    let method = method.map(|method| ("rpc.method", method.to_owned()));
    let ids = ids.map(|ids| {
        let span = ("span_id", ids.span_id_text());
        [("trace_id", ids.trace_id_text()), span]
    });
    method
        .into_iter()
        .chain(ids.into_iter().flatten())
        .collect()
}

/// A format whose lines end with what is attached to the spans around them.
struct Stamped<F>(F, fn(&mut String, &[(&'static str, String)]));

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
        let present = present();
        if !present.is_empty() {
            self.1(&mut line, &present);
        }
        writer.write_str(&line)
    }
}

fn end_text(line: &mut String, present: &[(&'static str, String)]) {
    line.truncate(line.trim_end().len());
    for (name, value) in present {
        line.push_str(&format!(" {name}={value}"));
    }
    line.push('\n');
}

fn end_json(line: &mut String, present: &[(&'static str, String)]) {
    // One object a line: its last brace is the last of all.
    line.truncate(line.trim_end().len());
    if line.pop() == Some('}') {
        for (name, value) in present {
            // Ids and methods need no escapes.
            line.push_str(&format!(",\"{name}\":\"{value}\""));
        }
        line.push_str("}\n");
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
        let ids = [
            ("trace_id", "0af7651916cd43dd8448eb211c80319c".to_owned()),
            ("span_id", "b7ad6b7169203331".to_owned()),
        ];
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
