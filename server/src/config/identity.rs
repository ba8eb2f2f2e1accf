//! `[tls]` and `[identity]`: how the server shows who it is, and what callers may show. Files
//! are named here and read by whoever uses them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::identity::{JwtSettings, SignatureAlgorithm};
use crate::tls::{ClientCertificates, TlsSettings};

/// `[tls]`: every TCP listener speaks TLS 1.3, and only that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate and those that vouch for it, in PEM, its own first. Read
    /// again when it is another, as are the files below.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM.
    pub key: PathBuf,
    /// Certificates, in PEM, that may vouch for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate may show something else.
    #[serde(default)]
    pub client_certificates: ClientCertificatesWord,
}

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificatesWord {
    /// They may have one.
    #[default]
    Optional,
    /// They need one.
    Required,
}

impl Tls {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match (self.client_certificates, &self.client_ca) {
            (ClientCertificatesWord::Required, None) => Err(ConfigError::Value {
                key: "tls.client_certificates",
                problem: "required, but without `tls.client_ca` none would be believed".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The same for whoever shakes hands.
    #[must_use]
    pub fn settings(&self) -> TlsSettings {
        TlsSettings {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: self.client_ca.clone(),
            client_certificates: match self.client_certificates {
                ClientCertificatesWord::Optional => ClientCertificates::Optional,
                ClientCertificatesWord::Required => ClientCertificates::Required,
            },
        }
    }
}

/// `[identity]`: who callers may be, beside the holder of the server's own token and those
/// of API keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Whose JSON Web Tokens are taken; nobody's, where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
}

/// `[identity.jwt]`: one issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or hold.
    pub audience: String,
    /// The issuer's public keys (JWKS); read again when it is another file.
    pub jwks_file: PathBuf,
    /// What tokens may be signed with.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// What stands before `sub` in the name of a principal.
    #[serde(default = "default_prefix")]
    pub prefix: String,
}

fn default_prefix() -> String {
    "jwt:".to_owned()
}

impl Identity {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let Some(jwt) = &self.jwt else { return Ok(()) };
        let problem = if jwt.issuer.is_empty() || jwt.audience.is_empty() {
            "`issuer` and `audience` cannot be empty: another server's tokens would be taken"
        } else if jwt.algorithms.is_empty() {
            "`algorithms` names none"
        } else if !jwt.prefix.contains(':') || jwt.prefix.starts_with("dns:") {
            "`prefix` holds no colon, or is that of certificates: a subject could be somebody else's name"
        } else {
            return Ok(());
        };
        Err(ConfigError::Value {
            key: "identity.jwt",
            problem: problem.to_owned(),
        })
    }

    /// The issuer for whoever checks tokens.
    #[must_use]
    pub fn jwt_settings(&self) -> Option<JwtSettings> {
        self.jwt.as_ref().map(|jwt| JwtSettings {
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            keys_file: jwt.jwks_file.clone(),
            algorithms: jwt.algorithms.clone(),
            prefix: jwt.prefix.clone(),
        })
    }
}
