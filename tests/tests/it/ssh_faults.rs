//! What becomes of sessions whose host or way to it fails, with real servers and networks.

use std::process::Command;
use std::time::{Duration, Instant};

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;
use execgate_proto::v1::exec_event::Kind;

use crate::ssh::{audit, create, get, profile};
use crate::sshd::{Sshd, is_root};
use crate::support::{Client, Server, kinds, refused, run_request, stdout};

/// The whole time that a silent partition may go unseen: a keep-alive of one second, three
/// misses, and a busy machine.
const PARTITION_LIMIT: Duration = Duration::from_secs(15);

/// The whole time that a session without its host may take to be closed: shorter than it
/// would go on trying.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

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
    let look = format!(
        "grep -s '^State:.[^Z]' /proc/{}/status || echo gone",
        pid.trim()
    );
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

/// A host at the other end of a cable: a network of its own, joined by two interfaces.
struct Cable {
    sshd: Sshd,
    here: String,
    address: String,
}

/// Waits until there is an `eth0` in the host's network, which its test puts there.
const APART: &str = r#"
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
"#;

impl Cable {
    fn lay() -> Self {
        // Numbers that no other test of this machine has: addresses of 198.18.0.0/15.
        let number = std::process::id() % (256 * 62);
        let (high, low) = (number / 62, number % 62 * 4);
        let here = format!("eg{}", std::process::id());
        let address = format!("198.18.{high}.{}", low + 2);
        let world = format!("{APART}ip addr add {address}/30 dev eth0\nip link set eth0 up\n");
        let gateway = format!("198.18.{high}.{}/30", low + 1);
        let name = here.clone();
        let sshd = Sshd::start_joined(&world, |pid| {
            let pid = pid.to_string();
            run(
                "ip",
                &[
                    "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &pid,
                ],
            );
            run("ip", &["addr", "add", &gateway, "dev", &name]);
            run("ip", &["link", "set", &name, "up"]);
        });
        Self {
            sshd,
            here,
            address,
        }
    }

    /// Nothing comes back any more, and nothing is closed: what the host sends is thrown
    /// away in its own network.
    fn cut(&self) {
        self.inside(&["ip", "route", "add", "blackhole", "198.18.0.0/15"]);
        self.inside(&["ip", "addr", "flush", "dev", "eth0"]);
    }

    fn inside(&self, words: &[&str]) {
        let pid = self.sshd.pid().to_string();
        let all = [&["-t", &pid, "-n", "--"], words].concat();
        run("nsenter", &all);
    }

    fn profile(&self, lines: &str) -> String {
        let lines = format!(
            "key = {:?}\nhost_key = {:?}\n{lines}",
            self.sshd.path("user"),
            self.sshd.fingerprint()
        );
        self.sshd
            .profile_with("build", &lines)
            .replace("127.0.0.1", &self.address)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _gone = Command::new("ip")
            .args(["link", "del", &self.here])
            .status();
    }
}

fn run(program: &str, words: &[&str]) {
    let done = Command::new(program).args(words).output().unwrap();
    assert!(done.status.success(), "{program} {words:?}: {done:?}");
}

#[tokio::test]
async fn a_cut_cable_is_noticed_within_the_keepalives_and_loses_the_command() {
    if !is_root() {
        eprintln!("only root can cut cables: not tried");
        return;
    }
    let cable = Cable::lay();
    let server = Server::start_with(&cable.profile("keepalive = \"1s\""));
    let mut client = server.client().await;
    let (finished, took) = broken(&mut client, profile("build"), || cable.cut()).await;
    is_lost(&finished);
    // Four keep-alives, and a margin for a busy machine.
    assert!(took < PARTITION_LIMIT, "{took:?}");
    let end = get(&mut client).await.end.unwrap();
    assert_eq!(end.reason(), v1::SessionEndReason::TransportLost);
}

#[tokio::test]
async fn a_host_whose_key_changed_meanwhile_is_not_connected_to_again() {
    let mut sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    let expected = sshd.fingerprint();
    let mut request = profile("build");
    request.set_on_transport_loss(v1::OnTransportLoss::Reconnect);
    let (finished, _) = broken(&mut client, request, || sshd.swap_host_key()).await;
    is_lost(&finished);
    // Waits for its turn, which does not come.
    let refused = refused(client.try_run(run_request("s", "true")).await);
    assert!(
        ["SESSION_ENDED", "SESSION_EXPIRED"].contains(&refused.reason.as_str()),
        "{refused:?}"
    );
    let recorded = audit(&mut client)
        .await
        .into_iter()
        .find_map(|body| match body {
            Body::HostKeyMismatch(shown) => Some((shown.expected, shown.got)),
            _ => None,
        });
    assert_eq!(recorded, Some((expected, sshd.fingerprint())));
}
