//! Retained output over the wire: ranges, budgets, gaps, and what lies on disk.

use std::os::unix::fs::FileExt;

use execgate_proto::v1;
use execgate_proto::v1::exec_event::Kind;
use execgate_proto::v1::read_output_request::Selection;
use tonic::Code;

use crate::support::{Client, Server, exit_code, kinds, refused, run_request, spec, stdout};

/// Bounds small enough for a test to reach.
const SMALL: &str = "limits.retained_output_bytes = 65536\n\
                     executions.spill_bytes = 1048576\n";

fn read(selection: Option<Selection>) -> v1::ReadOutputRequest {
    v1::ReadOutputRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        channel: v1::Channel::Stdout.into(),
        selection,
    }
}

fn range(offset: Option<u64>, limit: u64) -> v1::ReadOutputRequest {
    read(Some(Selection::Range(v1::OutputRange {
        offset,
        limit,
        wait: None,
    })))
}

async fn run(client: &mut Client, script: &str, overflow: v1::OverflowAction) -> v1::ExecResult {
    let mut request = v1::RunRequest {
        execution_id: "e".into(),
        ..run_request("s", script)
    };
    request.spec.as_mut().unwrap().overflow = overflow.into();
    client.try_run(request).await.unwrap()
}

async fn read_output(
    client: &mut Client,
    request: v1::ReadOutputRequest,
) -> v1::ReadOutputResponse {
    client
        .execs
        .read_output(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn output_is_read_again_by_ranges_and_budgets() {
    let server = Server::start_with(SMALL);
    let mut client = server.client().await;
    client.session("s").await;
    run(
        &mut client,
        "seq 1 100000; echo no >&2",
        v1::OverflowAction::Unspecified,
    )
    .await;
    let whole: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    let end = whole.len() as u64;
    let first = read_output(&mut client, read(None)).await;
    let expected = v1::ReadOutputResponse {
        data: whole.clone().into(),
        offset: 0,
        next_offset: end,
        first_offset: 0,
        end_offset: end,
        complete: true,
        budget: None,
    };
    assert!(first == expected, "{} bytes", first.data.len());
    let part = read_output(&mut client, range(Some(300_000), 7)).await;
    assert_eq!(
        (&part.data[..], part.next_offset),
        (&whole.as_bytes()[300_000..300_007], 300_007)
    );
    let at_the_end = read_output(&mut client, range(Some(end), 0)).await;
    assert_eq!((at_the_end.data.len(), at_the_end.next_offset), (0, end));
    let grep = v1::OutputBudget {
        grep: Some(v1::Grep {
            pattern: "^9999[0-9]$".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let found = read_output(&mut client, read(Some(Selection::Budget(grep)))).await;
    let report = found.budget.unwrap();
    assert_eq!((report.matched_lines, report.total_lines), (10, 100_000));
    assert!(String::from_utf8_lossy(&found.data).contains("99990\n99991\n"));
    let errors = v1::ReadOutputRequest {
        channel: v1::Channel::Stderr.into(),
        ..read(None)
    };
    assert_eq!(&read_output(&mut client, errors).await.data[..], b"no\n");
    let get = v1::GetExecutionRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
    };
    let known = client.execs.get_execution(get).await.unwrap().into_inner();
    let retained = |channel: v1::Channel, end_offset| v1::RetainedOutput {
        channel: channel.into(),
        first_offset: 0,
        end_offset,
    };
    assert_eq!(
        known.execution.unwrap().retained,
        [
            retained(v1::Channel::Stdout, end),
            retained(v1::Channel::Stderr, 3)
        ]
    );
}

#[tokio::test]
async fn reads_that_cannot_be_answered_say_why() {
    let server = Server::start_with(SMALL);
    let mut client = server.client().await;
    client.session("s").await;
    run(
        &mut client,
        "yes | head -c 4000000",
        v1::OverflowAction::Evict,
    )
    .await;
    let kept = read_output(&mut client, range(None, 1)).await;
    assert!(kept.first_offset > 2_000_000, "{kept:?}");
    assert_eq!(
        (kept.offset, kept.end_offset),
        (kept.first_offset, 4_000_000)
    );
    let gone = refused(client.execs.read_output(range(Some(7), 1)).await);
    assert_eq!(
        (gone.code, gone.reason.as_str()),
        (Code::OutOfRange, "OUTPUT_EVICTED")
    );
    assert_eq!(gone.metadata["first_offset"], kept.first_offset.to_string());
    let ahead = refused(client.execs.read_output(range(Some(4_000_001), 1)).await);
    assert_eq!(
        (ahead.code, ahead.reason.as_str()),
        (Code::OutOfRange, "OFFSET_OUT_OF_RANGE")
    );
    assert_eq!(ahead.metadata["next_offset"], "4000000");
    let cases = [
        (range(None, 1_048_577), "range.limit"),
        (
            v1::ReadOutputRequest {
                channel: 0,
                ..read(None)
            },
            "channel",
        ),
        (
            v1::ReadOutputRequest {
                execution_id: String::new(),
                ..read(None)
            },
            "execution_id",
        ),
    ];
    for (request, field) in cases {
        assert_eq!(
            refused(client.execs.read_output(request).await).fields,
            [field]
        );
    }
}

#[tokio::test]
async fn a_read_waits_for_the_first_byte() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let _stream = client.exec("s", "e", "sleep 0.3; echo now; sleep 60").await;
    let request = read(Some(Selection::Range(v1::OutputRange {
        offset: None,
        limit: 0,
        wait: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
    })));
    let answer = read_output(&mut client, request).await;
    assert_eq!((&answer.data[..], answer.complete), (&b"now\n"[..], false));
}

#[tokio::test]
async fn a_late_reader_sees_to_the_byte_what_was_evicted() {
    let server = Server::start_with(SMALL);
    let mut client = server.client().await;
    client.session("s").await;
    let result = run(
        &mut client,
        "yes | head -c 4000000",
        v1::OverflowAction::Evict,
    )
    .await;
    assert_eq!(exit_code(&result), Some(0));
    let request = v1::AttachRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        ..Default::default()
    };
    let mut stream = client.execs.attach(request).await.unwrap().into_inner();
    let (mut at, mut gaps) = (0, 0);
    while let Some(response) = stream.message().await.unwrap() {
        match response.event.unwrap().kind.unwrap() {
            Kind::Gap(gap) => {
                assert_eq!(gap.from_offset, at);
                assert_eq!(gap.reason(), v1::GapReason::Evicted);
                at = gap.to_offset;
                gaps += 1;
            }
            Kind::Output(output) => {
                assert_eq!(output.offset, at);
                at += output.data.len() as u64;
            }
            _ => {}
        }
    }
    assert_eq!((at, gaps), (4_000_000, 1));
}

#[tokio::test]
async fn a_reader_that_reads_nothing_slows_its_own_command_alone() {
    let server = Server::start_with(SMALL);
    let mut client = server.client().await;
    client.session("s").await;
    client.session("beside").await;
    let before = resident(server.pid());
    let mut dead = server.client().await;
    let script = "yes | head -c 100000000; echo over >&2";
    let mut unread = dead.exec("s", "e", script).await;
    // Commands beside it run while it waits.
    for _ in 0..100 {
        assert_eq!(stdout(&client.run("beside", "echo here").await), "here\n");
    }
    let growth = resident(server.pid()).saturating_sub(before);
    assert!(growth < 24 * 1024 * 1024, "{growth} bytes");
    let get = v1::GetExecutionRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
    };
    let waiting = client.execs.get_execution(get).await.unwrap().into_inner();
    let waiting = waiting.execution.unwrap();
    assert_eq!(waiting.state(), v1::ExecutionState::Running);
    // Another reader gets the rest, whatever the first one does: all but the little that
    // had been sent to it and was let go for that.
    let request = v1::AttachRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        ..Default::default()
    };
    let mut stream = client.execs.attach(request).await.unwrap().into_inner();
    let mut bytes = 0_u64;
    while let Some(response) = stream.message().await.unwrap() {
        match response.event.unwrap().kind.unwrap() {
            Kind::Output(output) if output.channel() == v1::Channel::Stdout => {
                assert_eq!(output.offset, bytes);
                bytes += output.data.len() as u64;
            }
            Kind::Gap(gap) => {
                assert_eq!(bytes, 0, "{gap:?}");
                bytes = gap.to_offset;
                assert!(bytes < 16_000_000, "{gap:?}");
            }
            _ => {}
        }
    }
    assert_eq!(bytes, 100_000_000);
    // And the one that slept finds the end too.
    let end = kinds(&mut unread).await;
    assert!(matches!(end.last(), Some(Kind::Finished(_))));
}

#[tokio::test]
async fn a_time_limit_ends_a_command_that_waits_for_readers_and_keeps_the_shell() {
    let server = Server::start_with(SMALL);
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "kept=yes").await;
    let mut dead = server.client().await;
    let mut spec = spec("yes");
    spec.timeout = Some(prost_types::Duration {
        seconds: 1,
        nanos: 0,
    });
    let request = v1::ExecRequest {
        session_id: "s".into(),
        execution_id: "e".into(),
        spec: Some(spec),
        ..Default::default()
    };
    let unread = dead.execs.exec(request).await.unwrap().into_inner();
    let next = v1::RunRequest {
        queue_if_busy: true,
        ..run_request("s", "echo $kept")
    };
    assert_eq!(stdout(&client.try_run(next).await.unwrap()), "yes\n");
    drop(unread);
}

#[tokio::test]
async fn no_secret_reaches_the_disk() {
    let secret = "hunter2-hunter2-hunter2";
    let server = Server::start_with(&format!(
        "{SMALL}[[redaction.secret]]\nname = 'pass'\nvalue = '{secret}'\n"
    ));
    let mut client = server.client().await;
    client.session("s").await;
    let script = format!("yes 'the password is {secret}, keep it' | head -c 800000");
    run(&mut client, &script, v1::OverflowAction::Unspecified).await;
    let spilled = spilled(server.pid());
    assert!(spilled.len() > 100_000, "{} bytes", spilled.len());
    let text = String::from_utf8_lossy(&spilled);
    assert!(text.contains("the password is ") && text.contains("REDACTED"));
    assert!(!text.contains("hunter2"));
    // No name leads to it, so that a killed server leaves nothing.
    let place = server.data_dir.join("retained");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
}

#[tokio::test]
async fn what_an_earlier_server_left_on_disk_is_removed() {
    let mut server = Server::start();
    let left = server.data_dir.join("retained/output-0");
    std::fs::write(&left, "left").unwrap();
    server.kill_and_restart();
    assert!(!left.exists());
}

/// Everything in the server's nameless files.
pub(crate) fn spilled(pid: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let path = entry.unwrap().path();
        let target = std::fs::read_link(&path).unwrap_or_default();
        let target = target.to_string_lossy();
        if target.contains("/retained/") && target.ends_with("(deleted)") {
            let file = std::fs::File::open(&path).unwrap();
            let mut whole = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
            file.read_exact_at(&mut whole, 0).unwrap();
            bytes.extend(whole);
        }
    }
    bytes
}

/// Memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
