//! The floor as a server: the same API and the same client, with nothing behind it but
//! [`BareShell`]. What execgate takes above this is the price of what it does.

mod sessions;

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use execgate_proto::v1::exec_event::Kind;
use execgate_proto::v1::exec_service_server::{ExecService, ExecServiceServer};
use execgate_proto::v1::session_service_server::SessionServiceServer;
use execgate_proto::v1::{self as pb, execution_spec, outcome};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::Result;
use crate::shell::BareShell;
use sessions::Sessions;

/// Events that wait for the client: about a megabyte of output.
const QUEUE_EVENTS: usize = 16;

/// One shell for each session id, made when it is first named.
#[derive(Debug, Clone, Default)]
struct Floor {
    shells: Arc<Mutex<HashMap<String, Arc<Mutex<BareShell>>>>>,
}

type Answer<T> = std::result::Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

/// Serves until it is killed.
pub(crate) async fn serve(port: u16, socket: &Path) -> Result<()> {
    let tcp = TcpListener::bind(("127.0.0.1", port)).await?;
    let unix = UnixListener::bind(socket)?;
    let service = ExecServiceServer::new(Floor::default());
    let over_tcp = Server::builder()
        .add_service(service.clone())
        .add_service(SessionServiceServer::new(Sessions))
        .serve_with_incoming(TcpIncoming::from(tcp).with_nodelay(Some(true)));
    let over_unix = Server::builder()
        .add_service(service)
        .add_service(SessionServiceServer::new(Sessions))
        .serve_with_incoming(UnixListenerStream::new(unix));
    tokio::try_join!(over_tcp, over_unix)?;
    Ok(())
}

impl Floor {
    async fn shell(&self, session: &str) -> std::result::Result<Arc<Mutex<BareShell>>, Status> {
        let mut shells = self.shells.lock().await;
        if let Some(shell) = shells.get(session) {
            return Ok(Arc::clone(shell));
        }
        let shell = BareShell::start().map_err(|error| Status::internal(error.to_string()))?;
        let shell = Arc::new(Mutex::new(shell));
        shells.insert(session.to_owned(), Arc::clone(&shell));
        Ok(shell)
    }
}

fn script(spec: Option<pb::ExecutionSpec>) -> std::result::Result<String, Status> {
    match spec.and_then(|spec| spec.command) {
        Some(execution_spec::Command::Script(script)) => Ok(script),
        _ => Err(Status::invalid_argument("no script")),
    }
}

fn event(sequence: u64, kind: Kind) -> pb::ExecResponse {
    let event = pb::ExecEvent {
        sequence,
        time: None,
        kind: Some(kind),
    };
    pb::ExecResponse { event: Some(event) }
}

fn output(offset: u64, bytes: &[u8]) -> Kind {
    Kind::Output(pb::Output {
        channel: pb::Channel::Stdout.into(),
        offset,
        data: bytes.to_vec().into(),
    })
}

/// Runs a script and sends what it prints.
async fn follow(
    shell: &mut BareShell,
    script: &str,
    events: &mpsc::Sender<std::result::Result<pb::ExecResponse, Status>>,
) -> Result<()> {
    events
        .send(Ok(event(1, Kind::Started(pb::Started::default()))))
        .await?;
    shell.begin(script).await?;
    let (mut sequence, mut offset) = (1, 0);
    while let Some(bytes) = shell.next().await? {
        sequence += 1;
        events
            .send(Ok(event(sequence, output(offset, bytes))))
            .await?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

/// Runs a script and keeps what it prints.
async fn collect(shell: &mut BareShell, script: &str) -> Result<Vec<u8>> {
    shell.begin(script).await?;
    let mut stdout = Vec::new();
    while let Some(bytes) = shell.next().await? {
        stdout.extend_from_slice(bytes);
    }
    Ok(stdout)
}

/// What our clients want of an end.
fn finished() -> pb::Finished {
    let exited = outcome::Result::Exited(pb::Exited::default());
    pb::Finished {
        outcome: Some(pb::Outcome {
            result: Some(exited),
        }),
        ..pb::Finished::default()
    }
}

fn from_memory(
    bytes: usize,
    chunk: usize,
) -> impl Stream<Item = std::result::Result<pb::AttachResponse, Status>> {
    let data = vec![b'x'; chunk];
    let outputs = (0..bytes).step_by(chunk.max(1)).map(move |offset| {
        let data = data.get(..chunk.min(bytes - offset)).unwrap_or_default();
        output(offset as u64, data)
    });
    let begin = std::iter::once(Kind::Started(pb::Started::default()));
    let end = std::iter::once(Kind::Finished(finished()));
    let kinds = begin.chain(outputs).chain(end).zip(1..);
    tokio_stream::iter(kinds.map(|(kind, sequence)| {
        let event = event(sequence, kind).event;
        Ok(pb::AttachResponse { event })
    }))
}

fn absent<T>() -> Answer<T> {
    Err(Status::unimplemented("this is the floor"))
}

#[tonic::async_trait]
impl ExecService for Floor {
    type ExecStream = Events<pb::ExecResponse>;
    type AttachStream = Events<pb::AttachResponse>;

    async fn exec(&self, request: Request<pb::ExecRequest>) -> Answer<Self::ExecStream> {
        let request = request.into_inner();
        let shell = self.shell(&request.session_id).await?;
        let script = script(request.spec)?;
        let (sender, events) = mpsc::channel(QUEUE_EVENTS);
        tokio::spawn(async move {
            let last = match follow(&mut *shell.lock().await, &script, &sender).await {
                Ok(()) => Ok(event(0, Kind::Finished(finished()))),
                Err(error) => Err(Status::internal(error.to_string())),
            };
            // A client that has gone is no failure of the floor.
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }

    async fn run(&self, request: Request<pb::RunRequest>) -> Answer<pb::RunResponse> {
        let request = request.into_inner();
        let shell = self.shell(&request.session_id).await?;
        let script = script(request.spec)?;
        let stdout = collect(&mut *shell.lock().await, &script).await;
        let stdout = stdout.map_err(|error| Status::internal(error.to_string()))?;
        let result = pb::ExecResult {
            stdout: stdout.into(),
            finished: Some(finished()),
            ..pb::ExecResult::default()
        };
        Ok(Response::new(pb::RunResponse {
            result: Some(result),
            verdict: None,
        }))
    }

    /// The empty RPC.
    async fn get_execution(
        &self,
        _: Request<pb::GetExecutionRequest>,
    ) -> Answer<pb::GetExecutionResponse> {
        Ok(Response::new(pb::GetExecutionResponse::default()))
    }

    /// A stream with no shell behind it, of chunks from memory; the execution's name says
    /// how much: `BYTES/CHUNK`.
    async fn attach(&self, request: Request<pb::AttachRequest>) -> Answer<Self::AttachStream> {
        let name = request.into_inner().execution_id;
        let size = name.split_once('/');
        let size = size.and_then(|(all, chunk)| Some((all.parse().ok()?, chunk.parse().ok()?)));
        let (all, chunk) = size.ok_or_else(|| Status::invalid_argument("not BYTES/CHUNK"))?;
        Ok(Response::new(Box::pin(from_memory(all, chunk))))
    }

    async fn list_executions(
        &self,
        _: Request<pb::ListExecutionsRequest>,
    ) -> Answer<pb::ListExecutionsResponse> {
        absent()
    }

    async fn read_output(
        &self,
        _: Request<pb::ReadOutputRequest>,
    ) -> Answer<pb::ReadOutputResponse> {
        absent()
    }

    async fn write_stdin(
        &self,
        _: Request<pb::WriteStdinRequest>,
    ) -> Answer<pb::WriteStdinResponse> {
        absent()
    }

    async fn signal(&self, _: Request<pb::SignalRequest>) -> Answer<pb::SignalResponse> {
        absent()
    }

    async fn resize_terminal(
        &self,
        _: Request<pb::ResizeTerminalRequest>,
    ) -> Answer<pb::ResizeTerminalResponse> {
        absent()
    }

    async fn evaluate_policy(
        &self,
        _: Request<pb::EvaluatePolicyRequest>,
    ) -> Answer<pb::EvaluatePolicyResponse> {
        absent()
    }
}
