//! A client: one connection, and what is asked of the server as a whole.

use std::future::Future;
use std::sync::Arc;

use execgate_proto::MAX_MESSAGE_BYTES;
use execgate_proto::v1;
use execgate_proto::v1::audit_service_client::AuditServiceClient;
use execgate_proto::v1::checkpoint_service_client::CheckpointServiceClient;
use execgate_proto::v1::exec_service_client::ExecServiceClient;
use execgate_proto::v1::session_service_client::SessionServiceClient;
use futures::Stream;
use tonic::{Response, Status};

use crate::connect::{ClientBuilder, Service};
use crate::error::{Call, Error};
use crate::pages::{Page, pages};
use crate::resume::Resume;
use crate::session::Session;
use crate::session_builder::SessionBuilder;

/// A connection to a server. Cheap to clone; clones share the connection, and it
/// comes back by itself after a break.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) sessions: SessionServiceClient<Service>,
    pub(crate) executions: ExecServiceClient<Service>,
    pub(crate) checkpoints: CheckpointServiceClient<Service>,
    audit: AuditServiceClient<Service>,
    address: Arc<str>,
    pub(crate) resume: Resume,
}

impl Client {
    /// Connects to `HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`, with the token
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
                let call = client.call("SessionService/ListSessions");
                let mut service = client.sessions.clone();
                let page = answer(call, service.list_sessions(request)).await?;
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
                let call = client.call("AuditService/ListAuditRecords");
                let mut service = client.audit.clone();
                let page = answer(call, service.list_audit_records(request)).await?;
                Ok(Page::new(page.records, page.next_page_token))
            }
        })
    }

    /// What the server can do, and where its limits are.
    ///
    /// # Errors
    /// When the server cannot be reached or does not know the caller.
    pub async fn capabilities(&self) -> Result<v1::GetCapabilitiesResponse, Error> {
        let call = self.call("SessionService/GetCapabilities");
        let request = v1::GetCapabilitiesRequest {};
        answer(call, self.sessions.clone().get_capabilities(request)).await
    }

    pub(crate) fn new(service: Service, address: &str, resume: Resume) -> Self {
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
            address: address.into(),
            resume,
        }
    }

    pub(crate) fn call(&self, method: &'static str) -> Call {
        Call {
            address: self.address.clone(),
            method,
        }
    }
}

/// What a call is answered, with its failure explained.
pub(crate) async fn answer<T>(
    call: Call,
    response: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match response.await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(call.failed(status)),
    }
}
