//! Commands and what becomes of them.

use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::exec_event::Kind;
use tonic::Code;

use crate::support::{Server, exit_code, kinds, refused, run_request, spec, stdout};

#[tokio::test]
async fn what_a_command_leaves_behind_is_there_for_the_next() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client
        .run("s", "cd /tmp; export A=1; f(){ echo hi; }; alias x=f")
        .await;
    let result = client.run("s", "x; echo $A; pwd; (exit 3)").await;
    assert_eq!(stdout(&result), "hi\n1\n/tmp\n");
    assert_eq!(exit_code(&result), Some(3));
    assert_eq!(result.finished.unwrap().cwd, "/tmp");
}

#[tokio::test]
async fn a_stream_starts_and_finishes_and_its_offsets_join() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let script = "for i in 1 2 3; do echo out$i; echo err$i >&2; sleep 0.05; done";
    let mut stream = client.exec("s", "e", script).await;
    let mut sequence = 0;
    let mut kinds = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        let event = response.event.unwrap();
        sequence += 1;
        assert_eq!(event.sequence, sequence);
        kinds.push(event.kind.unwrap());
    }
    assert!(
        matches!(&kinds[0], Kind::Started(started) if started.execution_id == "e"),
        "{kinds:?}"
    );
    let Some(Kind::Finished(finished)) = kinds.last() else {
        panic!("{kinds:?}")
    };
    let mut channels = [
        (v1::Channel::Stdout, String::new()),
        (v1::Channel::Stderr, String::new()),
    ];
    for kind in &kinds[1..kinds.len() - 1] {
        let Kind::Output(output) = kind else {
            panic!("{kind:?}")
        };
        let (_, seen) = channels
            .iter_mut()
            .find(|(c, _)| *c == output.channel())
            .unwrap();
        assert_eq!(output.offset, seen.len() as u64);
        seen.push_str(std::str::from_utf8(&output.data).unwrap());
    }
    assert_eq!(channels[0].1, "out1\nout2\nout3\n");
    assert_eq!(channels[1].1, "err1\nerr2\nerr3\n");
    assert_eq!(finished.channels[0].bytes, 15);
}

#[tokio::test]
async fn a_time_limit_ends_the_command_and_not_the_session() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "kept=yes").await;
    let mut request = run_request("s", "echo before; sleep 60");
    request.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 300_000_000,
    });
    let result = client.try_run(request).await.unwrap();
    assert!(result.timed_out);
    assert_eq!(stdout(&result), "before\n");
    assert_eq!(result.finished.unwrap().cause(), v1::Cause::Timeout);
    assert_eq!(stdout(&client.run("s", "echo $kept").await), "yes\n");
}

#[tokio::test]
async fn a_busy_session_says_with_what_and_can_be_queued_for() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let mut running = client.exec("s", "long", "sleep 0.5; echo first").await;
    running.message().await.unwrap();
    let busy = refused(client.try_run(run_request("s", "echo no")).await);
    assert_eq!(
        (busy.code, busy.reason.as_str()),
        (Code::FailedPrecondition, "SESSION_BUSY")
    );
    assert_eq!(busy.metadata["execution_id"], "long");
    let mut queued = run_request("s", "echo second");
    queued.queue_if_busy = true;
    assert_eq!(stdout(&client.try_run(queued).await.unwrap()), "second\n");
}

#[tokio::test]
async fn a_retry_under_the_same_id_runs_nothing_again() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let mut request = run_request("s", "n=$((n+1)); echo $n");
    request.execution_id = "once".into();
    let first = client.try_run(request.clone()).await.unwrap();
    let again = client.try_run(request.clone()).await.unwrap();
    assert_eq!((stdout(&first), first.deduplicated), ("1\n".into(), false));
    assert_eq!((stdout(&again), again.deduplicated), ("1\n".into(), true));
    request.spec = Some(spec("echo other"));
    let other = refused(client.try_run(request).await);
    assert_eq!(
        (other.code, other.reason.as_str()),
        (Code::AlreadyExists, "EXECUTION_ID_REUSED")
    );
}

#[tokio::test]
async fn a_caller_that_goes_can_come_back_for_the_rest() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let mut stream = client.exec("s", "e", "echo one; sleep 0.3; echo two").await;
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(Kind::Output(_)) = response.event.unwrap().kind {
            break;
        }
    }
    drop(stream);
    let request = v1::AttachRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        offsets: vec![v1::ChannelOffset {
            channel: v1::Channel::Stdout.into(),
            offset: 2,
        }],
        ..Default::default()
    };
    let mut stream = client
        .execs
        .attach(request.clone())
        .await
        .unwrap()
        .into_inner();
    let mut seen = Vec::new();
    let mut finished = None;
    while let Some(response) = stream.message().await.unwrap() {
        match response.event.unwrap().kind.unwrap() {
            Kind::Output(output) => {
                assert_eq!(output.offset, 2 + seen.len() as u64);
                seen.extend_from_slice(&output.data);
            }
            Kind::Finished(end) => finished = Some(end),
            _ => {}
        }
    }
    assert_eq!(seen, b"e\ntwo\n");
    assert_eq!(finished.unwrap().cause(), v1::Cause::Exited);
    let mut beyond = request;
    beyond.offsets[0].offset = 9;
    let answer = refused(client.execs.attach(beyond).await);
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (Code::OutOfRange, "OFFSET_OUT_OF_RANGE")
    );
    assert_eq!(answer.metadata["next_offset"], "8");
}

#[tokio::test]
async fn a_caller_that_goes_takes_its_command_along_if_it_said_so() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let request = v1::ExecRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        spec: Some(spec("sleep 60")),
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..Default::default()
    };
    let mut stream = client.execs.exec(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    drop(stream);
    let attach = v1::AttachRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        ..Default::default()
    };
    let mut stream = client.execs.attach(attach).await.unwrap().into_inner();
    let mut last = None;
    while let Some(response) = stream.message().await.unwrap() {
        last = response.event.unwrap().kind;
    }
    let Some(Kind::Finished(finished)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(finished.cause(), v1::Cause::Cancelled);
}

#[tokio::test]
async fn a_command_lives_until_the_last_of_its_callers_goes() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let request = v1::ExecRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        spec: Some(spec("sleep 0.7; echo survived")),
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..Default::default()
    };
    let mut first = client
        .execs
        .exec(request.clone())
        .await
        .unwrap()
        .into_inner();
    first.message().await.unwrap();
    let mut second = client.execs.exec(request).await.unwrap().into_inner();
    second.message().await.unwrap();
    drop(first);
    let rest = kinds(&mut second).await;
    let Some(Kind::Finished(finished)) = rest.last() else {
        panic!("{rest:?}")
    };
    assert_eq!(finished.cause(), v1::Cause::Exited);
}

#[tokio::test]
async fn the_deadline_of_a_call_is_not_the_limit_of_its_command() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let request = v1::ExecRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        spec: Some(spec("sleep 3; echo done")),
        ..Default::default()
    };
    let mut late = tonic::Request::new(request);
    late.set_timeout(Duration::from_secs(1));
    // The interceptor of the client sets its own deadline; this call goes without it.
    let bearer = format!("Bearer {}", server.token());
    late.metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    let mut plain = v1::exec_service_client::ExecServiceClient::new(server.tcp().await);
    let mut stream = plain.exec(late).await.unwrap().into_inner();
    let ended = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    let ended = refused(ended);
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    assert_eq!(ended.metadata["execution_id"], "e");
    let mut stream = client.exec("s", "e", "sleep 3; echo done").await;
    let kinds = kinds(&mut stream).await;
    assert!(
        matches!(&kinds[0], Kind::Started(started) if started.deduplicated),
        "{kinds:?}"
    );
    assert!(matches!(kinds.last(), Some(Kind::Finished(f)) if f.cause() == v1::Cause::Exited));
}

#[tokio::test]
async fn validating_runs_nothing() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let mut request = run_request("s", "touched=1");
    request.validate_only = true;
    let answer = client
        .execs
        .run(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result.is_none());
    assert_eq!(answer.verdict.unwrap().decision(), v1::Decision::Allow);
    assert_eq!(stdout(&client.run("s", "echo [$touched]").await), "[]\n");
    request.spec = Some(spec("rm -rf /"));
    assert_eq!(
        refused(client.try_run(request).await).reason,
        "POLICY_DENIED"
    );
}

#[tokio::test]
async fn executions_are_listed_newest_first() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    for id in ["a", "b", "c"] {
        let mut request = run_request("s", &format!("echo {id}"));
        request.execution_id = id.into();
        client.try_run(request).await.unwrap();
    }
    let request = v1::ListExecutionsRequest {
        session_id: "s".into(),
        page_size: 2,
        ..Default::default()
    };
    let page = client
        .execs
        .list_executions(request.clone())
        .await
        .unwrap()
        .into_inner();
    let next = v1::ListExecutionsRequest {
        page_token: page.next_page_token,
        ..request
    };
    let rest = client
        .execs
        .list_executions(next)
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = page.executions.iter().chain(&rest.executions).collect();
    assert!(
        ids.iter()
            .all(|e| e.state() == v1::ExecutionState::Finished)
    );
    let ids: Vec<_> = ids.into_iter().map(|e| e.execution_id.as_str()).collect();
    assert_eq!(
        (ids, rest.next_page_token.as_str()),
        (vec!["c", "b", "a"], "")
    );
}
