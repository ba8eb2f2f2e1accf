//! `[connections]`: how many there may be, how long, and what one may do.

use std::num::{NonZeroU32, NonZeroUsize};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::duration::{HumanDuration, Lifetime};

/// Most bytes of a request: more in one piece would have to be held at once.
const MAX_REQUEST_BYTES: u32 = 64 * 1024 * 1024;

/// `[connections]`: bounds on connections and on what comes through them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// At once; more are closed when they come.
    pub max: NonZeroUsize,
    /// At once from one address; Unix sockets have none.
    pub max_per_peer: NonZeroUsize,
    /// Calls at once on one connection.
    pub max_streams: NonZeroU32,
    /// Bytes of a request.
    pub max_request_bytes: NonZeroU32,
    /// Bytes of a call's headers.
    pub max_header_bytes: NonZeroU32,
    /// How long TLS, and then the first bytes of HTTP/2, may take.
    pub handshake_timeout: HumanDuration,
    /// After this a connection takes no new calls (GOAWAY): the client opens another one.
    pub max_age: Lifetime,
    /// How much longer its calls may last; it is cut then.
    pub max_age_grace: Lifetime,
    /// Silence after which a connection is asked whether it is still there.
    pub keep_alive: HumanDuration,
    /// How long it may take to answer.
    pub keep_alive_timeout: HumanDuration,
    /// Calls that were cancelled before the server came to them, on one connection (HTTP/2
    /// rapid reset).
    pub max_pending_resets: NonZeroUsize,
    /// Calls of one connection that the server reset for breaking the protocol.
    pub max_local_resets: NonZeroUsize,
    /// Calls from one address, in a minute, whose caller cannot be told; more are told to wait.
    pub failed_authentications_per_minute: NonZeroU32,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            // With those of all sessions, some five each, within the 1024 descriptors that
            // systems give.
            max: const { NonZeroUsize::new(384).unwrap() },
            max_per_peer: const { NonZeroUsize::new(256).unwrap() },
            // Every session of a principal, and then some.
            max_streams: const { NonZeroU32::new(1024).unwrap() },
            // A script of the largest size and all that goes with it.
            max_request_bytes: const { NonZeroU32::new(4 * 1024 * 1024).unwrap() },
            max_header_bytes: const { NonZeroU32::new(16 * 1024).unwrap() },
            handshake_timeout: HumanDuration::from_secs(10),
            max_age: Lifetime::Limited(HumanDuration::from_secs(24 * 60 * 60)),
            max_age_grace: Lifetime::Limited(HumanDuration::from_secs(24 * 60 * 60)),
            keep_alive: HumanDuration::from_secs(30),
            keep_alive_timeout: HumanDuration::from_secs(20),
            // What the HTTP/2 library has by itself.
            max_pending_resets: const { NonZeroUsize::new(20).unwrap() },
            max_local_resets: const { NonZeroUsize::new(1024).unwrap() },
            failed_authentications_per_minute: const { NonZeroU32::new(60).unwrap() },
        }
    }
}

impl Connections {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let bytes = self.max_request_bytes.get();
        if bytes <= MAX_REQUEST_BYTES {
            return Ok(());
        }
        Err(ConfigError::Value {
            key: "connections.max_request_bytes",
            problem: format!("{bytes} is more than {MAX_REQUEST_BYTES}"),
        })
    }
}
