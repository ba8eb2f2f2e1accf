//! The end in good order, and the next start.

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;
use execgate_proto::v1::exec_event::Kind;

use crate::support::{Server, kinds};

#[tokio::test]
async fn sigterm_finishes_running_streams_and_exits_with_0() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let mut stream = client.exec("s", "e", "echo started; sleep 60").await;
    stream.message().await.unwrap();
    server.terminate();
    let kinds = kinds(&mut stream).await;
    let Some(Kind::Finished(finished)) = kinds.last() else {
        panic!("{kinds:?}")
    };
    assert_eq!(finished.cause(), v1::Cause::SessionClosed);
    let socket = server.socket.clone();
    drop((client, stream));
    assert_eq!(server.wait().await.code(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_process_that_detached_itself_ends_with_its_session() {
    // The default policy has no liking for scripts that cannot be read beforehand.
    let server = Server::start_with("[policy]\nname = \"open\"\n");
    let mut client = server.client().await;
    client.session("s").await;
    let script = "f=$(mktemp -u); mkfifo $f; \
        (setsid env -i /bin/sh -c \"echo > $f; exec sleep 987\" >/dev/null 2>&1 &); \
        read x < $f; rm $f";
    client.run("s", script).await;
    let request = v1::CloseSessionRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    let closed = client
        .sessions
        .close_session(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(closed.session.unwrap().state(), v1::SessionState::Closed);
    let commands: Vec<_> = closed
        .ended_processes
        .iter()
        .map(|p| p.command.as_str())
        .collect();
    assert!(
        commands
            .iter()
            .any(|command| command.ends_with("sleep 987")),
        "{commands:?}"
    );
    let filter = v1::AuditFilter {
        kinds: vec![v1::AuditKind::SessionClosed.into()],
        ..Default::default()
    };
    let request = v1::ListAuditRecordsRequest {
        filter: Some(filter),
        ..Default::default()
    };
    let records = client
        .audits
        .list_audit_records(request)
        .await
        .unwrap()
        .into_inner()
        .records;
    let Some(Body::SessionClosed(record)) = &records[0].body else {
        panic!("{records:?}")
    };
    assert_eq!(record.end_reason(), v1::SessionEndReason::Requested);
}
