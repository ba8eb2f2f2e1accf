//! Sessions in containers of a real Docker engine.

pub(crate) mod engine;
mod faults;
mod own;
mod shellless;
mod tls;

use execgate_proto::v1;
use tonic::Code;
use v1::docker_target::Source;

use crate::support::{Client, Server, exit_code, refused, run_request, stdout};
use engine::{Container, docker, images_are_there};

/// Containers may be entered, and nothing else is more than the default.
const ENTER: &str = "[docker.profiles.default]\ncontainers = [\"execgate-test-*\"]\n";

const BUSYBOX: &str = "execgate-test-busybox";
const RUNTIME: &str = "execgate-test-runtime";

fn image(reference: &str) -> v1::DockerTarget {
    let reference = reference.to_owned();
    v1::DockerTarget {
        source: Some(Source::Image(v1::DockerImage { reference })),
        ..Default::default()
    }
}

fn container(name: &str) -> v1::DockerTarget {
    let name = name.to_owned();
    v1::DockerTarget {
        source: Some(Source::Container(v1::DockerContainer { name })),
        ..Default::default()
    }
}

fn new_session(target: v1::DockerTarget) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        target: Some(v1::create_session_request::Target::Docker(target)),
        ..Default::default()
    }
}

async fn create(client: &mut Client, target: v1::DockerTarget) -> v1::Session {
    let created = client.sessions.create_session(new_session(target)).await;
    created.unwrap().into_inner().session.unwrap()
}

async fn close(client: &mut Client, session: &v1::Session) -> v1::CloseSessionResponse {
    let request = v1::CloseSessionRequest {
        session_id: session.session_id.clone(),
        ..Default::default()
    };
    let closed = client.sessions.close_session(request).await;
    closed.unwrap().into_inner()
}

fn within(session: &v1::Session, script: &str, seconds: i64) -> v1::RunRequest {
    let mut request = run_request(&session.session_id, script);
    request.spec.as_mut().unwrap().timeout = Some(prost_types::Duration { seconds, nanos: 0 });
    request
}

fn argv(session: &v1::Session, words: &[&str]) -> v1::RunRequest {
    let args = words.iter().map(|&word| word.to_owned()).collect();
    let mut request = run_request(&session.session_id, "");
    let command = v1::execution_spec::Command::Argv(v1::Argv { arguments: args });
    request.spec.as_mut().unwrap().command = Some(command);
    request
}

fn cause(result: &v1::ExecResult) -> v1::Cause {
    result.finished.as_ref().unwrap().cause()
}

#[tokio::test]
async fn a_session_from_an_image_is_narrow_and_keeps_its_state() {
    images_are_there();
    let server = Server::start();
    let mut client = server.client().await;
    for (reference, shell) in [(RUNTIME, "bash"), (BUSYBOX, "sh")] {
        let session = create(&mut client, image(reference)).await;
        let id = session.session_id.clone();
        assert_eq!(session.shell.as_ref().unwrap().path, shell);
        let first = client
            .run(
                &id,
                "x=3; cd /tmp; id -u; echo err >&2; exit_code() { return 7; }",
            )
            .await;
        assert_eq!(
            (stdout(&first).as_str(), &first.stderr[..]),
            ("65534\n", &b"err\n"[..])
        );
        let second = client.run(&id, "echo $x $PWD; exit_code").await;
        assert_eq!(
            (stdout(&second).as_str(), exit_code(&second)),
            ("3 /tmp\n", Some(7))
        );
        // Its root cannot be written, it has no network but its own, and no capability.
        let narrow = client
            .run(
                &id,
                "touch /new 2>/dev/null || echo read-only; \
                 ls /sys/class/net | tr '\\n' ' '; grep CapEff /proc/self/status; \
                 grep NoNewPrivs /proc/self/status; touch /workspace/f && echo room",
            )
            .await;
        assert_eq!(
            stdout(&narrow),
            "read-only\nlo CapEff:\t0000000000000000\nNoNewPrivs:\t1\nroom\n"
        );
        let made = docker(&[
            "ps",
            "--quiet",
            "--filter",
            &format!("ancestor={reference}"),
            "--filter",
            "name=execgate-",
        ]);
        assert!(!made.is_empty());
        let ours = client.run(&id, "hostname").await;
        close(&mut client, &session).await;
        let left = docker(&[
            "ps",
            "--all",
            "--quiet",
            "--filter",
            &format!("id={}", stdout(&ours).trim()),
        ]);
        assert_eq!(left, "");
    }
}

#[tokio::test]
async fn a_time_limit_ends_the_command_and_keeps_the_shell() {
    images_are_there();
    let server = Server::start();
    let mut client = server.client().await;
    for reference in [RUNTIME, BUSYBOX] {
        let session = create(&mut client, image(reference)).await;
        client.run(&session.session_id, "x=kept").await;
        let request = within(&session, "echo begun; sleep 600", 1);
        let result = client.try_run(request).await.unwrap();
        assert_eq!(
            (stdout(&result).as_str(), cause(&result)),
            ("begun\n", v1::Cause::Timeout)
        );
        let request = within(&session, "trap '' INT TERM; sleep 600", 1);
        let result = client.try_run(request).await.unwrap();
        assert_eq!(cause(&result), v1::Cause::Timeout);
        let after = client.run(&session.session_id, "echo $x").await;
        assert_eq!(stdout(&after), "kept\n");
        close(&mut client, &session).await;
    }
}

#[tokio::test]
async fn programs_end_as_the_engine_observes() {
    images_are_there();
    let server = Server::start();
    let mut client = server.client().await;
    let session = create(&mut client, image(BUSYBOX)).await;
    client
        .run(&session.session_id, "cd /tmp; export GREETING=hello")
        .await;
    let request = argv(&session, &["sh", "-c", "echo $GREETING $PWD; exit 3"]);
    let result = client.try_run(request).await.unwrap();
    let finished = result.finished.as_ref().unwrap();
    assert_eq!(
        (
            stdout(&result).as_str(),
            exit_code(&result),
            finished.observed_by()
        ),
        ("hello /tmp\n", Some(3), v1::ObservedBy::Dockerd)
    );
    let result = client
        .try_run(argv(&session, &["no-such-program"]))
        .await
        .unwrap();
    assert_eq!(launch_failure(&result), Some(v1::LaunchFailure::NotFound));
    let result = client
        .try_run(argv(&session, &["/etc/passwd"]))
        .await
        .unwrap();
    assert_eq!(launch_failure(&result), Some(v1::LaunchFailure::Permission));
    close(&mut client, &session).await;
}

fn launch_failure(result: &v1::ExecResult) -> Option<v1::LaunchFailure> {
    match result
        .finished
        .as_ref()?
        .outcome
        .as_ref()?
        .result
        .as_ref()?
    {
        v1::outcome::Result::LaunchFailed(failed) => Some(failed.failure()),
        _ => None,
    }
}

#[tokio::test]
async fn a_container_that_was_there_stays_and_what_the_session_left_does_not() {
    images_are_there();
    let server = Server::start_with(ENTER);
    let mut client = server.client().await;
    let there = Container::run(BUSYBOX, &[]);
    let session = create(&mut client, container(&there.name)).await;
    let left = "setsid sleep 4242 >/dev/null 2>&1 & sleep 4243 >/dev/null 2>&1 & echo $0";
    client.run(&session.session_id, left).await;
    let closed = close(&mut client, &session).await;
    let ended: Vec<_> = closed
        .ended_processes
        .iter()
        .map(|ended| ended.command.as_str())
        .collect();
    for command in ["sleep 4242", "sleep 4243"] {
        assert!(ended.contains(&command), "{ended:?}");
    }
    let processes = docker(&["exec", &there.name, "ps", "-o", "args"]);
    assert!(!processes.contains("sleep 424"), "{processes}");
}

#[tokio::test]
async fn containers_that_are_more_than_containers_are_refused() {
    images_are_there();
    let server = Server::start_with(ENTER);
    let mut client = server.client().await;
    let refusals = [
        (&["--privileged"][..], "it is privileged"),
        (&["--cap-add", "SYS_ADMIN"], "it has the capability"),
        (&["--device", "/dev/null:/dev/other"], "it has devices"),
        (&["--pid", "host"], "it shares the pid namespace"),
        (&["--ipc", "host"], "it shares the ipc namespace"),
        (&["--uts", "host"], "it shares the uts namespace"),
        (&["--network", "host"], "it shares the network namespace"),
        (&["--volume", "/run:/host-run"], "it can reach /run"),
        (
            &["--volume", "/var/run/docker.sock:/s"],
            "it can reach /var/run/docker.sock",
        ),
    ];
    for (options, why) in refusals {
        // Made is enough to be looked at, and not every machine can start these.
        let risky = Container::made(BUSYBOX, options);
        // A part of its id names it as well.
        for name in [risky.name.as_str(), &risky.id[..16]] {
            let request = new_session(container(name));
            let status = client.sessions.create_session(request).await;
            let message = status.as_ref().unwrap_err().message().to_owned();
            let refused = refused(status);
            assert_eq!(
                (refused.code, refused.reason.as_str()),
                (Code::PermissionDenied, "TARGET_NOT_ALLOWED")
            );
            assert!(message.contains(why), "{message}");
        }
    }
}

#[tokio::test]
async fn what_a_profile_allows_can_be_entered_and_is_reported() {
    images_are_there();
    let config = format!("{ENTER}allow = [\"privileged\", \"engine_socket\"]\n");
    let server = Server::start_with(&config);
    let mut client = server.client().await;
    let options = ["--cap-add", "SYS_ADMIN", "--volume", "/run:/host-run:ro"];
    let risky = Container::run(BUSYBOX, &options);
    let session = create(&mut client, container(&risky.name)).await;
    let controls = session.fence.as_ref().unwrap().controls.iter();
    let levels: Vec<_> = controls
        .map(|control| (control.control(), control.level()))
        .filter(|(control, _)| *control == v1::Control::Gate)
        .collect();
    assert_eq!(
        levels,
        [(v1::Control::Gate, v1::EnforcementLevel::Advisory)]
    );
    let script = "echo $((0x$(sed -n 's/CapEff:.//p' /proc/self/status) >> 21 & 1))";
    let admin = client.run(&session.session_id, script).await;
    assert_eq!(stdout(&admin), "1\n");
    close(&mut client, &session).await;
    // A risk that it does not name stays one.
    let shared = Container::made(BUSYBOX, &["--pid", "host"]);
    let request = new_session(container(&shared.name));
    let refused = refused(client.sessions.create_session(request).await);
    assert_eq!(refused.reason, "TARGET_NOT_ALLOWED");
}

#[tokio::test]
async fn a_profiles_policy_narrows_its_own_containers() {
    images_are_there();
    let config = "[docker.profiles.default.policy]\nname = \"strict\"\n[docker.profiles.wide]\n";
    let server = Server::start_with(config);
    let mut client = server.client().await;
    let wide = v1::DockerTarget {
        profile: "wide".to_owned(),
        ..image(BUSYBOX)
    };
    let narrow = create(&mut client, image(BUSYBOX)).await;
    let denied = client
        .try_run(run_request(&narrow.session_id, "touch x"))
        .await;
    assert_eq!(refused(denied).metadata["layer"], "profile");
    let wide = create(&mut client, wide).await;
    let touched = client.run(&wide.session_id, "touch x; ls").await;
    assert_eq!(stdout(&touched), "x\n");
    close(&mut client, &narrow).await;
    close(&mut client, &wide).await;
}

#[tokio::test]
async fn the_limits_of_a_profile_hold_inside() {
    images_are_there();
    let config = "[docker.profiles.small]\nmemory_bytes = 67108864\npids = 20\n\
                  milli_cpus = 500\nworkspace_bytes = 1048576\n";
    let server = Server::start_with(config);
    let mut client = server.client().await;
    let small = v1::DockerTarget {
        profile: "small".to_owned(),
        ..image(BUSYBOX)
    };
    let session = create(&mut client, small).await;
    let id = session.session_id.clone();
    // As the kernel has them: with one tree of control groups, or several.
    let limits = client
        .run(
            &id,
            "cd /sys/fs/cgroup; cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes; \
             cat pids.max 2>/dev/null || cat pids/pids.max; \
             cat cpu.max 2>/dev/null || echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)",
        )
        .await;
    assert_eq!(stdout(&limits), "67108864\n20\n50000 100000\n");
    let full = client
        .run(
            &id,
            "head -c 2000000 /dev/zero >/workspace/f; wc -c </workspace/f",
        )
        .await;
    assert_eq!(stdout(&full), "1048576\n");
    let eats = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; echo $?";
    let eaten = client.run(&id, eats).await;
    assert_eq!(stdout(&eaten), "137\n");
    // What it starts beyond the limit is refused.
    let forks = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 3 & done";
    let forked = client.run(&id, forks).await;
    let errors = String::from_utf8_lossy(&forked.stderr).into_owned();
    assert!(errors.contains("fork"), "{forked:?}");
    let after = client.run(&id, "echo alive").await;
    assert_eq!(stdout(&after), "alive\n");
    close(&mut client, &session).await;
}

#[tokio::test]
async fn targets_that_are_not_there_or_not_for_sessions_say_so() {
    images_are_there();
    let server = Server::start();
    let mut client = server.client().await;
    let there = Container::run(BUSYBOX, &[]);
    let as_root = v1::DockerTarget {
        user: "0".to_owned(),
        ..image(BUSYBOX)
    };
    let other_profile = v1::DockerTarget {
        profile: "wide".to_owned(),
        ..image(BUSYBOX)
    };
    let cases = [
        (
            container(&there.name),
            Code::PermissionDenied,
            "TARGET_NOT_ALLOWED",
        ),
        (as_root, Code::PermissionDenied, "TARGET_NOT_ALLOWED"),
        (
            container("no-such-container"),
            Code::NotFound,
            "TARGET_NOT_FOUND",
        ),
        (image("no-such-image"), Code::NotFound, "TARGET_NOT_FOUND"),
        (other_profile, Code::NotFound, "TARGET_NOT_FOUND"),
        (image("../images"), Code::InvalidArgument, "INVALID_FIELD"),
        (
            v1::DockerTarget::default(),
            Code::InvalidArgument,
            "INVALID_FIELD",
        ),
    ];
    for (target, code, reason) in cases {
        let asked = format!("{target:?}");
        let refused = refused(client.sessions.create_session(new_session(target)).await);
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (code, reason),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn a_command_that_waits_for_input_is_noticed() {
    images_are_there();
    let server = Server::start();
    let mut client = server.client().await;
    // busybox polls before it reads, so that this is no more than likely.
    for (reference, inferred) in [(RUNTIME, false), (BUSYBOX, true)] {
        let session = create(&mut client, image(reference)).await;
        let id = session.session_id.clone();
        let wanted = crate::ssh::wish(&mut client, &id, "echo name?; read name").await;
        assert_eq!(
            (wanted.input(), wanted.inferred),
            (v1::InputKind::Text, inferred),
            "{reference}"
        );
        close(&mut client, &session).await;
    }
}

#[tokio::test]
async fn a_terminal_has_a_size_and_a_keyboard() {
    images_are_there();
    let server = Server::start();
    let mut client = server.client().await;
    let request = v1::CreateSessionRequest {
        terminal: Some(v1::Terminal {
            size: Some(v1::TerminalSize {
                rows: 31,
                columns: 101,
            }),
            ..Default::default()
        }),
        ..new_session(image(RUNTIME))
    };
    let created = client
        .sessions
        .create_session(request)
        .await
        .unwrap()
        .into_inner();
    let session = created.session.unwrap();
    let result = client.run(&session.session_id, "stty size").await;
    assert_eq!(String::from_utf8_lossy(&result.terminal), "31 101\r\n");
    let resize = v1::ResizeTerminalRequest {
        session_id: session.session_id.clone(),
        size: Some(v1::TerminalSize {
            rows: 40,
            columns: 120,
        }),
    };
    client.execs.resize_terminal(resize).await.unwrap();
    let result = client.run(&session.session_id, "stty size").await;
    assert_eq!(String::from_utf8_lossy(&result.terminal), "40 120\r\n");
    // Bytes that could be taken for the head of one of the engine's frames.
    let script = "printf '\\001\\000\\000\\000\\377\\377\\377\\377a'; sleep 0.1; printf '\\002'; \
                  sleep 0.1; printf '\\000b'";
    let result = client.run(&session.session_id, script).await;
    assert_eq!(&result.terminal[..], b"\x01\0\0\0\xff\xff\xff\xffa\x02\0b");
    close(&mut client, &session).await;
}

#[tokio::test]
async fn containers_that_a_killed_server_left_go_with_the_next_one() {
    images_are_there();
    let mut server = Server::start();
    let mut client = server.client().await;
    let session = create(&mut client, image(BUSYBOX)).await;
    let hostname = stdout(&client.run(&session.session_id, "hostname").await);
    server.kill_and_restart();
    let mut client = server.client().await;
    let next = create(&mut client, image(BUSYBOX)).await;
    let filter = format!("id={}", hostname.trim());
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &filter]), "");
    close(&mut client, &next).await;
}
