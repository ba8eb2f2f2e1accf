//! One connection: reached, its host known, logged in; and its channels.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use russh::client::{self, Handle, Msg};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelOpenFailure, Preferred, cipher, compression};
use tokio::net::TcpStream;

use super::login::login;
use super::settings::{Host, Jump, KEEPALIVE_MISSES, SshSettings};
use super::verify::{Distrust, Verifier};
use crate::transport::TransportError;

/// Hosts gone through on the way to one, at most.
pub(super) const MAX_JUMPS: usize = 4;

/// Bytes that a host may send on a channel before it hears that they arrived. russh asks
/// for more at half of it; larger ones were not faster on a LAN and hold more memory.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// How long a channel may take to open.
const CHANNEL_LIMIT: Duration = Duration::from_secs(3);

/// Messages of a channel that wait for its task; beyond them the connection stands still.
const CHANNEL_MESSAGES: usize = 64;

/// A connection that is logged in.
pub(super) struct Connection {
    handle: Handle<Client>,
    /// The connection that this one goes through.
    _jump: Option<Arc<Connection>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("closed", &self.handle.is_closed())
            .finish_non_exhaustive()
    }
}

/// Why there is no channel.
#[derive(Debug)]
pub(super) enum NoChannel {
    /// The host has no room on this connection.
    Full,
    /// The connection is gone.
    Broken(String),
}

impl Connection {
    /// Connects to a host, within its limit.
    pub(super) async fn open(
        target: &str,
        host: &Host,
        settings: &SshSettings,
    ) -> Result<Self, TransportError> {
        let opened = open(target, host, settings, MAX_JUMPS);
        match tokio::time::timeout(host.connect_timeout, opened).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(TransportError::Unreachable {
                target: target.to_owned(),
                reason: format!("it was not logged in within {:?}", host.connect_timeout),
            }),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    pub(super) async fn channel(&self) -> Result<Channel<Msg>, NoChannel> {
        let opened = self.handle.channel_open_session();
        let Ok(opened) = tokio::time::timeout(CHANNEL_LIMIT, opened).await else {
            // It stands still, since an output on it is not read, or its host is gone.
            return Err(NoChannel::Full);
        };
        match opened {
            Ok(channel) => Ok(channel),
            // The eleventh session of a connection is refused so by OpenSSH.
            Err(russh::Error::ChannelOpenFailure(
                ChannelOpenFailure::ConnectFailed
                | ChannelOpenFailure::ResourceShortage
                | ChannelOpenFailure::AdministrativelyProhibited,
            )) => Err(NoChannel::Full),
            Err(error) => Err(NoChannel::Broken(error.to_string())),
        }
    }
}

fn open<'a>(
    target: &'a str,
    host: &'a Host,
    settings: &'a SshSettings,
    jumps: usize,
) -> BoxFuture<'a, Result<Connection, TransportError>> {
    async move {
        let unreachable = |reason: String| TransportError::Unreachable {
            target: target.to_owned(),
            reason,
        };
        let verifier = Verifier::new(host, &settings.learned_hosts);
        let shown = Arc::new(Mutex::new(None));
        let config = Arc::new(config(host, &verifier));
        let client = Client {
            verifier,
            shown: Arc::clone(&shown),
        };
        let (connected, jump) = match &host.jump {
            None => {
                let stream = TcpStream::connect((host.host.as_str(), host.port)).await;
                let stream = stream.map_err(|error| unreachable(error.to_string()))?;
                // 40 ms for each small message otherwise.
                stream
                    .set_nodelay(true)
                    .map_err(|error| unreachable(error.to_string()))?;
                (client::connect_stream(config, stream, client).await, None)
            }
            Some(jump) => {
                let (name, through) = jump_host(target, jump, settings, jumps)?;
                let via = format!("ssh:{name}");
                let via = Arc::new(open(&via, through, settings, jumps.saturating_sub(1)).await?);
                let channel = via.handle.channel_open_direct_tcpip(
                    host.host.clone(),
                    host.port.into(),
                    "127.0.0.1",
                    0,
                );
                let channel = channel
                    .await
                    .map_err(|error| unreachable(format!("through {name}: {error}")))?;
                let stream = channel.into_stream();
                (
                    client::connect_stream(config, stream, client).await,
                    Some(via),
                )
            }
        };
        let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut handle = match (connected, shown) {
            (_, Some(distrust)) => return Err(distrust.into_error(target)),
            (Err(error), None) => return Err(unreachable(error.to_string())),
            (Ok(handle), None) => handle,
        };
        login(target, host, &mut handle).await?;
        Ok(Connection {
            handle,
            _jump: jump,
        })
    }
    .boxed()
}

fn jump_host<'a>(
    target: &str,
    jump: &'a Jump,
    settings: &'a SshSettings,
    jumps: usize,
) -> Result<(&'a str, &'a Host), TransportError> {
    let none = |reason: String| TransportError::NoSuchTarget {
        target: target.to_owned(),
        reason,
    };
    if jumps == 0 {
        return Err(none(format!("more than {MAX_JUMPS} hosts lie before it")));
    }
    match jump {
        Jump::Host(host) => Ok((host.host.as_str(), host)),
        Jump::Profile(name) => match settings.hosts.get(name) {
            Some(host) => Ok((name.as_str(), host)),
            None => Err(none(format!(
                "the host to go through, {name}, is no profile"
            ))),
        },
    }
}

fn config(host: &Host, verifier: &Verifier) -> client::Config {
    let mut preferred = Preferred {
        // In hardware, and 1.6 times as fast as chacha20.
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
        ]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    };
    // A host that is known by one kind of key is asked for that one first.
    let known = verifier.known_algorithms();
    let mut keys = preferred.key.into_owned();
    keys.sort_by_key(|algorithm| !known.iter().any(|known| known.as_str() == base(algorithm)));
    preferred.key = Cow::Owned(keys);
    client::Config {
        window_size: WINDOW_BYTES,
        channel_buffer_size: CHANNEL_MESSAGES,
        preferred,
        keepalive_interval: Some(host.keepalive),
        keepalive_max: KEEPALIVE_MISSES,
        nodelay: true,
        ..client::Config::default()
    }
}

/// The name under which a key of this algorithm stands in known_hosts.
fn base(algorithm: &russh::keys::Algorithm) -> &str {
    match algorithm {
        russh::keys::Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

/// What russh asks while it connects.
pub(super) struct Client {
    verifier: Verifier,
    /// What is wrong with the key that was shown.
    shown: Arc<Mutex<Option<Distrust>>>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        match self.verifier.judge(&key.public_key()) {
            Ok(()) => Ok(true),
            Err(distrust) => {
                *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(distrust);
                Ok(false)
            }
        }
    }
}
