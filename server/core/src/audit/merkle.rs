//! The Merkle tree over a log's records (RFC 6962, section 2.1).
//!
//! Leaf number `sequence - 1` is made of the record's own hash, 32 bytes, which stands for
//! the record and all before it. A [`Frontier`] is all that has to be kept to go on; proofs
//! need the leaves.
//!
//! ```text
//! leaf(record)  = SHA-256(0x00 || record hash)
//! node(a, b)    = SHA-256(0x01 || a || b)
//! root of none  = SHA-256()
//! ```

use sha2::{Digest as _, Sha256};

use super::digest::Digest;

/// What is hashed before a leaf, and before a node, so that none passes for the other.
const LEAF_PREFIX: [u8; 1] = [0];
const NODE_PREFIX: [u8; 1] = [1];

/// The leaf of the record with this hash.
#[must_use]
pub fn leaf(record_hash: Digest) -> Digest {
    let hasher = Sha256::new().chain_update(LEAF_PREFIX);
    Digest(hasher.chain_update(record_hash.0).finalize().into())
}

fn node(left: Digest, right: Digest) -> Digest {
    let hasher = Sha256::new().chain_update(NODE_PREFIX);
    let hasher = hasher.chain_update(left.0).chain_update(right.0);
    Digest(hasher.finalize().into())
}

/// What is kept of a tree to add leaves and to tell its root: the roots of the perfect
/// trees it is made of, the largest first; one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Digest>,
}

impl Frontier {
    /// A tree of `size` leaves from what was kept of it; nothing where it cannot be.
    #[must_use]
    pub fn from_parts(size: u64, nodes: Vec<Digest>) -> Option<Self> {
        let fits = usize::try_from(size.count_ones()) == Ok(nodes.len());
        fits.then_some(Self { size, nodes })
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What has to be kept.
    #[must_use]
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }

    /// Adds the leaf of the next record.
    pub fn push(&mut self, record_hash: Digest) {
        let mut new = leaf(record_hash);
        // As in counting: each one at the end is a tree as large as the new one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                new = node(left, new);
            }
        }
        self.nodes.push(new);
        self.size = self.size.saturating_add(1);
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut nodes = self.nodes.iter().rev().copied();
        match nodes.next() {
            None => Digest(Sha256::new().finalize().into()),
            Some(last) => nodes.fold(last, |right, left| node(left, right)),
        }
    }
}

/// The root of the tree over these leaves.
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest(Sha256::new().finalize().into()),
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node(root(left), root(right))
        }
    }
}

/// The proof that leaf `index` is in the tree over `leaves`, from the bottom up; nothing
/// where there is no such leaf.
#[must_use]
pub fn inclusion_proof(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut leaves, mut index) = (leaves, index);
    let mut proof = Vec::new();
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            proof.push(root(right));
            leaves = left;
        } else {
            proof.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// The proof that the tree over the first `old_size` of `leaves` is the beginning of the
/// tree over all of them; nothing where there never was such a tree.
#[must_use]
pub fn consistency_proof(leaves: &[Digest], old_size: usize) -> Option<Vec<Digest>> {
    if old_size == 0 || old_size > leaves.len() {
        return None;
    }
    let (mut leaves, mut old) = (leaves, old_size);
    let mut proof = Vec::new();
    // Whether the old tree's root is one that the verifier has already.
    let mut known = true;
    while old < leaves.len() {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if old <= left.len() {
            proof.push(root(right));
            leaves = left;
        } else {
            proof.push(root(left));
            old -= left.len();
            leaves = right;
            known = false;
        }
    }
    if !known {
        proof.push(root(leaves));
    }
    proof.reverse();
    Some(proof)
}

/// The root that a proof of inclusion leads to (RFC 9162, section 2.1.3.2); nothing where
/// it is no proof for this place.
#[must_use]
pub fn root_of_inclusion(
    record_hash: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
) -> Option<Digest> {
    let (mut at, mut last) = (index, size.checked_sub(1)?);
    if at > last {
        return None;
    }
    let mut found = leaf(record_hash);
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            found = node(*sibling, found);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            found = node(found, *sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(found)
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: usize) -> usize {
    size.next_power_of_two() >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize) -> Vec<Digest> {
        let hash = |index: usize| Digest(Sha256::digest(index.to_be_bytes()).into());
        (0..count).map(hash).collect()
    }

    #[test]
    fn the_frontier_has_the_root_of_the_whole_tree_and_can_be_kept() {
        let records = records(70);
        let leaves: Vec<_> = records.iter().copied().map(leaf).collect();
        let mut frontier = Frontier::default();
        for size in 0..=records.len() {
            assert_eq!(frontier.root(), root(&leaves[..size]), "{size}");
            let kept = Frontier::from_parts(frontier.size(), frontier.nodes().to_vec());
            assert_eq!(kept.as_ref(), Some(&frontier));
            if let Some(record) = records.get(size) {
                frontier.push(*record);
            }
        }
        assert_eq!(Frontier::from_parts(3, vec![Digest::default()]), None);
    }

    #[test]
    fn the_roots_are_those_of_rfc_6962() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(root(&[]).to_string(), empty);
    }

    #[test]
    fn a_proof_of_inclusion_leads_to_the_root_of_its_place_alone() {
        for size in 1..20_usize {
            let records = records(size);
            let leaves: Vec<_> = records.iter().copied().map(leaf).collect();
            for (index, record) in records.iter().enumerate() {
                let proof = inclusion_proof(&leaves, index).unwrap();
                let lead = |at: usize| root_of_inclusion(*record, at as u64, size as u64, &proof);
                assert_eq!(lead(index), Some(root(&leaves)));
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(lead(other), Some(root(&leaves)));
                }
            }
            assert_eq!(inclusion_proof(&leaves, size), None);
        }
    }
}
