//! TLS: whom to believe, what to show, and why it did not come about.
//!
//! The files are read and tried here, once, so that what is wrong with them is said by name.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::error::Error;

/// Variables for what is not given, of `https://` addresses.
const CA_FILE_VARIABLE: &str = "EXECGATE_CA_FILE";
const CERTIFICATE_FILE_VARIABLE: &str = "EXECGATE_CERTIFICATE_FILE";
const KEY_FILE_VARIABLE: &str = "EXECGATE_KEY_FILE";
const SERVER_NAME_VARIABLE: &str = "EXECGATE_SERVER_NAME";

/// What an alert reads like after it went through HTTP/2, which keeps only its text.
const ALERT: &str = "received fatal alert: ";

/// How a connection is protected. All files are PEM, and read when a client connects.
///
/// ```
/// use execgate_client::Tls;
///
/// let tls = Tls::default()
///     .ca_file("/etc/execgate/ca.pem")
///     .certificate_file("/etc/execgate/agent-7.pem")
///     .key_file("/etc/execgate/agent-7-key.pem");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Tls {
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
}

impl Tls {
    /// Certificates of those whose word for the server is believed. Default: the system's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// The client's own certificate, first of all, and those that vouch for it. Default: it
    /// shows none, and is known by its token.
    pub fn certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.certificate_file = Some(path.into());
        self
    }

    /// The private key of that certificate.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// The name that the server's certificate has to have. Default: the address's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// What the environment says.
    pub(crate) fn find(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            ca_file: set(CA_FILE_VARIABLE).map(PathBuf::from),
            certificate_file: set(CERTIFICATE_FILE_VARIABLE).map(PathBuf::from),
            key_file: set(KEY_FILE_VARIABLE).map(PathBuf::from),
            server_name: set(SERVER_NAME_VARIABLE).map(|name| name.to_string_lossy().into_owned()),
        }
    }

    /// Whether the client shows a certificate.
    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate_file.is_some()
    }

    /// The same for tonic, from files that are good.
    pub(crate) async fn config(&self) -> Result<ClientTlsConfig, Error> {
        let mut config = ClientTlsConfig::new();
        config = match &self.ca_file {
            Some(path) => config.ca_certificate(Certificate::from_pem(certificates(path).await?)),
            None => config.with_native_roots(),
        };
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => {
                let identity =
                    Identity::from_pem(certificates(certificate).await?, read(key).await?);
                if let Err(why) = PrivateKeyDer::from_pem_slice(read(key).await?.as_slice()) {
                    return Err(unusable(key, format!("it holds no private key: {why}")));
                }
                Ok(config.identity(identity))
            }
            (None, None) => Ok(config),
            (Some(path), None) | (None, Some(path)) => {
                let why = "a certificate and its key come together: certificate_file and key_file";
                Err(unusable(path, why.to_owned()))
            }
        }
    }

    /// The error for a certificate that is not one of its key.
    pub(crate) fn misfit(&self, why: impl fmt::Display) -> Error {
        let given = self.certificate_file.as_ref().or(self.ca_file.as_ref());
        let path = given.cloned().unwrap_or_else(|| "(the system's)".into());
        unusable(&path, why.to_string())
    }
}

async fn certificates(path: &Path) -> Result<Vec<u8>, Error> {
    let pem = read(path).await?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(pem),
        Ok(_none) => Err(unusable(path, "it holds no certificates".to_owned())),
        Err(why) => Err(unusable(path, format!("it holds no certificates: {why}"))),
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let read = tokio::fs::read(path).await;
    read.map_err(|error| unusable(path, error.to_string()))
}

fn unusable(path: &Path, why: String) -> Error {
    let path = path.to_owned();
    Error::InvalidCertificate { path, why }
}

/// Somebody answers at the address, but not as the client's TLS settings want it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsError {
    /// The address.
    pub address: String,
    /// Why, for programs.
    pub reason: TlsErrorReason,
    /// Why, in the words of who noticed.
    pub detail: String,
}

/// Why TLS does not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsErrorReason {
    /// Nobody that is believed vouches for the server's certificate.
    UnknownAuthority,
    /// The server's certificate is of another name.
    WrongName,
    /// The server's certificate is no longer valid, or not yet.
    Expired,
    /// The server lets nobody in without a certificate.
    CertificateRequired,
    /// The server refuses the client's certificate.
    CertificateRefused,
    /// The server speaks TLS, and the client does not.
    Expected,
    /// The client speaks TLS, and the server does not.
    NotSpoken,
    /// Something else; the detail says what.
    Failed,
}

impl TlsErrorReason {
    /// Its name, the same in every client: `TLS_WRONG_NAME`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "TLS_UNKNOWN_AUTHORITY",
            Self::WrongName => "TLS_WRONG_NAME",
            Self::Expired => "TLS_EXPIRED",
            Self::CertificateRequired => "TLS_CERTIFICATE_REQUIRED",
            Self::CertificateRefused => "TLS_CERTIFICATE_REFUSED",
            Self::Expected => "TLS_EXPECTED",
            Self::NotSpoken => "TLS_NOT_SPOKEN",
            Self::Failed => "TLS_FAILED",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn suggestion(self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownAuthority => {
                "Tls::ca_file or EXECGATE_CA_FILE names the file with the certificate of the \
                 authority that signed the server's"
            }
            Self::WrongName => {
                "use the name that is in the server's certificate as the address, or give it as \
                 Tls::server_name"
            }
            Self::Expired => {
                "have the server's certificate renewed, and check this machine's clock"
            }
            Self::CertificateRequired => {
                "give Tls::certificate_file and Tls::key_file, or EXECGATE_CERTIFICATE_FILE and \
                 EXECGATE_KEY_FILE"
            }
            Self::CertificateRefused => {
                "use a certificate that is valid today and signed by an authority that the \
                 server believes (its client_ca)"
            }
            Self::Expected => "use https:// before the address",
            Self::NotSpoken => "use http:// where that is safe, or give the server a [tls] section",
            Self::Failed => return None,
        })
    }

    fn what(self) -> &'static str {
        match self {
            Self::UnknownAuthority => {
                "nobody that is believed vouches for the server's certificate"
            }
            Self::WrongName => "the server's certificate is of another name",
            Self::Expired => "the server's certificate is not valid now",
            Self::CertificateRequired => "the server lets nobody in without a certificate",
            Self::CertificateRefused => "the server refuses the client's certificate",
            Self::Expected => "the server speaks TLS, and the client does not",
            Self::NotSpoken => "the server does not speak TLS",
            Self::Failed => "no TLS handshake",
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connect to {}: {}", self.address, self.reason.what())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        match self.reason.suggestion() {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

impl StdError for TlsError {}

/// What is wrong with TLS, if that is at the root of a failure.
pub(crate) fn problem_of(failure: &(dyn StdError + 'static)) -> Option<(TlsErrorReason, String)> {
    let mut next = Some(failure);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some((reason_of(tls), tls.to_string()));
        }
        // An io::Error passes over what it holds.
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(found) = held.and_then(|held| problem_of(held)) {
            return Some(found);
        }
        // What the server thinks of a client's certificate comes when HTTP/2 has begun.
        if error.source().is_none()
            && let Some((_, alert)) = error.to_string().split_once(ALERT)
        {
            return Some((reason_of_alert(alert), format!("it says {alert}")));
        }
        next = error.source();
    }
    None
}

fn reason_of(error: &rustls::Error) -> TlsErrorReason {
    use CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. },
        ) => TlsErrorReason::Expired,
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => TlsErrorReason::WrongName,
        rustls::Error::InvalidCertificate(_) => TlsErrorReason::UnknownAuthority,
        rustls::Error::InvalidMessage(_) => TlsErrorReason::NotSpoken,
        rustls::Error::AlertReceived(alert) => reason_of_alert(&format!("{alert:?}")),
        _ => TlsErrorReason::Failed,
    }
}

fn reason_of_alert(alert: &str) -> TlsErrorReason {
    use AlertDescription as Alert;
    let is = |known: &Alert| format!("{known:?}") == alert;
    let refusals = [
        Alert::AccessDenied,
        Alert::BadCertificate,
        Alert::CertificateExpired,
        Alert::CertificateRevoked,
        Alert::CertificateUnknown,
        Alert::DecryptError,
        Alert::UnknownCA,
        Alert::UnsupportedCertificate,
    ];
    if is(&Alert::CertificateRequired) {
        TlsErrorReason::CertificateRequired
    } else if refusals.iter().any(is) {
        TlsErrorReason::CertificateRefused
    } else {
        TlsErrorReason::Failed
    }
}
