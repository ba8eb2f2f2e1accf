//! An engine on TCP, which shows a certificate and wants one.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::engine::{images_are_there, run};
use super::own::OwnEngine;
use super::{BUSYBOX, close, create, image, new_session};
use crate::support::{Server, refused, stdout};

/// Makes an authority, and certificates of it for an engine on this machine and a client.
fn certificates(folder: &Path) {
    let script = "set -e; umask 077
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
            -keyout ca-key.pem -out ca.pem
        sign() {
            openssl req -new -newkey rsa:2048 -nodes -subj \"/CN=$1\" -keyout \"$1-key.pem\" -out csr
            printf '%s\\n' \"$2\" >extensions
            openssl x509 -req -days 2 -in csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
                -extfile extensions -out \"$1-cert.pem\"
        }
        sign engine 'subjectAltName=IP:127.0.0.1'
        sign client 'extendedKeyUsage=clientAuth'
        mkdir client other; cp ca.pem client/; cp client-key.pem client/key.pem; cp client-cert.pem client/cert.pem
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other/key.pem -out other/cert.pem
        cp ca.pem other/";
    run(Command::new("bash").args(["-c", &format!("cd '{}' && {script}", folder.display())]));
}

/// A port of this machine that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_behind_tls_serves_whom_it_knows() {
    images_are_there();
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let place = |name: &str| folder.path().join(name).display().to_string();
    let address = format!("tcp://127.0.0.1:{}", free_port());
    let engine = OwnEngine::start(&[
        "--host",
        &address,
        "--tlsverify",
        "--tlscacert",
        &place("ca.pem"),
        "--tlscert",
        &place("engine-cert.pem"),
        "--tlskey",
        &place("engine-key.pem"),
    ]);
    let config = |certificates: &str| {
        let path = place(certificates);
        format!("[docker]\nhost = \"{address}\"\ncert_path = \"{path}\"\n")
    };
    let server = Server::start_with(&config("client"));
    let mut client = server.client().await;
    let session = create(&mut client, image(BUSYBOX)).await;
    let result = client
        .run(&session.session_id, "x=kept; echo over TLS")
        .await;
    assert_eq!(stdout(&result), "over TLS\n");
    let result = client.run(&session.session_id, "echo $x").await;
    assert_eq!(stdout(&result), "kept\n");
    close(&mut client, &session).await;
    // A certificate of nobody it knows.
    let server = Server::start_with(&config("other"));
    let mut client = server.client().await;
    let status = client.sessions.create_session(new_session(image(BUSYBOX)));
    assert_eq!(refused(status.await).reason, "TARGET_UNAVAILABLE");
    drop(engine);
}
