//! SSH targets of sessions.

use std::sync::Arc;

use execgate_engine::target::SshTarget;
use execgate_engine::transport::ssh::{
    Credential, DEFAULT_CONNECT_TIMEOUT, DEFAULT_KEEPALIVE, DEFAULT_PORT, Host, Password, Trust,
};
use execgate_proto::v1;
use v1::ssh_inline_target::Credential as ProtoCredential;

use crate::grpc::edge::Edge;
use crate::grpc::refusal::Refusal;

/// Bytes of a private key at most, as the API says.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// The machine that a session is to run on.
pub(super) fn target(target: v1::SshTarget, edge: &Edge) -> Result<SshTarget, Refusal> {
    match (target.profile.as_str(), target.inline) {
        ("", None) => Err(Refusal::field("ssh.profile", "is required")),
        (_, None) => Ok(SshTarget::Profile(target.profile)),
        ("", Some(inline)) => {
            // Where callers may not do that, the engine says so.
            let trust = edge.engine.settings().ssh.inline.clone();
            let host = inline_host(inline, trust.unwrap_or_default())?;
            Ok(SshTarget::Inline(Arc::new(host)))
        }
        (_, Some(_)) => Err(Refusal::field(
            "ssh.inline",
            "cannot be set together with ssh.profile",
        )),
    }
}

fn inline_host(inline: v1::SshInlineTarget, trust: Trust) -> Result<Host, Refusal> {
    for (field, value) in [
        ("ssh.inline.host", &inline.host),
        ("ssh.inline.user", &inline.user),
    ] {
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(Refusal::field(
                field,
                "is required, without control characters",
            ));
        }
    }
    let port = match u16::try_from(inline.port) {
        Ok(0) => DEFAULT_PORT,
        Ok(port) => port,
        Err(_) => return Err(Refusal::field("ssh.inline.port", "is more than 65535")),
    };
    let fingerprint = match inline.host_key_fingerprint {
        print if print.is_empty() => trust.fingerprint.clone(),
        print if print.starts_with("SHA256:") => Some(print),
        _ => {
            return Err(Refusal::field(
                "ssh.inline.host_key_fingerprint",
                "is no fingerprint like SHA256:...",
            ));
        }
    };
    Ok(Host {
        host: inline.host,
        port,
        user: inline.user,
        credentials: vec![credential(inline.credential)?],
        trust: Trust {
            fingerprint,
            ..trust
        },
        jump: None,
        keepalive: DEFAULT_KEEPALIVE,
        connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        wrapper: Vec::new(),
    })
}

fn credential(credential: Option<ProtoCredential>) -> Result<Credential, Refusal> {
    match credential {
        None => Err(Refusal::field("ssh.inline.credential", "is required")),
        Some(ProtoCredential::Password(password)) => {
            Ok(Credential::Password(Password::new(password.password)))
        }
        Some(ProtoCredential::PrivateKey(key)) => {
            let field = "ssh.inline.private_key.key";
            if key.key.len() > MAX_KEY_BYTES {
                return Err(Refusal::field(field, "has more than 64 KiB"));
            }
            let text = String::from_utf8(key.key.to_vec());
            let text = text.map_err(|_| Refusal::field(field, "is no text"))?;
            Ok(Credential::Key {
                text: Password::new(text),
                passphrase: (!key.passphrase.is_empty()).then(|| Password::new(key.passphrase)),
            })
        }
    }
}
