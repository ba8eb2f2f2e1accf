//! The sockets of a server: bound before anything else starts, so that a bad address
//! stops the start, and accepted from as one stream.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, select_all, unfold};
use futures::{Stream, StreamExt};
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::ServeError;
use crate::config::{Connections, ListenAddress};
use crate::grpc::{Connection, ConnectionTimes, Crowd, Place};
use crate::tls::Tls;

/// What nobody but the owner gets of a socket.
const SOCKET_UMASK: Mode = Mode::from_raw_mode(0o177);
/// Handshakes at once; others wait to be accepted.
const MAX_HANDSHAKES: usize = 256;
/// How long to wait when the system has no descriptor for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bound sockets.
#[derive(Debug)]
pub(super) struct Listeners {
    bound: Vec<Bound>,
}

#[derive(Debug)]
enum Bound {
    Tcp {
        listener: StdTcpListener,
        address: SocketAddr,
    },
    Unix {
        listener: StdUnixListener,
        socket: Socket,
    },
}

/// A socket in the file system, as we made it.
#[derive(Debug, Clone)]
struct Socket {
    path: PathBuf,
    inode: u64,
}

/// The sockets to be removed at the end.
#[derive(Debug)]
pub(super) struct Sockets(Vec<Socket>);

impl Listeners {
    /// Binds every address.
    pub(super) fn bind(addresses: &[ListenAddress]) -> Result<Self, ServeError> {
        let bound = addresses.iter().map(|address| {
            let bound = match address {
                ListenAddress::Tcp(address) => bind_tcp(*address),
                ListenAddress::Unix(path) => bind_unix(path),
            };
            bound.map_err(|problem| ServeError::Listen {
                address: address.to_string(),
                problem,
            })
        });
        Ok(Self {
            bound: bound.collect::<Result<_, _>>()?,
        })
    }

    /// The addresses, with the ports that the system chose.
    pub(super) fn addresses(&self) -> Vec<String> {
        let text = |bound: &Bound| match bound {
            Bound::Tcp { address, .. } => address.to_string(),
            Bound::Unix { socket, .. } => format!("unix:{}", socket.path.display()),
        };
        self.bound.iter().map(text).collect()
    }

    /// What to remove at the end.
    pub(super) fn sockets(&self) -> Sockets {
        let sockets = self.bound.iter().filter_map(|bound| match bound {
            Bound::Tcp { .. } => None,
            Bound::Unix { socket, .. } => Some(socket.clone()),
        });
        Sockets(sockets.collect())
    }

    /// The connections of all of them. Wants a runtime.
    pub(super) fn accept(
        self,
        tls: Option<Arc<Tls>>,
        limits: &Connections,
    ) -> io::Result<impl Stream<Item = io::Result<Connection>> + use<>> {
        let door = Door::of(limits);
        let streams = self
            .bound
            .into_iter()
            .map(|bound| -> io::Result<BoxStream<'static, _>> {
                Ok(match bound {
                    Bound::Tcp { listener, .. } => {
                        let accepted = accept_tcp(TcpListener::from_std(listener)?);
                        protected(accepted, tls.clone(), door.clone()).boxed()
                    }
                    Bound::Unix { listener, .. } => {
                        accept_unix(UnixListener::from_std(listener)?, door.clone()).boxed()
                    }
                })
            });
        let streams: SelectAll<_> = select_all(streams.collect::<io::Result<Vec<_>>>()?);
        Ok(streams.map(Ok))
    }
}

impl Sockets {
    /// Removes those that are still ours.
    pub(super) fn remove(&self) {
        for socket in &self.0 {
            let found = fs::symlink_metadata(&socket.path);
            if found.is_ok_and(|found| found.ino() == socket.inode) {
                // The next server removes what is left.
                let _left = fs::remove_file(&socket.path);
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> Result<Bound, String> {
    let listener = StdTcpListener::bind(address).map_err(text)?;
    listener.set_nonblocking(true).map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    Ok(Bound::Tcp { listener, address })
}

fn bind_unix(path: &Path) -> Result<Bound, String> {
    remove_stale(path)?;
    // The mode is right from the first moment on; threads that make files meanwhile make
    // them narrower than they meant, never wider.
    let before = umask(SOCKET_UMASK);
    let bound = StdUnixListener::bind(path);
    umask(before);
    let listener = bound.map_err(text)?;
    listener.set_nonblocking(true).map_err(text)?;
    let inode = fs::symlink_metadata(path).map_err(text)?.ino();
    Ok(Bound::Unix {
        listener,
        socket: Socket {
            path: path.to_owned(),
            inode,
        },
    })
}

/// Removes a socket that a server left behind; anything else is somebody's.
fn remove_stale(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(text(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err("there is a file in its place, and it is no socket".to_owned());
        }
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err("another server answers on it".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(text)
        }
        Err(error) => Err(text(error)),
    }
}

fn text(error: io::Error) -> String {
    error.to_string()
}

fn accept_tcp(listener: TcpListener) -> impl Stream<Item = (TcpStream, SocketAddr)> {
    unfold(listener, async |listener| {
        loop {
            match listener.accept().await {
                Ok(accepted) => return Some((accepted, listener)),
                Err(error) => pause(&error).await,
            }
        }
    })
}

/// Who comes in, and for how long.
#[derive(Debug, Clone)]
struct Door {
    crowd: Arc<Crowd>,
    times: ConnectionTimes,
}

impl Door {
    fn of(limits: &Connections) -> Self {
        let life = limits.max_age.limit().zip(limits.max_age_grace.limit());
        Self {
            crowd: Crowd::new(limits.max.get(), limits.max_per_peer.get()),
            times: ConnectionTimes {
                handshake: limits.handshake_timeout.get(),
                life: life.map(|(age, grace)| age + grace),
            },
        }
    }

    /// What a connection needs; nothing where there are too many.
    fn enter(&self, peer: Option<IpAddr>) -> Option<(ConnectionTimes, Place)> {
        let place = self.crowd.enter(peer);
        if place.is_none() {
            // Whoever opens many would fill the log at a higher level.
            tracing::debug!(?peer, "too many connections: closed");
        }
        Some((self.times, place?))
    }
}

/// The connections, each when hands have been shaken: one that dawdles delays no other.
fn protected(
    accepted: impl Stream<Item = (TcpStream, SocketAddr)>,
    tls: Option<Arc<Tls>>,
    door: Door,
) -> impl Stream<Item = Connection> {
    let connections = accepted.map(move |(stream, peer)| {
        let tls = tls.clone();
        // Before any cost of a handshake; what has no place is closed as it is dropped.
        let entered = door.enter(Some(peer.ip()));
        async move {
            let entered = entered?;
            let Some(tls) = tls else {
                return Some(Connection::tcp(stream, peer, entered));
            };
            match Connection::tls(stream, peer, &tls, entered).await {
                Ok(connection) => Some(connection),
                Err(error) => {
                    // Whoever scans ports would fill the log at a higher level.
                    tracing::debug!(%peer, %error, "no TLS with this caller");
                    None
                }
            }
        }
    });
    connections
        .buffer_unordered(MAX_HANDSHAKES)
        .filter_map(futures::future::ready)
}

fn accept_unix(listener: UnixListener, door: Door) -> impl Stream<Item = Connection> {
    unfold((listener, door), async |(listener, door)| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(entered) = door.enter(None) {
                        return Some((Connection::unix(stream, entered), (listener, door)));
                    }
                }
                Err(error) => pause(&error).await,
            }
        }
    })
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "connection not accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = bind_unix(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(
            bind_unix(&path).err().unwrap(),
            "another server answers on it"
        );
        drop(first);
        drop(bind_unix(&path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(bind_unix(&path).err().unwrap().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn port_0_becomes_a_real_port() {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listeners = Listeners::bind(&[ListenAddress::Tcp(address)]).unwrap();
        let [text] = listeners.addresses().try_into().unwrap();
        assert!(
            text.starts_with("127.0.0.1:") && !text.ends_with(":0"),
            "{text}"
        );
    }
}
