//! Executions outlive their streams and their callers, start once, and end once.

use std::path::Path;
use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;
use execgate_proto::v1::exec_event::Kind;
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::support::{Client, Server, refused, run_request, spec, stdout};

/// Rounds of killing the server; more with EXECGATE_CRASH_ROUNDS.
const CRASH_ROUNDS: u32 = 15;

fn attach(execution: &str, offsets: &[(v1::Channel, u64)]) -> v1::AttachRequest {
    let offsets = offsets.iter().map(|&(channel, offset)| v1::ChannelOffset {
        channel: channel.into(),
        offset,
    });
    v1::AttachRequest {
        session_id: "s".into(),
        execution_id: execution.into(),
        offsets: offsets.collect(),
        notices_seen: 0,
    }
}

/// A file that sessions can write.
fn counter(folder: &tempfile::TempDir) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    folder.path().join("runs")
}

fn runs(counter: &Path) -> usize {
    std::fs::read_to_string(counter).map_or(0, |text| text.lines().count())
}

/// What `seq 1 3000000` writes.
fn numbers() -> Vec<u8> {
    use std::io::Write;
    let mut whole = Vec::new();
    for number in 1..=3_000_000 {
        writeln!(whole, "{number}").unwrap();
    }
    whole
}

#[tokio::test]
async fn what_a_killed_client_did_not_get_another_one_gets() {
    let server = Server::start();
    server.client().await.session("s").await;
    let mut whole = Vec::new();
    {
        let mut first = server.client().await;
        let mut stream = first.exec("s", "count", "seq 1 3000000").await;
        while whole.len() < 5_000_000 {
            let event = stream.message().await.unwrap().unwrap().event.unwrap();
            if let Some(Kind::Output(output)) = event.kind {
                assert_eq!(output.offset, whole.len() as u64);
                whole.extend_from_slice(&output.data);
            }
        }
        // The connection goes as it does with a process that is killed.
    }
    let mut second = server.client().await;
    let from = whole.len() as u64;
    let request = attach("count", &[(v1::Channel::Stdout, from)]);
    let mut stream = second.execs.attach(request).await.unwrap().into_inner();
    let mut finished = None;
    while let Some(response) = stream.message().await.unwrap() {
        match response.event.unwrap().kind.unwrap() {
            Kind::Output(output) => {
                assert_eq!(output.offset, whole.len() as u64);
                whole.extend_from_slice(&output.data);
            }
            Kind::Gap(gap) => panic!("{gap:?}"),
            Kind::Finished(end) => finished = Some(end),
            _ => {}
        }
    }
    assert!(whole == numbers());
    let finished = finished.unwrap();
    let total = &finished.channels[0];
    assert_eq!(total.sha256, Sha256::digest(&whole).as_slice());
}

#[tokio::test]
async fn an_offset_beyond_the_end_is_refused_with_the_end() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let mut stream = client.exec("s", "e", "echo four; sleep 60").await;
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(Kind::Output(_)) = response.event.unwrap().kind {
            break;
        }
    }
    let request = attach("e", &[(v1::Channel::Stdout, 6)]);
    let answer = refused(client.execs.attach(request).await.map(drop));
    assert_eq!(
        (
            answer.code,
            answer.reason.as_str(),
            answer.metadata["next_offset"].as_str()
        ),
        (Code::OutOfRange, "OFFSET_OUT_OF_RANGE", "5")
    );
}

#[tokio::test]
async fn a_hundred_identical_calls_run_the_command_once() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let counter = counter(&folder);
    let mut client = server.client().await;
    client.session("s").await;
    let script = format!("echo run >> {}; sleep 0.2; echo done", counter.display());
    let request = v1::RunRequest {
        execution_id: "once".into(),
        ..run_request("s", &script)
    };
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (mut client, request) = (client.clone(), request.clone());
            tokio::spawn(async move { client.try_run(request).await.unwrap() })
        })
        .collect();
    let mut fresh = 0;
    for call in calls {
        let result = call.await.unwrap();
        assert_eq!(stdout(&result), "done\n");
        fresh += usize::from(!result.deduplicated);
    }
    assert_eq!((runs(&counter), fresh), (1, 1));
    // Waiting for a turn is no part of what is asked; everything in the spec is.
    let again = v1::RunRequest {
        queue_if_busy: true,
        ..request.clone()
    };
    assert!(client.try_run(again).await.unwrap().deduplicated);
    let changes: [fn(&mut v1::ExecutionSpec); 4] = [
        |spec| spec.cwd = "/tmp".into(),
        |spec| drop(spec.env.insert("A".into(), "1".into())),
        |spec| spec.overflow = v1::OverflowAction::Evict.into(),
        |spec| {
            spec.timeout = Some(prost_types::Duration {
                seconds: 7,
                nanos: 0,
            });
        },
    ];
    for change in changes {
        let mut other = request.clone();
        change(other.spec.as_mut().unwrap());
        let answer = refused(client.try_run(other).await);
        assert_eq!(answer.reason, "EXECUTION_ID_REUSED");
    }
    assert_eq!(runs(&counter), 1);
}

#[tokio::test]
async fn an_execution_that_is_no_longer_kept_is_refused_and_not_run_again() {
    let server = Server::start_with("executions.keep = 2");
    let folder = tempfile::tempdir().unwrap();
    let counter = counter(&folder);
    let mut client = server.client().await;
    client.session("s").await;
    let script = format!("echo run >> {}", counter.display());
    let request = |id: &str| v1::RunRequest {
        execution_id: id.into(),
        ..run_request("s", &script)
    };
    for id in ["a", "b", "c"] {
        client.try_run(request(id)).await.unwrap();
    }
    let answer = refused(client.try_run(request("a")).await);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::NotFound, "EXECUTION_EXPIRED")
    );
    let get = v1::GetExecutionRequest {
        session_id: "s".into(),
        execution_id: "a".into(),
    };
    assert_eq!(
        refused(client.execs.get_execution(get).await).reason,
        "EXECUTION_EXPIRED"
    );
    assert!(client.try_run(request("c")).await.unwrap().deduplicated);
    assert_eq!(runs(&counter), 3);
}

#[tokio::test]
async fn an_execution_is_kept_for_its_time() {
    let server = Server::start_with("executions.keep_for = '1ms'");
    let mut client = server.client().await;
    client.session("s").await;
    let request = v1::RunRequest {
        execution_id: "old".into(),
        ..run_request("s", "true")
    };
    client.try_run(request.clone()).await.unwrap();
    // Another command takes longer than that.
    client.run("s", "sleep 0.05").await;
    assert_eq!(
        refused(client.try_run(request).await).reason,
        "EXECUTION_EXPIRED"
    );
}

/// What the log says of the execution: whether it was to start, and how it ended.
async fn recorded(client: &mut Client, execution: &str) -> (usize, usize) {
    let request = v1::ListAuditRecordsRequest {
        page_size: 1000,
        newest_first: true,
        ..Default::default()
    };
    let page = client.audits.list_audit_records(request).await.unwrap();
    let records = page.into_inner().records;
    let of_it = records
        .iter()
        .filter(|record| record.execution_id == execution);
    let (mut intents, mut ends) = (0, 0);
    for record in of_it {
        match record.body {
            Some(Body::ExecutionIntent(_)) => intents += 1,
            Some(Body::ExecutionOutcome(_) | Body::ExecutionAbandoned(_)) => ends += 1,
            _ => {}
        }
    }
    (intents, ends)
}

#[tokio::test]
async fn a_server_that_is_killed_never_runs_a_command_twice() {
    let rounds = std::env::var("EXECGATE_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(CRASH_ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let counter = counter(&folder);
    let mut server = Server::start();
    for round in 0..rounds {
        let (execution, before) = (format!("crash-{round}"), runs(&counter));
        let mut client = server.client().await;
        let session = format!("s{round}");
        client.session(&session).await;
        let script = format!("echo run >> {}; seq 1 100000", counter.display());
        let request = v1::ExecRequest {
            session_id: session.clone(),
            execution_id: execution.clone(),
            spec: Some(spec(&script)),
            ..Default::default()
        };
        let retry = request.clone();
        let call = tokio::spawn(async move {
            let mut stream = client.execs.exec(request).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        });
        // A start takes about a millisecond: somewhere in it, before or after.
        tokio::time::sleep(Duration::from_micros(u64::from(round * 7 % 15) * 200)).await;
        server.kill_and_restart();
        let seen = call.await.unwrap();
        let mut client = server.client().await;
        let answer = refused(client.execs.exec(retry.clone()).await.map(drop));
        assert_eq!(answer.reason, "SESSION_EXPIRED", "{answer:?}");
        // Under the same name the retry would find a session, and run again.
        let again = v1::CreateSessionRequest {
            session_id: session,
            ..Default::default()
        };
        let answer = refused(client.sessions.create_session(again).await);
        assert_eq!(answer.reason, "SESSION_ENDED", "{answer:?}");
        assert_eq!(answer.metadata["state"], "LOST");
        let ran = runs(&counter) - before;
        let (intents, ends) = recorded(&mut client, &execution).await;
        assert!(
            ran <= intents && intents <= 1,
            "{round}: {ran} runs, {intents} intents, {seen:?}"
        );
        assert_eq!(ends, intents, "{round}");
    }
}
