//! Sessions on machines reached through SSH, where no other target has the like: which
//! machines there are, and whom is trusted. Logins, faults and odd machines are in `ssh_*`.

use execgate_proto::v1;
use execgate_proto::v1::audit_record::Body;
use execgate_proto::v1::create_session_request::Target;
use execgate_proto::v1::exec_event::Kind;
use tonic::{Code, Status};

use crate::sshd::{Sshd, user};
use crate::support::{Client, Refused, Server, refused, stdout};

pub(crate) fn profile(name: &str) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        session_id: "s".to_owned(),
        target: Some(Target::Ssh(v1::SshTarget {
            profile: name.to_owned(),
            inline: None,
        })),
        ..Default::default()
    }
}

pub(crate) async fn create(
    client: &mut Client,
    request: v1::CreateSessionRequest,
) -> Result<v1::Session, Status> {
    let created = client.sessions.create_session(request).await?;
    Ok(created.into_inner().session.unwrap())
}

pub(crate) async fn refusal(config: &str, name: &str) -> Refused {
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

pub(crate) async fn get(client: &mut Client) -> v1::Session {
    let request = v1::GetSessionRequest {
        session_id: "s".to_owned(),
    };
    let got = client.sessions.get_session(request).await.unwrap();
    got.into_inner().session.unwrap()
}

pub(crate) async fn audit(client: &mut Client) -> Vec<Body> {
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

/// Two hosts under the names of a configuration of OpenSSH's, one behind the other.
fn openssh_config(near: &Sshd, far: &Sshd) -> std::path::PathBuf {
    let known = |sshd: &Sshd, name: &str| {
        let key = std::fs::read_to_string(sshd.path("host.pub")).unwrap();
        std::fs::write(sshd.path("known"), format!("{name} {key}")).unwrap();
        sshd.path("known").display().to_string()
    };
    let host = |sshd: &Sshd, name: &str, more: &str| {
        format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {}\n  HostKeyAlias {name}\n  \
             UserKnownHostsFile {}\n  IdentityFile {}\n{more}\n",
            sshd.port,
            known(sshd, name),
            sshd.path("user").display()
        )
    };
    let included = near.path("included");
    std::fs::write(&included, host(near, "near", "")).unwrap();
    let text = format!(
        "Include {}\n{}Match originalhost far exec \"true\"\n  User {}\n\
         Host odd\n  ProxyCommand nc %h %p\n",
        included.display(),
        host(far, "far", "  ProxyJump near"),
        user()
    );
    std::fs::write(near.path("ssh_config"), text).unwrap();
    near.path("ssh_config")
}

#[tokio::test]
async fn hosts_are_found_by_the_names_of_opensshs_configuration() {
    let (near, far) = (Sshd::start(), Sshd::start());
    let file = openssh_config(&near, &far);
    let config = format!("[ssh]\nconfig_hosts = [\"far\", \"odd\"]\nconfig_file = {file:?}\n");
    let server = Server::start_with(&config);
    let mut client = server.client().await;
    create(&mut client, profile("far")).await.unwrap();
    assert_eq!(stdout(&client.run("s", "echo far").await), "far\n");
    // On the way lies the other one.
    assert!(near.log().contains("Accepted publickey"), "{}", near.log());
    let refusal = |id: &str, name: &str| v1::CreateSessionRequest {
        session_id: id.to_owned(),
        ..profile(name)
    };
    // A name that leads to a host, and that the operator has not listed.
    let unlisted = refused(create(&mut client, refusal("t", "near")).await);
    assert_eq!(unlisted.reason, "TARGET_NOT_FOUND");
    let odd = refused(create(&mut client, refusal("u", "odd")).await);
    assert_eq!(odd.reason, "TARGET_UNAVAILABLE");
    assert!(odd.message.contains("ProxyCommand"), "{odd:?}");
}

/// The wish for input that a command with open input tells of.
pub(crate) async fn wish(client: &mut Client, session: &str, script: &str) -> v1::InputWanted {
    let mut spec = crate::support::spec(script);
    spec.stdin = Some(v1::execution_spec::Stdin::Open(v1::OpenStdin::default()));
    let request = v1::ExecRequest {
        session_id: session.to_owned(),
        execution_id: "e".to_owned(),
        spec: Some(spec),
        ..Default::default()
    };
    let mut stream = client.execs.exec(request).await.unwrap().into_inner();
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(Kind::Notice(v1::Notice {
            kind: Some(v1::notice::Kind::InputWanted(wanted)),
            ..
        })) = response.event.unwrap().kind
        {
            return wanted;
        }
    }
    panic!("no wish for input")
}

#[tokio::test]
async fn a_command_that_waits_for_input_or_a_password_is_noticed() {
    let sshd = Sshd::start();
    let server = Server::start_with(&sshd.profile("build"));
    let mut client = server.client().await;
    create(&mut client, profile("build")).await.unwrap();
    let wanted = wish(&mut client, "s", "echo name?; read name").await;
    assert_eq!(
        (wanted.input(), wanted.inferred),
        (v1::InputKind::Text, false)
    );
    let mut request = profile("build");
    request.session_id = "t".to_owned();
    request.terminal = Some(v1::Terminal {
        size: Some(v1::TerminalSize {
            rows: 24,
            columns: 80,
        }),
        term: String::new(),
    });
    create(&mut client, request).await.unwrap();
    let wanted = wish(&mut client, "t", "stty -echo; echo password?; head -n 1").await;
    assert_eq!(
        (wanted.input(), wanted.inferred),
        (v1::InputKind::Password, false)
    );
}
