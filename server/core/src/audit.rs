//! Audit records and the hash chain that ties them together.
//!
//! This room says what a record is, how it is encoded and how a chain of
//! records is checked. It must not read files, clocks or keys from anywhere:
//! times, keys and bytes are arguments. The store lives in the engine.
//!
//! # Canonical encoding
//!
//! A record is stored as one line:
//!
//! ```text
//! <hash: 64 lower-case hex digits> SP <payload: one JSON object> LF
//! hash = SHA-256(previous_hash (32 raw bytes) || payload (the exact bytes stored))
//! ```
//!
//! The payload is compact JSON; a line feed inside a string is escaped, so LF
//! ends a record and nothing else. What is hashed are the bytes as they stand
//! in the line: verifying never serialises anything again, and a field added
//! by a later version changes no older hash. The first record's previous hash
//! is 32 zero bytes and its sequence is 1; sequences have no holes. `durable`
//! in the payload is the highest sequence known to be on stable storage when
//! the record was encoded: recovery uses it to tell a torn tail from a record
//! that somebody damaged later.

mod chain;
mod digest;
mod keyed;
pub mod merkle;
mod note;
pub mod ocsf;
mod origin;
mod record;
mod resume;
mod unfinished;

pub use chain::{
    Appended, ChainFault, ChainState, EncodeError, MAX_PAYLOAD_BYTES, VerifiedLine, VerifyError,
    decode_line, verify,
};
pub use digest::{Digest, Micros};
pub use keyed::HashKey;
pub use note::{MAX_NOTE_BYTES, NoteError, NoteSigner, NoteVerifier, TreeHead};
pub use origin::{AuthMethod, Origin};
pub use record::{
    AuditBody, AuditCause, AuditChannel, AuditKind, AuditObserver, AuditOutcome, AuditRead,
    AuditRecord, AuthFailure, ChannelTotals, CheckpointCreated, CheckpointDeleted,
    CheckpointFailed, CheckpointIntent, CheckpointOperation, CheckpointRestored, CommandKind,
    ExecutionAbandoned, ExecutionDenied, ExecutionIntent, ExecutionOutcome, HostKeyMismatch,
    Intervened, NewRecord, PolicyReloaded, Recovered, RetentionApplied, RetentionReason,
    SYSTEM_PRINCIPAL, ServerStarted, ServerStopped, SessionClosed, SessionCreated, SessionLoss,
    SessionLost, ShellRestarted, SignalSent, StdinWritten,
};
pub use resume::ResumePoint;
pub use unfinished::Unfinished;
