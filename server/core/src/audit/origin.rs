//! Where a request came from, as far as its records tell it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Hex digits of a trace id.
const TRACE_ID_DIGITS: usize = 32;

/// How a caller showed who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// By a bearer token.
    Token,
    /// By the process at the other end of a Unix socket.
    UnixPeer,
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
            Self::Unknown => "unknown",
        }
    }
}

/// A W3C trace id: 32 lower-case hex digits, not all zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(String);

impl TraceId {
    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let valid = text.len() == TRACE_ID_DIGITS
            && text.bytes().all(hex)
            && text.bytes().any(|byte| byte != b'0');
        valid.then(|| Self(text.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a request came from. Says nothing of what it asks: a repeated request may come
/// another way, in another trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How the caller showed who it is.
    pub auth: Option<AuthMethod>,
    /// The trace that it belongs to.
    pub trace: Option<TraceId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_32_digits_that_are_not_all_zero() {
        let good = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(TraceId::parse(good).unwrap().as_str(), good);
        let zeros = "0".repeat(32);
        for bad in ["", "0af7", &good.to_uppercase(), &zeros, &good[1..]] {
            assert_eq!(TraceId::parse(bad), None, "{bad}");
        }
    }
}
