//! The gRPC edge: the only room that knows both the wire and the engine. Each call goes
//! through the same four: `trace` (its span), `auth` (who calls), a service (check → call
//! → map → answer), and back through `status` where it is refused.

mod audit;
mod auth;
mod checkpoint;
mod connection;
mod deadline;
mod edge;
mod exec;
mod from_proto;
mod methods;
mod peer;
mod rate;
mod refusal;
mod session;
mod status;
mod to_proto;
mod trace;

use std::io;
use std::sync::Arc;

use execgate_proto::v1::audit_service_server::AuditServiceServer;
use execgate_proto::v1::checkpoint_service_server::CheckpointServiceServer;
use execgate_proto::v1::exec_service_server::ExecServiceServer;
use execgate_proto::v1::session_service_server::SessionServiceServer;
use execgate_proto::{FILE_DESCRIPTOR_SET, MAX_MESSAGE_BYTES};
use futures::Stream;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::{Builder, Error as ReflectionError};

pub(crate) use self::auth::Gate;
pub(crate) use self::connection::{Connection, ConnectionTimes, Crowd, Place};
pub(crate) use self::edge::{Edge, SessionDefaults};
use crate::config::Connections as ConnectionLimits;
use crate::telemetry::Told;

/// How much of a stream may come in before we have taken it, in bytes: requests are
/// small, so a whole one fits a few windows.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for a whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Frames taken at most, in bytes: fewer, larger ones cost less.
const MAX_FRAME_BYTES: u32 = 256 * 1024;
/// The services whose health is told one by one; the empty name stands for all.
const HEALTH_NAMES: [&str; 5] = [
    "",
    "execgate.v1.SessionService",
    "execgate.v1.ExecService",
    "execgate.v1.CheckpointService",
    "execgate.v1.AuditService",
];

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The descriptors do not fit together.
    #[error("describe the API: {0}")]
    Reflection(#[from] ReflectionError),
    /// The server ended.
    #[error("serve: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Tells everybody who asks whether this server takes calls.
#[derive(Clone)]
pub(crate) struct Health(HealthReporter);

impl Health {
    pub(crate) fn new() -> Self {
        Self(HealthReporter::new())
    }

    /// Calls are taken.
    pub(crate) async fn serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    /// No calls are taken any more.
    pub(crate) async fn draining(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    /// Nobody is told anything any more: whoever watches would wait for ever.
    pub(crate) async fn gone(&self) {
        let mut reporter = self.0.clone();
        for name in HEALTH_NAMES {
            reporter.clear_service_status(name).await;
        }
    }

    async fn set(&self, status: ServingStatus) {
        for name in HEALTH_NAMES {
            self.0.set_service_status(name, status).await;
        }
    }
}

/// Serves all connections until `stop`, then lets running calls end.
pub(crate) async fn serve(
    edge: Arc<Edge>,
    gate: Arc<Gate>,
    (health, told): (Health, Arc<Told>),
    limits: &ConnectionLimits,
    connections: impl Stream<Item = io::Result<Connection>>,
    stop: impl Future<Output = ()>,
) -> Result<(), GrpcError> {
    let audits = audit::Audits::new(Arc::clone(&edge));
    let sessions = session::Sessions::new(Arc::clone(&edge));
    let checkpoints = checkpoint::Checkpoints::new(Arc::clone(&edge));
    let health = tonic_health::server::HealthService::from_health_reporter(health.0);
    let rates = rate::RateLayer::new(Arc::clone(&edge.engine));
    let max_request_bytes = edge.max_request_bytes;
    // The message types have no trait for their limits.
    macro_rules! bounded {
        ($service:ident, $handler:expr) => {
            $service::new($handler)
                .max_decoding_message_size(max_request_bytes)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    let server = Server::builder()
        .http2_keepalive_interval(Some(limits.keep_alive.get()))
        .http2_keepalive_timeout(Some(limits.keep_alive_timeout.get()))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .http2_max_header_list_size(limits.max_header_bytes.get())
        .max_concurrent_streams(limits.max_streams.get())
        .http2_max_pending_accept_reset_streams(Some(limits.max_pending_resets.get()))
        .http2_max_local_error_reset_streams(Some(limits.max_local_resets.get()));
    // With a grace of its own the library would cut without having said a word; what is too
    // old is cut by the connection itself.
    let server = match limits.max_age.limit() {
        Some(age) => server.max_connection_age(age),
        None => server,
    };
    server
        .layer(trace::TraceLayer(told))
        .layer(auth::AuthenticateLayer(gate))
        .layer(rates)
        .add_service(bounded!(SessionServiceServer, sessions))
        .add_service(bounded!(ExecServiceServer, exec::Execs::new(edge)))
        .add_service(bounded!(CheckpointServiceServer, checkpoints))
        .add_service(bounded!(AuditServiceServer, audits))
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        // Older clients, grpcurl 1.8 among them, know only this one.
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(connections, stop)
        .await?;
    Ok(())
}

fn reflection() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        // Without it grpcurl cannot read the details of a refusal.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
