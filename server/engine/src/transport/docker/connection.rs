//! The way to the Docker engine, made when the first session asks for it.

use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use tokio::sync::OnceCell;

use super::container;
use super::errors::in_full;
use super::settings::{DockerHost, DockerSettings};
use crate::transport::TransportError;

/// How long the engine may take for one answer, in seconds: making a container takes the
/// longest.
const ANSWER_SECONDS: u64 = 60;

/// How long it may take to answer for the first time.
const FIRST_ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// The engine, once it has answered.
#[derive(Debug, Default)]
pub(super) struct Connection(OnceCell<bollard::Docker>);

impl Connection {
    /// The engine. The first call removes what an earlier server left in it.
    pub(super) async fn engine(
        &self,
        settings: &DockerSettings,
    ) -> Result<&bollard::Docker, TransportError> {
        self.0.get_or_try_init(|| first(settings)).await
    }
}

async fn first(settings: &DockerSettings) -> Result<bollard::Docker, TransportError> {
    let unreachable = |reason: String| TransportError::Unreachable {
        target: "docker".to_owned(),
        reason,
    };
    let engine = open(&settings.host).map_err(|error| unreachable(in_full(&error)))?;
    let answer = tokio::time::timeout(FIRST_ANSWER_LIMIT, engine.negotiate_version()).await;
    let engine = match answer {
        Ok(answer) => answer.map_err(|error| unreachable(in_full(&error)))?,
        Err(_elapsed) => return Err(unreachable("the engine does not answer".to_owned())),
    };
    if !settings.instance.is_empty() {
        container::sweep(&engine, &settings.instance).await;
    }
    Ok(engine)
}

fn open(host: &DockerHost) -> Result<bollard::Docker, bollard::errors::Error> {
    let version = API_DEFAULT_VERSION;
    match host {
        DockerHost::Unix(path) => {
            let path = path.to_string_lossy();
            bollard::Docker::connect_with_unix(&path, ANSWER_SECONDS, version)
        }
        DockerHost::Tcp(address) => {
            bollard::Docker::connect_with_http(address, ANSWER_SECONDS, version)
        }
        DockerHost::Tls(address, directory) => bollard::Docker::connect_with_ssl(
            address,
            &directory.join("key.pem"),
            &directory.join("cert.pem"),
            &directory.join("ca.pem"),
            ANSWER_SECONDS,
            version,
        ),
    }
}
