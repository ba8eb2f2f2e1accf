//! Asks a server whether it serves, as a container's health check does: the standard
//! health service, over an address that the server's configuration names. Health
//! needs no token, so the answer says nothing about the data directory's secrets.
//!
//! Starts nothing and changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tonic::Status;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::config::{ListenAddress, Tls};
use crate::tls::connect_pinned;

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

/// Asks the server that listens there, and has this TLS for its TCP.
///
/// # Errors
/// Where it does not say that it serves within `limit`.
pub fn check(
    listen: &[ListenAddress],
    tls: Option<&Tls>,
    limit: Duration,
) -> Result<(), HealthError> {
    let known = listen.iter().filter(|address| !is_chosen_later(address));
    // A Unix socket needs no handshake.
    let known = known.max_by_key(|address| matches!(address, ListenAddress::Unix(_)));
    let listener = known.ok_or(HealthError::NoAddress)?;
    let address = uri(listener);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| HealthError::Runtime { source })?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, ask(listener, tls)).await {
            Ok(answer) => answer,
            Err(_) => Err(HealthError::TimedOut { address, limit }),
        }
    })
}

async fn ask(listener: &ListenAddress, tls: Option<&Tls>) -> Result<(), HealthError> {
    let address = &uri(listener);
    let unreachable = |source| HealthError::Unreachable {
        address: address.to_owned(),
        source,
    };
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(unreachable)?;
    let channel = match (listener, tls) {
        (ListenAddress::Tcp(_), Some(tls)) => {
            let (to, certificate) = (reachable(listener), tls.certificate.clone());
            let connect = move |_uri| {
                let certificate = certificate.clone();
                async move {
                    let to = to.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
                    connect_pinned(to, &certificate).await.map(TokioIo::new)
                }
            };
            endpoint
                .connect_with_connector(tower::service_fn(connect))
                .await
        }
        _ => endpoint.connect().await,
    };
    let channel = channel.map_err(unreachable)?;
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

/// Whether nobody but the server knows its port.
fn is_chosen_later(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Tcp(address) if address.port() == 0)
}

/// Where to ask.
fn uri(address: &ListenAddress) -> String {
    match (address, reachable(address)) {
        (ListenAddress::Unix(path), _) => format!("unix:{}", path.display()),
        (ListenAddress::Tcp(_), Some(address)) => format!("http://{address}"),
        (ListenAddress::Tcp(address), None) => format!("http://{address}"),
    }
}

/// The address to connect to: every address of this machine is reached by its own.
fn reachable(address: &ListenAddress) -> Option<SocketAddr> {
    let ListenAddress::Tcp(address) = address else {
        return None;
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, address.port()))
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
        let all = ["0.0.0.0:1", "[::]:2", "[::1]:7443", "unix:/run/e.sock"];
        assert_eq!(
            all.map(|text| uri(&listen(text))),
            [
                "http://127.0.0.1:1",
                "http://[::1]:2",
                "http://[::1]:7443",
                "unix:/run/e.sock"
            ]
        );
        let error = check(&[listen("127.0.0.1:0")], None, LIMIT).unwrap_err();
        assert!(matches!(error, HealthError::NoAddress), "{error}");
    }

    #[test]
    fn a_server_that_is_not_there_is_unreachable() {
        let root = tempfile::tempdir().unwrap();
        let socket = format!("unix:{}", root.path().join("none.sock").display());
        let error = check(&[listen(&socket)], None, LIMIT).unwrap_err();
        assert!(matches!(error, HealthError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("none.sock"), "{error}");
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for() {
        // It accepts, since the system does that for it, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let error = check(&[listen(&address)], None, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, HealthError::TimedOut { .. }), "{error}");
    }
}
