//! The Rust client over TLS: whom it believes, what it shows, and what it says when it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use execgate_client::{
    Client, ClientBuilder, Error, ErrorReason, RetryPolicy, Tls, TlsErrorReason,
};
use tempfile::TempDir;

use crate::support::{Server, binary};

/// Far less than the attempts of a client that would try again.
const AT_ONCE: Duration = Duration::from_secs(20);

/// What makes an authority, another one that nobody knows, and their certificates.
const AUTHORITY: &str = r#"
set -e
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj "/CN=$1" -keyout "$1-key.pem" -out "$1.pem"
}
sign() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=$2" -keyout "$2-key.pem" -out csr
    printf 'subjectAltName=%s\n' "$3" >extensions
    openssl x509 -req -days "${4:-2}" -in csr -CA "$1.pem" -CAkey "$1-key.pem" -CAcreateserial \
        -extfile extensions -out "$2.pem"
}
authority ca
authority stranger
sign ca server 'DNS:localhost,IP:127.0.0.1'
sign ca stale 'DNS:localhost,IP:127.0.0.1' -1
sign ca agent 'URI:spiffe://prod/agent-7'
sign ca old 'URI:spiffe://prod/agent-7' -1
sign stranger false 'URI:spiffe://prod/agent-7'
"#;

/// An authority, and what it has signed.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Program::new("bash")
            .args(["-c", AUTHORITY])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.pem"))
    }

    /// A server that shows this certificate.
    fn server(&self, certificate: &str, clients: &str) -> Server {
        let folder = self.0.path().display();
        Server::start_with(&format!(
            "[tls]\ncertificate = \"{folder}/{certificate}.pem\"\n\
             key = \"{folder}/{certificate}-key.pem\"\n\
             client_ca = \"{folder}/ca.pem\"\nclient_certificates = \"{clients}\"\n"
        ))
    }

    fn tls(&self) -> Tls {
        Tls::default().ca_file(self.path("ca"))
    }

    fn certified(&self, name: &str) -> Tls {
        let key = self.path(&format!("{name}-key"));
        let tls = self.tls().certificate_file(self.path(name));
        tls.key_file(key)
    }
}

fn at(server: &Server) -> ClientBuilder {
    // None of the tests' own token may be found.
    Client::builder().address(format!("https://{}", server.address))
}

/// Makes an API key.
fn key(server: &Server, words: &[&str]) -> String {
    let made = Program::new(binary())
        .args(["key", "--data-dir"])
        .arg(&server.data_dir)
        .args(words)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// As whom the server knows a client.
async fn principal(builder: ClientBuilder) -> Result<String, Error> {
    let session = builder.connect().await?.session().await?;
    let principal = session.describe().await?.principal;
    session.close().await?;
    Ok(principal)
}

/// How a client fails, at once.
async fn failure(builder: ClientBuilder) -> (TlsErrorReason, String) {
    let begun = Instant::now();
    let error = principal(builder).await.unwrap_err();
    let took = begun.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    match &error {
        Error::Tls(tls) => (tls.reason, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn key_and_certificate_are_who_calls() {
    let authority = Authority::new();
    let server = authority.server("server", "optional");
    let named = authority.tls().server_name("localhost");
    let ci = at(&server)
        .token(key(&server, &["create", "ci"]))
        .tls(named);
    assert_eq!(principal(ci).await.unwrap(), "ci");
    let agent = at(&server).tls(authority.certified("agent"));
    assert_eq!(principal(agent).await.unwrap(), "spiffe://prod/agent-7");
    // Without a scheme TLS is what is asked for by it.
    let bare = Client::builder().address(server.address.clone());
    let bare = bare.tls(authority.certified("agent"));
    assert_eq!(principal(bare).await.unwrap(), "spiffe://prod/agent-7");
}

#[tokio::test]
async fn token_is_read_or_asked_for_again_at_each_call() {
    let authority = Authority::new();
    let server = authority.server("server", "optional");
    let first = key(&server, &["create", "first"]);
    let second = key(&server, &["create", "second"]);
    let path = authority.0.path().join("key");
    fs::write(&path, &first).unwrap();
    let client = at(&server).tls(authority.tls()).token_file(&path);
    let client = client.connect().await.unwrap();
    let whose = async |client: &Client| {
        let session = client.session().await?;
        Ok::<_, Error>(session.describe().await?.principal)
    };
    assert_eq!(whose(&client).await.unwrap(), "first");
    replace(&path, &second);
    assert_eq!(whose(&client).await.unwrap(), "second");

    let tokens = Mutex::new(vec![first.clone(), first]);
    let asked = at(&server).tls(authority.tls()).token_source(move || {
        let token = tokens.lock().unwrap().pop().ok_or("the issuer is away");
        async move {
            tokio::task::yield_now().await;
            token
        }
    });
    let client = asked.connect().await.unwrap();
    assert_eq!(whose(&client).await.unwrap(), "first");
    let error = whose(&client).await.unwrap_err();
    assert!(matches!(error, Error::NoToken { .. }), "{error:?}");
    assert!(error.to_string().contains("the issuer is away"), "{error}");
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, format!("{text}\n")).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn server_that_is_not_believed_is_told_why() {
    let authority = Authority::new();
    let server = authority.server("server", "optional");
    let stranger = Tls::default().ca_file(authority.path("stranger"));
    let (reason, text) = failure(at(&server).tls(stranger)).await;
    assert_eq!(reason, TlsErrorReason::UnknownAuthority);
    assert!(text.contains("EXECGATE_CA_FILE"), "{text}");
    // The system's own authorities do not know this one.
    let (reason, _) = failure(at(&server)).await;
    assert_eq!(reason, TlsErrorReason::UnknownAuthority);
    let (reason, text) =
        failure(at(&server).tls(authority.tls().server_name("gate.example"))).await;
    assert_eq!(reason, TlsErrorReason::WrongName);
    assert!(text.contains("server_name"), "{text}");
    let stale = authority.server("stale", "optional");
    let (reason, text) = failure(at(&stale).tls(authority.tls())).await;
    assert_eq!(reason, TlsErrorReason::Expired);
    assert!(text.contains("clock"), "{text}");
}

#[tokio::test]
async fn client_certificate_that_is_missing_or_refused_is_told() {
    let authority = Authority::new();
    let server = authority.server("server", "required");
    let (reason, text) = failure(at(&server).tls(authority.tls())).await;
    assert_eq!(reason, TlsErrorReason::CertificateRequired);
    assert!(text.contains("EXECGATE_CERTIFICATE_FILE"), "{text}");
    for name in ["false", "old"] {
        let (reason, text) = failure(at(&server).tls(authority.certified(name))).await;
        assert_eq!(reason, TlsErrorReason::CertificateRefused, "{name}: {text}");
    }
    let agent = at(&server).tls(authority.certified("agent"));
    assert_eq!(principal(agent).await.unwrap(), "spiffe://prod/agent-7");
    let misfit = authority.tls().certificate_file(authority.path("agent"));
    let misfit = at(&server).tls(misfit.key_file(authority.path("old-key")));
    let error = principal(misfit).await.unwrap_err();
    assert!(
        matches!(error, Error::InvalidCertificate { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("agent.pem"), "{error}");
}

#[tokio::test]
async fn one_side_without_tls_is_told_to_the_other() {
    let authority = Authority::new();
    let server = authority.server("server", "optional");
    let plain = Client::builder()
        .address(server.address.clone())
        .token("any");
    let (reason, text) = failure(plain).await;
    assert_eq!(reason, TlsErrorReason::Expected);
    assert!(text.contains("use https://"), "{text}");
    let plain = Server::start();
    let (reason, text) = failure(at(&plain).tls(authority.tls())).await;
    assert_eq!(reason, TlsErrorReason::NotSpoken, "{text}");
}

#[tokio::test]
async fn key_that_is_no_longer_good_is_told() {
    let authority = Authority::new();
    let server = authority.server("server", "optional");
    let key_text = key(&server, &["create", "short"]);
    let client = at(&server).tls(authority.tls()).token(&*key_text);
    let client = client
        .retry(RetryPolicy::default())
        .connect()
        .await
        .unwrap();
    let session = client.session().await.unwrap();
    key(&server, &["revoke", key_text.split('_').nth(1).unwrap()]);
    let error = session.run("true").await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::Unauthenticated));
    assert!(error.to_string().contains("execgate key list"), "{error}");
}

#[tokio::test]
async fn observer_sees_whose_things_it_names() {
    let server = Server::start_with("[principals.\"watcher\"]\nrole = \"observer\"\n");
    let plain = |name: &str| {
        let builder = Client::builder().address(server.address.clone());
        builder.token(key(&server, &["create", name]))
    };
    let worker = plain("worker").connect().await.unwrap();
    worker.session().id("mine").await.unwrap();
    let watcher = plain("watcher").owner("worker").connect().await.unwrap();
    let role = watcher.capabilities().await.unwrap().role();
    assert_eq!(role, execgate_client::proto::Role::Observer);
    let seen = watcher.find_session("mine").await.unwrap();
    assert_eq!(seen.describe().await.unwrap().principal, "worker");
    let error = seen.close().await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::RoleRequired));
    let error = plain("other").owner("\n").connect().await.unwrap_err();
    assert!(matches!(error, Error::InvalidOwner { .. }), "{error:?}");
}
