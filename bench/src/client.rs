//! One client for execgate and the floor: the generated one, with the token on each call.

use execgate_proto::MAX_MESSAGE_BYTES;
use execgate_proto::v1::exec_event::Kind;
use execgate_proto::v1::exec_service_client::ExecServiceClient;
use execgate_proto::v1::session_service_client::SessionServiceClient;
use execgate_proto::v1::{self as pb, execution_spec};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::Result;

/// Where a server is.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) uri: String,
    pub(crate) token: Option<String>,
}

/// Puts the token on a call.
#[derive(Debug, Clone)]
pub(crate) struct WithToken(Option<MetadataValue<Ascii>>);

impl Interceptor for WithToken {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

type Authorized = InterceptedService<Channel, WithToken>;

/// A connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    exec: ExecServiceClient<Authorized>,
    sessions: SessionServiceClient<Authorized>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: &Address) -> Result<Self> {
        let channel = Endpoint::from_shared(address.uri.clone())?
            .tcp_nodelay(true)
            .connect()
            .await?;
        let token = address
            .token
            .as_ref()
            .map(|token| format!("Bearer {token}").parse())
            .transpose()?;
        let exec = ExecServiceClient::with_interceptor(channel.clone(), WithToken(token.clone()));
        let sessions = SessionServiceClient::with_interceptor(channel, WithToken(token));
        Ok(Self {
            exec: exec.max_decoding_message_size(MAX_MESSAGE_BYTES),
            sessions,
        })
    }

    /// Opens a session of this name.
    pub(crate) async fn open(&mut self, session: &str) -> Result<()> {
        let request = pb::CreateSessionRequest {
            session_id: session.to_owned(),
            ..pb::CreateSessionRequest::default()
        };
        self.sessions.create_session(request).await?;
        Ok(())
    }

    /// Opens a session of this name on a host profile.
    pub(crate) async fn open_through_ssh(&mut self, session: &str, profile: &str) -> Result<()> {
        let target = pb::SshTarget {
            profile: profile.to_owned(),
            ..pb::SshTarget::default()
        };
        let request = pb::CreateSessionRequest {
            session_id: session.to_owned(),
            target: Some(pb::create_session_request::Target::Ssh(target)),
            ..pb::CreateSessionRequest::default()
        };
        self.sessions.create_session(request).await?;
        Ok(())
    }

    /// Runs a script to its end.
    pub(crate) async fn run(&mut self, session: &str, text: &str) -> Result<()> {
        let request = pb::RunRequest {
            session_id: session.to_owned(),
            spec: Some(spec(text)),
            ..pb::RunRequest::default()
        };
        self.exec.run(request).await?;
        Ok(())
    }

    /// Runs a script and follows it; answers how many bytes came.
    pub(crate) async fn exec(&mut self, session: &str, text: &str) -> Result<u64> {
        let request = pb::ExecRequest {
            session_id: session.to_owned(),
            spec: Some(spec(text)),
            ..pb::ExecRequest::default()
        };
        let mut events = self.exec.exec(request).await?.into_inner();
        let (mut bytes, mut finished) = (0, false);
        while let Some(message) = events.message().await? {
            match message.event.and_then(|event| event.kind) {
                Some(Kind::Output(output)) => bytes += output.data.len() as u64,
                Some(Kind::Gap(_)) => return Err("output was lost".into()),
                Some(Kind::Finished(_)) => finished = true,
                _ => {}
            }
        }
        if finished {
            Ok(bytes)
        } else {
            Err("the stream has no end".into())
        }
    }

    /// The empty RPC; only the floor has it.
    pub(crate) async fn nothing(&mut self) -> Result<()> {
        self.exec
            .get_execution(pb::GetExecutionRequest::default())
            .await?;
        Ok(())
    }
}

fn spec(text: &str) -> pb::ExecutionSpec {
    pb::ExecutionSpec {
        command: Some(execution_spec::Command::Script(text.to_owned())),
        ..pb::ExecutionSpec::default()
    }
}
