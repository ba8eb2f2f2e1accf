//! Addresses to listen on: `IP:PORT`, `[IPV6]:PORT` or `unix:PATH`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The port a server listens on by default.
pub const DEFAULT_TCP_PORT: u16 = 7443;
/// Bytes of a socket's path: `sun_path` holds 108, the last of them zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// What a socket's address begins with.
const UNIX_PREFIX: &str = "unix:";

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ListenAddress {
    /// TCP; beyond loopback only with TLS.
    Tcp(SocketAddr),
    /// A Unix socket, by absolute path.
    Unix(PathBuf),
}

impl ListenAddress {
    /// `127.0.0.1:7443`.
    #[must_use]
    pub const fn default_tcp() -> Self {
        Self::Tcp(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            DEFAULT_TCP_PORT,
        ))
    }

    /// Whether callers from other machines can reach it.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }

    /// A socket at `path`.
    pub(super) fn unix(path: PathBuf) -> Result<Self, String> {
        let path = std::path::absolute(&path)
            .map_err(|error| format!("`{}` is no path for a socket: {error}", path.display()))?;
        if path.to_str().is_none() {
            return Err(format!("`{}` is not UTF-8", path.display()));
        }
        let bytes = path.as_os_str().len();
        if bytes > MAX_SOCKET_PATH_BYTES {
            let path = path.display();
            return Err(format!(
                "`{path}` has {bytes} bytes, and a socket's path has {MAX_SOCKET_PATH_BYTES} at most"
            ));
        }
        Ok(Self::Unix(path))
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            let path = Path::new(path);
            return match path.file_name() {
                Some(_) => Self::unix(path.to_owned()),
                None => Err(format!("`{text}` names no socket")),
            };
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("`{text}` is neither `127.0.0.1:PORT` nor `unix:PATH`"))?;
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_read_and_print_the_same() {
        for text in [
            "127.0.0.1:7443",
            "127.0.0.2:0",
            "[::1]:80",
            "unix:/run/execgate.sock",
        ] {
            assert_eq!(
                text.parse::<ListenAddress>().map(|it| it.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn addresses_that_others_can_reach_are_known() {
        let is_remote = |text: &str| text.parse::<ListenAddress>().unwrap().is_remote();
        for text in [
            "0.0.0.0:7443",
            "192.168.1.1:1",
            "[::]:7443",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_remote(text), "{text}");
        }
        for text in ["127.0.0.1:1", "[::1]:1", "unix:/run/x"] {
            assert!(!is_remote(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "localhost:7443",
            "127.0.0.1",
            "unix:",
            "unix:/",
            "127.0.0.1:99999",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        assert!(
            format!("unix:/{}", "x".repeat(108))
                .parse::<ListenAddress>()
                .is_err()
        );
    }
}
