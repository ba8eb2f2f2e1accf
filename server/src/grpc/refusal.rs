//! Everything that stands between a call and its answer, as a value: what the edge
//! itself refuses, and what the engine does. What it becomes on the wire is said in
//! `status.rs` alone.

use std::sync::Arc;
use std::time::Duration;

use execgate_core::budget::BudgetError;
use execgate_core::ids::{ExecutionId, Principal};
use execgate_core::policy::Denial;
use execgate_engine::Error;
use execgate_engine::execution::ReadError;

/// Why a call is not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A field is missing, malformed or out of range.
    InvalidField {
        /// Its path in the request.
        field: String,
        /// What is wrong with it; reads after the field's name.
        reason: String,
    },
    /// The page token is not from this listing.
    PageToken,
    /// The session's own policy is no policy.
    PolicyInvalid {
        /// The line of its text, where there is one.
        line: Option<usize>,
        /// What is wrong with it.
        reason: String,
    },
    /// The API has it and this server does not.
    NotImplemented {
        /// What is missing: a method or a field.
        what: String,
    },
    /// The caller did not say who it is.
    Unauthenticated {
        /// What was missing; never the credential.
        reason: &'static str,
    },
    /// The caller runs inside a session of this very gate, or cannot show that it
    /// does not.
    CalledFromSession {
        /// What was seen.
        reason: &'static str,
    },
    /// The operator lets the caller do nothing.
    NoRole {
        /// Who it is.
        principal: Principal,
    },
    /// The RPC's own deadline passed.
    DeadlineExceeded {
        /// The execution that lives on.
        execution: ExecutionId,
    },
    /// An offset beyond the end of a channel.
    OffsetOutOfRange {
        /// The offset asked for.
        offset: u64,
        /// Where the channel ends.
        next_offset: u64,
    },
    /// A sequence number that the audit log does not have.
    SequenceOutOfRange {
        /// The one asked for.
        sequence: u64,
        /// The first that is kept.
        first_sequence: u64,
        /// The next to be written.
        next_sequence: u64,
    },
    /// The bytes at an offset are no longer kept.
    OutputEvicted {
        /// The offset asked for.
        offset: u64,
        /// The first byte that is kept.
        first_offset: u64,
    },
    /// The request is larger than the server takes.
    MessageTooLarge {
        /// What was found.
        detail: String,
    },
    /// The request is no message of its type.
    Malformed {
        /// What was found.
        detail: String,
    },
    /// The policy denies the command.
    Denied(Box<DeniedCommand>),
    /// Calls come too fast.
    TooFast(Box<TooFast>),
    /// The engine says no.
    Engine(Arc<Error>),
    /// The server has a defect.
    Internal {
        /// Found in the server's log.
        incident: String,
    },
}

/// Somebody who calls too fast.
#[derive(Debug)]
pub(crate) struct TooFast {
    /// Whose calls are counted: `principal:NAME` or `peer:ADDRESS`.
    pub(crate) subject: String,
    /// What of them.
    pub(crate) what: &'static str,
    /// How many there may be, in words.
    pub(crate) limit: String,
    /// When to try again.
    pub(crate) retry_after: Duration,
}

/// A denial with what a caller may see of it.
#[derive(Debug)]
pub(crate) struct DeniedCommand {
    /// The policy's words.
    pub(crate) denial: Denial,
    /// The offending bytes, redacted.
    pub(crate) excerpt: String,
    /// `operator` or `session`.
    /// Hash of the policies that judged, in hex.
    pub(crate) policy_hash: String,
}

impl Refusal {
    /// A field that is no good.
    pub(crate) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidField {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// A field or method that is not there yet.
    pub(crate) fn not_implemented(what: impl Into<String>) -> Self {
        Self::NotImplemented { what: what.into() }
    }

    /// A budget that cannot be had, under the field that held it.
    pub(crate) fn budget(parent: &str, error: BudgetError) -> Self {
        Self::field(format!("{parent}.{}", error.field), error.reason)
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OffsetOutOfRange {
                offset,
                next_offset,
            } => Self::OffsetOutOfRange {
                offset,
                next_offset,
            },
            ReadError::Evicted {
                offset,
                first_offset,
            } => Self::OutputEvicted {
                offset,
                first_offset,
            },
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Engine(Arc::new(error))
    }
}

impl From<Arc<Error>> for Refusal {
    fn from(error: Arc<Error>) -> Self {
        Self::Engine(error)
    }
}
