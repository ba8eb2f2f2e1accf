//! What becomes of a session when its container or its engine fails. Each end is told for
//! what it is, nothing runs twice, and nothing hangs.

use std::time::{Duration, Instant};

use execgate_proto::v1;

use super::engine::{Container, docker, images_are_there};
use super::own::OwnEngine;
use super::{BUSYBOX, ENTER, cause, close, container, create, image, new_session, within};
use crate::support::{Client, Server, stdout};

/// Longest wait for what becomes of a session.
const LIMIT: Duration = Duration::from_secs(60);

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

fn is_lost(result: &v1::ExecResult) -> bool {
    let outcome = result.finished.as_ref().unwrap().outcome.as_ref().unwrap();
    matches!(outcome.result, Some(v1::outcome::Result::Lost(_)))
}

async fn look(client: &mut Client, session: &v1::Session) -> v1::Session {
    let request = v1::GetSessionRequest {
        session_id: session.session_id.clone(),
    };
    let seen = client.sessions.get_session(request).await.unwrap();
    seen.into_inner().session.unwrap()
}

/// Waits until the session is in this state.
async fn until(client: &mut Client, session: &v1::Session, state: v1::SessionState) -> v1::Session {
    let began = Instant::now();
    loop {
        let seen = look(client, session).await;
        if seen.state() == state {
            return seen;
        }
        assert!(began.elapsed() < LIMIT, "not {state:?}: {seen:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a command that says when it has begun, and then would take long.
fn begin(
    client: &Client,
    session: &v1::Session,
    seconds: i64,
) -> tokio::task::JoinHandle<v1::ExecResult> {
    let mut client = client.clone();
    let request = within(session, "echo run >>/tmp/begun; sleep 600", seconds);
    tokio::spawn(async move { client.try_run(request).await.unwrap() })
}

// The thread that waits for the container leaves another one to the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_killed_ends_the_command_and_the_session() {
    images_are_there();
    let server = Server::start_with(ENTER);
    let mut client = server.client().await;
    for ending in [&["kill"][..], &["stop", "--time", "0"], &["rm", "--force"]] {
        let there = Container::run(BUSYBOX, &[]);
        let session = create(&mut client, container(&there.name)).await;
        let running = begin(&client, &session, 60);
        there.wait_for("/tmp/begun");
        docker(&[ending, &[there.name.as_str()]].concat());
        let result = running.await.unwrap();
        assert!(is_lost(&result), "{ending:?}: {result:?}");
        assert_eq!(cause(&result), v1::Cause::TargetStopped, "{ending:?}");
        until(&mut client, &session, v1::SessionState::Lost).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_whose_memory_is_used_up_says_so() {
    images_are_there();
    let server = Server::start_with(ENTER);
    let mut client = server.client().await;
    let memory = ["--memory", "48m", "--memory-swap", "48m"];
    // What it waits for comes from the session; then its own program takes all there is.
    let eats =
        "while ! [ -e /tmp/begun ]; do sleep 0.1; done; exec dd if=/dev/zero of=/dev/null bs=512M";
    let there = Container::of(BUSYBOX, &memory, &["sh", "-c", eats]);
    let session = create(&mut client, container(&there.name)).await;
    let result = begin(&client, &session, 60).await.unwrap();
    assert!(is_lost(&result), "{result:?}");
    assert_eq!(cause(&result), v1::Cause::Oom);
    until(&mut client, &session, v1::SessionState::Lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_a_command_up_and_its_time_limit_still_counts() {
    images_are_there();
    let server = Server::start_with(ENTER);
    let mut client = server.client().await;
    let there = Container::run(BUSYBOX, &[]);
    let session = create(&mut client, container(&there.name)).await;
    // A short one: nothing is lost.
    let mut runner = client.clone();
    let request = within(&session, "echo run >>/tmp/short; sleep 1; echo on", 60);
    let running = tokio::spawn(async move { runner.try_run(request).await.unwrap() });
    there.wait_for("/tmp/short");
    docker(&["pause", &there.name]);
    let refused = client
        .sessions
        .create_session(new_session(container(&there.name)));
    let refused = crate::support::refused(refused.await);
    assert_eq!(refused.reason, "TARGET_UNAVAILABLE");
    docker(&["unpause", &there.name]);
    assert_eq!(stdout(&running.await.unwrap()), "on\n");
    // One that outlasts the limit: nothing can be ended, and nothing is waited for.
    let running = begin(&client, &session, 1);
    there.wait_for("/tmp/begun");
    docker(&["pause", &there.name]);
    let result = running.await.unwrap();
    assert!(is_lost(&result), "{result:?}");
    assert_eq!(cause(&result), v1::Cause::Timeout);
    until(&mut client, &session, v1::SessionState::Lost).await;
    docker(&["unpause", &there.name]);
    let began = Instant::now();
    while docker(&["exec", &there.name, "ps", "-o", "args"]).contains("sleep 600") {
        assert!(began.elapsed() < LIMIT, "it lives on");
        tokio::time::sleep(PAUSE).await;
    }
}

fn config(engine: &OwnEngine) -> String {
    let host = engine.host();
    format!("[docker]\nhost = \"{host}\"\n[docker.profiles.default]\ncontainers = [\"*\"]\n")
}

async fn wait_for_begun(engine: &OwnEngine, name: &str) {
    let began = Instant::now();
    let look = [
        "exec",
        name,
        "sh",
        "-c",
        "[ -e /tmp/begun ] && echo yes || echo no",
    ];
    while engine.docker(&look) != "yes" {
        assert!(began.elapsed() < LIMIT, "the command does not begin");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stops_with_its_containers_loses_the_session() {
    let mut engine = OwnEngine::start(&[]);
    let server = Server::start_with(&config(&engine));
    let mut client = server.client().await;
    let there = engine.container("there");
    let made = create(&mut client, image(BUSYBOX)).await;
    let session = create(&mut client, container(&there)).await;
    let running = begin(&client, &session, 60);
    wait_for_begun(&engine, &there).await;
    engine.stop();
    let result = running.await.unwrap();
    assert!(is_lost(&result), "{result:?}");
    // The engine may be gone before it has told of its containers.
    let told = [v1::Cause::TargetStopped, v1::Cause::TransportLost];
    assert!(told.contains(&cause(&result)), "{result:?}");
    until(&mut client, &session, v1::SessionState::Lost).await;
    until(&mut client, &made, v1::SessionState::Lost).await;
    engine.launch();
    engine.docker(&["start", &there]);
    let session = create(&mut client, container(&there)).await;
    let again = client.run(&session.session_id, "cat /tmp/begun").await;
    assert_eq!(stdout(&again), "run\n");
    // What was made for a session, and could not be removed with it, is gone as well.
    let left = engine.docker(&["ps", "--all", "--format", "{{.Names}}"]);
    assert_eq!(left, there);
    close(&mut client, &session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_starts_again_over_living_containers_is_found_again() {
    let mut engine = OwnEngine::start(&["--live-restore"]);
    let server = Server::start_with(&config(&engine));
    let mut client = server.client().await;
    let there = engine.container("there");
    let lost = create(&mut client, container(&there)).await;
    let mut request = new_session(container(&there));
    request.on_transport_loss = v1::OnTransportLoss::Reconnect.into();
    let created = client.sessions.create_session(request).await.unwrap();
    let session = created.into_inner().session.unwrap();
    client.run(&session.session_id, "cd /home").await;
    let running = begin(&client, &session, 60);
    wait_for_begun(&engine, &there).await;
    engine.stop();
    engine.launch();
    let result = running.await.unwrap();
    assert!(is_lost(&result), "{result:?}");
    assert_eq!(cause(&result), v1::Cause::TransportLost);
    until(&mut client, &lost, v1::SessionState::Lost).await;
    let ready = until(&mut client, &session, v1::SessionState::Ready).await;
    assert_eq!(ready.generation, 2);
    let script = "cat /tmp/begun; pwd; ps -o args | grep -c '[s]leep 600'";
    let after = client.run(&session.session_id, script).await;
    assert_eq!(stdout(&after), "run\n/home\n0\n");
    close(&mut client, &session).await;
}
