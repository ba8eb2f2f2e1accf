//! Where the server is: parsing an address, and the default one.
//!
//! Reads no environment by itself: a lookup function is handed in, so that tests
//! need not change the process's own.

use std::ffi::OsString;
use std::net::IpAddr;

use crate::error::Error;

/// Variable that holds the address when the caller gives none.
const ADDRESS_VARIABLE: &str = "EXECGATE_ADDR";

/// Address when nobody gives one: the server's own default listener.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7443";

/// What is told of an address that is none.
const EXPECTED: &str = "expected HOST:PORT, https://HOST:PORT or unix:/PATH";

/// Whether the caller asks for TLS by something else than the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// The address says it.
    AsAddressed,
    /// It has to be.
    Demanded,
}

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://HOST:PORT`.
    Http { uri: String, loopback: bool },
    /// `https://HOST:PORT`.
    Https { uri: String, loopback: bool },
    /// `unix:PATH`.
    Unix { uri: String },
}

impl Address {
    /// The address to use: the given one, else the environment's, else the default.
    pub(crate) fn find(
        given: Option<&str>,
        variable: impl Fn(&str) -> Option<OsString>,
        protection: Protection,
    ) -> Result<Self, Error> {
        if let Some(text) = given {
            return Self::parse(text, protection);
        }
        match variable(ADDRESS_VARIABLE).filter(|value| !value.is_empty()) {
            Some(value) => Self::parse(&value.to_string_lossy(), protection),
            None => Self::parse(DEFAULT_ADDRESS, protection),
        }
    }

    /// Reads `HOST:PORT`, `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`.
    pub(crate) fn parse(text: &str, protection: Protection) -> Result<Self, Error> {
        let invalid = |reason: &'static str| Error::InvalidAddress {
            address: text.to_owned(),
            reason,
        };
        if let Some(rest) = text.strip_prefix("unix:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return match (path.starts_with('/'), protection) {
                (_, Protection::Demanded) => Err(invalid("a Unix socket has no TLS")),
                (false, _) => Err(invalid("the path of a socket must be absolute")),
                (true, _) => Ok(Self::Unix {
                    uri: format!("unix:{path}"),
                }),
            };
        }
        let (protected, authority) = match (text.split_once("://"), protection) {
            (Some(("https", rest)), _) => (true, rest),
            (Some(("http", _)), Protection::Demanded) => {
                return Err(invalid(
                    "TLS was asked for, and http:// is without it: use https://",
                ));
            }
            (Some(("http", rest)), _) => (false, rest),
            (Some(_), _) => return Err(invalid(EXPECTED)),
            (None, protection) => (protection == Protection::Demanded, text),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let Some((host, port)) = authority.rsplit_once(':') else {
            return Err(invalid("the port is missing"));
        };
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(invalid(EXPECTED));
        }
        if port.parse::<u16>().is_err() {
            return Err(invalid("the port is not a number up to 65535"));
        }
        let loopback = is_loopback(host);
        Ok(match protected {
            true => Self::Https {
                uri: format!("https://{authority}"),
                loopback,
            },
            false => Self::Http {
                uri: format!("http://{authority}"),
                loopback,
            },
        })
    }

    /// The address as tonic reads it.
    pub(crate) fn uri(&self) -> &str {
        match self {
            Self::Http { uri, .. } | Self::Https { uri, .. } | Self::Unix { uri } => uri,
        }
    }

    /// Whether what is sent there stays on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Http { loopback, .. } | Self::Https { loopback, .. } => *loopback,
            Self::Unix { .. } => true,
        }
    }

    /// Whether TLS protects it.
    pub(crate) fn is_protected(&self) -> bool {
        matches!(self, Self::Https { .. })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(uri: &str, loopback: bool) -> Option<Address> {
        let uri = uri.to_owned();
        Some(Address::Http { uri, loopback })
    }

    fn https(uri: &str, loopback: bool) -> Option<Address> {
        let uri = uri.to_owned();
        Some(Address::Https { uri, loopback })
    }

    fn unix(uri: &str) -> Option<Address> {
        Some(Address::Unix {
            uri: uri.to_owned(),
        })
    }

    #[test]
    fn addresses_parse_or_are_refused() {
        let cases = [
            ("127.0.0.1:7443", http("http://127.0.0.1:7443", true)),
            (
                "http://127.0.0.1:7443/",
                http("http://127.0.0.1:7443", true),
            ),
            ("localhost:1", http("http://localhost:1", true)),
            ("[::1]:7443", http("http://[::1]:7443", true)),
            ("gate.example:80", http("http://gate.example:80", false)),
            (
                "localhost.example:80",
                http("http://localhost.example:80", false),
            ),
            ("unix:/run/e.sock", unix("unix:/run/e.sock")),
            ("unix:///run/e.sock", unix("unix:/run/e.sock")),
            ("unix:e.sock", None),
            (
                "https://gate.example:443/",
                https("https://gate.example:443", false),
            ),
            ("https://[::1]:1", https("https://[::1]:1", true)),
            ("https://gate.example", None),
            ("gate.example", None),
            (":7443", None),
            ("gate.example:port", None),
            ("gate.example:70000", None),
            ("user@gate.example:80", None),
            ("ftp://gate.example:80", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = Address::parse(text, Protection::AsAddressed);
            assert_eq!(found.ok(), expected, "{text}");
        }
    }

    #[test]
    fn tls_that_is_demanded_is_had_or_refused() {
        let cases = [
            ("gate.example:443", https("https://gate.example:443", false)),
            ("https://[::1]:1", https("https://[::1]:1", true)),
            ("http://gate.example:80", None),
            ("unix:/run/e.sock", None),
        ];
        for (text, expected) in cases {
            let found = Address::parse(text, Protection::Demanded);
            assert_eq!(found.ok(), expected, "{text}");
        }
    }

    #[test]
    fn given_address_beats_environment_beats_default() {
        let set = |name: &str| (name == "EXECGATE_ADDR").then(|| OsString::from("[::1]:9"));
        let empty = |_: &str| Some(OsString::new());
        let unset = |_: &str| None;
        let found = [
            Address::find(Some("127.0.0.1:8"), set, Protection::AsAddressed),
            Address::find(None, set, Protection::AsAddressed),
            Address::find(None, empty, Protection::AsAddressed),
            Address::find(None, unset, Protection::AsAddressed),
        ];
        let uris = found.map(|address| address.unwrap().uri().to_owned());
        assert_eq!(
            uris,
            [
                "http://127.0.0.1:8",
                "http://[::1]:9",
                "http://127.0.0.1:7443",
                "http://127.0.0.1:7443"
            ]
        );
    }
}
