//! Who may call: what a caller shows is turned into a principal here, or into why not. No
//! gRPC and no sockets; the gate (`grpc/auth`) asks, and records what was refused.
//!
//! ```text
//! bearer  egk_…        ─► api_keys      the operator's keys, by name, hashed and expiring
//!         a.b.c        ─► jwt           issuer, audience, times, a listed algorithm
//!         anything else ─► the token    from this machine only
//! client certificate   ─► certificates  the name that a listed authority vouches for
//! ```
//!
//! Names cannot meet by accident: a key's has no colon, those of certificates and tokens of
//! an issuer begin with where they come from.

pub mod api_keys;
pub(crate) mod certificates;
mod grants;
mod jwt;
mod signatures;
pub(crate) mod watched;

use std::path::PathBuf;
use std::time::SystemTime;

use execgate_core::audit::AuthMethod;
use execgate_core::ids::Principal;

use self::api_keys::{ApiKeys, KEY_PREFIX};
pub use self::grants::Grants;
use self::jwt::Jwt;
pub use self::jwt::{JwtError, JwtSettings, SignatureAlgorithm};
use crate::token::Token;

/// The principal of the server's own token and of its socket: the same human.
pub(crate) const LOCAL_PRINCIPAL: &str = "local";

/// Longest name of a principal, in bytes: more than any SPIFFE id in use, and little enough
/// for every record.
pub(crate) const MAX_PRINCIPAL_BYTES: usize = 256;

/// What makes a caller known.
#[derive(Debug)]
pub struct Identity {
    token: Token,
    keys: ApiKeys,
    jwt: Option<Jwt>,
}

/// Where a bearer comes from, as far as that decides what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// From this machine.
    Loopback,
    /// From anywhere.
    Remote,
}

impl Identity {
    /// What a server with this token, these keys and this issuer knows.
    ///
    /// # Errors
    /// Where the issuer's keys cannot be read.
    pub fn new(
        token: Token,
        keys_file: PathBuf,
        jwt: Option<JwtSettings>,
    ) -> Result<Self, JwtError> {
        Ok(Self {
            token,
            keys: ApiKeys::new(keys_file),
            jwt: jwt.map(Jwt::load).transpose()?,
        })
    }

    /// Whose bearer this is.
    ///
    /// # Errors
    /// Why it is nobody's, in words that tell a caller nothing about others.
    pub fn bearer(
        &self,
        bearer: &str,
        distance: Distance,
        now: SystemTime,
    ) -> Result<(Principal, AuthMethod), &'static str> {
        if bearer.starts_with(KEY_PREFIX) {
            let owner = self.keys.owner(bearer, now)?;
            return Ok((Principal::new(owner), AuthMethod::ApiKey));
        }
        if let Some(jwt) = self.jwt.as_ref().filter(|_| bearer.contains('.')) {
            return Ok((Principal::new(jwt.subject(bearer)?), AuthMethod::Jwt));
        }
        match (self.token.matches(bearer.as_bytes()), distance) {
            (true, Distance::Loopback) => Ok((Principal::new(LOCAL_PRINCIPAL), AuthMethod::Token)),
            (true, Distance::Remote) => {
                Err("the server's own token is for callers on its machine: use an API key")
            }
            (false, _) => Err("the bearer token is not this server's"),
        }
    }
}

/// Whether a text may name a principal: printable, without blanks, and not too long.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_PRINCIPAL_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;

    #[test]
    fn the_servers_own_token_is_for_its_machine_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("data")).unwrap();
        let token = Token::load_or_create(&dir).unwrap();
        let text = token.expose().to_owned();
        let identity = Identity::new(token, root.path().join("keys"), None).unwrap();
        let ask = |bearer: &str, distance| {
            identity
                .bearer(bearer, distance, SystemTime::now())
                .map(|(principal, method)| (principal.to_string(), method))
        };
        let local = ("local".to_owned(), AuthMethod::Token);
        assert_eq!(ask(&text, Distance::Loopback), Ok(local));
        assert!(
            ask(&text, Distance::Remote)
                .unwrap_err()
                .contains("API key")
        );
        let wrong = Err("the bearer token is not this server's");
        for bearer in ["", "0", "a.b.c"] {
            assert_eq!(ask(bearer, Distance::Loopback), wrong, "{bearer}");
        }
    }
}
