//! The tree and its notes against implementations that others wrote: what we make they
//! take, and what they make is what we make.

use execgate_core::audit::merkle::{
    Frontier, consistency_proof, inclusion_proof, leaf, root, root_of_inclusion,
};
use execgate_core::audit::{Digest, NoteSigner, NoteVerifier, TreeHead};
use sha2::Digest as _;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::tlog;
use zeroize::Zeroizing;

/// Enough for trees of every shape up to six levels.
const RECORDS: usize = 67;

fn record(index: usize) -> Digest {
    Digest(sha2::Sha256::digest(index.to_be_bytes()).into())
}

fn theirs(digest: Digest) -> tlog::Hash {
    tlog::Hash(digest.0)
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|index| leaf(record(index))).collect()
}

#[test]
fn a_leaf_is_that_of_rfc_6962_over_the_records_hash() {
    assert_eq!(theirs(leaf(record(7))), tlog::record_hash(&record(7).0));
}

#[test]
fn every_proof_of_inclusion_is_accepted_for_its_record_and_refused_for_another() {
    for size in 1..=RECORDS {
        let leaves = leaves(size);
        let root = root(&leaves);
        for index in 0..size {
            let proof = inclusion_proof(&leaves, index).unwrap();
            let proof_of_theirs: Vec<_> = proof.iter().copied().map(theirs).collect();
            let (n, t) = (index as u64, size as u64);
            let check =
                |leaf| tlog::check_record(&proof_of_theirs, t, theirs(root), n, theirs(leaf));
            assert!(check(leaves[index]).is_ok(), "{index} of {size}");
            assert!(check(leaf(record(size))).is_err(), "{index} of {size}");
            let ours = root_of_inclusion(record(index), n, t, &proof);
            assert_eq!(ours, Some(root));
        }
    }
}

#[test]
fn every_proof_of_consistency_is_accepted_and_refused_for_another_past() {
    let leaves = leaves(RECORDS);
    let other = root(&[leaf(record(RECORDS))]);
    for new in 1..=RECORDS {
        for old in 1..=new {
            let proof = consistency_proof(&leaves[..new], old).unwrap();
            let proof: Vec<_> = proof.into_iter().map(theirs).collect();
            let check = |past: Digest| {
                let now = theirs(root(&leaves[..new]));
                tlog::check_tree(&proof, new as u64, now, old as u64, theirs(past))
            };
            assert!(check(root(&leaves[..old])).is_ok(), "{old} in {new}");
            assert!(check(other).is_err(), "{old} in {new}");
        }
    }
}

#[test]
fn a_signed_head_is_read_by_others() {
    let signer = NoteSigner::from_seed(&Zeroizing::new([9; 32]));
    let mut frontier = Frontier::default();
    (0..RECORDS).for_each(|index| frontier.push(record(index)));
    let head = TreeHead {
        size: frontier.size(),
        root: frontier.root(),
    };
    let note = Note::from_bytes(signer.sign_head(&head).as_bytes()).unwrap();
    let key = StandardVerifier::new(&signer.verifier().to_string()).unwrap();
    let known = VerifierList::new(vec![Box::new(key)]);
    let (verified, unverified) = note.verify(&known).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    let seen = (read.origin(), read.size(), read.hash().0);
    let expected = (signer.verifier().name(), head.size, head.root.0);
    assert_eq!(seen, expected);
}

/// The example that the reference implementation documents.
#[test]
fn a_note_that_others_signed_is_opened() {
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let text = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n";
    let signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg\
                     KvqfqdngotpRZb6KE6RyyBwJnAM=";
    let note = format!("{text}\n\u{2014} PeterNeumann {signature}\n");
    let verifier = NoteVerifier::parse(key).unwrap();
    assert_eq!(verifier.to_string(), key);
    assert_eq!(verifier.open(&note), Ok(text));
}
