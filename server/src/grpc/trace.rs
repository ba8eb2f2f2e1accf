//! One span for each call, at the very edge, and a reason for each refusal: a status
//! that the libraries beneath made without details (an unknown method, a message that is
//! too large or no message) gets the same details as one of ours.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument;

use super::peer::Peer;
use super::status::bare_refusal;

/// Whose statuses get details; the rest speak for themselves.
const OUR_SERVICES: &str = "/execgate.";
/// Bytes of a method's name in a span.
const MAX_METHOD_BYTES: usize = 128;

/// Puts a span around everything that is inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

/// A span and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Trace<S> {
    inner: S,
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let method = path
            .get(..path.floor_char_boundary(MAX_METHOD_BYTES))
            .unwrap_or(path);
        let method = method.to_owned();
        let span = tracing::info_span!(
            "rpc",
            rpc.system.name = "grpc",
            rpc.method = method.trim_start_matches('/'),
            rpc.response.status_code = tracing::field::Empty,
            peer = tracing::field::Empty,
        );
        if let Some(peer) = request.extensions().get::<Peer>() {
            span.record("peer", tracing::field::display(peer));
        }
        let answer = self.inner.call(request);
        let inner = span.clone();
        let answer = async move {
            let mut response = answer.await?;
            if method.starts_with(OUR_SERVICES)
                && let Some(refusal) = bare_refusal(response.headers(), &method)
            {
                response = refusal.into_response();
            }
            let code = response
                .headers()
                .get("grpc-status")
                .and_then(|code| code.to_str().ok());
            inner.record("rpc.response.status_code", code.unwrap_or("0"));
            tracing::debug!("answered");
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}
