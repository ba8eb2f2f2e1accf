//! Signed notes (C2SP signed-note) with Ed25519 keys, and the heads of a log in them
//! (C2SP tlog-checkpoint).
//!
//! ```text
//! <origin>                        the log's name, which is the key's
//! <size>                          how many records
//! <root>                          the tree's root, base64
//!
//! — <name> <base64(key id, 4 bytes || signature, 64 bytes)>
//! ```
//!
//! A key's id is the beginning of SHA-256(name || LF || 0x01 || public key). Verifiers read
//! `name+hex(key id)+base64(0x01 || public key)`.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::digest::Digest;

/// What says that a key is one of Ed25519.
const ED25519: u8 = 1;
/// Bytes of a key's id.
const KEY_ID_BYTES: usize = 4;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;
/// Bytes of a note at most: longer than any that is made here, and short enough to read.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;
/// What stands before a signature.
const SIGNATURE_MARK: &str = "\u{2014} ";
/// What a log is called that has no other name; the beginning of its key's hash follows.
const LOG_NAME: &str = "execgate/";
/// Bytes of a public key's hash in a log's name.
const NAME_BYTES: usize = 8;

/// What is wrong with a note or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no signed note.
    #[error("it is no signed note")]
    Malformed,
    /// It carries no signature by this key.
    #[error("it is not signed by this key")]
    NotSigned,
    /// Its signature is not by this key.
    #[error("its signature is wrong")]
    WrongSignature,
    /// It is no verifier key.
    #[error("it is no verifier key")]
    NoKey,
    /// It is signed, but no head of a log.
    #[error("it is no head of a log")]
    NoHead,
}

/// The key that signs a log's heads.
pub struct NoteSigner {
    key: SigningKey,
    verifier: NoteVerifier,
}

impl NoteSigner {
    /// The key made of these 32 secret bytes, called after itself.
    #[must_use]
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        let hash = Sha256::digest(public.as_bytes());
        let name = hash.get(..NAME_BYTES).unwrap_or_default();
        let name = format!("{LOG_NAME}{}", HEXLOWER.encode(name));
        Self {
            verifier: NoteVerifier::new(name, public),
            key,
        }
    }

    /// What verifies its notes.
    #[must_use]
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// `text`, which ends with a line feed, as a signed note.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes());
        let mut blob = self.verifier.id.to_vec();
        blob.extend(signature.to_bytes());
        let blob = BASE64.encode(&blob);
        format!("{text}\n{SIGNATURE_MARK}{} {blob}\n", self.verifier.name)
    }

    /// A head of the log in a signed note.
    #[must_use]
    pub fn sign_head(&self, head: &TreeHead) -> String {
        let root = BASE64.encode(&head.root.0);
        self.sign(&format!("{}\n{}\n{root}\n", self.verifier.name, head.size))
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({}, <secret>)", self.verifier)
    }
}

/// The public half, as verifiers read it. Shown as `name+id+key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    id: [u8; KEY_ID_BYTES],
    key: VerifyingKey,
}

impl NoteVerifier {
    fn new(name: String, key: VerifyingKey) -> Self {
        let hash = Sha256::new()
            .chain_update(&name)
            .chain_update([b'\n', ED25519])
            .chain_update(key.as_bytes())
            .finalize();
        let mut id = [0; KEY_ID_BYTES];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self { name, id, key }
    }

    /// Reads `name+id+key`.
    ///
    /// # Errors
    /// Where it is something else, or its parts do not belong together.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(id), Some(key)) = (name, id, key) else {
            return Err(NoteError::NoKey);
        };
        let blob = BASE64
            .decode(key.as_bytes())
            .map_err(|_| NoteError::NoKey)?;
        let (kind, key) = blob.split_first().ok_or(NoteError::NoKey)?;
        let key = <[u8; 32]>::try_from(key).map_err(|_| NoteError::NoKey)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::NoKey)?;
        let named = !name.is_empty() && !name.contains(char::is_whitespace);
        let parsed = Self::new(name.to_owned(), key);
        match named && *kind == ED25519 && HEXLOWER.encode(&parsed.id) == id {
            true => Ok(parsed),
            false => Err(NoteError::NoKey),
        }
    }

    /// The key's name, which is the log's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key has signed.
    ///
    /// # Errors
    /// Where it is no note, or not signed by this key.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let text = note.get(..=text.len()).ok_or(NoteError::Malformed)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut answer = Err(NoteError::NotSigned);
        for line in signatures.split('\n') {
            let line = line.strip_prefix(SIGNATURE_MARK);
            let (name, blob) = line
                .and_then(|line| line.rsplit_once(' '))
                .ok_or(NoteError::Malformed)?;
            let blob = BASE64
                .decode(blob.as_bytes())
                .map_err(|_| NoteError::Malformed)?;
            let (id, signature) = blob
                .split_at_checked(KEY_ID_BYTES)
                .ok_or(NoteError::Malformed)?;
            if name == self.name && id == self.id {
                self.check(text, signature)?;
                answer = Ok(text);
            }
        }
        answer
    }

    /// The head that a note holds which this key has signed.
    ///
    /// # Errors
    /// Where it is no such note, or holds something else.
    pub fn open_head(&self, note: &str) -> Result<TreeHead, NoteError> {
        let mut lines = self.open(note)?.lines();
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        let (Some(origin), Some(size), Some(root)) = (origin, size, root) else {
            return Err(NoteError::NoHead);
        };
        let root = BASE64.decode(root.as_bytes()).ok();
        let root = root.and_then(|root| root.try_into().ok());
        let size = size.parse::<u64>().ok().filter(|n| n.to_string() == size);
        match (origin == self.name, size, root) {
            (true, Some(size), Some(root)) => Ok(TreeHead {
                size,
                root: Digest(root),
            }),
            _ => Err(NoteError::NoHead),
        }
    }

    fn check(&self, text: &str, signature: &[u8]) -> Result<(), NoteError> {
        let bytes = <[u8; SIGNATURE_BYTES]>::try_from(signature);
        let signature = Signature::from_bytes(&bytes.map_err(|_| NoteError::Malformed)?);
        self.key
            .verify_strict(text.as_bytes(), &signature)
            .map_err(|_| NoteError::WrongSignature)
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = vec![ED25519];
        blob.extend(self.key.as_bytes());
        let id = HEXLOWER.encode(&self.id);
        write!(f, "{}+{id}+{}", self.name, BASE64.encode(&blob))
    }
}

/// How many records a log has, and the root of the tree over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// How many records; the sequence of the last.
    pub size: u64,
    /// The root.
    pub root: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: u8) -> NoteSigner {
        NoteSigner::from_seed(&Zeroizing::new([byte; 32]))
    }

    const HEAD: TreeHead = TreeHead {
        size: 42,
        root: Digest([7; 32]),
    };

    #[test]
    fn a_head_survives_its_note() {
        let signer = signer(1);
        let note = signer.sign_head(&HEAD);
        assert_eq!(signer.verifier().open_head(&note), Ok(HEAD));
        let verifier = NoteVerifier::parse(&signer.verifier().to_string()).unwrap();
        assert_eq!(&verifier, signer.verifier());
        assert_eq!(verifier.open_head(&note), Ok(HEAD));
    }

    #[test]
    fn no_byte_of_a_note_can_be_changed() {
        let signer = signer(1);
        let note = signer.sign_head(&HEAD).into_bytes();
        for at in 0..note.len() {
            let mut changed = note.clone();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else {
                continue;
            };
            assert!(signer.verifier().open_head(&changed).is_err(), "{at}");
        }
    }

    #[test]
    fn another_key_does_not_open_it() {
        let note = signer(1).sign_head(&HEAD);
        assert_eq!(
            signer(2).verifier().open_head(&note),
            Err(NoteError::NotSigned)
        );
    }

    #[test]
    fn a_key_whose_parts_do_not_belong_together_is_none() {
        let key = signer(1).verifier().to_string();
        for bad in ["", "a+b", "a+00000000+AQ==", &key.replace("execgate", "x")] {
            assert_eq!(NoteVerifier::parse(bad), Err(NoteError::NoKey), "{bad}");
        }
    }
}
