//! The gate is not reachable from inside its own sessions.

use execgate_proto::v1;

use crate::support::{Server, run_request, stdout};

#[tokio::test]
async fn a_session_reads_neither_the_data_directory_nor_the_servers_memory() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let data = server.data_dir.display();
    let pid = server.pid();
    for probe in [
        format!("cat {data}/token"),
        format!("ls {data}"),
        format!("ls {data}/audit"),
        format!("cat /proc/{pid}/environ"),
        format!("head -c 1 /proc/{pid}/mem"),
        format!("ls /proc/{pid}/fd"),
        format!("cat /proc/{pid}/root/{data}/token"),
    ] {
        let result = client.run("s", &probe).await;
        assert_eq!(stdout(&result), "", "{probe}");
        assert!(!result.stderr.is_empty(), "{probe}");
    }
    let environment = stdout(&client.run("s", "env").await);
    assert!(!environment.contains("must-not-be-seen"), "{environment}");
    assert!(environment.contains("PATH="), "{environment}");
}

#[tokio::test]
async fn a_session_gets_no_answer_from_the_gate_over_tcp_without_the_token() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    // A call by hand: the preface of HTTP/2, empty settings and headers without a token.
    let port = server.address.rsplit(':').next().unwrap();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}
printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0' >&3
headers='\\203\\206\\104\\053/execgate.v1.SessionService/GetCapabilities\\101\\001h'
printf '\\0\\0\\062\\1\\5\\0\\0\\0\\1'\"$headers\" >&3
timeout 2 cat <&3 | tr -d '\\0' | grep -ao 'no bearer token[ a-z]*'
exec 3>&-"
    );
    let mut request = run_request("s", &script);
    request.spec.as_mut().unwrap().timeout =
        Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let result = client.try_run(request).await.unwrap();
    let seen = stdout(&result);
    // Some HTTP/2 stacks compress the message; the record is what counts.
    assert!(seen.is_empty() || seen.contains("no bearer token"), "{seen}");
    let filter = v1::AuditFilter {
        kinds: vec![v1::AuditKind::AuthFailure.into()],
        ..Default::default()
    };
    let request = v1::ListAuditRecordsRequest { filter: Some(filter), ..Default::default() };
    let records = client.audits.list_audit_records(request).await.unwrap().into_inner().records;
    assert_eq!(records.len(), 1, "{seen} {result:?}");
}
