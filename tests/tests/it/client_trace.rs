//! The Rust client says in which trace it calls: by hand, and by OpenTelemetry's propagator.

use std::collections::HashMap;

use execgate_client::{Client, Command, TraceHeaders};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::support::Server;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What a command finds, run in the shell, beside it, and through a stream.
async fn seen(
    server: &Server,
    source: impl Fn() -> Option<TraceHeaders> + Send + Sync + 'static,
) -> Vec<String> {
    let builder = Client::builder().address(server.address.clone());
    let client = builder.token(server.token()).trace(source).connect();
    let session = client.await.unwrap().session().await.unwrap();
    let show = "echo \"$TRACEPARENT|$TRACESTATE\"";
    let shell = session.run(show).await.unwrap();
    let beside = session
        .run(Command::argv(["sh", "-c", show]))
        .await
        .unwrap();
    let streamed = session.exec(show).await.unwrap().result().await.unwrap();
    [shell, beside, streamed]
        .map(|result| String::from_utf8(result.stdout.to_vec()).unwrap())
        .to_vec()
}

#[tokio::test]
async fn a_source_by_hand_is_asked_at_each_call() {
    let server = Server::start();
    let lines = seen(&server, || Some(TraceHeaders::from(PARENT))).await;
    assert_eq!(lines, vec![format!("{PARENT}|\n"); 3]);
    assert_eq!(seen(&server, || None).await, vec!["|\n"; 3]);
}

#[tokio::test]
async fn opentelemetrys_current_context_is_a_source() {
    let server = Server::start();
    let span = SpanContext::new(
        TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap(),
        SpanId::from_hex("b7ad6b7169203331").unwrap(),
        TraceFlags::SAMPLED,
        false,
        TraceState::from_key_value([("vendor", "a")]).unwrap(),
    );
    let _current = Context::new().with_remote_span_context(span).attach();
    let source = || {
        let mut headers = HashMap::new();
        TraceContextPropagator::new().inject_context(&Context::current(), &mut headers);
        Some(TraceHeaders {
            traceparent: headers.remove("traceparent")?,
            tracestate: headers.remove("tracestate").unwrap_or_default(),
        })
    };
    assert_eq!(
        seen(&server, source).await,
        vec![format!("{PARENT}|vendor=a\n"); 3]
    );
}
