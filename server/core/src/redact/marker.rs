//! What stands for a secret: `[REDACTED:kind#abcd]`. The tag is a keyed hash of the value,
//! so that equal secrets can be told equal by whoever reads the output, and guessed from
//! it by nobody without the key. Where there is no key there is no tag.

use sha2::{Digest as _, Sha256};

use super::secret::Secret;
use crate::audit::HashKey;

/// What every marker begins with.
const BEGINNING: &[u8] = b"[REDACTED:";

/// Bytes of the hash that a tag shows, in two digits each: enough to tell the few secrets
/// of one output apart, and too few to say much of one.
const TAG_BYTES: usize = 2;

/// Longest name in a marker, in bytes.
const MAX_NAME: usize = 128;

/// What is hashed before the value, so that a tag is no hash of anything else.
const DOMAIN: &[u8] = b"redaction marker\0";

/// The key of the tags.
#[derive(Debug, Clone)]
pub(super) struct MarkerKey(pub(super) HashKey);

impl MarkerKey {
    fn tag(&self, value: &[u8]) -> String {
        let hash = self.0.hash(&[DOMAIN, value].concat()).0;
        data_encoding::HEXLOWER.encode(hash.get(..TAG_BYTES).unwrap_or_default())
    }
}

/// A marker on its way.
#[derive(Debug)]
pub(super) struct Marker {
    name: String,
    value: Sha256,
}

impl Marker {
    /// For a secret known by its shape; its bytes are added as they come.
    pub(super) fn of_shape(kind: &str) -> Self {
        Self {
            name: kind.to_owned(),
            value: Sha256::new(),
        }
    }

    /// For a registered value: one tag, whatever it is encoded as.
    pub(super) fn of_value(name: &str, secret: &Secret) -> Self {
        Self {
            name: name.to_owned(),
            value: Sha256::new().chain_update(secret.expose()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.value.update(bytes);
    }

    pub(super) fn text(self, key: Option<&MarkerKey>) -> String {
        let Self { name, value } = self;
        match key {
            Some(key) => format!("[REDACTED:{name}#{}]", key.tag(&value.finalize())),
            None => format!("[REDACTED:{name}]"),
        }
    }
}

/// Whether the first `length` bytes of `text` are a marker, or one without its end: what
/// has been hidden once is no secret.
pub(super) fn is_marker(text: &[u8], length: usize) -> bool {
    let Some(rest) = text.strip_prefix(BEGINNING) else {
        return false;
    };
    let shown = rest.get(..MAX_NAME).unwrap_or(rest);
    let Some(end) = shown.iter().position(|byte| *byte == b']') else {
        return false;
    };
    let name = rest.get(..end).unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.#".contains(byte);
    !name.is_empty() && name.iter().all(plain) && length <= BEGINNING.len() + end + 1
}
