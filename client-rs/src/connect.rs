//! Making a connection: finding the server, showing the token, tuning the transport.

use std::fmt;
use std::time::Duration;

use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::address::Address;
use crate::client::Client;
use crate::error::Error;
use crate::resume::Resume;
use crate::token::Token;
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

pub(crate) type Service = InterceptedService<Channel, Introduce>;

/// A connection to be made.
#[derive(Default)]
#[must_use = "nothing is connected before `connect`"]
pub struct ClientBuilder {
    address: Option<String>,
    token: Option<String>,
    resume: Resume,
    trace: Option<TraceSource>,
}

impl ClientBuilder {
    /// Where the server is: `HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`.
    ///
    /// Default: `EXECGATE_ADDR`, else `127.0.0.1:7443`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The bearer token to show.
    ///
    /// Default: `EXECGATE_TOKEN`; else, for a server on this machine, the file
    /// `token` in `EXECGATE_DATA_DIR` or the server's default data directory; else
    /// none, which is enough on a Unix socket.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
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
    /// When the address or token is unusable, or nobody answers.
    pub async fn connect(self) -> Result<Client, Error> {
        let address = Address::find(self.address.as_deref(), |name| std::env::var_os(name))?;
        let token = match &self.token {
            Some(text) => Some(Token::new(text)?),
            None => Token::find(|name| std::env::var_os(name), address.is_local())?,
        };
        let trace = self.trace;
        let failed = |source| Error::Connect {
            address: address.uri().to_owned(),
            source: Box::new(source),
        };
        let endpoint = Endpoint::from_shared(address.uri().to_owned()).map_err(failed)?;
        let channel = tuned(endpoint).connect().await.map_err(failed)?;
        let service = InterceptedService::new(channel, Introduce { token, trace });
        Ok(Client::new(service, address.uri(), self.resume))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .field("token", &self.token.as_ref().map(|_| "<secret>"))
            .field("resume", &self.resume)
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

/// Says with every call who calls, and in which trace.
#[derive(Debug, Clone)]
pub(crate) struct Introduce {
    token: Option<Token>,
    trace: Option<TraceSource>,
}

impl Interceptor for Introduce {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.header());
        }
        if let Some(trace) = &self.trace {
            trace.add_to(request.metadata_mut());
        }
        Ok(request)
    }
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

    #[test]
    fn token_never_shows_in_debug_output() {
        let builder = Client::builder().token("0123456789");
        assert!(!format!("{builder:?}").contains("0123456789"));
    }
}
