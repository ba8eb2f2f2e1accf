//! Whether a host's key is the one it should be: a pinned fingerprint, OpenSSH's known
//! hosts, or the key it was first seen with.
//!
//! russh's own reader of known hosts skips @revoked and wildcards, and takes a host that is
//! known under another algorithm for an unknown one, which trust on first use would then
//! trust; hence this one. A host with any known key is never learned anew.

mod known_hosts;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use russh::keys::{HashAlg, PublicKey};

use super::settings::{Host, Trust, UnknownHost};
use crate::transport::TransportError;
use known_hosts::{Entry, Marker, entries, host_name};

pub(super) use known_hosts::fits;

/// One writer of learned keys at a time in this process; the data directory has one server.
static LEARNING: Mutex<()> = Mutex::new(());

/// Judges the key of one host.
#[derive(Debug, Clone)]
pub(super) struct Verifier {
    /// As known hosts have it: `host`, or `[host]:port`.
    name: String,
    trust: Trust,
    learned: PathBuf,
}

/// Why a key is not trusted.
#[derive(Debug)]
pub(super) enum Distrust {
    /// It should be another one.
    Mismatch { expected: String, got: String },
    /// Nothing is known of the host.
    Unknown { got: String },
    /// It cannot be found out.
    Unusable { reason: String },
}

impl Distrust {
    pub(super) fn into_error(self, target: &str) -> TransportError {
        let target = target.to_owned();
        match self {
            Self::Mismatch { expected, got } => TransportError::HostKeyMismatch {
                target,
                expected,
                got,
            },
            Self::Unknown { got } => TransportError::HostKeyUnknown { target, got },
            Self::Unusable { reason } => TransportError::Unusable { target, reason },
        }
    }
}

impl Verifier {
    pub(super) fn new(host: &Host, learned: &Path) -> Self {
        Self {
            name: match &host.trust.known_as {
                Some(name) => name.to_ascii_lowercase(),
                None => host_name(&host.host, host.port),
            },
            trust: host.trust.clone(),
            learned: learned.to_owned(),
        }
    }

    /// The algorithms of the keys that are known, as known hosts name them.
    pub(super) fn known_algorithms(&self) -> Vec<String> {
        let known = self.known().unwrap_or_default();
        known
            .into_iter()
            .filter(|entry| entry.marker == Marker::None)
            .map(|entry| entry.algorithm)
            .collect()
    }

    /// Whether this key will do; one that is seen for the first time may be remembered.
    pub(super) fn judge(&self, key: &PublicKey) -> Result<(), Distrust> {
        let got = fingerprint(key);
        if self.trust.unknown == UnknownHost::AcceptAny && self.trust.fingerprint.is_none() {
            tracing::warn!(host = %self.name, fingerprint = %got, "host key taken unseen");
            return Ok(());
        }
        if let Some(pinned) = &self.trust.fingerprint {
            return match pinned.trim_end_matches('=') == got {
                true => Ok(()),
                false => Err(Distrust::Mismatch {
                    expected: pinned.clone(),
                    got,
                }),
            };
        }
        let encoded = encoded(key)?;
        let known = self.known()?;
        match judge(&known, &encoded) {
            Judgement::Known => Ok(()),
            Judgement::Other => Err(Distrust::Mismatch {
                expected: expected(&known),
                got,
            }),
            Judgement::Revoked => Err(Distrust::Mismatch {
                expected: "a key that is not revoked".to_owned(),
                got,
            }),
            Judgement::Authority => Err(Distrust::Unusable {
                reason: format!(
                    "{} is known by a certificate authority only, and host certificates are not \
                     read: add its own key, {got}, to the known hosts",
                    self.name
                ),
            }),
            Judgement::Nothing if self.trust.unknown == UnknownHost::Learn => self.learn(key, &got),
            Judgement::Nothing => Err(Distrust::Unknown { got }),
        }
    }

    /// What the known hosts say of this host. A file that is not there says nothing.
    fn known(&self) -> Result<Vec<Entry>, Distrust> {
        let learned = (self.trust.unknown == UnknownHost::Learn).then_some(&self.learned);
        let mut known = Vec::new();
        for path in self.trust.known_hosts.iter().chain(learned) {
            match fs::read_to_string(path) {
                Ok(text) => known.extend(entries(&text, &self.name)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Distrust::Unusable {
                        reason: format!("the known hosts cannot be read: {error}"),
                    });
                }
            }
        }
        Ok(known)
    }

    fn learn(&self, key: &PublicKey, got: &str) -> Result<(), Distrust> {
        let failed = |error: String| Distrust::Unusable {
            reason: format!("its key cannot be remembered: {error}"),
        };
        let _one = LEARNING.lock().unwrap_or_else(PoisonError::into_inner);
        // Two connections may have seen it first.
        let encoded = encoded(key)?;
        let known = self.known()?;
        match judge(&known, &encoded) {
            Judgement::Nothing => {}
            Judgement::Known => return Ok(()),
            _ => {
                return Err(Distrust::Mismatch {
                    expected: expected(&known),
                    got: got.to_owned(),
                });
            }
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.learned)
            .map_err(|error| failed(error.to_string()))?;
        let line = format!("{} {encoded}\n", self.name);
        file.write_all(line.as_bytes())
            .and_then(|()| file.sync_data())
            .map_err(|error| failed(error.to_string()))?;
        tracing::info!(host = %self.name, fingerprint = %got, "host key learned");
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Known,
    Other,
    Revoked,
    Authority,
    Nothing,
}

/// A revoked key is refused whatever else is said of it.
fn judge(known: &[Entry], encoded: &str) -> Judgement {
    let of = |marker: Marker| known.iter().filter(move |entry| entry.marker == marker);
    if of(Marker::Revoked).any(|entry| entry.key() == encoded) {
        return Judgement::Revoked;
    }
    if of(Marker::None).any(|entry| entry.key() == encoded) {
        return Judgement::Known;
    }
    match (of(Marker::None).next(), of(Marker::Authority).next()) {
        (Some(_), _) => Judgement::Other,
        (None, Some(_)) => Judgement::Authority,
        (None, None) => Judgement::Nothing,
    }
}

/// `ALGORITHM BASE64`, as known hosts have it.
fn encoded(key: &PublicKey) -> Result<String, Distrust> {
    let text = key.to_openssh().map_err(|error| Distrust::Unusable {
        reason: format!("its key cannot be written down: {error}"),
    })?;
    Ok(text
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" "))
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The fingerprints of all that is known of a host.
fn expected(known: &[Entry]) -> String {
    let known = known.iter().filter(|entry| entry.marker == Marker::None);
    let prints: Vec<_> = known
        .map(|entry| match PublicKey::from_openssh(&entry.key()) {
            Ok(key) => fingerprint(&key),
            Err(_) => format!("an unreadable {} key", entry.algorithm),
        })
        .collect();
    prints.join(", ")
}

#[cfg(test)]
mod tests;
