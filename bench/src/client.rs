//! One client for execgate and the floor: the generated one, with the token on each call.

use std::time::{Duration, Instant};

use execgate_proto::MAX_MESSAGE_BYTES;
pub(crate) use execgate_proto::v1::create_session_request::Target;
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

    /// Opens a local session of this name.
    pub(crate) async fn open(&mut self, session: &str) -> Result<()> {
        self.open_on(session, None).await
    }

    /// Opens a session of this name somewhere.
    pub(crate) async fn open_on(&mut self, session: &str, target: Option<Target>) -> Result<()> {
        let request = pb::CreateSessionRequest {
            session_id: session.to_owned(),
            target,
            ..pb::CreateSessionRequest::default()
        };
        self.sessions.create_session(request).await?;
        Ok(())
    }

    /// Closes a session.
    pub(crate) async fn close(&mut self, session: &str) -> Result<()> {
        let request = pb::CloseSessionRequest {
            session_id: session.to_owned(),
            ..pb::CloseSessionRequest::default()
        };
        self.sessions.close_session(request).await?;
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

    /// Runs a script and answers how long its first output took; waits for the end.
    pub(crate) async fn first_output(&mut self, session: &str, text: &str) -> Result<Duration> {
        let request = pb::ExecRequest {
            session_id: session.to_owned(),
            spec: Some(spec(text)),
            ..pb::ExecRequest::default()
        };
        let start = Instant::now();
        let mut events = self.exec.exec(request).await?.into_inner();
        let mut first = None;
        while let Some(message) = events.message().await? {
            if let Some(Kind::Output(_)) = message.event.and_then(|event| event.kind) {
                first = first.or_else(|| Some(start.elapsed()));
            }
        }
        Ok(first.ok_or("there was no output")?)
    }

    /// Runs a script and throws away what it prints, for as long as it does; says when the
    /// first has come.
    pub(crate) async fn swallow(
        &mut self,
        session: &str,
        text: &str,
        flows: impl FnOnce(),
    ) -> Result<()> {
        let request = pb::ExecRequest {
            session_id: session.to_owned(),
            spec: Some(spec(text)),
            ..pb::ExecRequest::default()
        };
        let mut events = self.exec.exec(request).await?.into_inner();
        let mut flows = Some(flows);
        while let Some(message) = events.message().await? {
            if let Some(Kind::Output(_)) = message.event.and_then(|event| event.kind)
                && let Some(flows) = flows.take()
            {
                flows();
            }
        }
        Ok(())
    }

    /// Asks what the policy says to a script.
    pub(crate) async fn judge(&mut self, session: &str, text: &str) -> Result<()> {
        let request = pb::EvaluatePolicyRequest {
            session_id: session.to_owned(),
            spec: Some(spec(text)),
            ..pb::EvaluatePolicyRequest::default()
        };
        self.exec.evaluate_policy(request).await?;
        Ok(())
    }

    /// Reads so many bytes from memory, in chunks of this size; only the floor has it.
    pub(crate) async fn memory(&mut self, bytes: u64, chunk: u64) -> Result<u64> {
        let request = pb::AttachRequest {
            execution_id: format!("{bytes}/{chunk}"),
            ..pb::AttachRequest::default()
        };
        let mut events = self.exec.attach(request).await?.into_inner();
        let mut came = 0;
        while let Some(message) = events.message().await? {
            if let Some(Kind::Output(output)) = message.event.and_then(|event| event.kind) {
                came += output.data.len() as u64;
            }
        }
        Ok(came)
    }

    /// The empty RPC; only the floor has it.
    pub(crate) async fn nothing(&mut self) -> Result<()> {
        self.exec
            .get_execution(pb::GetExecutionRequest::default())
            .await?;
        Ok(())
    }
}

/// A host profile of the server's configuration.
pub(crate) fn through_ssh(profile: &str) -> Target {
    Target::Ssh(pb::SshTarget {
        profile: profile.to_owned(),
        ..pb::SshTarget::default()
    })
}

/// A container that runs.
pub(crate) fn in_container(name: &str) -> Target {
    let container = pb::DockerContainer {
        name: name.to_owned(),
    };
    Target::Docker(pb::DockerTarget {
        source: Some(pb::docker_target::Source::Container(container)),
        ..pb::DockerTarget::default()
    })
}

/// A new container of an image.
pub(crate) fn of_image(reference: &str) -> Target {
    let image = pb::DockerImage {
        reference: reference.to_owned(),
    };
    Target::Docker(pb::DockerTarget {
        source: Some(pb::docker_target::Source::Image(image)),
        ..pb::DockerTarget::default()
    })
}

fn spec(text: &str) -> pb::ExecutionSpec {
    pb::ExecutionSpec {
        command: Some(execution_spec::Command::Script(text.to_owned())),
        ..pb::ExecutionSpec::default()
    }
}
