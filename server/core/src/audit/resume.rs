//! Where a reader of a log can begin without what came before: the chain and the tree at
//! that place, in a signed note. What retention leaves of the records it removes is one,
//! and so is what the server keeps to start quickly.
//!
//! ```text
//! <the log's name>
//! execgate audit resume v1
//! first <sequence of the next record>
//! previous <hash of the record before it, hex>
//! frontier <roots of the perfect trees, the largest first, hex>...
//! ```

use super::chain::ChainState;
use super::digest::Digest;
use super::merkle::Frontier;
use super::note::{NoteError, NoteSigner, NoteVerifier};

/// What says that a note is one of these, and how to read it.
const FORMAT: &str = "execgate audit resume v1";

/// A place to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// Hash of the record before.
    pub previous: Digest,
    /// The tree over all records before.
    pub frontier: Frontier,
}

impl ResumePoint {
    /// Sequence of the record that comes next.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.frontier.size().saturating_add(1)
    }

    /// Where the chain stands.
    #[must_use]
    pub const fn chain(&self) -> ChainState {
        ChainState {
            sequence: self.frontier.size(),
            hash: self.previous,
        }
    }

    /// Takes the next record into account.
    pub fn push(&mut self, record_hash: Digest) {
        self.frontier.push(record_hash);
        self.previous = record_hash;
    }

    /// As a signed note.
    #[must_use]
    pub fn sign(&self, signer: &NoteSigner) -> String {
        let mut text = format!(
            "{}\n{FORMAT}\nfirst {}\nprevious {}\nfrontier",
            signer.verifier().name(),
            self.first(),
            self.previous
        );
        for node in self.frontier.nodes() {
            text.push(' ');
            text.push_str(&node.to_string());
        }
        text.push('\n');
        signer.sign(&text)
    }

    /// Reads a note that this key has signed.
    ///
    /// # Errors
    /// Where it is no such note, or holds something else.
    pub fn open(verifier: &NoteVerifier, note: &str) -> Result<Self, NoteError> {
        let text = verifier.open(note)?;
        Self::parse(verifier.name(), text).ok_or(NoteError::NoHead)
    }

    fn parse(name: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != name || lines.next()? != FORMAT {
            return None;
        }
        let first: u64 = lines.next()?.strip_prefix("first ")?.parse().ok()?;
        let previous = lines.next()?.strip_prefix("previous ")?;
        let nodes = lines.next()?.strip_prefix("frontier")?;
        let nodes = nodes
            .split_ascii_whitespace()
            .map(|node| Digest::from_hex(node.as_bytes()))
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            previous: Digest::from_hex(previous.as_bytes())?,
            frontier: Frontier::from_parts(first.checked_sub(1)?, nodes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_resume_point_survives_its_note_and_goes_on_alike() {
        let signer = NoteSigner::from_seed(&Zeroizing::new([3; 32]));
        let mut point = ResumePoint::default();
        for byte in 0..11 {
            let note = point.sign(&signer);
            assert_eq!(
                ResumePoint::open(signer.verifier(), &note),
                Ok(point.clone())
            );
            point.push(Digest([byte; 32]));
        }
        let other = NoteSigner::from_seed(&Zeroizing::new([4; 32]));
        let note = point.sign(&other);
        assert_eq!(
            ResumePoint::open(signer.verifier(), &note),
            Err(NoteError::NotSigned)
        );
    }
}
