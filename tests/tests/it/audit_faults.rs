//! What goes wrong beneath the audit log: no space, a disk that fails, a clock that is set
//! back, another server. Nothing runs unrecorded, and the log verifies afterwards.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use execgate_proto::v1;
use tokio::time::timeout;

use crate::support::{Client, Server, Wrapper, binary, refused, run_request, spec};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

async fn verified(client: &mut Client) {
    let request = v1::VerifyAuditLogRequest::default();
    let found = client.audits.verify_audit_log(request).await.unwrap();
    let found = found.into_inner();
    assert_eq!((found.valid, found.first_defect), (true, None));
}

/// Runs a script; the reason where it is refused.
async fn outcome(client: &mut Client, script: &str) -> Option<String> {
    let answer = client.try_run(run_request("s", script)).await;
    answer.err().map(|status| refused::<()>(Err(status)).reason)
}

/// Refusals in a row after which a disk counts as full.
const REFUSALS: usize = 10;
/// Time between two of them.
const BETWEEN_REFUSALS: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_full_disk_stops_what_is_new_and_not_what_runs() {
    // A file system of its own, which nobody else sees, and which goes with the server.
    let small = |folder: &Path| Wrapper {
        words: ["unshare", "--mount", "sh", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!(
                "mkdir -m 700 {audit} && mount -t tmpfs -o size=1m,mode=700 none {audit} && \
                 exec \"$@\"",
                audit = folder.join("data/audit").display(),
            )])
            .chain(["sh".to_owned()])
            .collect(),
        env: Vec::new(),
    };
    let server = Server::start_under("audit = { segment_bytes = 65536 }", small);
    let mut client = server.client().await;
    client.session("s").await;
    client.session("waiting").await;
    let request = v1::ExecRequest {
        session_id: "waiting".to_owned(),
        execution_id: "waits".to_owned(),
        spec: Some(v1::ExecutionSpec {
            stdin: Some(v1::execution_spec::Stdin::Open(v1::OpenStdin {})),
            ..spec("cat")
        }),
        ..Default::default()
    };
    let mut waits = client.execs.exec(request).await.unwrap().into_inner();
    let long = "x".repeat(4000);
    // An index that finds no space gives up its own, a moment later and once: there is room
    // again then, until that is full too.
    let full = async {
        let mut refusals = 0;
        while refusals < REFUSALS {
            match outcome(&mut client, &format!(": {long}")).await {
                None => refusals = 0,
                Some(_) => {
                    refusals += 1;
                    tokio::time::sleep(BETWEEN_REFUSALS).await;
                }
            }
        }
    };
    timeout(LIMIT, full).await.unwrap();
    let mark = server.data_dir.join("mark");
    let touch = format!("touch {}", mark.display());
    let answer = outcome(&mut client, &touch).await;
    assert_eq!(answer.as_deref(), Some("AUDIT_UNAVAILABLE"));
    // What runs can be ended, and its end is recorded.
    let signal = v1::SignalRequest {
        session_id: "waiting".to_owned(),
        execution_id: "waits".to_owned(),
        signal: v1::SignalKind::Kill.into(),
    };
    client.execs.signal(signal).await.unwrap();
    let ended = async { while waits.message().await.unwrap().is_some() {} };
    timeout(LIMIT, ended).await.unwrap();
    verified(&mut client).await;
    let filter = v1::AuditFilter {
        execution_id: "waits".to_owned(),
        kinds: vec![v1::AuditKind::ExecutionOutcome.into()],
        ..Default::default()
    };
    let request = v1::ListAuditRecordsRequest {
        filter: Some(filter),
        ..Default::default()
    };
    let page = client.audits.list_audit_records(request).await.unwrap();
    assert_eq!(page.into_inner().records.len(), 1);
    // With space, it goes on.
    let remounted = Command::new("nsenter")
        .args(["--mount", &format!("--target={}", server.pid())])
        .args(["mount", "-o", "remount,size=8m"])
        .arg(server.data_dir.join("audit"))
        .status()
        .unwrap();
    assert!(remounted.success());
    assert_eq!(outcome(&mut client, "echo again").await, None);
    verified(&mut client).await;
}

#[tokio::test]
async fn a_disk_that_fails_lets_nothing_run_until_the_log_is_opened_again() {
    let failing = |_: &Path| Wrapper {
        words: [
            "strace",
            // It traces from beside, so that the child is the server itself.
            "--daemonize",
            "--follow-forks",
            "--quiet=all",
            "--output=/dev/null",
            "--trace=fdatasync",
            // Each thread counts for itself; the writer's first ones are those of the
            // server's start, a session and a command.
            "--inject=fdatasync:error=EIO:when=4+",
        ]
        .map(str::to_owned)
        .to_vec(),
        env: Vec::new(),
    };
    let server = Server::start_under("", failing);
    let mut client = server.client().await;
    client.session("s").await;
    assert_eq!(outcome(&mut client, "echo 1").await, None);
    let mut refusals = 0;
    for number in 0..3 {
        let mark = server.data_dir.join(format!("mark{number}"));
        let touch = format!("touch {}", mark.display());
        let answer = outcome(&mut client, &touch).await;
        if let Some(reason) = answer {
            assert_eq!(reason, "AUDIT_UNAVAILABLE");
            assert!(!mark.exists(), "it ran without a durable intent");
            refusals += 1;
        }
    }
    assert!(refusals >= 2, "{refusals}");
    let mut server = server;
    server.kill_and_restart();
    let mut client = server.client().await;
    client.session("s2").await;
    client.run("s2", "echo again").await;
    verified(&mut client).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_changes_no_order() {
    let mut offset = None;
    let set_back = |folder: &Path| {
        let file = folder.join("clock");
        fs::write(&file, "+0").unwrap();
        offset = Some(file.clone());
        Wrapper {
            words: Vec::new(),
            env: [
                ("LD_PRELOAD", library()),
                ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                ("FAKETIME_NO_CACHE", "1".to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        }
    };
    let server = Server::start_under("", set_back);
    let mut client = server.client().await;
    client.session("s").await;
    client.run("s", "echo before").await;
    fs::write(offset.unwrap(), "-3600").unwrap();
    client.run("s", "echo after").await;
    verified(&mut client).await;
    let request = v1::ListAuditRecordsRequest::default();
    let page = client.audits.list_audit_records(request).await.unwrap();
    let records = page.into_inner().records;
    let sequences: Vec<_> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (1..=records.len() as u64).collect::<Vec<_>>());
    let seconds = |record: &v1::AuditRecord| record.time.as_ref().unwrap().seconds;
    let (first, last) = (seconds(&records[0]), seconds(records.last().unwrap()));
    assert!((3_000..4_000).contains(&(first - last)), "{first} {last}");
    // Times are found as they were recorded.
    let before = v1::AuditFilter {
        end_time: records[0].time,
        ..Default::default()
    };
    let request = v1::ListAuditRecordsRequest {
        filter: Some(before),
        ..Default::default()
    };
    let page = client.audits.list_audit_records(request).await.unwrap();
    let early = page.into_inner().records;
    assert!(early.iter().all(|record| seconds(record) < first));
    assert!(early.len() >= 2, "{}", early.len());
}

fn library() -> String {
    let found = glob("/usr/lib").into_iter().next();
    found
        .expect("libfaketime is installed")
        .display()
        .to_string()
}

/// Where the library is that sets a clock back: Debian's directory is the machine's.
fn glob(root: &str) -> Vec<std::path::PathBuf> {
    let direct = Path::new(root).join("faketime/libfaketimeMT.so.1");
    let below = fs::read_dir(root).unwrap().filter_map(Result::ok);
    let below = below.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    below.chain([direct]).filter(|path| path.exists()).collect()
}

#[tokio::test]
async fn a_log_in_use_is_nobody_elses() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let second = Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&server.data_dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another server uses it"), "{said}");
    assert_eq!(outcome(&mut client, "echo still").await, None);
    verified(&mut client).await;
}

#[tokio::test]
async fn a_torn_tail_is_set_aside_and_recorded() {
    for torn in [1, 2, 66, 199, 200] {
        let mut server = Server::start();
        let mut client = server.client().await;
        client.session("s").await;
        client.run("s", "echo 1").await;
        server.kill();
        let segment = server.data_dir.join("audit/00000000000000000001.log");
        let mut bytes = fs::read(&segment).unwrap();
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let line = bytes[..end - 1]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap()
            + 1;
        // The beginning of a record like the last one.
        let part = bytes[line..line + torn].to_vec();
        bytes[end..end + torn].copy_from_slice(&part);
        fs::write(&segment, &bytes).unwrap();
        server.kill_and_restart();
        let mut client = server.client().await;
        verified(&mut client).await;
        let filter = v1::AuditFilter {
            kinds: vec![v1::AuditKind::Recovered.into()],
            ..Default::default()
        };
        let request = v1::ListAuditRecordsRequest {
            filter: Some(filter),
            ..Default::default()
        };
        let page = client.audits.list_audit_records(request).await.unwrap();
        let records = page.into_inner().records;
        let Some(v1::audit_record::Body::Recovered(recovered)) = &records[0].body else {
            panic!("{records:?}")
        };
        assert_eq!(recovered.torn_bytes, torn as u64);
    }
}
