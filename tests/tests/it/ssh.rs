//! Sessions on machines reached through SSH, where no other target has the like: whom is
//! trusted, who may log in, and what becomes of sessions whose connection breaks.

use std::time::{Duration, Instant};

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;
use execgate_proto::v1::create_session_request::Target;
use execgate_proto::v1::exec_event::Kind;
use tonic::{Code, Status};

use crate::sshd::{Sshd, user};
use crate::support::{Client, Refused, Server, kinds, refused, run_request, stdout};

/// The whole time that a silent partition may go unseen: a keep-alive of one second, three
/// misses, and a busy machine.
const PARTITION_LIMIT: Duration = Duration::from_secs(15);

/// The whole time that a session without its host may take to be closed: shorter than it
/// would go on trying.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

fn profile(name: &str) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        session_id: "s".to_owned(),
        target: Some(Target::Ssh(v1::SshTarget {
            profile: name.to_owned(),
            inline: None,
        })),
        ..Default::default()
    }
}

async fn create(
    client: &mut Client,
    request: v1::CreateSessionRequest,
) -> Result<v1::Session, Status> {
    let created = client.sessions.create_session(request).await?;
    Ok(created.into_inner().session.unwrap())
}

async fn refusal(config: &str, name: &str) -> Refused {
    let server = Server::start_with(config);
    refused(create(&mut server.client().await, profile(name)).await)
}

#[tokio::test]
async fn a_session_says_where_it_is_and_shows_no_credential() {
    let sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    let session = create(&mut client, profile("build")).await.unwrap();
    let Some(v1::session::Target::Ssh(target)) = session.target else {
        panic!("{session:?}")
    };
    assert_eq!((target.profile.as_str(), target.inline), ("build", None));
    let records = audit(&mut client).await;
    let created = records.into_iter().find_map(|body| match body {
        Body::SessionCreated(created) => Some(created.target),
        _ => None,
    });
    assert_eq!(created.as_deref(), Some("ssh:build"));
    let capabilities = client
        .sessions
        .get_capabilities(v1::GetCapabilitiesRequest {})
        .await
        .unwrap()
        .into_inner();
    let ssh = capabilities
        .transports
        .into_iter()
        .find(|row| row.kind() == v1::TransportKind::Ssh)
        .unwrap();
    assert_eq!(
        (ssh.available, ssh.profiles),
        (true, vec!["build".to_owned()])
    );
}

async fn get(client: &mut Client) -> v1::Session {
    let request = v1::GetSessionRequest {
        session_id: "s".to_owned(),
    };
    let got = client.sessions.get_session(request).await.unwrap();
    got.into_inner().session.unwrap()
}

async fn audit(client: &mut Client) -> Vec<Body> {
    let request = v1::ListAuditRecordsRequest::default();
    let records = client.audits.list_audit_records(request).await.unwrap();
    let records = records.into_inner().records.into_iter();
    records.filter_map(|record| record.body).collect()
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_both_fingerprints_and_recorded() {
    let mut sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    create(&mut client, profile("build")).await.unwrap();
    let expected = sshd.fingerprint();
    sshd.swap_host_key();
    let request = v1::CreateSessionRequest {
        session_id: "second".to_owned(),
        ..profile("build")
    };
    let refused = refused(create(&mut client, request).await);
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::FailedPrecondition, "HOST_KEY_MISMATCH")
    );
    let got = sshd.fingerprint();
    assert_eq!(
        (&refused.metadata["expected"], &refused.metadata["got"]),
        (&expected, &got)
    );
    let recorded = audit(&mut client)
        .await
        .into_iter()
        .find_map(|body| match body {
            Body::HostKeyMismatch(shown) => Some((shown.target, shown.expected, shown.got)),
            _ => None,
        });
    assert_eq!(recorded, Some(("ssh:build".to_owned(), expected, got)));
}

#[tokio::test]
async fn an_unknown_host_is_refused_or_learned_once() {
    let mut sshd = Sshd::start();
    let key = format!("key = {:?}", sshd.path("user"));
    let strict = refusal(&sshd.profile_with("build", &key), "build").await;
    assert_eq!(
        (strict.reason.as_str(), &strict.metadata["got"]),
        ("HOST_KEY_UNKNOWN", &sshd.fingerprint())
    );
    let learning = sshd.profile_with("build", &format!("{key}\ntrust = \"first-use\""));
    let server = Server::start_with(&learning);
    let mut client = server.client().await;
    create(&mut client, profile("build")).await.unwrap();
    let learned = std::fs::read_to_string(server.data_dir.join("ssh_known_hosts")).unwrap();
    assert!(sshd.known_host().starts_with(learned.trim()), "{learned}");
    sshd.swap_host_key();
    let request = v1::CreateSessionRequest {
        session_id: "second".to_owned(),
        ..profile("build")
    };
    let changed = refused(create(&mut client, request).await);
    assert_eq!(changed.reason, "HOST_KEY_MISMATCH");
}

#[tokio::test]
async fn a_pinned_fingerprint_needs_no_known_hosts() {
    let sshd = Sshd::start();
    let lines = format!(
        "key = {:?}\nhost_key = {:?}",
        sshd.path("user"),
        sshd.fingerprint()
    );
    let server = Server::start_with(&sshd.profile_with("build", &lines));
    create(&mut server.client().await, profile("build"))
        .await
        .unwrap();
    let lines = format!("key = {:?}\nhost_key = \"SHA256:AAAA\"", sshd.path("user"));
    let other = refusal(&sshd.profile_with("build", &lines), "build").await;
    assert_eq!(other.reason, "HOST_KEY_MISMATCH");
}

#[tokio::test]
async fn rsa_and_ecdsa_keys_and_an_agent_log_in() {
    let sshd = Sshd::start();
    let pinned = format!("host_key = {:?}", sshd.fingerprint());
    let agent = Agent::with(&sshd.path("user"), &sshd.path("agent"));
    let profiles = [
        format!("key = {:?}", sshd.path("rsa")),
        format!(
            "key = {:?}\nkey_passphrase = {{ value = \"the passphrase\" }}",
            sshd.path("ecdsa")
        ),
        format!("agent = {:?}", sshd.path("agent")),
        // What is refused first does not keep the next one from its turn.
        format!("agent = \"/no/such/socket\"\nkey = {:?}", sshd.path("user")),
    ];
    for lines in profiles {
        let config = sshd.profile_with("build", &format!("{pinned}\n{lines}"));
        let server = Server::start_with(&config);
        let created = create(&mut server.client().await, profile("build")).await;
        assert!(created.is_ok(), "{lines}: {created:?}");
    }
    drop(agent);
}

/// An ssh-agent that holds one key.
struct Agent(std::process::Child);

impl Agent {
    fn with(key: &std::path::Path, socket: &std::path::Path) -> Self {
        let child = std::process::Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(socket)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while !socket.exists() && begin.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let added = std::process::Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", socket)
            .status()
            .unwrap();
        assert!(added.success());
        Self(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_say_what_was_tried() {
    let sshd = Sshd::start();
    let pinned = format!("host_key = {:?}", sshd.fingerprint());
    let lines = format!(
        "{pinned}\nkey = {:?}\npassword = {{ value = \"not the password\" }}",
        sshd.path("stranger")
    );
    let refused = refusal(&sshd.profile_with("build", &lines), "build").await;
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::FailedPrecondition, "TARGET_AUTH_FAILED")
    );
    assert_eq!(
        refused.metadata["methods"],
        "key (refused), password (refused)"
    );
}

#[tokio::test]
async fn only_profiles_are_targets_unless_the_operator_says_otherwise() {
    let sshd = Sshd::start();
    let nobody = refusal("", "build").await;
    assert_eq!(
        (nobody.code, nobody.reason.as_str()),
        (Code::NotFound, "TARGET_NOT_FOUND")
    );
    let inline = v1::SshInlineTarget {
        host: "127.0.0.1".to_owned(),
        port: sshd.port.into(),
        user: user(),
        credential: Some(v1::ssh_inline_target::Credential::PrivateKey(
            v1::SshPrivateKey {
                key: std::fs::read(sshd.path("user")).unwrap().into(),
                passphrase: String::new(),
            },
        )),
        host_key_fingerprint: sshd.fingerprint(),
    };
    let request = v1::CreateSessionRequest {
        session_id: "s".to_owned(),
        target: Some(Target::Ssh(v1::SshTarget {
            profile: String::new(),
            inline: Some(inline),
        })),
        ..Default::default()
    };
    let server = Server::start();
    let refused = refused(create(&mut server.client().await, request.clone()).await);
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::PermissionDenied, "TARGET_NOT_ALLOWED")
    );
    let server = Server::start_with("[ssh]\nallow_inline = true\n");
    let mut client = server.client().await;
    let session = create(&mut client, request).await.unwrap();
    assert_eq!(
        session.target,
        Some(v1::session::Target::Ssh(v1::SshTarget::default()))
    );
    assert_eq!(stdout(&client.run("s", "echo in").await), "in\n");
}

#[tokio::test]
async fn a_host_is_reached_through_another() {
    let sshd = Sshd::start();
    let far = Sshd::start();
    let config = format!(
        "{}{}",
        sshd.profile("near"),
        far.profile_with(
            "far",
            &format!(
                "key = {:?}\nhost_key = {:?}\njump = \"near\"",
                far.path("user"),
                far.fingerprint()
            )
        )
    );
    let server = Server::start_with(&config);
    let mut client = server.client().await;
    create(&mut client, profile("far")).await.unwrap();
    assert_eq!(stdout(&client.run("s", "echo far").await), "far\n");
}

/// Begins a command, does something to the host, and answers how the command ended.
async fn broken(
    client: &mut Client,
    request: v1::CreateSessionRequest,
    fault: impl FnOnce(),
) -> (v1::Finished, Duration) {
    create(client, request).await.unwrap();
    let mut stream = client
        .exec("s", "e", "echo begun; sleep 600; echo no")
        .await;
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(Kind::Output(_)) = response.event.unwrap().kind {
            break;
        }
    }
    fault();
    let begin = Instant::now();
    let rest = kinds(&mut stream).await;
    let Some(Kind::Finished(finished)) = rest.into_iter().next_back() else {
        panic!("no end")
    };
    (finished, begin.elapsed())
}

fn is_lost(finished: &v1::Finished) {
    let outcome = finished.outcome.clone().unwrap().result.unwrap();
    assert!(
        matches!(outcome, v1::outcome::Result::Lost(_)),
        "{outcome:?}"
    );
    assert_eq!(finished.cause(), v1::Cause::TransportLost);
    assert_eq!(finished.observed_by(), v1::ObservedBy::Nobody);
}

#[tokio::test]
async fn a_killed_server_loses_the_command_and_the_session_and_says_so() {
    let begun = std::time::SystemTime::now();
    let mut sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    let (finished, _) = broken(&mut client, profile("build"), || sshd.kill()).await;
    is_lost(&finished);
    let ended = refused(client.try_run(run_request("s", "true")).await);
    assert!(
        ended.reason == "SESSION_ENDED" || ended.reason == "SESSION_EXPIRED",
        "{ended:?}"
    );
    let session = get(&mut client).await;
    assert_eq!(session.state(), v1::SessionState::Lost);
    let end = session.end.unwrap();
    assert_eq!(end.reason(), v1::SessionEndReason::TransportLost);
    assert!(std::time::SystemTime::try_from(end.time.unwrap()).unwrap() >= begun);
    let recorded = audit(&mut client)
        .await
        .into_iter()
        .find_map(|body| match body {
            Body::SessionLost(lost) => Some(lost.end_reason()),
            _ => None,
        });
    assert_eq!(recorded, Some(v1::SessionEndReason::TransportLost));
}

#[tokio::test]
async fn a_session_that_asks_for_it_connects_again_under_a_higher_generation() {
    let mut sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    let mut request = profile("build");
    request.set_on_transport_loss(v1::OnTransportLoss::Reconnect);
    let (finished, _) = broken(&mut client, request, || sshd.restart()).await;
    is_lost(&finished);
    let result = client.run("s", "echo again").await;
    assert_eq!(stdout(&result), "again\n");
    assert_eq!(result.finished.unwrap().generation, 2);
}

#[tokio::test]
async fn what_a_broken_connection_left_running_is_ended_before_the_next_shell_begins() {
    let mut sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    let mut request = profile("build");
    request.set_on_transport_loss(v1::OnTransportLoss::Reconnect);
    create(&mut client, request).await.unwrap();
    let mut stream = client.exec("s", "e", "echo $$; sleep 600").await;
    let pid = loop {
        let event = stream.message().await.unwrap().unwrap().event.unwrap();
        if let Some(Kind::Output(output)) = event.kind {
            break String::from_utf8(output.data.to_vec()).unwrap();
        }
    };
    sshd.restart();
    // One whose parent has ended may stay a zombie for a while.
    let look = format!("grep -s '^State:.[^Z]' /proc/{}/status || echo gone", pid.trim());
    assert_eq!(stdout(&client.run("s", &look).await), "gone\n");
}

#[tokio::test]
async fn a_session_that_tries_to_reach_its_host_answers_and_can_be_closed() {
    let mut sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    let mut request = profile("build");
    request.set_on_transport_loss(v1::OnTransportLoss::Reconnect);
    let (finished, _) = broken(&mut client, request, || sshd.kill()).await;
    is_lost(&finished);
    assert_eq!(get(&mut client).await.state(), v1::SessionState::Starting);
    // A command waits for its turn meanwhile, and can be taken back.
    let mut waiting = server.client().await;
    let waits = tokio::spawn(async move { waiting.try_run(run_request("s", "true")).await });
    let begin = Instant::now();
    let close = v1::CloseSessionRequest {
        session_id: "s".to_owned(),
        ..Default::default()
    };
    client.sessions.close_session(close).await.unwrap();
    assert!(begin.elapsed() < ANSWER_LIMIT, "{:?}", begin.elapsed());
    let refused = refused(waits.await.unwrap());
    assert!(
        ["SESSION_ENDED", "SESSION_NOT_FOUND"].contains(&refused.reason.as_str()),
        "{refused:?}"
    );
    let session = get(&mut client).await;
    let end = session.end.clone().unwrap();
    assert_eq!(
        (session.state(), end.reason()),
        (v1::SessionState::Closed, v1::SessionEndReason::Requested)
    );
}

#[tokio::test]
async fn a_silent_partition_is_seen_within_the_keepalives() {
    let sshd = Sshd::start();
    let config = format!("{}keepalive = \"1s\"\n", sshd.profile("build"));
    let server = Server::start_with(&config);
    let mut client = server.client().await;
    let (finished, took) = broken(&mut client, profile("build"), || sshd.freeze()).await;
    is_lost(&finished);
    assert!(took < PARTITION_LIMIT, "{took:?}");
}

#[tokio::test]
async fn a_host_that_allows_one_session_for_each_connection_is_enough() {
    let sshd = Sshd::start_with("MaxSessions 1");
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    create(&mut client, profile("build")).await.unwrap();
    let mut request = run_request("s", "echo begun; sleep 60");
    request.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 1,
        nanos: 0,
    });
    let result = client.try_run(request).await.unwrap();
    assert_eq!(
        (stdout(&result).as_str(), result.timed_out),
        ("begun\n", true)
    );
    assert_eq!(stdout(&client.run("s", "echo on").await), "on\n");
}

#[tokio::test]
async fn an_output_that_nobody_reads_stops_no_other_session() {
    let sshd = Sshd::start();
    let config = format!(
        "[policy]\nname = \"open\"\n[limits]\nretained_output_bytes = 65536\n\
         [executions]\nspill_bytes = 0\n{}",
        sshd.profile("build")
    );
    let server = Server::start_with(&config);
    let mut client = server.client().await;
    create(&mut client, profile("build")).await.unwrap();
    let mut request = v1::ExecRequest {
        session_id: "s".to_owned(),
        execution_id: "flood".to_owned(),
        spec: Some(crate::support::spec("cat /dev/zero")),
        ..Default::default()
    };
    request
        .spec
        .as_mut()
        .unwrap()
        .set_overflow(v1::OverflowAction::Backpressure);
    let stream = client.execs.exec(request).await.unwrap();
    let mut other = profile("build");
    other.session_id = "other".to_owned();
    create(&mut client, other).await.unwrap();
    for n in 0..20 {
        let result = client.run("other", &format!("echo {n}")).await;
        assert_eq!(stdout(&result), format!("{n}\n"));
    }
    // And the one that stands still can still be ended.
    let cancel = v1::SignalRequest {
        session_id: "s".to_owned(),
        execution_id: "flood".to_owned(),
        signal: v1::SignalKind::Kill.into(),
    };
    client.execs.signal(cancel).await.unwrap();
    drop(stream);
}
