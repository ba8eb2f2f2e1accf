//! The gate is not reachable from inside its own sessions.

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;

use crate::support::{Server, stdout};

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

/// A call by hand, for programs that have nothing but a connection: the preface of HTTP/2,
/// empty settings, and headers without a token.
const CALL: &str = concat!(
    r"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    r"\0\0\062\1\5\0\0\0\1\203\206\104\053/execgate.v1.SessionService/GetCapabilities\101\001h",
);

async fn failures(server: &Server) -> Vec<v1::AuthFailureRecord> {
    let kinds = vec![v1::AuditKind::AuthFailure.into()];
    let filter = Some(v1::AuditFilter {
        kinds,
        ..Default::default()
    });
    let request = v1::ListAuditRecordsRequest {
        filter,
        ..Default::default()
    };
    let records = server
        .client()
        .await
        .audits
        .list_audit_records(request)
        .await
        .unwrap();
    let bodies = records
        .into_inner()
        .records
        .into_iter()
        .map(|record| record.body);
    bodies
        .map(|body| match body {
            Some(Body::AuthFailure(failure)) => failure,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn a_session_gets_no_answer_from_the_gate_over_tcp_without_the_token() {
    let server = Server::start();
    let mut client = server.client().await;
    client.session("s").await;
    let port = server.address.rsplit(':').next().unwrap();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{CALL}' >&3; timeout 1 cat <&3 | wc -c; exec 3>&-"
    );
    let result = client.run("s", &script).await;
    assert_ne!(stdout(&result), "0\n", "{result:?}");
    let failures = failures(&server).await;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].reason, "no bearer token was sent");
}

#[tokio::test]
async fn a_session_is_refused_on_the_socket_even_as_the_servers_own_user() {
    // Another user does not get past the socket's mode; only the server's own gets so far.
    let server = Server::start_with(&format!("[local]\nuser = \"{}\"\n", own_uid()));
    let mut client = server.client().await;
    client.session("s").await;
    let script = format!(
        "printf '{CALL}' | timeout 5 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(\"{}\")
s.sendall(sys.stdin.buffer.read())
s.settimeout(1)
try:
    while s.recv(4096): pass
except TimeoutError: pass
'",
        server.socket.display()
    );
    let result = client.run("s", &script).await;
    let failures = failures(&server).await;
    let errors = String::from_utf8_lossy(&result.stderr);
    // Where the session does not see the socket at all, it does not get that far.
    if !errors.contains("FileNotFoundError") {
        assert_eq!(failures.len(), 1, "{errors}");
        assert_eq!(
            failures[0].reason,
            "it runs inside a session of this server"
        );
    }
}

fn own_uid() -> u32 {
    // SAFETY: getuid takes nothing and cannot fail.
    unsafe { libc::getuid() }
}
