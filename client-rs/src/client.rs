//! A client: one connection, and what is asked of the server as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use execgate_proto::MAX_MESSAGE_BYTES;
use execgate_proto::v1;
use execgate_proto::v1::audit_service_client::AuditServiceClient;
use execgate_proto::v1::checkpoint_service_client::CheckpointServiceClient;
use execgate_proto::v1::exec_service_client::ExecServiceClient;
use execgate_proto::v1::session_service_client::SessionServiceClient;
use futures::Stream;

use crate::address::Address;
use crate::calls::Ask;
use crate::connect::ClientBuilder;
use crate::error::{Call, Error};
use crate::introduce::Introduce;
use crate::pages::{Page, pages};
use crate::probe::speaks_tls;
use crate::resume::{Attempts, Resume};
use crate::retry::{Repeat, RetryPolicy, Setback, Tries, random};
use crate::session::Session;
use crate::session_builder::SessionBuilder;
use crate::tls::{TlsError, TlsErrorReason};

/// How often a server that breaks off the first connection is asked whether that is about the
/// client's certificate.
const CERTIFICATE_ATTEMPTS: u32 = 5;

/// A connection to a server. Cheap to clone; clones share the connection, and it
/// comes back by itself after a break.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) sessions: SessionServiceClient<Introduce>,
    pub(crate) executions: ExecServiceClient<Introduce>,
    pub(crate) checkpoints: CheckpointServiceClient<Introduce>,
    pub(crate) audit: AuditServiceClient<Introduce>,
    peer: Arc<Peer>,
    pub(crate) resume: Resume,
    pub(crate) retry: RetryPolicy,
}

/// Who is at the other end, as far as that is known.
#[derive(Debug)]
pub(crate) struct Peer {
    address: Arc<str>,
    place: PeerPlace,
    /// Whether it has answered as a server does.
    known: AtomicBool,
}

/// What a failure to connect may be about.
#[derive(Debug)]
enum PeerPlace {
    /// `HOST:PORT`, without TLS, which somebody there may expect.
    Plain(String),
    /// With TLS.
    Protected,
    /// A Unix socket.
    Socket,
}

impl Peer {
    pub(crate) fn new(address: &Address) -> Self {
        Self {
            address: address.uri().into(),
            place: match address {
                Address::Http { uri, .. } => {
                    let authority = uri.strip_prefix("http://").unwrap_or(uri);
                    PeerPlace::Plain(authority.to_owned())
                }
                Address::Https { .. } => PeerPlace::Protected,
                Address::Unix { .. } => PeerPlace::Socket,
            },
            known: AtomicBool::new(false),
        }
    }
}

impl Client {
    /// Connects to `HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`, with the token
    /// that [`Client::builder`] finds.
    ///
    /// # Errors
    /// When the address or token is unusable, or nobody answers.
    pub async fn connect(address: impl Into<String>) -> Result<Self, Error> {
        Self::builder().address(address).connect().await
    }

    /// Describes a connection, step by step.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), execgate_client::Error> {
    /// use execgate_client::Client;
    ///
    /// let client = Client::builder().address("unix:/run/execgate.sock").connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Begins a new session; await it, after setting what should differ from the
    /// defaults.
    pub fn session(&self) -> SessionBuilder {
        SessionBuilder::new(self.clone())
    }

    /// Finds a session that was opened before, here or elsewhere.
    ///
    /// # Errors
    /// When there is none of this id, or the connection broke.
    pub async fn find_session(&self, id: impl Into<String>) -> Result<Session, Error> {
        let session = Session::new(self.clone(), id.into());
        session.describe().await?;
        Ok(session)
    }

    /// The caller's sessions, newest first, as far as the request's filter lets them
    /// through; pages are fetched as they are read.
    ///
    /// ```no_run
    /// # async fn example(client: execgate_client::Client) -> Result<(), execgate_client::Error> {
    /// use execgate_client::proto::ListSessionsRequest;
    /// use futures::TryStreamExt as _;
    ///
    /// let all: Vec<_> = client.sessions(ListSessionsRequest::default()).try_collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sessions(
        &self,
        request: v1::ListSessionsRequest,
    ) -> impl Stream<Item = Result<v1::Session, Error>> + Send + Unpin + use<> {
        let client = self.clone();
        pages(request.page_token.clone(), move |page_token| {
            let (client, mut request) = (client.clone(), request.clone());
            request.page_token = page_token;
            async move {
                let page = client.ask(request).await?;
                Ok(Page::new(page.sessions, page.next_page_token))
            }
        })
    }

    /// The audit log, as far as the caller may read it and the request's filter lets
    /// it through; pages are fetched as they are read.
    pub fn audit_records(
        &self,
        request: v1::ListAuditRecordsRequest,
    ) -> impl Stream<Item = Result<v1::AuditRecord, Error>> + Send + Unpin + use<> {
        let client = self.clone();
        pages(request.page_token.clone(), move |page_token| {
            let (client, mut request) = (client.clone(), request.clone());
            request.page_token = page_token;
            async move {
                let page = client.ask(request).await?;
                Ok(Page::new(page.records, page.next_page_token))
            }
        })
    }

    /// What the server can do, and where its limits are.
    ///
    /// # Errors
    /// When the server cannot be reached or does not know the caller.
    pub async fn capabilities(&self) -> Result<v1::GetCapabilitiesResponse, Error> {
        self.ask(v1::GetCapabilitiesRequest {}).await
    }

    pub(crate) fn new(service: Introduce, peer: Peer, resume: Resume, retry: RetryPolicy) -> Self {
        let sessions = SessionServiceClient::new(service.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let executions = ExecServiceClient::new(service.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let checkpoints = CheckpointServiceClient::new(service.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let audit = AuditServiceClient::new(service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            sessions,
            executions,
            checkpoints,
            audit,
            peer: Arc::new(peer),
            resume,
            retry,
        }
    }

    pub(crate) fn call(&self, method: &'static str) -> Call {
        Call {
            address: Arc::clone(&self.peer.address),
            method,
        }
    }

    /// The attempts at one call.
    pub(crate) fn tries(&self, repeat: Repeat) -> Tries {
        Tries::new(self.retry, repeat, Instant::now())
    }

    /// The attempts at one call about an execution.
    pub(crate) fn attempts(&self, resume: Resume, call: Call, execution_id: &str) -> Attempts {
        Attempts::new(resume, self.retry, call, execution_id.to_owned())
    }

    /// What a request is answered, in the end.
    pub(crate) async fn ask<R: Ask>(&self, request: R) -> Result<R::Answer, Error> {
        let mut tries = self.tries(R::REPEAT);
        loop {
            let error = match self.once(request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match tries.pause(Setback::of(&error), Instant::now(), random()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    /// What a request is answered that is sent once, or why it is not.
    pub(crate) async fn once<R: Ask>(&self, request: R) -> Result<R::Answer, Error> {
        match request.ask(self).await {
            Ok(response) => {
                self.peer.known.store(true, Ordering::Relaxed);
                Ok(response.into_inner())
            }
            Err(status) => Err(self.explain(self.call(R::METHOD).failed(status)).await),
        }
    }

    /// A failure in better words, if nobody has ever answered: of a side without TLS the other
    /// one only sees a connection that breaks.
    async fn explain(&self, error: Error) -> Error {
        match &error {
            Error::Refused(_) | Error::Unsupported { .. } => {
                self.peer.known.store(true, Ordering::Relaxed);
            }
            Error::Connect { .. } | Error::Disconnected { .. }
                if !self.peer.known.load(Ordering::Relaxed) =>
            {
                return self.tls_problem().await.unwrap_or(error);
            }
            _ => {}
        }
        error
    }

    async fn tls_problem(&self) -> Option<Error> {
        match &self.peer.place {
            PeerPlace::Plain(authority) => speaks_tls(authority).await.then(|| {
                Error::Tls(Box::new(TlsError {
                    address: self.peer.address.to_string(),
                    reason: TlsErrorReason::Expected,
                    detail: String::new(),
                }))
            }),
            PeerPlace::Protected => self.refused_certificate().await,
            PeerPlace::Socket => None,
        }
    }

    /// What the server thinks of the client's certificate: it says so and closes, which can
    /// meet what is being written, and is lost then. So it is asked again.
    async fn refused_certificate(&self) -> Option<Error> {
        for _ in 0..CERTIFICATE_ATTEMPTS {
            let asking = v1::GetCapabilitiesRequest {};
            match asking.ask(self).await {
                Ok(_answer) => return None,
                Err(status) => {
                    let call = self.call(v1::GetCapabilitiesRequest::METHOD);
                    match call.failed(status) {
                        problem @ Error::Tls(_) => return Some(problem),
                        Error::Connect { .. } | Error::Disconnected { .. } => {}
                        _answered => return None,
                    }
                }
            }
        }
        None
    }
}
