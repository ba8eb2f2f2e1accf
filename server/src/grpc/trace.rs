//! One span for each call, at the very edge, and a reason for each refusal: a status
//! that the libraries beneath made without details (an unknown method, a message that is
//! too large or no message) gets the same details as one of ours.
//!
//! The span begins below whoever calls (`traceparent`, `tracestate`) and ends with the last
//! byte of the answer, however long its stream is; a stream that nobody reads to its end ends
//! as CANCELLED. What runs within the call finds where it stands in the request's extensions.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use execgate_core::trace::TraceContext;
use execgate_engine::telemetry::{Placement, Telemetry};
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::methods::known;
use super::peer::Peer;
use super::status::bare_refusal;
use crate::logging;
use crate::telemetry::Told;

/// Whose statuses get details; the rest speak for themselves.
const OUR_SERVICES: &str = "/execgate.";
/// Bytes of a method's name in a refusal.
const MAX_METHOD_BYTES: usize = 128;

/// Puts a span around everything that is inside.
#[derive(Debug, Clone)]
pub(crate) struct TraceLayer(pub(crate) Arc<Told>);

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            inner,
            told: Arc::clone(&self.0),
        }
    }
}

/// A span and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Trace<S> {
    inner: S,
    told: Arc<Told>,
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let path = path
            .get(..path.floor_char_boundary(MAX_METHOD_BYTES))
            .unwrap_or(path)
            .to_owned();
        let call = Call::begin(&self.told, &path, &request);
        let asked = asked(request.headers());
        let placement = Placement {
            asked: asked.as_ref(),
            ..Placement::default()
        };
        if let Some(context) = self.told.place(&call.span, &placement) {
            request.extensions_mut().insert(context);
        }
        let span = call.span.clone();
        let answer = span.in_scope(|| self.inner.call(request));
        let answer = async move {
            // The call ends here if it is dropped on its way.
            let mut response = answer.await?;
            if path.starts_with(OUR_SERVICES)
                && let Some(refusal) = bare_refusal(response.headers(), &path)
            {
                response = refusal.into_response();
            }
            Ok(call.follow(response))
        };
        Box::pin(answer.instrument(span))
    }
}

/// Where the caller stands in a trace; nothing where it does not say, or makes no sense.
fn asked(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all("traceparent").iter();
    let parent = parents.next()?.to_str().ok()?;
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all("tracestate").iter();
    let states: Vec<_> = states.filter_map(|state| state.to_str().ok()).collect();
    TraceContext::parse(parent, &states.join(","))
}

/// A call under way. Dropped without a status, it was cancelled.
#[derive(Debug)]
struct Call {
    span: Span,
    told: Arc<Told>,
    method: &'static str,
    began: Instant,
    status: Option<&'static str>,
}

impl Call {
    fn begin(told: &Arc<Told>, path: &str, request: &Request<Body>) -> Self {
        let method = known(path.trim_start_matches('/'));
        let span = tracing::info_span!(
            target: "execgate::rpc",
            parent: None,
            "rpc",
            otel.name = method,
            otel.kind = "server",
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            network.peer.address = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        );
        logging::name(&span, method);
        if let Some(peer) = request.extensions().get::<Peer>() {
            span.record("network.peer.address", tracing::field::display(peer));
        }
        Self {
            span,
            told: Arc::clone(told),
            method,
            began: Instant::now(),
            status: None,
        }
    }

    /// Takes note of how it ended, if these headers tell it.
    fn look(&mut self, headers: &HeaderMap) {
        let code = headers
            .get("grpc-status")
            .and_then(|code| code.to_str().ok());
        if let Some(code) = code {
            self.status = Some(name_of(code));
        }
    }

    /// The answer, followed to its end.
    fn follow(mut self, response: Response<Body>) -> Response<Body> {
        self.look(response.headers());
        match self.status {
            // It has no body.
            Some(_) => response,
            None => response.map(|inner| {
                Body::new(Followed {
                    inner,
                    call: Some(self),
                })
            }),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let status = self.status.unwrap_or("CANCELLED");
        self.span.record("rpc.response.status_code", status);
        if is_our_fault(status) {
            self.span.record("error.type", status);
            self.span.record("otel.status_code", "ERROR");
        }
        // Within the span for the last time: this is where it ends.
        self.span.in_scope(|| tracing::debug!(status, "answered"));
        self.told.call(self.method, status, self.began.elapsed());
    }
}

/// The body of an answer, and the call that ends with it.
struct Followed {
    inner: Body,
    call: Option<Call>,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(trailers), Some(call)) = (frame.trailers_ref(), &mut self.call) {
                    call.look(trailers);
                    self.call = None;
                }
            }
            Some(Err(_)) | None => self.call = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The name of a status code.
fn name_of(code: &str) -> &'static str {
    match code {
        "0" => "OK",
        "1" => "CANCELLED",
        "2" => "UNKNOWN",
        "3" => "INVALID_ARGUMENT",
        "4" => "DEADLINE_EXCEEDED",
        "5" => "NOT_FOUND",
        "6" => "ALREADY_EXISTS",
        "7" => "PERMISSION_DENIED",
        "8" => "RESOURCE_EXHAUSTED",
        "9" => "FAILED_PRECONDITION",
        "10" => "ABORTED",
        "11" => "OUT_OF_RANGE",
        "12" => "UNIMPLEMENTED",
        "13" => "INTERNAL",
        "14" => "UNAVAILABLE",
        "15" => "DATA_LOSS",
        "16" => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

/// The statuses that are errors of a server, as the conventions have it; the others are
/// errors of its callers.
fn is_our_fault(status: &str) -> bool {
    matches!(
        status,
        "UNKNOWN"
            | "DEADLINE_EXCEEDED"
            | "UNIMPLEMENTED"
            | "INTERNAL"
            | "UNAVAILABLE"
            | "DATA_LOSS"
    )
}
