//! Making a connection: finding the server, showing the token, tuning the transport.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tonic::codegen::http::HeaderValue;
use tonic::transport::{Channel, Endpoint};

use crate::address::{Address, Protection};
use crate::client::{Client, Peer};
use crate::error::{Error, innermost};
use crate::introduce::Introduce;
use crate::resume::Resume;
use crate::retry::RetryPolicy;
use crate::tls::{self, Tls, TlsError};
use crate::token::{Bearer, BoxError, Place, Token};
use crate::trace::{TraceHeaders, TraceSource};

/// Longest wait for a connection: a server that is there answers in milliseconds,
/// one that is far in a second or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// HTTP/2 flow-control window of one stream in bytes: room for a few dozen of the
/// largest output events, so that a fast command is not slowed by round trips.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// HTTP/2 flow-control window of the connection in bytes: four streams at full
/// speed.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Largest HTTP/2 frame taken, in bytes: one output event of 64 KiB and its
/// envelope fit whole, with room to spare.
const FRAME_BYTES: u32 = 256 * 1024;

/// Time between HTTP/2 pings while a call is open: notices a peer that vanished.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Longest wait for the answer to a ping before the connection counts as broken.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to be made.
#[derive(Default)]
#[must_use = "nothing is connected before `connect`"]
pub struct ClientBuilder {
    address: Option<String>,
    token: TokenChoice,
    tls: Option<Tls>,
    resume: Resume,
    retry: RetryPolicy,
    trace: Option<TraceSource>,
    plaintext_token: PlaintextToken,
    owner: Option<String>,
}

/// Which token the caller wants to be shown.
#[derive(Default)]
enum TokenChoice {
    /// The one that is found.
    #[default]
    Found,
    Text(String),
    File(PathBuf),
    Bearer(Bearer),
}

/// Whether a token may go to another machine without TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PlaintextToken {
    #[default]
    Refused,
    Allowed,
}

impl ClientBuilder {
    /// Where the server is: `HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`.
    ///
    /// Default: `EXECGATE_ADDR`, else `127.0.0.1:7443`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The bearer token to show: the server's own, an API key, or a JSON Web Token.
    ///
    /// Default: `EXECGATE_TOKEN`, else what is in the file that `EXECGATE_TOKEN_FILE` names;
    /// else, for a server on this machine, the file `token` in `EXECGATE_DATA_DIR` or the
    /// server's default data directory; else none, which is enough on a Unix socket and with a
    /// certificate.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = TokenChoice::Text(token.into());
        self
    }

    /// A file with the token instead, which is read again when it changes.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = TokenChoice::File(path.into());
        self
    }

    /// A function instead that is asked for the token at each call: for those that expire.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), execgate_client::Error> {
    /// # async fn fetch() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// use execgate_client::Client;
    ///
    /// let builder = Client::builder().token_source(|| async { fetch().await });
    /// # Ok(())
    /// # }
    /// ```
    pub fn token_source<S, F, E>(mut self, source: S) -> Self
    where
        S: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let ask = Arc::new(move || source().map(|token| token.map_err(E::into)).boxed());
        self.token = TokenChoice::Bearer(Bearer::Asked(ask));
        self
    }

    /// Lets a token go to another machine without TLS, for everybody on the way to read.
    pub fn insecure_plaintext_token(mut self) -> Self {
        self.plaintext_token = PlaintextToken::Allowed;
        self
    }

    /// Whose sessions and checkpoints are meant, by the name of their principal, for observers and
    /// operators; `*` in [`Client::sessions`]: everybody's. Default: one's own.
    pub fn owner(mut self, principal: impl Into<String>) -> Self {
        self.owner = Some(principal.into());
        self
    }

    /// Whom to believe and what to show, where the address is `https://` or has no scheme.
    ///
    /// Default: `EXECGATE_CA_FILE`, `EXECGATE_CERTIFICATE_FILE`, `EXECGATE_KEY_FILE` and
    /// `EXECGATE_SERVER_NAME`, else the system's authorities and no certificate.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How calls are repeated that failed in a way that passes, where a repeat is harmless.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// What its commands do when the connection breaks, where they do not say it
    /// themselves. Default: a minute of attempts.
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
        self
    }

    /// In which trace its calls are: `source` is asked at each of them. The server puts its
    /// spans below the one that it names, and tells commands (`TRACEPARENT`).
    ///
    /// With OpenTelemetry (`opentelemetry` 0.33) the source is its propagator:
    ///
    /// ```text
    /// let builder = Client::builder().trace(|| {
    ///     let mut headers = HashMap::new();
    ///     TraceContextPropagator::new().inject_context(&Context::current(), &mut headers);
    ///     Some(TraceHeaders {
    ///         traceparent: headers.remove("traceparent")?,
    ///         tracestate: headers.remove("tracestate").unwrap_or_default(),
    ///     })
    /// });
    /// ```
    pub fn trace(
        mut self,
        source: impl Fn() -> Option<TraceHeaders> + Send + Sync + 'static,
    ) -> Self {
        self.trace = Some(TraceSource::new(source));
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// When the address, token or a certificate is unusable, nobody answers, or TLS does not
    /// come about.
    pub async fn connect(self) -> Result<Client, Error> {
        let protection = match self.tls {
            Some(_) => Protection::Demanded,
            None => Protection::AsAddressed,
        };
        let variable = |name: &str| std::env::var_os(name);
        let address = Address::find(self.address.as_deref(), variable, protection)?;
        let tls = self.tls.unwrap_or_else(|| Tls::find(variable));
        let tls = address.is_protected().then_some(tls);
        let bearer = self.token.find(&address, tls.as_ref())?;
        if bearer.is_some() && self.plaintext_token == PlaintextToken::Refused {
            refuse_plaintext(&address)?;
        }
        let owner = self.owner.map(|name| owner_header(&name)).transpose()?;
        let channel = open(&address, tls.as_ref()).await?;
        let service = Introduce::new(channel, bearer, owner, self.trace);
        let peer = Peer::new(&address);
        Ok(Client::new(service, peer, self.resume, self.retry))
    }
}

impl TokenChoice {
    /// The token to show: the one that is asked for, else one that is found.
    fn find(self, address: &Address, tls: Option<&Tls>) -> Result<Option<Bearer>, Error> {
        match self {
            Self::Text(text) => Ok(Some(Bearer::Fixed(Token::new(&text)?))),
            Self::File(path) => Bearer::in_file(path).map(Some),
            Self::Bearer(bearer) => Ok(Some(bearer)),
            Self::Found => {
                // The token would stand in front of the certificate.
                let certified = tls.is_some_and(Tls::has_certificate);
                let place = match address.is_local() && !certified {
                    true => Place::LocalServer,
                    false => Place::Elsewhere,
                };
                Bearer::find(|name| std::env::var_os(name), place)
            }
        }
    }
}

fn owner_header(principal: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(principal).map_err(|_| Error::InvalidOwner {
        owner: principal.to_owned(),
    })
}

fn refuse_plaintext(address: &Address) -> Result<(), Error> {
    match address.is_local() || address.is_protected() {
        true => Ok(()),
        false => Err(Error::PlaintextToken {
            address: address.uri().to_owned(),
        }),
    }
}

async fn open(address: &Address, tls: Option<&Tls>) -> Result<Channel, Error> {
    let failed = |source: tonic::transport::Error| match tls::problem_of(&source) {
        Some((reason, detail)) => Error::Tls(Box::new(TlsError {
            address: address.uri().to_owned(),
            reason,
            detail,
        })),
        None => Error::Connect {
            address: address.uri().to_owned(),
            source: Box::new(source),
        },
    };
    let mut endpoint = tuned(Endpoint::from_shared(address.uri().to_owned()).map_err(failed)?);
    if let Some(tls) = tls {
        let config = tls.config().await?;
        endpoint = endpoint
            .tls_config(config)
            .map_err(|why| tls.misfit(innermost(&why)))?;
    }
    endpoint.connect().await.map_err(failed)
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .field("token", &"<secret>")
            .field("tls", &self.tls)
            .field("owner", &self.owner)
            .field("resume", &self.resume)
            .field("retry", &self.retry)
            .field("trace", &self.trace)
            .finish()
    }
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_at_the_address_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let address = format!("unix:{}", dir.path().join("absent.sock").display());
        let error = Client::connect(&*address).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&address), "{text}");
        assert!(text.contains("No such file"), "{text}");
        assert!(text.contains("execgate serve"), "{text}");
    }

    #[tokio::test]
    async fn token_goes_to_another_machine_only_protected_or_by_the_callers_word() {
        let client = || Client::builder().address("192.0.2.1:1").token("secret");
        let refused = client().connect().await.unwrap_err();
        assert!(
            matches!(refused, Error::PlaintextToken { .. }),
            "{refused:?}"
        );
        let text = refused.to_string();
        assert!(text.contains("insecure_plaintext_token"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn certificates_that_are_none_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let connect = |tls| {
            Client::builder()
                .address("https://127.0.0.1:1")
                .tls(tls)
                .connect()
        };
        for text in [None, Some("no certificate")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = connect(Tls::default().ca_file(&path)).await.unwrap_err();
            assert!(
                matches!(error, Error::InvalidCertificate { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
        let alone = Tls::default().certificate_file(&path);
        let error = connect(alone).await.unwrap_err();
        assert!(error.to_string().contains("key_file"), "{error}");
    }

    #[test]
    fn token_never_shows_in_debug_output() {
        let builder = Client::builder().token("0123456789");
        assert!(!format!("{builder:?}").contains("0123456789"));
    }
}
