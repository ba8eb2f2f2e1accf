//! The keyed hash of commands and stdin.
//!
//! A plain hash of a short command can be guessed by trying; a keyed one tells
//! only the holder of the key that two texts are the same.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::digest::Digest;

/// SHA-256 works on blocks of this many bytes; HMAC pads its key to one block.
const BLOCK_BYTES: usize = 64;

/// The key of the keyed hash; never printed.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// Takes 32 random bytes as the key.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 (RFC 2104) of `bytes`.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> Digest {
        hmac_sha256(&self.0, bytes)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(<secret>)")
    }
}

/// HMAC for keys of at most one block, which is all this crate has.
fn hmac_sha256(key: &[u8; 32], bytes: &[u8]) -> Digest {
    let pad = |with: u8| {
        let mut block = [with; BLOCK_BYTES];
        block
            .iter_mut()
            .zip(key)
            .for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(bytes)
        .finalize();
    Digest(
        Sha256::new()
            .chain_update(pad(0x5c))
            .chain_update(inner)
            .finalize()
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_hash_is_hmac_sha256() {
        // RFC 4231, test case 2 ("Jefe"): HMAC pads a short key with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            HashKey::new(key)
                .hash(b"what do ya want for nothing?")
                .to_string(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", HashKey::new([7; 32])), "HashKey(<secret>)");
    }
}
