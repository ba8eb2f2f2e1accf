//! What can go wrong, with everything the server said about it.
//!
//! The only place that reads a `tonic::Status`.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use execgate_proto::ERROR_DOMAIN;
use execgate_proto::v1::ErrorReason;
use thiserror::Error as ThisError;
use tonic::{Code, ConnectError, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::files::error::FileError;
use crate::tls::{self, TlsError};
use crate::token::NoToken;

/// Prefix that reasons have in the proto and not on the wire.
const REASON_PREFIX: &str = "ERROR_REASON_";

/// Metadata key under which the server says what to do instead.
const SUGGESTION_KEY: &str = "suggestion";

/// Why a call failed.
///
/// What `{:?}` shows is for people too: it is what is printed of an error that `main`
/// returns.
#[derive(ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be understood.
    #[error("understand the address {address:?}: {reason}")]
    InvalidAddress {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token cannot be sent in a header.
    #[error("use the token: it holds characters that no token has")]
    InvalidToken,
    /// The token's file is there and cannot be read.
    #[error("read the token in {}: {source}", path.display())]
    UnreadableToken {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The token's function failed, so the call was not made.
    #[error("get the token to show: {why}")]
    NoToken {
        /// What it said.
        why: String,
    },
    /// The token would go to another machine in plain text.
    #[error(
        "send the token to {address}: everybody on the way could read it; use https://, or say \
         ClientBuilder::insecure_plaintext_token"
    )]
    PlaintextToken {
        /// The address.
        address: String,
    },
    /// Whose things are meant cannot be sent in a header.
    #[error("name the owner {owner:?}: it holds characters that no principal's name has")]
    InvalidOwner {
        /// What was given.
        owner: String,
    },
    /// A certificate or its key cannot be used.
    #[error("use the certificate or key in {}: {why}", path.display())]
    InvalidCertificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Somebody answers at the address, but TLS does not come about; nothing was started.
    #[error(transparent)]
    Tls(Box<TlsError>),
    /// Nobody answers at the address; nothing was started.
    #[error(
        "connect to {address}: {}; is a server running there? `execgate serve` starts one, \
         EXECGATE_ADDR names another",
        innermost(&**source)
    )]
    Connect {
        /// The address.
        address: String,
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The connection broke, and did not come back in time. What ran may still run.
    #[error(
        "follow the call to {address}: the connection broke: {message}; a command that ran \
         may still run: Session::attach finds it by its id{}",
        execution_id.as_ref().map_or(String::new(), |id| format!(", {id}"))
    )]
    Disconnected {
        /// The address.
        address: String,
        /// The execution that was started or followed, if it was about one.
        execution_id: Option<String>,
        /// What was seen.
        message: String,
    },
    /// The connection broke, and the server that answers now no longer knows what it was
    /// asked: it was restarted, or too much time has passed. The command was started and
    /// will not be again; its audit log says what became of it.
    #[error(
        "follow the execution {execution_id}: the server at {address} no longer knows it since \
         the connection broke; it may have been restarted, which ends its sessions: {refusal}"
    )]
    Forgotten {
        /// The address.
        address: String,
        /// The execution.
        execution_id: String,
        /// What the server said.
        refusal: Box<Refusal>,
    },
    /// The server does not know the call: it is older than this client, or no execgate.
    #[error(
        "call {method}: the server at {address} does not know it; it is older than this \
         client, or something else than execgate (Client::capabilities tells its version)"
    )]
    Unsupported {
        /// The address.
        address: String,
        /// The call, e.g. `ExecService/Signal`.
        method: &'static str,
    },
    /// The server refused the call; nothing was started by it.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// A file could not be put or gotten; nothing was changed, on either side.
    #[error(transparent)]
    File(Box<FileError>),
    /// A file of this machine, or a reader or writer, failed.
    #[error("use {}: {source}", path.display())]
    LocalFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Events of a stream were read before its result was asked for.
    #[error(
        "collect the result: a part of the stream was read before; ask for it instead of \
         reading events"
    )]
    ResultConsumed,
    /// The server broke its own rules.
    #[error("understand the server: {what}")]
    Protocol {
        /// Which rule.
        what: &'static str,
    },
}

/// What the server said when it refused a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The gRPC status code.
    pub code: Code,
    /// Why; [`ErrorReason::Unspecified`] if this client does not know the reason.
    pub reason: ErrorReason,
    /// The reason's name as sent, e.g. `SESSION_BUSY`; empty if none was sent.
    pub reason_name: String,
    /// Why, for people.
    pub message: String,
    /// What to do instead, in words for an agent.
    pub suggestion: Option<String>,
    /// Further facts; `errors.proto` says which reason has which.
    pub metadata: BTreeMap<String, String>,
    /// After how long a retry makes sense; without it a plain retry fails again.
    pub retry_after: Option<Duration>,
    /// The fields that were wrong.
    pub violations: Vec<FieldViolation>,
}

/// A field that was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldViolation {
    /// Its path in the request, e.g. `spec.timeout`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// Why the server refused, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<ErrorReason> {
        self.refusal().map(|refusal| refusal.reason)
    }

    /// All that the server said, if it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) | Self::Forgotten { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::InvalidAddress { .. } => "InvalidAddress",
            Self::InvalidToken => "InvalidToken",
            Self::UnreadableToken { .. } => "UnreadableToken",
            Self::NoToken { .. } => "NoToken",
            Self::PlaintextToken { .. } => "PlaintextToken",
            Self::InvalidOwner { .. } => "InvalidOwner",
            Self::InvalidCertificate { .. } => "InvalidCertificate",
            Self::Tls(_) => "Tls",
            Self::Connect { .. } => "Connect",
            Self::Disconnected { .. } => "Disconnected",
            Self::Forgotten { .. } => "Forgotten",
            Self::Unsupported { .. } => "Unsupported",
            Self::Refused(_) => "Refused",
            Self::File(_) => "File",
            Self::LocalFile { .. } => "LocalFile",
            Self::ResultConsumed => "ResultConsumed",
            Self::Protocol { .. } => "Protocol",
        };
        write!(f, "{kind}: {self}")?;
        let facts = self.refusal().map(|refusal| &refusal.metadata);
        for (name, value) in facts.into_iter().flatten() {
            // The suggestion stands in the text already.
            if name != SUGGESTION_KEY {
                write!(f, "; {name} = {value:?}")?;
            }
        }
        Ok(())
    }
}

/// Which call a status answers.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Where the server is.
    pub(crate) address: Arc<str>,
    /// The call, e.g. `ExecService/Signal`.
    pub(crate) method: &'static str,
}

impl Call {
    /// What went wrong with it.
    pub(crate) fn failed(&self, status: Status) -> Error {
        let details = status.get_error_details();
        let address = self.address.to_string();
        if details.error_info().is_some() {
            return Error::Refused(Box::new(Refusal::new(&status, &details)));
        }
        if let Some(NoToken { why }) = held(&status) {
            let why = why.clone();
            return Error::NoToken { why };
        }
        if let Some((reason, detail)) = status.source().and_then(tls::problem_of) {
            return Error::Tls(Box::new(TlsError {
                address,
                reason,
                detail,
            }));
        }
        if held::<ConnectError>(&status).is_some() {
            let source = Box::new(status);
            return Error::Connect { address, source };
        }
        if broke_underway(&status) {
            let message = innermost(&status).to_string();
            return Error::Disconnected {
                address,
                execution_id: None,
                message,
            };
        }
        if status.code() == Code::Unimplemented {
            let method = self.method;
            return Error::Unsupported { address, method };
        }
        Error::Refused(Box::new(Refusal::new(&status, &details)))
    }

    /// It was not answered in time.
    pub(crate) fn timed_out(&self) -> Error {
        Error::Disconnected {
            address: self.address.to_string(),
            execution_id: None,
            message: "no answer came".to_owned(),
        }
    }

    /// The answer's stream ended before it was complete.
    pub(crate) fn cut_short(&self) -> Error {
        Error::Disconnected {
            address: self.address.to_string(),
            execution_id: None,
            message: "the stream ended before the execution did".to_owned(),
        }
    }
}

impl Refusal {
    fn new(status: &Status, details: &ErrorDetails) -> Self {
        let info = details
            .error_info()
            .filter(|info| info.domain == ERROR_DOMAIN);
        let reason_name = info.map(|info| info.reason.clone()).unwrap_or_default();
        let metadata: BTreeMap<String, String> = info
            .map(|info| info.metadata.clone().into_iter().collect())
            .unwrap_or_default();
        let violations = details
            .bad_request()
            .map(|bad| bad.field_violations.as_slice())
            .unwrap_or_default();
        Self {
            code: status.code(),
            reason: ErrorReason::from_str_name(&format!("{REASON_PREFIX}{reason_name}"))
                .unwrap_or_default(),
            reason_name,
            message: status.message().to_owned(),
            suggestion: metadata.get(SUGGESTION_KEY).cloned(),
            metadata,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            violations: violations
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason_name.as_str() {
            "" => write!(f, "{:?}: {}", self.code, self.message)?,
            reason => write!(f, "{reason}: {}", self.message)?,
        }
        for FieldViolation { field, description } in &self.violations {
            write!(f, "; {field}: {description}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, " ({suggestion})")?;
        }
        if self.reason == ErrorReason::Unauthenticated {
            f.write_str(
                "; ClientBuilder::token, token_file and EXECGATE_TOKEN set it: an API key that \
                 `execgate key list` still has, a JSON Web Token that has not expired, or on the \
                 server's machine the file `token` in its data directory",
            )?;
        }
        Ok(())
    }
}

impl StdError for Refusal {}

/// The error of a kind that a status was made of here.
fn held<E: StdError + 'static>(status: &Status) -> Option<&E> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// Whether a status was made here, from a broken connection, and not sent.
fn broke_underway(status: &Status) -> bool {
    status.source().is_some()
}

/// The error at the root of a chain, which is the one that says what happened.
pub(crate) fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests;
