//! Logging in: the host's credentials, one after another, until one is taken.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};
use tokio::net::UnixStream;

use super::connection::Client;
use super::settings::{Credential, Host, Password};
use crate::transport::TransportError;

/// Keys of an agent that are tried: hosts count each as an attempt, and take six.
const MAX_AGENT_KEYS: usize = 5;

/// Questions of a host that are answered with the password.
const MAX_QUESTIONS: usize = 3;

/// What an attempt comes to when the host says neither yes nor no.
const NO_ANSWER: &str = "no answer";

/// Logs in, or says what was tried.
pub(super) async fn login(
    target: &str,
    host: &Host,
    handle: &mut Handle<Client>,
) -> Result<(), TransportError> {
    let mut tried = Vec::new();
    let mut refused = false;
    for credential in &host.credentials {
        let attempt = match credential {
            Credential::Agent(socket) => with_agent(socket, host, handle).await,
            Credential::KeyFile {
                path,
                passphrase,
                certificate,
            } => match tokio::fs::read_to_string(path).await {
                Err(error) => Err(format!("cannot be read: {error}")),
                Ok(text) => {
                    let text = Password::new(text);
                    let certificate = certificate.as_deref();
                    with_key(&text, passphrase.as_ref(), certificate, host, handle).await
                }
            },
            Credential::Key { text, passphrase } => {
                with_key(text, passphrase.as_ref(), None, host, handle).await
            }
            Credential::Password(password) => with_password(password, host, handle).await,
        };
        match attempt {
            Ok(true) => return Ok(()),
            Ok(false) => {
                refused = true;
                tried.push(format!("{} (refused)", name(credential)));
            }
            // Nothing was said of a credential: a host that goes away, as one that restarts.
            Err(_) if handle.is_closed() && !refused => {
                return Err(TransportError::Unreachable {
                    target: target.to_owned(),
                    reason: "it hung up during the login".to_owned(),
                });
            }
            Err(reason) => tried.push(format!("{} ({reason})", name(credential))),
        }
        if handle.is_closed() {
            tried.push("then it hung up".to_owned());
            break;
        }
    }
    if tried.is_empty() {
        tried.push("nothing: the profile has no credential".to_owned());
    }
    Err(TransportError::LoginRefused {
        target: target.to_owned(),
        methods: tried.join(", "),
    })
}

fn name(credential: &Credential) -> &'static str {
    match credential {
        Credential::Agent(_) => "agent",
        Credential::KeyFile {
            certificate: Some(_),
            ..
        } => "certificate",
        Credential::KeyFile { .. } | Credential::Key { .. } => "key",
        Credential::Password(_) => "password",
    }
}

fn taken(result: Result<AuthResult, russh::Error>) -> Result<bool, String> {
    match result {
        Ok(AuthResult::Success) => Ok(true),
        // A refusal names what may be tried instead; without one the connection is gone.
        Ok(AuthResult::Failure {
            remaining_methods, ..
        }) if remaining_methods.is_empty() => Err(NO_ANSWER.to_owned()),
        Ok(AuthResult::Failure { .. }) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// How an RSA key signs for this host: never with SHA-1.
async fn rsa_hash(key: &russh::keys::Algorithm, handle: &Handle<Client>) -> Option<HashAlg> {
    if !matches!(key, russh::keys::Algorithm::Rsa { .. }) {
        return None;
    }
    let best = handle
        .best_supported_rsa_hash()
        .await
        .ok()
        .flatten()
        .flatten();
    Some(best.unwrap_or(HashAlg::Sha512))
}

async fn with_key(
    text: &Password,
    passphrase: Option<&Password>,
    certificate: Option<&std::path::Path>,
    host: &Host,
    handle: &mut Handle<Client>,
) -> Result<bool, String> {
    let key: PrivateKey = decode_secret_key(text.expose(), passphrase.map(Password::expose))
        .map_err(|error| format!("cannot be used: {error}"))?;
    let key = Arc::new(key);
    if let Some(path) = certificate {
        let certificate = russh::keys::load_openssh_certificate(path)
            .map_err(|error| format!("cannot be used: {error}"))?;
        // An attempt that cannot succeed would count as one.
        if certificate.public_key() != key.public_key().key_data() {
            return Err("certifies another key".to_owned());
        }
        let user = host.user.clone();
        return taken(
            handle
                .authenticate_openssh_cert(user, key, certificate)
                .await,
        );
    }
    let hash = rsa_hash(&key.algorithm(), handle).await;
    let key = PrivateKeyWithHashAlg::new(key, hash);
    taken(handle.authenticate_publickey(host.user.clone(), key).await)
}

async fn with_agent(
    socket: &std::path::Path,
    host: &Host,
    handle: &mut Handle<Client>,
) -> Result<bool, String> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| format!("does not answer: {error}"))?;
    let mut agent = AgentClient::connect(stream);
    let keys = agent
        .request_identities()
        .await
        .map_err(|error| format!("does not answer: {error}"))?;
    for identity in keys.into_iter().take(MAX_AGENT_KEYS) {
        let AgentIdentity::PublicKey { key, .. } = identity else {
            continue;
        };
        let hash = rsa_hash(&key.algorithm(), handle).await;
        let user = host.user.clone();
        let done = handle
            .authenticate_publickey_with(user, key, hash, &mut agent)
            .await;
        // A key that the agent does not sign with is no reason to try no other.
        if done.is_ok_and(|result| result.success()) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn with_password(
    password: &Password,
    host: &Host,
    handle: &mut Handle<Client>,
) -> Result<bool, String> {
    let user = host.user.clone();
    if taken(handle.authenticate_password(user, password.expose()).await)? {
        return Ok(true);
    }
    let user = host.user.clone();
    let mut response = handle
        .authenticate_keyboard_interactive_start(user, None::<String>)
        .await
        .map_err(|error| error.to_string())?;
    for _ in 0..MAX_QUESTIONS {
        let answers = match response {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.len() {
                0 => Vec::new(),
                // What is shown while it is typed is no password.
                1 if prompts.iter().all(|prompt| !prompt.echo) => {
                    vec![password.expose().to_owned()]
                }
                _ => return Ok(false),
            },
        };
        response = handle
            .authenticate_keyboard_interactive_respond(answers)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use russh::{MethodKind, MethodSet};

    use super::*;

    #[test]
    fn only_a_refusal_that_names_what_else_may_be_tried_is_one() {
        let failure = |methods: &[MethodKind]| {
            taken(Ok(AuthResult::Failure {
                remaining_methods: MethodSet::from(methods),
                partial_success: false,
            }))
        };
        assert_eq!(taken(Ok(AuthResult::Success)), Ok(true));
        assert_eq!(failure(&[MethodKind::PublicKey]), Ok(false));
        // What russh answers when the connection is gone.
        assert_eq!(failure(&[]), Err(NO_ANSWER.to_owned()));
    }
}
