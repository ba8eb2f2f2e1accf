//! `[audit]`: how the audit log is kept, signed and handed out.

use std::path::PathBuf;

use execgate_core::audit::NoteVerifier;
use execgate_engine::audit::{MAX_SEGMENT_BYTES, SEGMENT_BYTES};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::duration::Lifetime;

/// Bytes of a segment at least: it has to hold the outcomes of what runs when the disk is
/// full.
const MIN_SEGMENT_BYTES: u64 = 64 * 1024;

/// `[audit]`: the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Whether the intent is on stable storage before its command starts.
    /// Without it a power cut may lose records; a crash of the server does not.
    pub sync: bool,
    /// Bytes of one segment. Twice as many are reserved: the next one is, too.
    pub segment_bytes: u64,
    /// Records older than this are removed, in whole segments.
    pub max_age: Lifetime,
    /// The oldest segments are removed when all are larger than this; 0: never.
    pub max_bytes: u64,
    /// The key that signs heads, 64 hex digits; the data directory's own where there is
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Keys that signed before, as verifiers read them.
    pub previous_keys: Vec<String>,
    /// A file that always holds the newest signed head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_file: Option<PathBuf>,
    /// A program, and its arguments, that gets each signed head on its stdin.
    pub head_command: Vec<String>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            sync: true,
            segment_bytes: SEGMENT_BYTES,
            max_age: Lifetime::Unlimited,
            max_bytes: 0,
            key_file: None,
            previous_keys: Vec::new(),
            head_file: None,
            head_command: Vec::new(),
        }
    }
}

impl Audit {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let allowed = MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES;
        if !allowed.contains(&self.segment_bytes) {
            return Err(ConfigError::Value {
                key: "audit.segment_bytes",
                problem: format!(
                    "{} is not between {MIN_SEGMENT_BYTES} and {MAX_SEGMENT_BYTES}",
                    self.segment_bytes
                ),
            });
        }
        if self.max_bytes != 0 && self.max_bytes < self.segment_bytes.saturating_mul(2) {
            return Err(ConfigError::Value {
                key: "audit.max_bytes",
                problem: format!("{} is less than two segments", self.max_bytes),
            });
        }
        self.previous_keys().map(drop)
    }

    /// The keys that signed before.
    ///
    /// # Errors
    /// Where one of them is none.
    pub fn previous_keys(&self) -> Result<Vec<NoteVerifier>, ConfigError> {
        self.previous_keys
            .iter()
            .map(|key| {
                NoteVerifier::parse(key).map_err(|error| ConfigError::Value {
                    key: "audit.previous_keys",
                    problem: format!("`{key}`: {error}"),
                })
            })
            .collect()
    }
}
