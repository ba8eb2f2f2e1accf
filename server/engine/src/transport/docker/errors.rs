//! What the Docker engine answers, as the seam's errors.

use bollard::errors::Error;

use crate::transport::TransportError;

const NOT_FOUND: u16 = 404;

/// Why the engine did not do what it was asked about `target`.
pub(super) fn refused(target: &str, error: &Error) -> TransportError {
    match error {
        Error::DockerResponseServerError {
            status_code: NOT_FOUND,
            message,
        } => TransportError::NoSuchTarget {
            target: target.to_owned(),
            reason: message.clone(),
        },
        Error::DockerResponseServerError { message, .. } => TransportError::Unusable {
            target: target.to_owned(),
            reason: message.clone(),
        },
        error => TransportError::Unreachable {
            target: target.to_owned(),
            reason: in_full(error),
        },
    }
}

/// Whether the engine answered that there is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: NOT_FOUND,
            ..
        }
    )
}

/// An error with its causes: the outer ones of HTTP clients say little.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
