//! What the server says about itself, and who may ask.

use execgate_proto::v1;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};

use crate::support::{Client, Server, refused};

const SERVICES: [&str; 4] = [
    "execgate.v1.AuditService",
    "execgate.v1.CheckpointService",
    "execgate.v1.ExecService",
    "execgate.v1.SessionService",
];

#[tokio::test]
async fn health_needs_no_token_and_knows_each_service() {
    let server = Server::start();
    let mut health = HealthClient::new(server.tcp().await);
    for service in [""].iter().chain(&SERVICES) {
        let request = HealthCheckRequest {
            service: (*service).to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest {
        service: "execgate.v1.Nothing".to_owned(),
    };
    assert_eq!(
        health.check(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
}

macro_rules! reflected {
    ($server:expr, $reflection:ident) => {{
        use $reflection::server_reflection_client::ServerReflectionClient;
        use $reflection::server_reflection_request::MessageRequest;
        use $reflection::server_reflection_response::MessageResponse;
        use $reflection::{ServerReflectionRequest, ServerReflectionResponse};
        let ask = |message| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        };
        let asked = [
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(
                "google.rpc.ErrorInfo".to_owned(),
            )),
        ];
        let bearer = format!("Bearer {}", $server.token());
        let mut request = tonic::Request::new(tokio_stream::iter(asked));
        request
            .metadata_mut()
            .insert("authorization", bearer.parse().unwrap());
        let mut client = ServerReflectionClient::new($server.tcp().await);
        let answers = client
            .server_reflection_info(request)
            .await
            .unwrap()
            .into_inner();
        let answers: Vec<ServerReflectionResponse> =
            answers.map(|answer| answer.unwrap()).collect().await;
        assert!(
            matches!(
                answers[1].message_response,
                Some(MessageResponse::FileDescriptorResponse(_))
            ),
            "{answers:?}"
        );
        match answers[0].message_response.clone() {
            Some(MessageResponse::ListServicesResponse(list)) => list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    }};
}

#[tokio::test]
async fn both_reflections_list_every_service_and_know_the_error_details() {
    let server = Server::start();
    for mut names in [
        reflected!(server, reflection),
        reflected!(server, reflection_alpha),
    ] {
        names.retain(|name| name.starts_with("execgate."));
        names.sort();
        assert_eq!(names, SERVICES);
    }
}

#[tokio::test]
async fn without_the_token_no_service_answers_over_tcp() {
    let server = Server::start();
    let wrong = server.token().replace(|c: char| c.is_ascii_digit(), "a");
    for token in [
        None,
        Some(String::new()),
        Some(wrong),
        Some(format!("{}x", server.token())),
    ] {
        let Client {
            mut sessions,
            mut execs,
            mut audits,
            mut checkpoints,
        } = Client::new(server.tcp().await, token.clone());
        let answers = [
            refused(
                sessions
                    .get_capabilities(v1::GetCapabilitiesRequest {})
                    .await,
            ),
            refused(execs.exec(v1::ExecRequest::default()).await),
            refused(audits.get_audit_head(v1::GetAuditHeadRequest {}).await),
            refused(
                checkpoints
                    .list_checkpoints(v1::ListCheckpointsRequest::default())
                    .await,
            ),
        ];
        for answer in answers {
            let told = (answer.code, answer.reason.as_str());
            assert_eq!(
                told,
                (Code::Unauthenticated, "UNAUTHENTICATED"),
                "{token:?}"
            );
        }
    }
    let request = tonic::Request::new(tokio_stream::iter([]));
    let mut client =
        reflection::server_reflection_client::ServerReflectionClient::new(server.tcp().await);
    let answer = client.server_reflection_info(request).await.unwrap_err();
    assert_eq!(answer.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_owner_needs_no_token_on_the_socket_and_finds_its_sessions_there() {
    let server = Server::start();
    server.client().await.session("shared").await;
    let mut client = Client::new(server.unix().await, None);
    let sessions = client
        .sessions
        .list_sessions(v1::ListSessionsRequest::default())
        .await
        .unwrap();
    let sessions = sessions.into_inner().sessions;
    assert_eq!(
        sessions
            .iter()
            .map(|s| s.session_id.as_str())
            .collect::<Vec<_>>(),
        ["shared"]
    );
    let capabilities = client
        .sessions
        .get_capabilities(v1::GetCapabilitiesRequest {})
        .await;
    let capabilities = capabilities.unwrap().into_inner();
    assert_eq!(capabilities.principal, sessions[0].principal);
    assert_eq!(capabilities.api_version, "1.0");
}

#[tokio::test]
async fn sessions_are_listed_newest_first_in_pages_and_by_label() {
    let server = Server::start();
    let mut client = server.client().await;
    for (id, team) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let labels = [("team".to_owned(), team.to_owned())].into();
        let request = v1::CreateSessionRequest {
            session_id: id.into(),
            labels,
            ..Default::default()
        };
        client.sessions.create_session(request).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSessionsRequest {
            page_size: 1,
            page_token,
            labels: [("team".to_owned(), "x".to_owned())].into(),
            ..Default::default()
        };
        let page = client
            .sessions
            .list_sessions(request)
            .await
            .unwrap()
            .into_inner();
        listed.extend(page.sessions.into_iter().map(|session| session.session_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ["c", "a"]);
    let request = v1::ListSessionsRequest {
        page_token: "junk".into(),
        ..Default::default()
    };
    let answer = refused(client.sessions.list_sessions(request).await);
    assert_eq!(answer.reason, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn a_retried_creation_finds_the_session_and_a_different_one_is_refused() {
    let server = Server::start();
    let mut client = server.client().await;
    let request = |cwd: &str| v1::CreateSessionRequest {
        session_id: "once".into(),
        cwd: cwd.into(),
        ..Default::default()
    };
    let first = client
        .sessions
        .create_session(request("/tmp"))
        .await
        .unwrap()
        .into_inner();
    let again = client
        .sessions
        .create_session(request("/tmp"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((first.deduplicated, again.deduplicated), (false, true));
    assert_eq!(
        again.session.unwrap().create_time,
        first.session.unwrap().create_time
    );
    let other = refused(client.sessions.create_session(request("/")).await);
    assert_eq!(
        (other.code, other.reason.as_str()),
        (Code::AlreadyExists, "SESSION_ID_REUSED")
    );
}
