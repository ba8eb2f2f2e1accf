//! Logging in to an OpenSSH server with all there is to log in with.

use std::time::{Duration, Instant};

use tonic::Code;

use crate::ssh::{create, profile, refusal};
use crate::sshd::{Sshd, is_root, user};
use crate::support::{Server, stdout};

/// A user of the host who has a password, in a passwd file of the host's own.
const WITH_PASSWORD: &str = r#"
mkdir -p "$F/home"
chown 4242 "$F/home"
cp /etc/passwd "$F/passwd"
echo "tester:x:4242:4242::$F/home:/bin/sh" >>"$F/passwd"
mount --bind "$F/passwd" /etc/passwd
cp /etc/shadow "$F/shadow"
echo 'tester:$6$execgate$tO1g3r463jPX1VQYc6SIaJv.yyXB.mYslFhp/JHjh82qfVN7aZbGDy36t0eCf9pj6VOQMOqspRzD3zQVvRR8A1:19000:0:99999:7:::' >>"$F/shadow"
mount --bind "$F/shadow" /etc/shadow
"#;

/// The same where passwords are asked for by PAM, in questions.
const WITH_PAM: &str = r#"
printf 'auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n' >"$F/pam"
mount --bind "$F/pam" /etc/pam.d/sshd
"#;

const PASSWORD: &str = "password = { value = \"a long password\" }";

/// A user's own passwords need a passwd file of one's own, which root alone can have.
fn may_change_the_host() -> bool {
    if !is_root() {
        eprintln!("only root can give a host users of its own: not tried");
    }
    is_root()
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
async fn a_certificate_logs_in_while_it_is_valid() {
    let sshd = Sshd::start();
    let pinned = format!("host_key = {:?}", sshd.fingerprint());
    let key = format!("{pinned}\nkey = {:?}", sshd.path("stranger"));
    let alone = refusal(&sshd.profile_with("build", &key), "build").await;
    assert_eq!(alone.reason, "TARGET_AUTH_FAILED");
    let certified = |certificate: &std::path::Path| {
        sshd.profile_with("build", &format!("{key}\ncertificate = {certificate:?}"))
    };
    let expired = sshd.certify("stranger", &user(), "20200101:20200102");
    let refused = refusal(&certified(&expired), "build").await;
    assert_eq!(
        (
            refused.reason.as_str(),
            refused.metadata["methods"].as_str()
        ),
        ("TARGET_AUTH_FAILED", "certificate (refused)")
    );
    let other = sshd.certify("user", &user(), "+1h");
    let refused = refusal(&certified(&other), "build").await;
    assert_eq!(
        refused.metadata["methods"],
        "certificate (certifies another key)"
    );
    let valid = sshd.certify("stranger", &user(), "+1h");
    let server = Server::start_with(&certified(&valid));
    let mut client = server.client().await;
    create(&mut client, profile("build")).await.unwrap();
    assert_eq!(stdout(&client.run("s", "echo in").await), "in\n");
}

#[tokio::test]
async fn a_password_logs_in_and_answers_what_is_asked() {
    if !may_change_the_host() {
        return;
    }
    let pam = format!("{WITH_PASSWORD}{WITH_PAM}");
    let asks = "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes";
    for (more, world, method) in [
        (
            "PubkeyAuthentication no",
            WITH_PASSWORD,
            "Accepted password",
        ),
        (asks, pam.as_str(), "Accepted keyboard-interactive/pam"),
    ] {
        let sshd = Sshd::start_in(more, world);
        let pinned = format!("host_key = {:?}", sshd.fingerprint());
        let config = sshd.profile_as("build", "tester", &format!("{pinned}\n{PASSWORD}"));
        let server = Server::start_with(&config);
        let mut client = server.client().await;
        create(&mut client, profile("build")).await.unwrap();
        assert_eq!(stdout(&client.run("s", "id -u").await), "4242\n");
        assert!(sshd.log().contains(method), "{method}: {}", sshd.log());
        let wrong = format!("{pinned}\npassword = {{ value = \"another password\" }}");
        let refused = refusal(&sshd.profile_as("build", "tester", &wrong), "build").await;
        assert_eq!(
            (
                refused.reason.as_str(),
                refused.metadata["methods"].as_str()
            ),
            ("TARGET_AUTH_FAILED", "password (refused)")
        );
    }
}

#[tokio::test]
async fn credentials_are_tried_in_the_stated_order() {
    if !may_change_the_host() {
        return;
    }
    let sshd = Sshd::start_in("", WITH_PASSWORD);
    let agent = Agent::with(&sshd.path("stranger"), &sshd.path("agent"));
    let lines = format!(
        "host_key = {:?}\nagent = {:?}\nkey = {:?}\n{PASSWORD}",
        sshd.fingerprint(),
        sshd.path("agent"),
        sshd.path("authority"),
    );
    let server = Server::start_with(&sshd.profile_as("build", "tester", &lines));
    create(&mut server.client().await, profile("build"))
        .await
        .unwrap();
    let log = sshd.log();
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("{words}: {log}"));
    let print = |name: &str| sshd.fingerprint_of(name);
    let order = [
        at(&print("stranger")),
        at(&print("authority")),
        at("Accepted password"),
    ];
    assert!(order.is_sorted(), "{order:?} {log}");
    drop(agent);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_says_why() {
    let sshd = Sshd::start();
    let pinned = format!("host_key = {:?}", sshd.fingerprint());
    std::fs::write(sshd.path("noise"), "no key").unwrap();
    for (lines, says) in [
        (
            format!(
                "key = {:?}\nkey_passphrase = {{ value = \"another passphrase\" }}",
                sshd.path("ecdsa")
            ),
            "key (cannot be used:",
        ),
        (
            format!("key = {:?}", sshd.path("ecdsa")),
            "key (cannot be used:",
        ),
        (
            format!("key = {:?}", sshd.path("noise")),
            "key (cannot be used:",
        ),
        ("key = \"/no/such/key\"".to_owned(), "key (cannot be read:"),
    ] {
        let config = sshd.profile_with("build", &format!("{pinned}\n{lines}"));
        let refused = refusal(&config, "build").await;
        assert_eq!(refused.reason, "TARGET_AUTH_FAILED", "{lines}");
        assert!(
            refused.metadata["methods"].starts_with(says),
            "{lines}: {refused:?}"
        );
    }
}
