//! The fuzz targets of what the server itself reads of others: its configuration, and what
//! callers show. As `server/core/tests/fuzz.rs`, by the same driver.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "what fails in here is to fail the test"
)]

#[path = "../core/tests/fuzz/driver.rs"]
mod driver;
mod targets {
    //! What the driver runs.

    /// A target: panics where a promise does not hold.
    pub(crate) type Target = fn(&[u8]);
}

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use execgate_server::config::{ConfigError, FileConfig};
use execgate_server::data_dir::DataDir;
use execgate_server::identity::{Distance, Identity, JwtSettings, SignatureAlgorithm};
use execgate_server::token::Token;

/// A file of keys with the one that the seed is signed with; its private half is nowhere.
const JWKS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA",
    "x": "Lt-JgnmiMOTHe14Vt34ogmN2GowBMIvsEYa6g1NmDZ0"}]}"#;
/// The seed, good until 2100.
const GOOD: &str = include_str!("../../fuzz/seeds/bearer/good");

/// Any text is a configuration or an error that says where; the same one each time.
fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let path = Path::new("execgate.toml");
    match FileConfig::parse(path, &text) {
        Ok(file) => assert_eq!(FileConfig::parse(path, &text).unwrap(), file),
        Err(ConfigError::File { line, column, .. }) => {
            assert!(
                (1..=text.lines().count() + 1).contains(&line),
                "line {line}"
            );
            assert!((1..=text.len() + 1).contains(&column), "column {column}");
        }
        Err(other) => panic!("{other}"),
    }
}

/// No text but the token that was signed, and the server's own, makes anybody of a caller.
fn bearer(data: &[u8]) {
    static IDENTITY: OnceLock<(Identity, String, tempfile::TempDir)> = OnceLock::new();
    let (identity, own, _) = IDENTITY.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("data")).unwrap();
        let token = Token::load_or_create(&dir).unwrap();
        let own = token.expose().to_owned();
        let keys_file = root.path().join("jwks.json");
        fs::write(&keys_file, JWKS).unwrap();
        let jwt = JwtSettings {
            issuer: "https://id.example".to_owned(),
            audience: "execgate".to_owned(),
            keys_file,
            algorithms: vec![SignatureAlgorithm::EdDSA],
            prefix: "jwt:".to_owned(),
        };
        let identity = Identity::new(token, root.path().join("keys"), Some(jwt)).unwrap();
        (identity, own, root)
    });
    let text = String::from_utf8_lossy(data);
    let known = identity.bearer(&text, Distance::Remote, SystemTime::now());
    let known = known.map(|(principal, _)| principal.to_string());
    match text == GOOD {
        true => assert_eq!(known.as_deref(), Ok("jwt:agent-7")),
        false => assert!(known.is_err(), "{known:?}"),
    }
    let near = identity.bearer(&text, Distance::Loopback, SystemTime::now());
    assert_eq!(near.is_ok(), text == GOOD || text == *own);
}

#[test]
fn configurations() {
    driver::fuzz("config", config);
}

#[test]
fn bearers() {
    driver::fuzz("bearer", bearer);
}
