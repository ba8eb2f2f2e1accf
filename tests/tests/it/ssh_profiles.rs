//! What a host profile says beside how to log in: a policy that narrows the operator's, and a
//! wrapper whose worth is tried.

use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;
use tonic::Code;

use crate::ssh::{audit, create, profile};
use crate::sshd::{Sshd, is_root};
use crate::support::{Client, Server, refused, run_request, stdout};

/// Longer than a reload takes.
const LIMIT: Duration = Duration::from_secs(20);

const NO_TOUCH: &str = "default = \"allow\"\nunresolved = \"allow\"\n\
    [[rule]]\nid = \"no-touch\"\neffect = \"deny\"\nprogram = \"touch\"\n";

fn gate(sshd: &Sshd, more: &str) -> Server {
    let login = format!(
        "key = {:?}\nhost_key = {:?}",
        sshd.path("user"),
        sshd.fingerprint()
    );
    Server::start_with(&sshd.profile_with("build", &format!("{login}\n{more}")))
}

/// Which layer of policies denies a script, and by which rule; nothing where it runs.
async fn denied_by(client: &mut Client, session: &str, script: &str) -> Option<(String, String)> {
    let answer = match client.try_run(run_request(session, script)).await {
        Ok(_ran) => return None,
        Err(status) => refused(Err::<(), _>(status)),
    };
    let part = |name: &str| answer.metadata.get(name).unwrap().clone();
    Some((part("layer"), part("rule")))
}

fn layer(layer: &str, rule: &str) -> Option<(String, String)> {
    Some((layer.to_owned(), rule.to_owned()))
}

#[tokio::test]
async fn a_host_profiles_policy_narrows_its_own_sessions_and_can_be_reloaded() {
    let sshd = Sshd::start();
    let policy = sshd.path("policy.toml");
    std::fs::write(&policy, NO_TOUCH).unwrap();
    let server = gate(&sshd, &format!("policy = {{ file = {policy:?} }}"));
    let mut client = server.client().await;
    let mut request = profile("build");
    request.policy = Some(v1::SessionPolicy {
        deny_programs: vec!["date".to_owned()],
        ..Default::default()
    });
    create(&mut client, request).await.unwrap();
    client.session("local").await;
    let touch = format!("touch {:?}", sshd.path("touched"));
    let own = denied_by(&mut client, "s", &touch).await;
    assert_eq!(own, layer("profile", "no-touch"));
    assert!(!sshd.path("touched").exists());
    assert_eq!(denied_by(&mut client, "local", &touch).await, None);
    let session = denied_by(&mut client, "s", "date").await.unwrap();
    assert_eq!(session.0, "session");
    let operator = denied_by(&mut client, "s", "rm -rf /").await;
    assert_eq!(operator, layer("operator", "no-rm-root"));

    std::fs::write(&policy, NO_TOUCH.replace("touch", "mkdir")).unwrap();
    server.signal(libc::SIGHUP);
    let profiles = tokio::time::timeout(LIMIT, reloaded(&mut client)).await;
    assert_eq!(profiles.unwrap(), ["", "ssh:build"]);
    assert_eq!(denied_by(&mut client, "s", &touch).await, None);
    let mkdir = denied_by(&mut client, "s", "mkdir x").await;
    assert_eq!(mkdir, layer("profile", "no-mkdir"));
}

/// The profiles whose policies were read again, once they all were.
async fn reloaded(client: &mut Client) -> Vec<String> {
    loop {
        let records = audit(client).await.into_iter();
        let profiles: Vec<String> = records
            .filter_map(|body| match body {
                Body::PolicyReloaded(record) => Some(record.profile),
                _ => None,
            })
            .collect();
        if profiles.len() == 2 {
            return profiles;
        }
        tokio::task::yield_now().await;
    }
}

/// A wrapper that takes the network and new privileges.
fn wrapper() -> &'static str {
    match is_root() {
        true => r#"["/usr/bin/unshare", "-n", "/usr/bin/setpriv", "--no-new-privs"]"#,
        false => r#"["/usr/bin/unshare", "-rn", "/usr/bin/setpriv", "--no-new-privs"]"#,
    }
}

fn level(session: &v1::Session, control: v1::Control) -> (v1::EnforcementLevel, String) {
    let rows = &session.fence.as_ref().unwrap().controls;
    let row = rows.iter().find(|row| row.control() == control).unwrap();
    (row.level(), row.detail.clone())
}

#[tokio::test]
async fn what_a_wrapper_was_seen_to_refuse_is_enforced_for_every_program() {
    use v1::EnforcementLevel::{Advisory, Enforced, Unavailable};
    let sshd = Sshd::start();
    let server = gate(&sshd, &format!("wrap = {}", wrapper()));
    let mut client = server.client().await;
    let mut request = profile("build");
    request.fence = Some(v1::FenceRequirement {
        require: vec![v1::ControlRequirement {
            control: v1::Control::Network.into(),
            at_least: Enforced.into(),
        }],
        ..Default::default()
    });
    let session = create(&mut client, request).await.unwrap();
    let network = "no interface but its own lo".to_owned();
    assert_eq!(level(&session, v1::Control::Network), (Enforced, network));
    let privilege = "no new privileges".to_owned();
    assert_eq!(
        level(&session, v1::Control::Privilege),
        (Enforced, privilege)
    );
    assert_eq!(level(&session, v1::Control::FileWrite).0, Unavailable);
    assert_eq!(level(&session, v1::Control::ProgramExecution).0, Advisory);

    let look = "grep NoNewPrivs /proc/self/status; wc -l </proc/net/dev";
    let seen = "NoNewPrivs:\t1\n3\n";
    assert_eq!(stdout(&client.run("s", look).await), seen);
    let mut argv = run_request("s", "");
    argv.spec.as_mut().unwrap().command = Some(v1::execution_spec::Command::Argv(v1::Argv {
        arguments: ["sh", "-c", look].map(str::to_owned).into(),
    }));
    assert_eq!(stdout(&client.try_run(argv).await.unwrap()), seen);
    // What ends commands is not wrapped, and still finds them.
    let mut slow = run_request("s", "x=kept; sleep 60");
    slow.spec.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 1,
        nanos: 0,
    });
    assert!(client.try_run(slow).await.unwrap().timed_out);
    assert_eq!(stdout(&client.run("s", "echo $x").await), "kept\n");
}

#[tokio::test]
async fn a_wrapper_that_is_not_there_or_promises_too_little_opens_no_session() {
    let sshd = Sshd::start();
    let server = gate(&sshd, "wrap = [\"/no/such/wrapper\"]");
    let missing = refused(create(&mut server.client().await, profile("build")).await);
    assert_eq!(missing.code, Code::Unavailable);
    assert!(missing.message.contains("/no/such/wrapper"), "{missing:?}");

    let server = gate(&sshd, "wrap = [\"/usr/bin/env\"]");
    let mut request = profile("build");
    request.fence = Some(v1::FenceRequirement {
        require: vec![v1::ControlRequirement {
            control: v1::Control::Privilege.into(),
            at_least: v1::EnforcementLevel::Enforced.into(),
        }],
        ..Default::default()
    });
    let weak = refused(create(&mut server.client().await, request).await);
    assert_eq!(weak.reason, "FENCE_UNAVAILABLE");
}
