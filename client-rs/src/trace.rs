//! The trace that calls belong to, as W3C headers. Where it comes from is a function of the
//! caller's: this crate knows no tracing library.

use std::fmt;
use std::sync::Arc;

use tonic::codegen::http::{HeaderMap, HeaderValue};

/// Where a call stands in a trace: the headers of the W3C recommendation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceHeaders {
    /// `00-TRACE-SPAN-FLAGS`.
    pub traceparent: String,
    /// What tracing systems have to say to each other; may be empty.
    pub tracestate: String,
}

impl From<&str> for TraceHeaders {
    fn from(traceparent: &str) -> Self {
        Self {
            traceparent: traceparent.to_owned(),
            tracestate: String::new(),
        }
    }
}

/// What is asked, at each call, in which trace it is.
#[derive(Clone)]
pub(crate) struct TraceSource(Arc<dyn Fn() -> Option<TraceHeaders> + Send + Sync>);

impl TraceSource {
    pub(crate) fn new(source: impl Fn() -> Option<TraceHeaders> + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Adds the headers of now; what no header can hold is left out.
    pub(crate) fn add_to(&self, metadata: &mut HeaderMap) {
        let Some(headers) = (self.0)() else { return };
        let value = |text: &str| match text.is_empty() {
            true => None,
            false => text.parse::<HeaderValue>().ok(),
        };
        let Some(parent) = value(&headers.traceparent) else {
            return;
        };
        metadata.insert("traceparent", parent);
        if let Some(state) = value(&headers.tracestate) {
            metadata.insert("tracestate", state);
        }
    }
}

impl fmt::Debug for TraceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceSource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: TraceHeaders) -> Vec<(String, String)> {
        let mut headers_sent = HeaderMap::new();
        TraceSource::new(move || Some(headers.clone())).add_to(&mut headers_sent);
        let mut sent: Vec<_> = headers_sent
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        sent.sort();
        sent
    }

    #[test]
    fn what_no_header_can_hold_is_left_out() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let with_state = |state: &str| TraceHeaders {
            tracestate: state.to_owned(),
            ..TraceHeaders::from(parent)
        };
        assert_eq!(
            sent(with_state("a=1")),
            [pair("traceparent", parent), pair("tracestate", "a=1")]
        );
        assert_eq!(sent(with_state("a\n")), [pair("traceparent", parent)]);
        assert_eq!(sent(TraceHeaders::from("\n")), []);
        assert_eq!(sent(TraceHeaders::default()), []);
    }
}
