//! Where spans belong: contexts of the wire put onto spans of `tracing`, and taken off them
//! again for whatever runs within.

use execgate_core::trace::TraceContext;
use execgate_engine::telemetry::{Fact, Placement, Telemetry};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::Told;
use crate::config::ShownCommands;
use crate::logging::stamp;

/// Bytes of a command that a span shows at most.
const MAX_SHOWN_BYTES: usize = 4096;

impl Telemetry for Told {
    fn note(&self, fact: &Fact<'_>) {
        if let Some(meters) = &self.meters {
            meters.note(fact);
        }
    }

    fn place(&self, span: &Span, placement: &Placement<'_>) -> Option<TraceContext> {
        let context = match self.traces {
            false => placement.asked.cloned(),
            true => self.placed(span, placement),
        };
        if let Some(context) = &context {
            stamp(span, context);
        }
        context
    }
}

impl Told {
    fn placed(&self, span: &Span, placement: &Placement<'_>) -> Option<TraceContext> {
        if let Some(asked) = placement.asked {
            let parent = Context::new().with_remote_span_context(to_otel(asked));
            // It is new, so this cannot fail; a span that is filtered out has no place.
            let _new = span.set_parent(parent);
        }
        if let Some(session) = placement.session {
            let relation = KeyValue::new("execgate.link", "session");
            span.add_link_with_attributes(to_otel(session), vec![relation]);
        }
        if let (ShownCommands::Redacted, Some(command)) = (self.commands, placement.command) {
            let end = command.floor_char_boundary(MAX_SHOWN_BYTES);
            let shown = command.get(..end).unwrap_or_default().to_owned();
            span.set_attribute("process.command_line", shown);
        }
        from_otel(span.context().span().span_context())
    }

    /// A call is over.
    pub(crate) fn call(
        &self,
        method: &'static str,
        status: &'static str,
        time: std::time::Duration,
    ) {
        if let Some(meters) = &self.meters {
            meters.call(method, status, time);
        }
    }
}

fn to_otel(context: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id()),
        SpanId::from_bytes(context.span_id()),
        TraceFlags::new(context.flags()),
        true,
        // A state that the SDK does not read is not passed on.
        context
            .tracestate()
            .parse::<TraceState>()
            .unwrap_or_default(),
    )
}

fn from_otel(context: &SpanContext) -> Option<TraceContext> {
    TraceContext::new(
        context.trace_id().to_bytes(),
        context.span_id().to_bytes(),
        context.trace_flags().to_u8(),
        &context.trace_state().header(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_the_way_through_the_sdk() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::parse(text, "vendor=a,other=b").unwrap();
        assert_eq!(from_otel(&to_otel(&context)), Some(context));
    }
}
