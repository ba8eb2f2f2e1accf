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
mod refusal;
mod session;
mod status;
mod to_proto;
mod trace;

use std::io;
use std::sync::Arc;
use std::time::Duration;

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
pub(crate) use self::connection::Connection;
pub(crate) use self::edge::{Edge, SessionDefaults};
use crate::telemetry::Told;

/// Bytes of a request at most: a script of the largest size and all that goes with it.
pub(crate) const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// How much of a stream may come in before we have taken it, in bytes: requests are
/// small, so a whole one fits a few windows.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for a whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Frames taken at most, in bytes: fewer, larger ones cost less.
const MAX_FRAME_BYTES: u32 = 256 * 1024;
/// Bytes of all headers of a call at most.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Calls at once on one connection: every session and then some.
const MAX_CONCURRENT_STREAMS: u32 = 1024;
/// Silence after which a connection is asked whether it is still there.
const KEEP_ALIVE_PING: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

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
    connections: impl Stream<Item = io::Result<Connection>>,
    stop: impl Future<Output = ()>,
) -> Result<(), GrpcError> {
    let audits = audit::Audits::new(Arc::clone(&edge));
    let sessions = session::Sessions::new(Arc::clone(&edge));
    let checkpoints = checkpoint::Checkpoints::new(Arc::clone(&edge));
    let health = tonic_health::server::HealthService::from_health_reporter(health.0);
    // The message types have no trait for their limits.
    macro_rules! bounded {
        ($service:ident, $handler:expr) => {
            $service::new($handler)
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_PING))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .layer(trace::TraceLayer(told))
        .layer(auth::AuthenticateLayer(gate))
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
