//! Reading the audit log: filters, following, heads, checks, recordings.

use std::process::Command;
use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;
use tokio::time::timeout;
use tonic::Streaming;

use crate::support::{Client, Server, binary, refused, run_request};

/// Longer than a record takes to arrive.
const LIMIT: Duration = Duration::from_secs(30);

async fn list(client: &mut Client, filter: v1::AuditFilter) -> Vec<v1::AuditRecord> {
    let request = v1::ListAuditRecordsRequest {
        filter: Some(filter),
        page_size: 1000,
        ..Default::default()
    };
    let page = client.audits.list_audit_records(request).await.unwrap();
    page.into_inner().records
}

fn commands(records: &[v1::AuditRecord]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| match record.body.as_ref().unwrap() {
            Body::ExecutionIntent(intent) => Some(intent.command.as_str()),
            Body::ExecutionDenied(denied) => Some(denied.command.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn records_are_found_by_what_is_said_of_them() {
    let server = Server::start();
    let mut client = server.client().await;
    for session in ["a", "b"] {
        client.session(session).await;
        client.run(session, &format!("echo in-{session}")).await;
        client
            .run(session, "exit_with() { return 3; }; exit_with")
            .await;
        let denied = client.try_run(run_request(session, "rm -rf /")).await;
        assert_eq!(refused(denied).reason, "POLICY_DENIED");
    }
    let all = v1::AuditFilter::default;
    let denied = v1::AuditFilter {
        decision: v1::Decision::Deny.into(),
        ..all()
    };
    assert_eq!(commands(&list(&mut client, denied).await), ["rm -rf /"; 2]);
    let text = v1::AuditFilter {
        text: "in-b".to_owned(),
        ..all()
    };
    assert_eq!(commands(&list(&mut client, text).await), ["echo in-b"]);
    let failed = v1::AuditFilter {
        failed_only: true,
        session_ids: vec!["a".to_owned()],
        ..all()
    };
    assert_eq!(list(&mut client, failed).await.len(), 1);
    let exited = v1::AuditFilter {
        causes: vec![v1::Cause::Exited.into()],
        ..all()
    };
    assert_eq!(list(&mut client, exited).await.len(), 4);
    let reads = v1::AuditFilter {
        kinds: vec![v1::AuditKind::AuditRead.into()],
        ..all()
    };
    assert_eq!(list(&mut client, reads).await.len(), 4);
    let long = v1::AuditFilter {
        text: "x".repeat(1025),
        ..all()
    };
    let request = v1::ListAuditRecordsRequest {
        filter: Some(long),
        ..Default::default()
    };
    let answer = refused(client.audits.list_audit_records(request).await);
    assert_eq!(answer.fields, ["filter.text"]);
}

async fn tail(client: &mut Client, from: Option<u64>) -> Streaming<v1::TailAuditRecordsResponse> {
    let request = v1::TailAuditRecordsRequest {
        from_sequence: from,
        filter: None,
    };
    let tail = client.audits.tail_audit_records(request).await;
    tail.unwrap().into_inner()
}

async fn next(tail: &mut Streaming<v1::TailAuditRecordsResponse>) -> v1::TailAuditRecordsResponse {
    let next = timeout(LIMIT, tail.message()).await.unwrap();
    next.unwrap().unwrap()
}

#[tokio::test]
async fn a_tail_has_what_was_and_what_comes_without_gaps() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "echo 1").await;
    let mut from_start = tail(&mut client, Some(1)).await;
    let mut from_now = tail(&mut client, None).await;
    let busy = tokio::spawn({
        let mut client = client.clone();
        async move {
            for number in 0..50 {
                client.run("s", &format!("echo {number}")).await;
            }
        }
    });
    let mut expected = 1;
    let mut outcomes = 0;
    while outcomes < 51 {
        let message = next(&mut from_start).await;
        let record = message.record.unwrap();
        assert_eq!(record.sequence, expected);
        assert_eq!(message.next_sequence, expected + 1);
        expected += 1;
        outcomes += u64::from(matches!(record.body, Some(Body::ExecutionOutcome(_))));
    }
    busy.await.unwrap();
    // The one that began later begins with what came after it was asked for.
    let first = next(&mut from_now).await.record.unwrap();
    assert!(first.sequence > 4, "{}", first.sequence);
    let resumed = tail(&mut client, Some(first.sequence))
        .await
        .message()
        .await;
    let resumed = resumed.unwrap().unwrap().record.unwrap();
    assert_eq!(resumed, first);
}

#[tokio::test]
async fn a_tail_outside_of_the_log_is_refused() {
    let server = Server::start();
    let mut client = server.client().await;
    let request = v1::TailAuditRecordsRequest {
        from_sequence: Some(1000),
        filter: None,
    };
    let answer = refused(client.audits.tail_audit_records(request).await);
    assert_eq!(answer.reason, "SEQUENCE_OUT_OF_RANGE");
    assert_eq!(answer.metadata["first_sequence"], "1");
    assert_eq!(answer.metadata["next_sequence"], "2");
}

#[tokio::test]
async fn a_silent_tail_shows_that_it_lives_and_ends_with_the_server() {
    let server = Server::start_with("executions = { keep_alive = \"1s\" }");
    let mut client = server.client().await;
    let mut silent = tail(&mut client, None).await;
    // Its own reading is the first thing that comes.
    let reading = next(&mut silent).await;
    assert!(reading.record.is_some());
    let alive = next(&mut silent).await;
    assert_eq!(alive.record, None);
    assert_eq!(alive.next_sequence, reading.next_sequence);
    server.terminate();
    let end = loop {
        match timeout(LIMIT, silent.message()).await.unwrap() {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(refused(end.map(|_| ())).reason, "SERVER_DRAINING");
    assert!(server.wait().await.success());
}

fn verify_offline(server: &Server, more: &[&str]) -> (i32, String) {
    let output = Command::new(binary())
        .args(["audit", "verify"])
        .arg(&server.data_dir)
        .args(more)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text + &errors)
}

fn key_of(server: &Server) -> String {
    let output = Command::new(binary())
        .args(["audit", "key", "--data-dir"])
        .arg(&server.data_dir)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_head_kept_elsewhere_is_found_again_by_server_and_command_line() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "true").await;
    let head = client.audits.get_audit_head(v1::GetAuditHeadRequest {});
    let head = head.await.unwrap().into_inner();
    assert!(head.sign_time.is_some());
    assert_eq!(head.verifier_key, key_of(&server));
    for _ in 0..10 {
        client.run("s", "true").await;
    }
    let request = v1::VerifyAuditLogRequest {
        known_checkpoint_note: head.checkpoint_note.clone(),
        ..Default::default()
    };
    let found = client.audits.verify_audit_log(request).await.unwrap();
    let found = found.into_inner();
    assert_eq!((found.valid, &found.first_defect), (true, &None));
    assert!(found.checked_records > 20, "{}", found.checked_records);
    let note = server.data_dir.join("note");
    std::fs::write(&note, &head.checkpoint_note).unwrap();
    let note = note.to_str().unwrap();
    // A log can be checked while it is being written.
    let arguments = ["--key", &head.verifier_key, "--head", note];
    let (code, text) = verify_offline(&server, &arguments);
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("valid\n"), "{text}");
    // The same head of another log, or another key, is a defect.
    let other = head.checkpoint_note.replacen("\n", "\n1", 1);
    std::fs::write(note, other).unwrap();
    let (code, text) = verify_offline(&server, &arguments);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("bad signature"), "{text}");
}

#[tokio::test]
async fn a_log_that_was_changed_behind_the_server_is_named() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "echo first").await;
    client.run("s", "echo second").await;
    let audit = server.data_dir.join("audit");
    let segment = audit.join("00000000000000000001.log");
    let text = std::fs::read(&segment).unwrap();
    let at = text
        .windows(10)
        .position(|part| part == b"echo first")
        .unwrap();
    let mut changed = text.clone();
    changed[at + 5] = b'F';
    std::fs::write(&segment, &changed).unwrap();
    let found = client
        .audits
        .verify_audit_log(v1::VerifyAuditLogRequest::default())
        .await
        .unwrap()
        .into_inner();
    let defect = found.first_defect.unwrap();
    assert_eq!(
        (found.valid, defect.sequence, defect.kind()),
        (false, 3, v1::AuditDefectKind::Changed)
    );
    let (code, said) = verify_offline(&server, &["--key", &key_of(&server), "--json"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(r#""sequence":3"#), "{said}");
}

async fn recording(client: &mut Client, session: &str, format: v1::RecordingFormat) -> String {
    let request = v1::ExportRecordingRequest {
        session_id: session.to_owned(),
        execution_id: String::new(),
        format: format.into(),
    };
    let stream = client.audits.export_recording(request).await;
    let mut stream = stream.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        assert!(piece.data.len() <= 64 * 1024);
        bytes.extend_from_slice(&piece.data);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_session_is_recorded_in_every_form() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "echo out; sleep 0.3; echo late >&2").await;
    client.run("s", "seq 100000").await;
    client.run("s", "(exit 7)").await;
    let cast = recording(&mut client, "s", v1::RecordingFormat::AsciicastV3).await;
    let lines: Vec<_> = cast.lines().collect();
    assert!(lines[0].contains(r#""version":3"#), "{}", lines[0]);
    assert!(lines[1].contains(r#""m", "echo out;"#), "{}", lines[1]);
    let late = lines
        .iter()
        .find(|line| line.contains("late\\r\\n"))
        .unwrap();
    let waited: f64 = late[1..].split(',').next().unwrap().parse().unwrap();
    assert!((0.25..5.0).contains(&waited), "{late}");
    assert!(cast.contains("100000\\r\\n"));
    assert!(
        cast.ends_with(", \"x\", \"7\"]\n"),
        "{}",
        lines.last().unwrap()
    );
    let jsonl = recording(&mut client, "s", v1::RecordingFormat::Jsonl).await;
    let with = |text: &str| jsonl.lines().filter(|line| line.contains(text)).count();
    assert_eq!(with(r#""kind":"execution_intent""#), 3);
    assert_eq!(with(r#""kind":"execution_outcome""#), 3);
    assert!(with(r#"{"output":{"#) >= 4);
    let ocsf = recording(&mut client, "s", v1::RecordingFormat::Ocsf).await;
    let launched = ocsf
        .lines()
        .filter(|line| line.contains(r#""type_uid":100701"#));
    assert_eq!(launched.count(), 3);
    let request = v1::ExportRecordingRequest {
        session_id: "nobody".to_owned(),
        format: v1::RecordingFormat::Jsonl.into(),
        ..Default::default()
    };
    let answer = refused(client.audits.export_recording(request).await);
    assert_eq!(answer.reason, "SESSION_NOT_FOUND");
}
