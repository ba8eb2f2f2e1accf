//! The metrics as Prometheus wants them, over HTTP on a port of their own: `GET /metrics`,
//! and nothing else. Served by the telemetry thread, so that nobody waits for a scrape.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::exporters::ExporterError;

/// Where the metrics are.
const PATH: &str = "/metrics";
/// How long a connection may take, from its first byte to its last: a scraper comes back.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// How long a request's headers may take.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Connections at once: there is one scraper, or two.
const MAX_CONNECTIONS: usize = 16;
/// Pause after a connection could not be taken, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A reader of the meters, and where it puts what it reads.
pub(super) fn reader() -> Result<(PrometheusExporter, Registry), ExporterError> {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(|error| ExporterError::Prometheus {
            problem: error.to_string(),
        })?;
    Ok((reader, registry))
}

/// Serves what `registry` holds; answers the address.
pub(super) fn listen(
    runtime: &Handle,
    address: SocketAddr,
    registry: Registry,
) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = TcpListener::from_std(listener)?;
    runtime.spawn(accept(listener, registry));
    Ok(address)
}

async fn accept(listener: TcpListener, registry: Registry) {
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = std::sync::Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _peer)) => {
                let registry = registry.clone();
                tokio::spawn(async move {
                    // A connection that breaks or takes too long is the scraper's affair.
                    let _over = timeout(CONNECTION_LIMIT, serve(stream, registry)).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, registry: Registry) -> Result<(), hyper::Error> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &registry);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

fn answer(method: &Method, path: &str, registry: &Registry) -> Response<String> {
    let mut response = Response::new(String::new());
    if path != PATH {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if method != Method::GET && method != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
            .headers_mut()
            .insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    } else {
        match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(text) => {
                let kind = http::HeaderValue::from_static(TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                *response.body_mut() = text;
            }
            Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    response
}
