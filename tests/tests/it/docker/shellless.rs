//! Sessions without a shell: of images and containers that have none.

use execgate_proto::v1;
use tonic::Code;

use super::engine::{self, Container, docker, images_are_there};
use super::{ENTER, argv, cause, close, container, image, launch_failure, new_session};
use crate::support::{Server, exit_code, refused, run_request, stdout};

fn without_shell(target: v1::DockerTarget) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        shell: "none".to_owned(),
        ..new_session(target)
    }
}

#[tokio::test]
async fn programs_of_an_image_without_a_shell_run_each_in_its_own_container() {
    images_are_there();
    let server = Server::start();
    let mut client = server.client().await;
    let bare = engine::bare_image();
    let mut request = without_shell(image(bare));
    request.env.insert("GREETING".into(), "it's".into());
    let created = client.sessions.create_session(request).await.unwrap();
    let session = created.into_inner().session.unwrap();
    assert_eq!(session.shell.as_ref().unwrap().kind(), v1::ShellKind::None);
    let script = refused(
        client
            .try_run(run_request(&session.session_id, "true"))
            .await,
    );
    assert_eq!(
        (script.code, script.reason.as_str()),
        (Code::FailedPrecondition, "NO_SHELL")
    );
    let inside = "echo $GREETING; pwd; id -u; echo err >&2; cat; exit 3";
    let mut request = argv(&session, &["/busybox", "sh", "-c", inside]);
    let stdin = v1::execution_spec::Stdin::Inline(v1::InlineStdin {
        data: b"typed\n".to_vec().into(),
    });
    request.spec.as_mut().unwrap().stdin = Some(stdin);
    let result = client.try_run(request).await.unwrap();
    assert_eq!(
        (
            stdout(&result).as_str(),
            &result.stderr[..],
            exit_code(&result)
        ),
        ("it's\n/workspace\n65534\ntyped\n", &b"err\n"[..], Some(3))
    );
    let missing = client.try_run(argv(&session, &["/no/such"])).await.unwrap();
    assert_eq!(launch_failure(&missing), Some(v1::LaunchFailure::NotFound));
    let mut request = argv(&session, &["/busybox", "sleep", "600"]);
    request.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 1,
        nanos: 0,
    });
    let result = client.try_run(request).await.unwrap();
    let outcome = result.finished.as_ref().unwrap().outcome.as_ref().unwrap();
    assert!(
        matches!(&outcome.result, Some(v1::outcome::Result::Signaled(by)) if by.name == "SIGKILL"),
        "{result:?}"
    );
    assert_eq!(cause(&result), v1::Cause::Timeout);
    close(&mut client, &session).await;
}

#[tokio::test]
async fn programs_run_in_a_container_without_a_shell() {
    images_are_there();
    let server = Server::start_with(ENTER);
    let mut client = server.client().await;
    let there = Container::of(engine::bare_image(), &[], &["/busybox", "sleep", "1000"]);
    let request = without_shell(container(&there.name));
    let created = client.sessions.create_session(request).await.unwrap();
    let session = created.into_inner().session.unwrap();
    let words = ["/busybox", "sh", "-c", "echo $0 in $PWD; exit 4", "it's"];
    let result = client.try_run(argv(&session, &words)).await.unwrap();
    assert_eq!(
        (stdout(&result).as_str(), exit_code(&result)),
        ("it's in /\n", Some(4))
    );
    let missing = client.try_run(argv(&session, &["/no/such"])).await.unwrap();
    assert_eq!(launch_failure(&missing), Some(v1::LaunchFailure::NotFound));
    // Nothing there could end it, and the engine cannot: that is said, and not waited for.
    let mut request = argv(&session, &["/busybox", "sleep", "7"]);
    request.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 1,
        nanos: 0,
    });
    let result = client.try_run(request).await.unwrap();
    let outcome = result.finished.as_ref().unwrap().outcome.as_ref().unwrap();
    assert!(
        matches!(outcome.result, Some(v1::outcome::Result::Lost(_))),
        "{result:?}"
    );
    assert_eq!(cause(&result), v1::Cause::Timeout);
    close(&mut client, &session).await;
}

#[tokio::test]
async fn an_image_without_a_shell_is_refused_as_such() {
    images_are_there();
    let server = Server::start_with(ENTER);
    let mut client = server.client().await;
    let bare = engine::bare_image();
    let there = Container::of(bare, &[], &["/busybox", "sleep", "1000"]);
    for target in [image(bare), container(&there.name)] {
        let refused = refused(client.sessions.create_session(new_session(target)).await);
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::FailedPrecondition, "SHELL_NOT_FOUND")
        );
    }
    let left = docker(&[
        "ps",
        "--all",
        "--quiet",
        "--filter",
        &format!("ancestor={bare}"),
    ]);
    assert_eq!(left.lines().count(), 1, "only what was there before");
}
