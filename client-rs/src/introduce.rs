//! Says with every call who calls, whose things are meant, and in which trace.
//!
//! A service and no interceptor: a token may have to be waited for, and what keeps it away is
//! told as what it is.

use std::mem;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::transport::Channel;

use crate::token::{Bearer, BoxError, Shown};
use crate::trace::TraceSource;

/// Whose things a call is about, if not the caller's own.
const OWNER_HEADER: &str = "execgate-principal";

/// A channel that shows who calls.
#[derive(Debug, Clone)]
pub(crate) struct Introduce {
    channel: Channel,
    bearer: Option<Bearer>,
    owner: Option<HeaderValue>,
    trace: Option<TraceSource>,
}

impl Introduce {
    pub(crate) fn new(
        channel: Channel,
        bearer: Option<Bearer>,
        owner: Option<HeaderValue>,
        trace: Option<TraceSource>,
    ) -> Self {
        Self {
            channel,
            bearer,
            owner,
            trace,
        }
    }
}

impl Service<Request<Body>> for Introduce {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(cx).map_err(BoxError::from)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(trace) = &self.trace {
            trace.add_to(request.headers_mut());
        }
        if let Some(owner) = &self.owner {
            request.headers_mut().insert(OWNER_HEADER, owner.clone());
        }
        let later = match self.bearer.as_ref().map(Bearer::header) {
            None => None,
            Some(Shown::Now(header)) => {
                request.headers_mut().insert(AUTHORIZATION, header);
                None
            }
            Some(Shown::Later(later)) => Some(later),
        };
        // The one that is ready is the one that was asked whether it is.
        let fresh = self.channel.clone();
        let mut channel = mem::replace(&mut self.channel, fresh);
        async move {
            if let Some(later) = later {
                request.headers_mut().insert(AUTHORIZATION, later.await?);
            }
            Ok(channel.call(request).await?)
        }
        .boxed()
    }
}
