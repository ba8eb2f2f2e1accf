//! Asks a server whether it serves, as a container's health check does: the standard
//! health service, over the first address that the server's configuration names. Health
//! needs no token, so the answer says nothing about the data directory's secrets.
//!
//! Starts nothing and changes nothing.

use std::time::Duration;

use tokio::runtime::Builder;
use tonic::Status;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::config::ListenAddress;

/// Why a server is not known to serve.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// No address is known beforehand.
    #[error("find the server: every address has a port that it chooses itself")]
    NoAddress,
    /// The runtime does not start.
    #[error("start the runtime: {source}")]
    Runtime {
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody is there.
    #[error("reach the server at {address}: {source}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What went wrong.
        source: tonic::transport::Error,
    },
    /// Somebody is there and does not say.
    #[error("ask the server at {address}: {}: {}", status.code(), status.message())]
    NoAnswer {
        /// Where it is.
        address: String,
        /// What came instead.
        status: Box<Status>,
    },
    /// No answer came in time.
    #[error("ask the server at {address}: no answer within {limit:?}")]
    TimedOut {
        /// Where it is.
        address: String,
        /// How long it had.
        limit: Duration,
    },
    /// It says that it does not serve.
    #[error("find the server at {address} serving: it says {answer}")]
    NotServing {
        /// Where it is.
        address: String,
        /// Its word.
        answer: &'static str,
    },
}

/// Asks the server that listens on `addresses`.
///
/// # Errors
/// Where it does not say that it serves within `limit`.
pub fn check(addresses: &[ListenAddress], limit: Duration) -> Result<(), HealthError> {
    let address = addresses.iter().find_map(uri);
    let address = address.ok_or(HealthError::NoAddress)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| HealthError::Runtime { source })?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, ask(&address)).await {
            Ok(answer) => answer,
            Err(_) => Err(HealthError::TimedOut { address, limit }),
        }
    })
}

async fn ask(address: &str) -> Result<(), HealthError> {
    let unreachable = |source| HealthError::Unreachable {
        address: address.to_owned(),
        source,
    };
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(unreachable)?;
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let response = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map_err(|status| HealthError::NoAnswer {
            address: address.to_owned(),
            status: Box::new(status),
        })?;
    match response.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(HealthError::NotServing {
            address: address.to_owned(),
            answer: other.as_str_name(),
        }),
    }
}

/// Where to ask; nothing for a port that the server chooses, which nobody else knows.
fn uri(address: &ListenAddress) -> Option<String> {
    match address {
        ListenAddress::Tcp(address) if address.port() == 0 => None,
        ListenAddress::Tcp(address) => Some(format!("http://{address}")),
        ListenAddress::Unix(path) => Some(format!("unix:{}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Far above what an answer over loopback takes.
    const LIMIT: Duration = Duration::from_secs(10);

    fn listen(address: &str) -> ListenAddress {
        address.parse().unwrap()
    }

    #[test]
    fn a_port_that_the_server_chooses_is_passed_over() {
        let uris = ["127.0.0.1:0", "[::1]:7443", "unix:/run/e.sock"].map(|text| uri(&listen(text)));
        assert_eq!(
            uris,
            [
                None,
                Some("http://[::1]:7443".to_owned()),
                Some("unix:/run/e.sock".to_owned())
            ]
        );
        let error = check(&[listen("127.0.0.1:0")], LIMIT).unwrap_err();
        assert!(matches!(error, HealthError::NoAddress), "{error}");
    }

    #[test]
    fn a_server_that_is_not_there_is_unreachable() {
        let root = tempfile::tempdir().unwrap();
        let socket = format!("unix:{}", root.path().join("none.sock").display());
        let error = check(&[listen(&socket)], LIMIT).unwrap_err();
        assert!(matches!(error, HealthError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("none.sock"), "{error}");
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for() {
        // It accepts, since the system does that for it, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let error = check(&[listen(&address)], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, HealthError::TimedOut { .. }), "{error}");
    }
}
