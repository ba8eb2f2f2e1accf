//! What a verifier says of real keys.

use russh::keys::PublicKey;

use super::*;

const FIRST: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const SECOND: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(known: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("known"), known).unwrap();
        Self { directory }
    }

    fn verifier(&self, unknown: UnknownHost, fingerprint: Option<String>) -> Verifier {
        Verifier {
            name: "build".to_owned(),
            trust: Trust {
                unknown,
                known_hosts: vec![self.directory.path().join("known")],
                fingerprint,
                known_as: None,
            },
            learned: self.directory.path().join("learned"),
        }
    }
}

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

#[test]
fn only_the_known_key_will_do() {
    let place = Place::new(&format!("build {FIRST}\n"));
    let verifier = place.verifier(UnknownHost::Refuse, None);
    assert!(verifier.judge(&key(FIRST)).is_ok());
    match verifier.judge(&key(SECOND)) {
        Err(Distrust::Mismatch { expected, got }) => assert_eq!(
            (expected, got),
            (fingerprint(&key(FIRST)), fingerprint(&key(SECOND)))
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_with_any_known_key_is_never_learned_anew() {
    let place = Place::new("build ssh-rsa AAAAB3NzaC1yc2E=\n");
    let verifier = place.verifier(UnknownHost::Learn, None);
    let judged = verifier.judge(&key(FIRST));
    assert!(
        matches!(judged, Err(Distrust::Mismatch { .. })),
        "{judged:?}"
    );
}

#[test]
fn an_unknown_host_is_refused_or_learned() {
    let place = Place::new("");
    let strict = place.verifier(UnknownHost::Refuse, None);
    assert!(matches!(
        strict.judge(&key(FIRST)),
        Err(Distrust::Unknown { .. })
    ));
    let learning = place.verifier(UnknownHost::Learn, None);
    assert!(learning.judge(&key(FIRST)).is_ok());
    assert!(learning.judge(&key(FIRST)).is_ok());
    assert!(matches!(
        learning.judge(&key(SECOND)),
        Err(Distrust::Mismatch { .. })
    ));
    let learned = std::fs::read_to_string(place.directory.path().join("learned")).unwrap();
    assert_eq!(learned, format!("build {FIRST}\n"));
}

#[test]
fn a_revoked_key_is_refused_also_where_it_is_known() {
    let place = Place::new(&format!("build {FIRST}\n@revoked * {FIRST}\n"));
    let judged = place.verifier(UnknownHost::Refuse, None).judge(&key(FIRST));
    assert!(
        matches!(judged, Err(Distrust::Mismatch { .. })),
        "{judged:?}"
    );
}

#[test]
fn a_host_known_by_an_authority_alone_is_refused_and_not_learned() {
    let place = Place::new(&format!("@cert-authority * {SECOND}\n"));
    let judged = place.verifier(UnknownHost::Learn, None).judge(&key(FIRST));
    assert!(
        matches!(judged, Err(Distrust::Unusable { .. })),
        "{judged:?}"
    );
}

#[test]
fn a_pinned_fingerprint_decides_alone() {
    let place = Place::new(&format!("build {SECOND}\n"));
    let pinned = Some(fingerprint(&key(FIRST)));
    let verifier = place.verifier(UnknownHost::AcceptAny, pinned);
    assert!(verifier.judge(&key(FIRST)).is_ok());
    assert!(matches!(
        verifier.judge(&key(SECOND)),
        Err(Distrust::Mismatch { .. })
    ));
}
