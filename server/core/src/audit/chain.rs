//! Encoding records into lines, and checking lines against the chain.
//!
//! The encoding is written down in the module above. Nothing here trusts a
//! line: what cannot be read is a fault, never a panic.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::digest::{Digest, Micros};
use super::origin::AuthMethod;
use super::record::{AuditBody, AuditRecord, NewRecord};

/// Bytes of one payload. A command may have 1 MiB and JSON may take six bytes
/// for one; the rest is room for paths and ids.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;

/// Hex digits of the hash at the start of a line.
const HASH_DIGITS: usize = 64;

/// Where a chain stands: the last record's sequence and hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainState {
    /// Sequence of the last record; 0 before the first.
    pub sequence: u64,
    /// Hash of the last record; zeros before the first.
    pub hash: Digest,
}

/// The place a record was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its sequence.
    pub sequence: u64,
    /// Its hash.
    pub hash: Digest,
}

/// A record that cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is larger than a record may be.
    #[error("record of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes of its payload.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It has no JSON form.
    #[error("encode the record as JSON: {source}")]
    Json {
        /// What serde_json said.
        source: serde_json::Error,
    },
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// It is not a record at all.
    #[error("not a record")]
    Malformed,
    /// Its hash is not the hash of its payload.
    #[error("hash does not match the content")]
    HashMismatch,
    /// Its sequence is not the next one.
    #[error("sequence {found} where {expected} belongs")]
    WrongSequence {
        /// The sequence that belongs here.
        expected: u64,
        /// The one found.
        found: u64,
    },
    /// It does not name the record before it.
    #[error("previous hash is not that of the record before")]
    WrongPrevious,
}

/// The first bad record of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence}: {fault}")]
pub struct VerifyError {
    /// The place in the chain where it was found.
    pub sequence: u64,
    /// What is wrong with it.
    pub fault: ChainFault,
}

/// What every version can read of a payload, in stored order.
#[derive(Serialize, Deserialize)]
struct Payload<'a, B> {
    sequence: u64,
    time_micros: Micros,
    #[serde(borrow)]
    principal: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    session_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    execution_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    trace_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<AuthMethod>,
    previous_hash: Digest,
    durable: u64,
    body: B,
}

/// A line whose own hash is right.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedLine<'a> {
    /// The sequence it claims.
    pub sequence: u64,
    /// The previous hash it claims.
    pub previous_hash: Digest,
    /// Its hash.
    pub hash: Digest,
    /// The highest sequence known durable when it was written.
    pub durable: u64,
    payload: &'a str,
}

impl ChainState {
    /// Encodes `record` as the next line, appended to `out`, and moves on.
    /// After an error neither `out` nor the state has changed.
    pub fn append(
        &mut self,
        record: &NewRecord,
        durable: u64,
        out: &mut Vec<u8>,
    ) -> Result<Appended, EncodeError> {
        let start = out.len();
        let encoded = self.encode(record, durable, out);
        match encoded {
            Ok(appended) => {
                *self = Self {
                    sequence: appended.sequence,
                    hash: appended.hash,
                };
            }
            Err(_) => out.truncate(start),
        }
        encoded
    }

    fn encode(
        &self,
        record: &NewRecord,
        durable: u64,
        out: &mut Vec<u8>,
    ) -> Result<Appended, EncodeError> {
        let sequence = self.sequence.saturating_add(1);
        let hash_at = out.len();
        out.resize(hash_at + HASH_DIGITS, b'0');
        out.push(b' ');
        let payload_at = out.len();
        let payload = Payload {
            sequence,
            time_micros: record.time,
            principal: record.principal.as_str().into(),
            session_id: record.session_id.as_deref().map(Into::into),
            execution_id: record.execution_id.as_deref().map(Into::into),
            trace_id: record.trace_id.as_deref().map(Into::into),
            auth: record.auth,
            previous_hash: self.hash,
            durable,
            body: &record.body,
        };
        serde_json::to_writer(&mut *out, &payload)
            .map_err(|source| EncodeError::Json { source })?;
        let bytes = out.get(payload_at..).unwrap_or_default();
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(EncodeError::TooLarge {
                bytes: bytes.len(),
                limit: MAX_PAYLOAD_BYTES,
            });
        }
        let hash = chain_hash(self.hash, bytes);
        if let Some(place) = out.get_mut(hash_at..hash_at + HASH_DIGITS) {
            HEXLOWER.encode_mut(&hash.0, place);
        }
        out.push(b'\n');
        Ok(Appended { sequence, hash })
    }

    /// Checks that `line` (without its line feed) is the next record, and moves on.
    pub fn verify_line<'a>(&mut self, line: &'a [u8]) -> Result<VerifiedLine<'a>, VerifyError> {
        let expected = self.sequence.saturating_add(1);
        let at = |fault| VerifyError {
            sequence: expected,
            fault,
        };
        let verified = decode_line(line).map_err(at)?;
        if verified.sequence != expected {
            return Err(at(ChainFault::WrongSequence {
                expected,
                found: verified.sequence,
            }));
        }
        if verified.previous_hash != self.hash {
            return Err(at(ChainFault::WrongPrevious));
        }
        *self = Self {
            sequence: verified.sequence,
            hash: verified.hash,
        };
        Ok(verified)
    }
}

impl VerifiedLine<'_> {
    /// Reads the whole record.
    pub fn record(&self) -> Result<AuditRecord, ChainFault> {
        let payload: Payload<'_, AuditBody> =
            serde_json::from_str(self.payload).map_err(|_| ChainFault::Malformed)?;
        Ok(AuditRecord {
            sequence: payload.sequence,
            time: payload.time_micros,
            principal: payload.principal.into_owned(),
            session_id: payload.session_id.map(std::borrow::Cow::into_owned),
            execution_id: payload.execution_id.map(std::borrow::Cow::into_owned),
            trace_id: payload.trace_id.map(std::borrow::Cow::into_owned),
            auth: payload.auth,
            previous_hash: self.previous_hash,
            hash: self.hash,
            body: payload.body,
            payload: self.payload.to_owned(),
        })
    }
}

/// Reads one line (without its line feed) and checks its own hash, but not its
/// place in a chain.
pub fn decode_line(line: &[u8]) -> Result<VerifiedLine<'_>, ChainFault> {
    let (digits, rest) = line
        .split_at_checked(HASH_DIGITS)
        .ok_or(ChainFault::Malformed)?;
    let payload = rest.strip_prefix(b" ").ok_or(ChainFault::Malformed)?;
    let hash = Digest::from_hex(digits).ok_or(ChainFault::Malformed)?;
    let payload = std::str::from_utf8(payload).map_err(|_| ChainFault::Malformed)?;
    let header: Payload<'_, serde::de::IgnoredAny> =
        serde_json::from_str(payload).map_err(|_| ChainFault::Malformed)?;
    if chain_hash(header.previous_hash, payload.as_bytes()) != hash {
        return Err(ChainFault::HashMismatch);
    }
    Ok(VerifiedLine {
        sequence: header.sequence,
        previous_hash: header.previous_hash,
        hash,
        durable: header.durable,
        payload,
    })
}

/// Checks `lines` (without line feeds) as the continuation of `from`; the
/// answer is where the chain then stands, or the first bad record.
pub fn verify<'a>(
    from: ChainState,
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<ChainState, VerifyError> {
    let mut state = from;
    for line in lines {
        state.verify_line(line)?;
    }
    Ok(state)
}

fn chain_hash(previous: Digest, payload: &[u8]) -> Digest {
    Digest(
        Sha256::new()
            .chain_update(previous.0)
            .chain_update(payload)
            .finalize()
            .into(),
    )
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
