//! What somebody does to a log, and the record that it is found at.

use execgate_core::audit::{ChainState, NoteSigner, NoteVerifier, decode_line};

use super::conformance::signer;
use super::*;

/// Records in the log that is tampered with.
const RECORDS: u64 = 8;

/// A log of a server that was stopped in good order: its last head covers everything.
async fn made() -> (Place, Vec<Vec<u8>>) {
    let place = place();
    let options = SegmentLogOptions {
        signer: Some(signer()),
        ..SegmentLogOptions::default()
    };
    let log = SegmentLog::open(&place.dir, options, NOW).unwrap();
    for number in 0..RECORDS / 2 {
        append(&log, intent(&number.to_string())).await;
        if number == 1 {
            log.signed_head().await.unwrap();
        }
        let ended = log.append(outcome(&number.to_string()), Durability::Written);
        ended.await.unwrap();
    }
    log.close().await.unwrap();
    let lines = used(&place.dir);
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(<[u8]>::to_vec).collect();
    (place, lines)
}

fn verify_with(dir: &Path, keys: &[NoteVerifier], heads: &[String]) -> Verification {
    let request = VerifyRequest {
        keys: keys.to_vec(),
        known_heads: heads.to_vec(),
        ..VerifyRequest::default()
    };
    verify_directory(dir, &request).unwrap()
}

fn verified(dir: &Path) -> Verification {
    verify_with(dir, &[signer().verifier().clone()], &[])
}

/// What is found where the log consists of these lines.
fn found(place: &Place, lines: &[Vec<u8>]) -> Option<(u64, DefectKind)> {
    fs::write(newest(&place.dir), lines.concat()).unwrap();
    verified(&place.dir)
        .defect
        .map(|defect| (defect.sequence, defect.kind))
}

/// The records from `from` on, written anew after `change` had its way with the first.
fn rewritten(lines: &[Vec<u8>], from: usize, change: impl Fn(&mut NewRecord)) -> Vec<Vec<u8>> {
    let mut chain = ChainState::default();
    let mut new = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let line = line.strip_suffix(b"\n").unwrap();
        let decoded = decode_line(line).unwrap();
        let record = decoded.record().unwrap();
        let mut record = NewRecord {
            time: record.time,
            principal: record.principal,
            session_id: record.session_id,
            execution_id: record.execution_id,
            trace_id: record.trace_id,
            auth: record.auth,
            body: record.body,
        };
        if index == from {
            change(&mut record);
        }
        let mut out = Vec::new();
        chain.append(&record, decoded.durable, &mut out).unwrap();
        new.push(out);
    }
    new
}

fn other_principal(record: &mut NewRecord) {
    record.principal = "somebody else".to_owned();
}

#[tokio::test]
async fn an_untouched_log_verifies() {
    let (place, lines) = made().await;
    assert_eq!(lines.len() as u64, RECORDS);
    let found = verified(&place.dir);
    let seen = (found.defect, found.checked, found.first, found.last);
    assert_eq!(seen, (None, RECORDS, 1, RECORDS));
    assert!(found.heads >= 2, "{}", found.heads);
}

#[tokio::test]
async fn every_flipped_bit_of_every_byte_is_found_at_its_record() {
    let (place, lines) = made().await;
    for (index, line) in lines.iter().enumerate() {
        for at in 0..line.len() {
            let mut changed = lines.clone();
            changed[index][at] ^= 1 << (at % 8);
            let (sequence, kind) = found(&place, &changed).unwrap();
            assert_eq!(sequence, index as u64 + 1, "byte {at}: {kind:?}");
        }
    }
}

#[tokio::test]
async fn a_row_that_is_removed_is_missing() {
    let (place, lines) = made().await;
    for index in 0..lines.len() {
        let mut changed = lines.clone();
        changed.remove(index);
        let expected = match index + 1 == lines.len() {
            true => DefectKind::Truncated,
            false => DefectKind::Missing,
        };
        let expected = Some((index as u64 + 1, expected));
        assert_eq!(found(&place, &changed), expected);
    }
}

#[tokio::test]
async fn rows_that_are_swapped_are_out_of_order() {
    let (place, lines) = made().await;
    for first in 0..lines.len() {
        for second in first + 1..lines.len() {
            let mut changed = lines.clone();
            changed.swap(first, second);
            let expected = Some((first as u64 + 1, DefectKind::Reordered));
            assert_eq!(found(&place, &changed), expected, "{first} and {second}");
        }
    }
}

#[tokio::test]
async fn a_row_that_is_put_in_between_is_found() {
    let (place, lines) = made().await;
    let mut forged = rewritten(&lines, 3, other_principal);
    for (line, sequence) in [(lines[2].clone(), 3), (forged.swap_remove(3), 4)] {
        let mut changed = lines.clone();
        changed.insert(sequence, line);
        let (at, kind) = found(&place, &changed).unwrap();
        assert_eq!((at, kind), (sequence as u64, DefectKind::Inserted));
    }
}

#[tokio::test]
async fn a_tail_that_is_cut_is_found_wherever_it_is_cut() {
    let (place, lines) = made().await;
    let bytes = lines.concat();
    let mut boundaries = vec![0];
    for line in &lines {
        boundaries.push(boundaries.last().unwrap() + line.len());
    }
    for cut in 0..bytes.len() {
        fs::write(newest(&place.dir), &bytes[..cut]).unwrap();
        let whole = boundaries.iter().filter(|end| **end <= cut).count() as u64;
        let defect = verified(&place.dir).defect.unwrap();
        assert_eq!(defect.sequence, whole, "cut at {cut}: {defect:?}");
    }
}

#[tokio::test]
async fn a_record_whose_hash_was_made_to_fit_is_found_by_the_one_after_it() {
    let (place, lines) = made().await;
    for index in 0..lines.len() - 1 {
        let mut changed = lines.clone();
        changed[index] = rewritten(&lines, index, other_principal).swap_remove(index);
        let expected = Some((index as u64 + 1, DefectKind::Changed));
        assert_eq!(found(&place, &changed), expected);
    }
}

#[tokio::test]
async fn a_log_that_was_rewritten_to_its_end_is_found_by_its_heads() {
    let (place, lines) = made().await;
    // The heads that were signed on the way say from where on.
    let note = fs::read_to_string(place.dir.join("heads")).unwrap();
    let first_head: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    assert!(first_head < RECORDS);
    for index in 0..lines.len() {
        let changed = rewritten(&lines, index, other_principal);
        let (sequence, kind) = found(&place, &changed).unwrap();
        assert_eq!(kind, DefectKind::Changed);
        let changed_record = index as u64 + 1;
        assert!(sequence <= changed_record, "{sequence} {changed_record}");
        if changed_record > first_head {
            assert!(sequence > first_head, "{sequence} {changed_record}");
        }
    }
}

#[tokio::test]
async fn a_log_that_is_signed_anew_by_another_key_is_found_by_the_key() {
    let (place, lines) = made().await;
    let changed = rewritten(&lines, 0, other_principal);
    let path = newest(&place.dir);
    fs::write(&path, changed.concat()).unwrap();
    for name in ["heads", "tree", "index.sqlite"] {
        fs::remove_file(place.dir.join(name)).unwrap();
    }
    // The thief's own server signs what he made of the log.
    let thief = NoteSigner::from_seed(&zeroize::Zeroizing::new([66; 32]));
    let options = SegmentLogOptions {
        signer: Some(Arc::new(thief)),
        ..SegmentLogOptions::default()
    };
    let log = SegmentLog::open(&place.dir, options, NOW).unwrap();
    log.close().await.unwrap();
    let defect = verified(&place.dir).defect.unwrap();
    assert_eq!(defect.kind, DefectKind::BadSignature);
}

#[tokio::test]
async fn a_log_without_its_heads_is_no_longer_signed() {
    let (place, _lines) = made().await;
    let kept = fs::read_to_string(place.dir.join("heads")).unwrap();
    fs::remove_file(place.dir.join("heads")).unwrap();
    let defect = verified(&place.dir).defect.unwrap();
    assert_eq!(defect.kind, DefectKind::BadSignature);
    // Whoever kept one elsewhere still checks against that.
    let note: String = kept.split_inclusive('\n').take(5).collect();
    let found = verify_with(&place.dir, &[signer().verifier().clone()], &[note]);
    assert_eq!((found.defect, found.heads), (None, 1));
}

#[tokio::test]
async fn every_flipped_bit_of_the_only_head_is_found() {
    let (place, _lines) = made().await;
    let path = place.dir.join("heads");
    let heads = fs::read(&path).unwrap();
    let text = String::from_utf8(heads).unwrap();
    let last: Vec<_> = text.split_inclusive('\n').collect();
    let last = last[last.len() - 5..].concat().into_bytes();
    for at in 0..last.len() {
        let mut changed = last.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let defect = verified(&place.dir).defect.unwrap();
        assert_eq!(defect.kind, DefectKind::BadSignature, "byte {at}");
    }
}
