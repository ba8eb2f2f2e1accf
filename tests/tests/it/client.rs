//! The Rust client against the real server: what goes wrong says what it is and what
//! helps; what is asked comes back whole.

use std::time::Duration;

use execgate_client::proto::{self, Decision, EnforcementLevel, ExecutionState};
use execgate_client::{
    Channel, Client, Code, Command, Error, ErrorReason, Event, OnDisconnect, Outcome, Resume,
    Session,
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;

use crate::support::Server;

pub(crate) async fn connect(server: &Server) -> Client {
    let builder = Client::builder().address(server.address.clone());
    builder.token(server.token()).connect().await.unwrap()
}

async fn session(server: &Server) -> Session {
    connect(server).await.session().cwd("/tmp").await.unwrap()
}

/// The text of an error, which is what most people see of it.
fn text_of(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

#[tokio::test]
async fn wrong_address_says_where_nobody_answers() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let error = Client::connect(&*address).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    text_of(
        &error,
        &[&address, "refused", "execgate serve", "EXECGATE_ADDR"],
    );
    let error = Client::connect("gate.example").await.unwrap_err();
    assert!(matches!(error, Error::InvalidAddress { .. }), "{error:?}");
}

#[tokio::test]
async fn wrong_token_says_where_the_right_one_is() {
    let server = Server::start();
    let builder = Client::builder().address(server.address.clone());
    let client = builder.token("wrong").connect().await.unwrap();
    let error = client.session().await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::Unauthenticated));
    assert_eq!(error.refusal().unwrap().code, Code::Unauthenticated);
    text_of(
        &error,
        &["UNAUTHENTICATED", "data directory", "EXECGATE_TOKEN"],
    );
}

#[tokio::test]
async fn server_that_dies_mid_stream_is_a_broken_connection_and_then_no_connection() {
    let server = Server::start();
    let builder = Client::builder().address(server.address.clone());
    let builder = builder.token(server.token()).resume(Resume::Never);
    let session = builder.connect().await.unwrap().session().await.unwrap();
    let mut events = session.exec("echo begun; sleep 60").await.unwrap();
    while events.next().await.unwrap().unwrap().stdout().is_none() {}
    server.kill();
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
    text_of(&error, &[&server.address, "may still run", "attach"]);
    assert!(events.next().await.is_none());
    // The connection may only now be seen to be gone.
    let mut error = session.run("true").await.unwrap_err();
    if matches!(error, Error::Disconnected { .. }) {
        error = session.run("true").await.unwrap_err();
    }
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    text_of(&error, &[&server.address, "execgate serve"]);
}

#[tokio::test]
async fn server_without_a_call_is_named_as_older() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let other = tonic::transport::Server::builder().add_service(health);
    let other = tokio::spawn(other.serve_with_incoming(incoming));
    let client = Client::connect(&*address).await.unwrap();
    let error = client.session().await.unwrap_err();
    let method = match &error {
        Error::Unsupported { method, .. } => *method,
        other => panic!("{other:?}"),
    };
    assert_eq!(method, "SessionService/CreateSession");
    text_of(&error, &[&address, method, "older than this client"]);
    other.abort();
}

#[tokio::test]
async fn something_that_speaks_no_grpc_is_an_error_and_no_hang() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            // The peer may be gone by then.
            let _written = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let answer = async { Client::connect(&*address).await?.session().await };
    let error = answer.await.unwrap_err();
    assert!(
        matches!(error, Error::Connect { .. } | Error::Disconnected { .. }),
        "{error:?}"
    );
    text_of(&error, &[&address]);
    other.abort();
}

#[tokio::test]
async fn dropping_a_future_leaves_the_command_or_cancels_it() {
    let server = Server::start();
    let session = session(&server).await;
    for (action, expected) in [(OnDisconnect::Detach, "done\n"), (OnDisconnect::Cancel, "")] {
        let id = format!("{action:?}").to_lowercase();
        let command = Command::script("sleep 3; echo done").execution_id(&id);
        let run = session.run(command.on_disconnect(action));
        let limit = Duration::from_secs(1);
        assert!(tokio::time::timeout(limit, run).await.is_err(), "{id}");
        // Its turn comes when the first has ended.
        let next = Command::script("true").queue_if_busy();
        assert!(session.run(next).await.unwrap().success());
        let result = session.attach(&id).await.unwrap().result().await.unwrap();
        assert_eq!(result.stdout_text(), expected, "{id}");
    }
}

#[tokio::test]
async fn the_unix_socket_needs_no_token() {
    let server = Server::start();
    let client = Client::builder()
        .address(format!("unix:{}", server.socket.display()))
        .token("")
        .connect()
        .await
        .unwrap();
    let capabilities = client.capabilities().await.unwrap();
    assert_eq!(capabilities.api_version, "1.0");
    let session = client.session().await.unwrap();
    assert_eq!(session.run("echo hi").await.unwrap().stdout_text(), "hi\n");
}

#[tokio::test]
async fn a_session_is_found_again_and_listed() {
    let server = Server::start();
    let client = connect(&server).await;
    for id in ["a", "b", "c"] {
        client.session().id(id).label("team", "x").await.unwrap();
    }
    client.session().id("other").await.unwrap();
    let request = proto::ListSessionsRequest {
        page_size: 2,
        labels: [("team".to_owned(), "x".to_owned())].into(),
        ..Default::default()
    };
    let listed: Vec<_> = client.sessions(request).collect().await;
    let ids = listed
        .into_iter()
        .map(|session| session.unwrap().session_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["c", "b", "a"]);
    let found = connect(&server).await.find_session("a").await.unwrap();
    assert_eq!(found.describe().await.unwrap().labels["team"], "x");
    let error = client.find_session("absent").await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::SessionNotFound));
}

#[tokio::test]
async fn executions_and_the_audit_of_them_are_listed() {
    let server = Server::start();
    let session = session(&server).await;
    for id in ["first", "second"] {
        let command = Command::script(format!("echo {id}")).execution_id(id);
        session.run(command).await.unwrap();
    }
    let executions: Vec<_> = session.executions().collect().await;
    let ids = executions.into_iter().map(|e| e.unwrap().execution_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["second", "first"]);
    let second = session.execution("second").await.unwrap();
    assert_eq!(second.state(), ExecutionState::Finished);
    assert_eq!(second.command, "echo second");

    let request = proto::ListAuditRecordsRequest {
        page_size: 1,
        filter: Some(proto::AuditFilter {
            session_ids: vec![session.id().to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let records: Vec<_> = connect(&server)
        .await
        .audit_records(request)
        .collect()
        .await;
    assert!(records.len() >= 4, "{records:?}");
    let sequences: Vec<_> = records.into_iter().map(|r| r.unwrap().sequence).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
}

#[tokio::test]
async fn a_command_is_judged_without_being_run() {
    let server = Server::start();
    let session = session(&server).await;
    let verdict = session.evaluate("rm -rf /").await.unwrap();
    assert_eq!(verdict.decision(), Decision::Deny);
    let error = session.run("rm -rf /").await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::PolicyDenied));
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.metadata["rule"], verdict.rule_id);
    assert_eq!(refusal.suggestion.as_deref(), Some(&*verdict.suggestion));
    // Its arguments are the policy's to judge; a program that is denied as such is the
    // kernel's, too. Other rules of this policy have arguments, so that is one in part.
    assert_eq!(verdict.enforcement(), EnforcementLevel::Advisory);
    let verdict = session.evaluate("mkfs.ext4 /dev/sda").await.unwrap();
    assert_eq!(verdict.enforcement(), EnforcementLevel::Partial);
    let verdict = session.evaluate("echo fine").await.unwrap();
    assert_eq!(verdict.decision(), Decision::Allow);
}

#[tokio::test]
async fn an_execution_is_followed_from_an_offset_on() {
    let server = Server::start();
    let session = session(&server).await;
    let command = Command::script("echo 12345; echo e >&2; (exit 7)").execution_id("e");
    let mut events = session.exec(command).await.unwrap();
    assert_eq!(events.execution_id(), "e");
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first, Event::Started(_)), "{first:?}");
    // An offset that is not there yet is refused.
    while events.next().await.unwrap().unwrap().stdout().is_none() {}
    drop(events);
    let offsets = [(Channel::Stdout, 3)];
    let rest = session.attach_from("e", offsets).await.unwrap();
    let rest = rest.result().await.unwrap();
    assert_eq!(
        (rest.stdout_text(), rest.stderr_text()),
        ("45\n".into(), "e\n".into())
    );
    let exited = Outcome::Exited {
        code: 7,
        possible_signal: None,
    };
    assert_eq!(rest.finished.outcome, exited);
    let error = session.attach_from("e", [(Channel::Stdout, 99)]).await;
    let error = error.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::OffsetOutOfRange));
    let error = session.attach("absent").await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::ExecutionNotFound));
}

#[tokio::test]
async fn checkpoints_are_made_compared_and_restored() {
    let server = Server::start_with("[policy]\nname = \"open\"\n");
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let client = connect(&server).await;
    let directory = folder.path().display().to_string();
    let session = client.session().workspace(directory).await.unwrap();
    session.run("echo one >file").await.unwrap();
    let saved = session.checkpoint(Default::default()).await.unwrap();
    session.run("echo two >file; echo x >new").await.unwrap();
    let changes: Vec<_> = session.diff(&saved.checkpoint_id, 1000).collect().await;
    let changes: Vec<_> = changes.into_iter().map(Result::unwrap).collect();
    let patches: Vec<&[u8]> = changes.iter().map(|change| &change.patch[..]).collect();
    assert_eq!(
        patches,
        [
            &b"--- a/file\n+++ b/file\n@@ -1 +1 @@\n-one\n+two\n"[..],
            b"--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n",
        ]
    );
    let restored = session.restore_to(&saved.checkpoint_id).await.unwrap();
    assert_eq!(session.run("cat *").await.unwrap().stdout_text(), "one\n");
    let all: Vec<_> = client.checkpoints(Default::default()).collect().await;
    let ids: Vec<_> = all
        .into_iter()
        .map(|one| one.unwrap().checkpoint_id)
        .collect();
    let expected = [&restored.pre_restore_checkpoint_id, &saved.checkpoint_id];
    assert_eq!(ids, expected.map(Clone::clone));
    client
        .delete_checkpoint(&saved.checkpoint_id)
        .await
        .unwrap();
    let gone = client.checkpoint(&saved.checkpoint_id).await.unwrap_err();
    assert_eq!(gone.reason(), Some(ErrorReason::CheckpointNotFound));
    let missing = client.diff(proto::DiffCheckpointRequest {
        checkpoint_id: saved.checkpoint_id,
        against: Some(proto::diff_checkpoint_request::Against::Workspace(
            Default::default(),
        )),
        ..Default::default()
    });
    let missing: Vec<_> = missing.collect().await;
    assert!(matches!(missing.as_slice(), [Err(_)]), "{missing:?}");
}
