//! What is recorded.

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;

use crate::support::{Client, Server, refused, run_request};

async fn records(client: &mut Client, kinds: &[v1::AuditKind]) -> Vec<v1::AuditRecord> {
    let filter = v1::AuditFilter {
        kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(),
        ..Default::default()
    };
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListAuditRecordsRequest {
            page_size: 2,
            page_token,
            filter: Some(filter.clone()),
            newest_first: false,
        };
        let page = client
            .audits
            .list_audit_records(request)
            .await
            .unwrap()
            .into_inner();
        records.extend(page.records);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return records;
        }
    }
}

#[tokio::test]
async fn intent_comes_before_outcome_and_a_denial_is_a_record() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "echo hi").await;
    assert_eq!(
        refused(client.try_run(run_request("s", "rm -rf /")).await).reason,
        "POLICY_DENIED"
    );
    let records = records(&mut client, &[]).await;
    let sequences: Vec<_> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (1..=records.len() as u64).collect::<Vec<_>>());
    for pair in records.windows(2) {
        assert_eq!(pair[0].hash, pair[1].previous_hash);
    }
    let names: Vec<_> = records
        .iter()
        .map(|record| match record.body.as_ref().unwrap() {
            Body::ServerStarted(_) => "server_started",
            Body::SessionCreated(_) => "session_created",
            Body::ExecutionIntent(_) => "intent",
            Body::ExecutionOutcome(_) => "outcome",
            Body::ExecutionDenied(_) => "denied",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "server_started",
            "session_created",
            "intent",
            "outcome",
            "denied"
        ]
    );
    let head = client
        .audits
        .get_audit_head(v1::GetAuditHeadRequest {})
        .await
        .unwrap();
    let head = head.into_inner();
    // Reading the log is recorded, so it goes on by itself.
    let newest = self::records(&mut client, &[]).await;
    let covered = &newest[usize::try_from(head.sequence).unwrap() - 1];
    assert!(head.sequence > records.len() as u64);
    assert_eq!(covered.hash, head.hash);
}

#[tokio::test]
async fn newest_first_pages_join_too() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "echo 1").await;
    let mut request = v1::ListAuditRecordsRequest {
        page_size: 1,
        newest_first: true,
        ..Default::default()
    };
    let mut sequences = Vec::new();
    loop {
        let page = client
            .audits
            .list_audit_records(request.clone())
            .await
            .unwrap()
            .into_inner();
        sequences.extend(page.records.iter().map(|record| record.sequence));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(sequences, [4, 3, 2, 1]);
    request.newest_first = false;
    request.page_token = "MTIz".into();
    let answer = refused(client.audits.list_audit_records(request).await);
    assert_eq!(answer.reason, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn callers_that_are_turned_away_are_recorded_within_bounds() {
    let server = Server::start();
    let mut stranger = Client::new(server.tcp().await, Some("0".repeat(64)));
    for _ in 0..50 {
        let answer = stranger
            .sessions
            .get_capabilities(v1::GetCapabilitiesRequest {})
            .await;
        assert_eq!(refused(answer).reason, "UNAUTHENTICATED");
    }
    let mut client = server.client().await;
    let failures = records(&mut client, &[v1::AuditKind::AuthFailure]).await;
    assert!((10..50).contains(&failures.len()), "{}", failures.len());
    for failure in &failures {
        let text = format!("{failure:?}");
        assert!(!text.contains(&"0".repeat(64)), "{text}");
    }
    let Some(Body::AuthFailure(failure)) = &failures[0].body else {
        panic!("{failures:?}")
    };
    assert_eq!(
        failure.method,
        "/execgate.v1.SessionService/GetCapabilities"
    );
    assert!(
        failure.peer.starts_with("tcp 127.0.0.1:"),
        "{}",
        failure.peer
    );
}

#[tokio::test]
async fn records_say_how_the_caller_came_and_in_which_trace() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    for command in ["echo hi", "rm -rf /"] {
        let mut request = tonic::Request::new(run_request("s", command));
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        request
            .metadata_mut()
            .insert("traceparent", parent.parse().unwrap());
        let _denied = client.execs.run(request).await;
    }
    let seen: Vec<_> = records(&mut client, &[])
        .await
        .into_iter()
        .map(|record| (record.auth_method(), record.trace_id))
        .collect();
    let by_token = v1::AuthMethod::Token;
    let mut expected = vec![
        (v1::AuthMethod::Unspecified, String::new()),
        (by_token, String::new()),
    ];
    expected.extend([(by_token, trace.to_owned()), (by_token, trace.to_owned())]);
    expected.push((by_token, trace.to_owned()));
    assert_eq!(seen, expected);
}
