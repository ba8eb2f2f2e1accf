//! TLS of the server's TCP listeners: its certificate, whose clients' certificates it
//! believes, and the handshake. TLS 1.3 only, by rustls with ring. The files are looked at
//! for each connection and read again when they are others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use execgate_core::ids::Principal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream as ClientStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::identity::certificates;
use crate::identity::watched::Watched;

/// The protocol inside: HTTP/2, as gRPC wants.
const ALPN: &[u8] = b"h2";

/// Which files say who the server is, and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate and those that vouch for it, in PEM, its own first.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM.
    pub key: PathBuf,
    /// Whose clients' certificates are believed.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate may come in, and show something else.
    pub client_certificates: ClientCertificates,
}

/// Whether clients need a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They may have one.
    Optional,
    /// They need one.
    Required,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("use the TLS certificate {certificate}: {problem}")]
pub struct TlsError {
    certificate: String,
    problem: String,
}

/// A handshake that led nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// It took too long.
    #[error("no handshake within {limit:?}")]
    TimedOut {
        /// How long that may be.
        limit: Duration,
    },
    /// It failed.
    #[error(transparent)]
    Failed(#[from] std::io::Error),
}

/// Who showed a certificate.
pub(crate) type Holder = Option<Result<Principal, &'static str>>;

/// The server's side of TLS.
#[derive(Debug)]
pub(crate) struct Tls(Watched<Arc<ServerConfig>>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where they are no good. Later, when they have become so, the last good ones hold.
    pub(crate) fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let certificate = settings.certificate.display().to_string();
        let files = [
            Some(&settings.certificate),
            Some(&settings.key),
            settings.client_ca.as_ref(),
        ];
        let files: Vec<PathBuf> = files.into_iter().flatten().cloned().collect();
        let tls = Self(Watched::new(files, move || server_config(&settings)));
        match tls.0.now() {
            Ok(_good) => Ok(tls),
            Err(problem) => Err(TlsError {
                certificate,
                problem,
            }),
        }
    }

    /// Shakes hands; answers the connection and whose certificate was shown.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Result<(TlsStream<TcpStream>, Holder), HandshakeError> {
        let config = self.0.last_good().ok_or(std::io::ErrorKind::NotFound);
        let config = config.map_err(std::io::Error::from)?;
        let acceptor = TlsAcceptor::from(Arc::clone(config.as_ref()));
        let handshake = tokio::time::timeout(limit, acceptor.accept(stream));
        let stream = handshake
            .await
            .map_err(|_late| HandshakeError::TimedOut { limit })??;
        let shown = stream.get_ref().1.peer_certificates();
        let holder = shown.and_then(<[_]>::first).map(certificates::principal);
        Ok((stream, holder))
    }
}

fn server_config(settings: &TlsSettings) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates_in(&settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|error| format!("{}: {error}", settings.key.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(text)?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(file)?), provider);
            let verifier = match settings.client_certificates {
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
                ClientCertificates::Required => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(text)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(text)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error| format!("{}: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(failed)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(failed)?;
    match found.is_empty() {
        true => Err(format!("{}: it holds no certificate", file.display())),
        false => Ok(found),
    }
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_in(file)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Connects to a server whose certificate is the first of this file, and no other: how a
/// server's own health check knows it, whatever name it is called by.
///
/// # Errors
/// Where that server is not there.
pub(crate) async fn connect_pinned(
    address: std::net::SocketAddr,
    certificate: &Path,
) -> std::io::Result<ClientStream<TcpStream>> {
    let own = certificates_in(certificate).map_err(std::io::Error::other)?;
    let provider = Arc::new(ring::default_provider());
    let pinned = Pinned {
        certificate: own.into_iter().next().ok_or(std::io::ErrorKind::NotFound)?,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::from(address.ip()), stream)
        .await
}

/// Takes one certificate for good.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match *shown == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::General("it shows another certificate".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 was asked for".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let means = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, means)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let means = &self.provider.signature_verification_algorithms;
        means.supported_schemes()
    }
}
