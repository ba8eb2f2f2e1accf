//! A server for a test: its own port, socket and data directory, gone with the value.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::audit_service_client::AuditServiceClient;
use execgate_proto::v1::checkpoint_service_client::CheckpointServiceClient;
use execgate_proto::v1::exec_event::Kind;
use execgate_proto::v1::exec_service_client::ExecServiceClient;
use execgate_proto::v1::session_service_client::SessionServiceClient;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

/// Longer than anything here takes, so that a hang becomes a failure.
const LIMIT: Duration = Duration::from_secs(60);

/// A channel that shows a token.
pub(crate) type Authed = InterceptedService<Channel, Bearer>;

/// Shows a token with each call, or none.
#[derive(Clone)]
pub(crate) struct Bearer(Option<String>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request.set_timeout(LIMIT);
        Ok(request)
    }
}

/// Where a traced server logs.
const TRACE_LOG: &str = "trace.log";

/// The real server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) socket: PathBuf,
    pub(crate) data_dir: PathBuf,
    folder: TempDir,
}

impl Server {
    /// A server that has said where it listens.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// The same with this configuration file.
    pub(crate) fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&data_dir)
            .unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self::launch(folder)
    }

    /// The same, and it logs all that it can, to a file.
    pub(crate) fn start_traced(config: &str) -> (Self, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(TRACE_LOG);
        std::fs::write(&log, "").unwrap();
        let data_dir = folder.path().join("data");
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&data_dir)
            .unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        (Self::launch(folder), log)
    }

    /// Kills it where it stands, and starts another one on its data.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        *self = Self::launch(folder);
    }

    /// The same under another program, or in another environment.
    pub(crate) fn start_under(
        config: &str,
        wrapper: impl FnOnce(&std::path::Path) -> Wrapper,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(folder.path().join("data"))
            .unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let wrapper = wrapper(folder.path());
        Self::launch_under(folder, wrapper)
    }

    fn launch(folder: TempDir) -> Self {
        Self::launch_under(folder, Wrapper::default())
    }

    fn launch_under(folder: TempDir, wrapper: Wrapper) -> Self {
        let data_dir = folder.path().join("data");
        let socket = data_dir.join("s");
        let file = folder.path().join("config.toml");
        let log = std::fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join(TRACE_LOG));
        let log = log.ok();
        let level = if log.is_some() { "trace" } else { "warn" };
        let mut words = wrapper.words;
        words.push(binary().to_str().unwrap().to_owned());
        let (program, arguments) = words.split_first().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .args(["serve", "--log", level, "--listen", "127.0.0.1:0"])
            .arg(format!("--listen=unix:{}", socket.display()))
            .arg(format!("--data-dir={}", data_dir.display()))
            .arg(format!("--config={}", file.display()))
            .env_clear()
            .envs(env::vars().filter(|(name, _)| !name.starts_with("EXECGATE")))
            .env("EXECGATE_TEST_SECRET", "must-not-be-seen")
            .envs(wrapper.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.map_or_else(Stdio::inherit, Stdio::from))
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = None;
        for line in lines.map_while(Result::ok) {
            if let Some(tcp) = line.strip_prefix("listening tcp ") {
                address = Some(tcp.to_owned());
            }
            if line.starts_with("execgate ready") {
                break;
            }
        }
        let address = address.expect("the server says where it listens");
        Self {
            child,
            address,
            socket,
            data_dir,
            folder,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("token"))
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill takes no memory; the child has not been waited for, so the number
        // is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for its end.
    pub(crate) async fn wait(mut self) -> ExitStatus {
        let wait = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        tokio::time::timeout(LIMIT, wait)
            .await
            .expect("the server ends")
            .unwrap()
    }

    /// A plain connection over TCP.
    pub(crate) async fn tcp(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// A plain connection over the Unix socket.
    pub(crate) async fn unix(&self) -> Channel {
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .unwrap()
    }

    /// A client with the right token.
    pub(crate) async fn client(&self) -> Client {
        Client::new(self.tcp().await, Some(self.token()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// What a server is started by.
#[derive(Default)]
pub(crate) struct Wrapper {
    /// A program and its arguments, which the server's own follow.
    pub(crate) words: Vec<String>,
    /// Variables of its own.
    pub(crate) env: Vec<(String, String)>,
}

/// The server's binary, beside this one's directory.
pub(crate) fn binary() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let binary = tests
        .parent()
        .and_then(|deps| deps.parent())
        .unwrap()
        .join("execgate");
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build -p execgate-server` first",
        binary.display()
    );
    binary
}

/// All services over one channel.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) sessions: SessionServiceClient<Authed>,
    pub(crate) execs: ExecServiceClient<Authed>,
    pub(crate) audits: AuditServiceClient<Authed>,
    pub(crate) checkpoints: CheckpointServiceClient<Authed>,
}

impl Client {
    pub(crate) fn new(channel: Channel, token: Option<String>) -> Self {
        let channel = InterceptedService::new(channel, Bearer(token));
        Self {
            sessions: SessionServiceClient::new(channel.clone()),
            execs: ExecServiceClient::new(channel.clone()),
            audits: AuditServiceClient::new(channel.clone()),
            checkpoints: CheckpointServiceClient::new(channel),
        }
    }

    /// A session under this id.
    pub(crate) async fn session(&mut self, id: &str) {
        let request = v1::CreateSessionRequest {
            session_id: id.to_owned(),
            ..Default::default()
        };
        self.sessions.create_session(request).await.unwrap();
    }

    /// Runs a script.
    pub(crate) async fn run(&mut self, session: &str, script: &str) -> v1::ExecResult {
        self.try_run(run_request(session, script)).await.unwrap()
    }

    pub(crate) async fn try_run(
        &mut self,
        request: v1::RunRequest,
    ) -> Result<v1::ExecResult, Status> {
        Ok(self.execs.run(request).await?.into_inner().result.unwrap())
    }

    /// Starts a script and follows it.
    pub(crate) async fn exec(
        &mut self,
        session: &str,
        execution: &str,
        script: &str,
    ) -> Streaming<v1::ExecResponse> {
        let request = v1::ExecRequest {
            session_id: session.to_owned(),
            execution_id: execution.to_owned(),
            spec: Some(spec(script)),
            ..Default::default()
        };
        self.execs.exec(request).await.unwrap().into_inner()
    }
}

pub(crate) fn spec(script: &str) -> v1::ExecutionSpec {
    v1::ExecutionSpec {
        command: Some(v1::execution_spec::Command::Script(script.to_owned())),
        ..Default::default()
    }
}

pub(crate) fn run_request(session: &str, script: &str) -> v1::RunRequest {
    v1::RunRequest {
        session_id: session.to_owned(),
        spec: Some(spec(script)),
        ..Default::default()
    }
}

pub(crate) fn stdout(result: &v1::ExecResult) -> String {
    String::from_utf8(result.stdout.to_vec()).unwrap()
}

/// The exit code of a result.
pub(crate) fn exit_code(result: &v1::ExecResult) -> Option<i32> {
    match result
        .finished
        .as_ref()?
        .outcome
        .as_ref()?
        .result
        .as_ref()?
    {
        v1::outcome::Result::Exited(exited) => Some(exited.code),
        _ => None,
    }
}

/// The kinds of the rest of a stream.
pub(crate) async fn kinds(stream: &mut Streaming<v1::ExecResponse>) -> Vec<Kind> {
    let mut kinds = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        kinds.push(response.event.unwrap().kind.unwrap());
    }
    kinds
}

/// What a status says to programs.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) fields: Vec<String>,
}

/// Reads a status.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> Refused {
    let status = result.unwrap_err();
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("without a reason: {status:?}"));
    assert_eq!(info.domain, "execgate.dev");
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.clone());
    Refused {
        code: status.code(),
        reason: info.reason.clone(),
        message: status.message().to_owned(),
        metadata: info.metadata.clone(),
        fields: violations
            .unwrap_or_default()
            .into_iter()
            .map(|v| v.field)
            .collect(),
    }
}
