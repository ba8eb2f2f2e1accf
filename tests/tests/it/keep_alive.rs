//! Streams that are silent say that they live.

use execgate_proto::v1;
use execgate_proto::v1::exec_event::Kind;

use crate::support::{Server, spec};

#[tokio::test]
async fn a_silent_stream_carries_keep_alives_as_often_as_configured() {
    let server = Server::start_with("executions.keep_alive = \"1s\"\n");
    let mut client = server.client().await;
    client.session("s").await;
    let request = v1::ExecRequest {
        session_id: "s".into(),
        spec: Some(spec("sleep 2.5")),
        ..Default::default()
    };
    let mut stream = client.execs.exec(request).await.unwrap().into_inner();
    let mut kept = 0;
    while let Some(answer) = stream.message().await.unwrap() {
        if let Some(Kind::KeepAlive(_)) = answer.event.unwrap().kind {
            kept += 1;
        }
    }
    assert_eq!(kept, 2);
}
