//! Where a request came from, as far as its records tell it.

use serde::{Deserialize, Serialize};

use crate::trace::TraceContext;

/// How a caller showed who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// By a bearer token.
    Token,
    /// By the process at the other end of a Unix socket.
    UnixPeer,
    /// By a client certificate.
    ClientCertificate,
    /// By an API key.
    ApiKey,
    /// By a JSON Web Token.
    Jwt,
    /// A newer server's.
    #[serde(other)]
    Unknown,
}

impl AuthMethod {
    /// The word in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::UnixPeer => "unix_peer",
            Self::ClientCertificate => "client_certificate",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a request came from. Says nothing of what it asks: a repeated request may come
/// another way, in another trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How the caller showed who it is.
    pub auth: Option<AuthMethod>,
    /// Where in a trace it stands.
    pub trace: Option<TraceContext>,
}
