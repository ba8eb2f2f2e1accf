//! The Rust client before a gate that fails as often as it is told, and then lets calls through
//! to the real server.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use execgate_client::{Client, Command, Error, Resume, RetryPolicy, SignalKind};
use execgate_proto::v1::exec_service_server::SERVICE_NAME as EXECS;
use execgate_proto::v1::session_service_server::SERVICE_NAME as SESSIONS;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::Service;

use crate::support::Server;

/// What is to fail.
#[derive(Clone, Default)]
struct Plan(Arc<Mutex<HashMap<String, Planned>>>);

/// The failures of one call that are still to come, last first, and how often it was asked for.
type Planned = (Vec<Status>, usize);

impl Plan {
    /// The next calls of this name fail so, one after the other.
    fn fail(&self, method: &str, mut failures: Vec<Status>) {
        failures.reverse();
        let mut plan = self.0.lock().unwrap();
        plan.insert(method.to_owned(), (failures, 0));
    }

    fn next(&self, path: &str) -> Option<Status> {
        let method = path.rsplit('/').next().unwrap();
        let mut plan = self.0.lock().unwrap();
        let (failures, asked) = plan.entry(method.to_owned()).or_default();
        *asked += 1;
        failures.pop()
    }

    fn asked(&self, method: &str) -> usize {
        self.0.lock().unwrap().get(method).unwrap().1
    }
}

/// One service of the gate.
#[derive(Clone)]
struct Gate<const EXEC: bool> {
    plan: Plan,
    channel: Channel,
}

impl NamedService for Gate<true> {
    const NAME: &'static str = EXECS;
}

impl NamedService for Gate<false> {
    const NAME: &'static str = SESSIONS;
}

impl<const EXEC: bool> Service<Request<Body>> for Gate<EXEC> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let failure = self.plan.next(request.uri().path());
        let mut channel = self.channel.clone();
        async move {
            if let Some(status) = failure {
                return Ok(status.into_http());
            }
            let ready = std::future::poll_fn(|cx| channel.poll_ready(cx)).await;
            let answer = match ready {
                Ok(()) => channel.call(request).await,
                Err(error) => Err(error),
            };
            Ok(answer.unwrap_or_else(|error| Status::unavailable(error.to_string()).into_http()))
        }
        .boxed()
    }
}

/// A server behind a gate, and a client before it.
struct World {
    plan: Plan,
    client: Client,
    _server: Server,
}

impl World {
    async fn new(policy: RetryPolicy) -> Self {
        let server = Server::start();
        let plan = Plan::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let channel = server.tcp().await;
        let sessions = Gate::<false> {
            plan: plan.clone(),
            channel: channel.clone(),
        };
        let execs = Gate::<true> {
            plan: plan.clone(),
            channel,
        };
        let gate = tonic::transport::Server::builder()
            .add_service(sessions)
            .add_service(execs);
        tokio::spawn(gate.serve_with_incoming(TcpListenerStream::new(listener)));
        let client = Client::builder().address(address).token(server.token());
        let client = client.retry(policy).connect().await.unwrap();
        Self {
            plan,
            client,
            _server: server,
        }
    }
}

/// Quick enough for a test; the pauses are still there.
fn quick() -> RetryPolicy {
    let pause = Duration::from_millis(10);
    RetryPolicy::default()
        .initial_backoff(pause)
        .max_backoff(2 * pause)
}

fn later(code: Code, reason: &str, delay: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "execgate.dev", HashMap::new());
    details.set_retry_info(Some(delay));
    Status::with_error_details(code, "not now", details)
}

/// A limit that passes: a reason that this client has never heard of, and a delay.
fn limited() -> Status {
    limited_for(Duration::from_millis(20))
}

fn limited_for(delay: Duration) -> Status {
    later(Code::ResourceExhausted, "SOME_LIMIT", delay)
}

fn draining() -> Status {
    later(
        Code::Unavailable,
        "SERVER_DRAINING",
        Duration::from_millis(20),
    )
}

/// What something on the way says when it finds nobody behind it.
fn proxy() -> Status {
    Status::unavailable("no healthy upstream")
}

fn name_of(error: &Error) -> String {
    error.refusal().unwrap().reason_name.clone()
}

#[tokio::test]
async fn calls_that_may_be_made_twice_are_made_until_they_are_answered() {
    let world = World::new(quick()).await;
    let troubles = || vec![draining(), limited(), proxy()];
    for method in ["CreateSession", "GetSession", "Run", "Exec", "CloseSession"] {
        world.plan.fail(method, troubles());
    }
    let session = world.client.session().await.unwrap();
    assert_eq!(session.describe().await.unwrap().session_id, session.id());
    let ran = session.run("echo hi").await.unwrap();
    assert_eq!(
        (ran.stdout_text(), ran.deduplicated),
        ("hi\n".into(), false)
    );
    let followed = session
        .exec("echo ho")
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    assert_eq!(followed.stdout_text(), "ho\n");
    session.close().await.unwrap();
    let asked = ["CreateSession", "GetSession", "Run", "Exec", "CloseSession"];
    assert_eq!(asked.map(|method| world.plan.asked(method)), [4; 5]);
}

#[tokio::test]
async fn signal_is_repeated_only_when_it_was_refused() {
    let world = World::new(quick()).await;
    let session = world.client.session().await.unwrap();
    let command = Command::script("sleep 600").execution_id("sleeper");
    let sleeper = session.exec(command).await.unwrap();
    world.plan.fail("Signal", vec![proxy()]);
    let error = session
        .signal("sleeper", SignalKind::Int)
        .await
        .unwrap_err();
    assert_eq!(
        (name_of(&error), world.plan.asked("Signal")),
        (String::new(), 1)
    );
    world.plan.fail("Signal", vec![draining(), limited()]);
    session.signal("sleeper", SignalKind::Int).await.unwrap();
    assert_eq!(world.plan.asked("Signal"), 3);
    assert!(!sleeper.result().await.unwrap().success());
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_told() {
    let world = World::new(quick().max_attempts(3)).await;
    let session = world.client.session().await.unwrap();
    world
        .plan
        .fail("GetSession", vec![limited(), limited(), limited()]);
    let error = session.describe().await.unwrap_err();
    assert_eq!(name_of(&error), "SOME_LIMIT");
    assert_eq!(world.plan.asked("GetSession"), 3);
    // A delay that does not fit in is not waited for.
    let minute = Duration::from_secs(60);
    world.plan.fail("Run", vec![limited_for(minute)]);
    let error = session.run("true").await.unwrap_err();
    assert_eq!(error.refusal().unwrap().retry_after, Some(minute));
    assert_eq!(world.plan.asked("Run"), 1);
    // Who does not resume is refused for a while all the same.
    world.plan.fail("Run", vec![limited()]);
    let command = Command::script("true").resume(Resume::Never);
    assert!(session.run(command).await.unwrap().success());

    let world = World::new(RetryPolicy::none()).await;
    world.plan.fail("CreateSession", vec![draining()]);
    let error = world.client.session().await.unwrap_err();
    assert_eq!(name_of(&error), "SERVER_DRAINING");
}

#[tokio::test]
async fn server_that_is_started_again_is_waited_for() {
    let mut server = Server::start();
    let client = Client::builder()
        .address(format!("unix:{}", server.socket.display()))
        .token("");
    let policy = RetryPolicy::default()
        .max_attempts(1000)
        .total(Duration::from_secs(60));
    let client = client.retry(policy).connect().await.unwrap();
    client.capabilities().await.unwrap();
    server.kill();
    let asking = tokio::spawn(async move { client.capabilities().await });
    // By then it has found nobody, as often as not.
    server = tokio::task::spawn_blocking(move || {
        server.kill_and_restart();
        server
    })
    .await
    .unwrap();
    assert_eq!(asking.await.unwrap().unwrap().api_version, "1.0");
    drop(server);
}
