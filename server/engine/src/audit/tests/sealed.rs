//! Heads, retention, the index and space: what goes on beside the writer.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use execgate_core::audit::NoteSigner;

use super::conformance::signer;
use super::*;

fn signed() -> SegmentLogOptions {
    SegmentLogOptions {
        signer: Some(signer()),
        ..small()
    }
}

fn check(dir: &Path) -> Verification {
    let request = VerifyRequest {
        keys: vec![signer().verifier().clone()],
        ..VerifyRequest::default()
    };
    verify_directory(dir, &request).unwrap()
}

fn head_sizes(dir: &Path) -> Vec<u64> {
    let text = fs::read_to_string(dir.join("heads")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    lines
        .chunks(5)
        .map(|note| note[1].parse().unwrap())
        .collect()
}

/// Waits until it is so, and fails where that takes too long.
async fn until(mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_tree_goes_on_after_a_restart_and_also_without_what_was_kept_of_it() {
    let place = place();
    for round in 0..3 {
        let log = SegmentLog::open(&place.dir, signed(), NOW).unwrap();
        for number in 0..30 {
            append(&log, stopped(&format!("{round} {number}"))).await;
        }
        log.close().await.unwrap();
        let found = check(&place.dir);
        assert_eq!((found.defect, found.checked), (None, (round + 1) * 30));
        assert_eq!(head_sizes(&place.dir).last(), Some(&((round + 1) * 30)));
        if round == 1 {
            fs::write(place.dir.join("tree"), "no note").unwrap();
        }
    }
}

#[tokio::test]
async fn a_head_is_signed_every_256_records_without_being_asked() {
    let place = place();
    let log = SegmentLog::open(&place.dir, signed(), NOW).unwrap();
    for number in 0..3 {
        let appends = (0..256).map(|_| log.append(stopped("x"), Durability::Synced));
        join_all(appends).await;
        until(|| *head_sizes(&place.dir).last().unwrap_or(&0) >= 256 * (number + 1)).await;
    }
}

#[tokio::test]
async fn a_log_that_is_shorter_than_its_head_is_not_continued() {
    let place = place();
    let log = SegmentLog::open(&place.dir, signed(), NOW).unwrap();
    for text in ["one", "two", "three"] {
        append(&log, stopped(text)).await;
    }
    log.close().await.unwrap();
    let bytes = used(&place.dir);
    let last = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    fs::write(newest(&place.dir), &bytes[..=last]).unwrap();
    let error = SegmentLog::open(&place.dir, signed(), NOW).unwrap_err();
    assert!(
        matches!(
            error,
            AuditError::Truncated {
                last: 2,
                signed: 3,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn heads_are_handed_to_a_file_and_a_command() {
    let place = place();
    fs::DirBuilder::new()
        .recursive(true)
        .create(place.dir.parent().unwrap())
        .unwrap();
    let file = place.dir.with_extension("head");
    let taken = place.dir.with_extension("taken");
    let script = place.dir.with_extension("sh");
    fs::write(&script, format!("#!/bin/sh\ncat >{}\n", taken.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let options = SegmentLogOptions {
        export: HeadExport {
            file: Some(file.clone()),
            command: vec![script.to_str().unwrap().to_owned()],
        },
        ..signed()
    };
    let log = SegmentLog::open(&place.dir, options, NOW).unwrap();
    append(&log, stopped("end")).await;
    log.close().await.unwrap();
    for path in [file, taken] {
        let note = fs::read_to_string(path).unwrap();
        let head = signer().verifier().open_head(&note).unwrap();
        assert_eq!(head.size, 1);
    }
}

#[tokio::test]
async fn retention_leaves_a_log_that_verifies_and_says_what_is_gone() {
    let place = place();
    let options = SegmentLogOptions {
        retention: LogRetention {
            max_age: None,
            max_bytes: Some(3 * 4096),
        },
        ..signed()
    };
    let log = SegmentLog::open(&place.dir, options.clone(), NOW).unwrap();
    let mut early = None;
    for number in 0..200 {
        append(&log, stopped(&format!("{number} {}", "x".repeat(100)))).await;
        if number == 2 {
            early = log.signed_head().await.unwrap();
        }
    }
    log.close().await.unwrap();
    // It is looked for at the start, when a head covers everything.
    let log = SegmentLog::open(&place.dir, options, NOW).unwrap();
    until(|| place.dir.join("stub").exists()).await;
    let stub = fs::read_to_string(place.dir.join("stub")).unwrap();
    let first = stub.lines().find_map(|line| line.strip_prefix("first "));
    let first = first.unwrap().parse().unwrap();
    until(|| list_segments(&place.dir).unwrap()[0].0 == first).await;
    let page = log.list(AuditQuery::default()).await.unwrap();
    assert_eq!(page.records[0].sequence, first);
    let kinds = AuditQuery {
        kinds: vec![AuditKind::RetentionApplied],
        ..AuditQuery::default()
    };
    let applied = log.list(kinds).await.unwrap().records;
    let AuditBody::RetentionApplied(applied) = &applied[0].body else {
        panic!("{applied:?}")
    };
    assert_eq!(applied.first_sequence, first);
    assert_eq!(applied.kept_hash, page.records[0].previous_hash);
    log.close().await.unwrap();
    let found = check(&place.dir);
    assert_eq!((found.defect, found.first), (None, first));
    // What was removed can no longer be checked, and that is said.
    let request = VerifyRequest {
        known_heads: vec![early.unwrap().note],
        keys: vec![signer().verifier().clone()],
        ..VerifyRequest::default()
    };
    let error = verify_directory(&place.dir, &request).unwrap_err();
    assert!(matches!(error, AuditError::HeadTooOld { .. }), "{error}");
    // Nobody can move the beginning.
    fs::remove_file(&list_segments(&place.dir).unwrap()[0].1).unwrap();
    let defect = check(&place.dir).defect.unwrap();
    assert_eq!((defect.sequence, defect.kind), (first, DefectKind::Missing));
}

#[tokio::test]
async fn an_index_that_is_missing_damaged_or_of_another_log_is_made_anew() {
    let place = place();
    let log = SegmentLog::open(&place.dir, signed(), NOW).unwrap();
    for number in 0..50 {
        append(&log, outcome(&number.to_string())).await;
    }
    let expected = bodies(&log).await;
    log.close().await.unwrap();
    let index = place.dir.join("index.sqlite");
    let stale = fs::read(&index).unwrap();
    for damage in [None, Some(vec![b'x'; 9000]), Some(stale[..4096].to_vec())] {
        match damage {
            None => fs::remove_file(&index).unwrap(),
            Some(bytes) => fs::write(&index, bytes).unwrap(),
        }
        let log = SegmentLog::open(&place.dir, signed(), NOW).unwrap();
        assert_eq!(bodies(&log).await, expected);
        let one = AuditQuery {
            execution_id: Some("7".to_owned()),
            ..AuditQuery::default()
        };
        assert_eq!(log.list(one).await.unwrap().records.len(), 1);
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn without_space_for_a_segment_nothing_begins_and_what_runs_is_recorded() {
    let place = place();
    let log = SegmentLog::open(&place.dir, signed(), NOW).unwrap();
    append(&log, intent("a")).await;
    // No file can be made where a directory is.
    log.close().await.unwrap();
    fs::remove_file(place.dir.join("spare")).unwrap();
    fs::create_dir(place.dir.join("spare")).unwrap();
    let log = SegmentLog::open(&place.dir, signed(), NOW).unwrap();
    let refused = log.append(intent("b"), Durability::Synced).await;
    assert!(
        matches!(refused, Err(AuditError::NoSpace { .. })),
        "{refused:?}"
    );
    append(&log, outcome("c")).await;
    fs::remove_dir(place.dir.join("spare")).unwrap();
    append(&log, intent("b")).await;
    log.close().await.unwrap();
    assert_eq!(check(&place.dir).defect, None);
}

#[tokio::test]
async fn a_log_goes_on_under_another_key_also_after_retention() {
    let place = place();
    let bounded = || SegmentLogOptions {
        retention: LogRetention {
            max_age: None,
            max_bytes: Some(2 * 4096),
        },
        ..signed()
    };
    let other = Arc::new(NoteSigner::from_seed(&zeroize::Zeroizing::new([8; 32])));
    let rotated = || SegmentLogOptions {
        signer: Some(Arc::clone(&other)),
        previous_keys: vec![signer().verifier().clone()],
        ..bounded()
    };
    for options in [bounded(), rotated(), rotated()] {
        let log = SegmentLog::open(&place.dir, options, NOW).unwrap();
        let first = list_segments(&place.dir).unwrap()[0].0;
        for number in 0..60 {
            append(&log, stopped(&format!("{number} {}", "x".repeat(100)))).await;
        }
        log.signed_head().await.unwrap();
        log.close().await.unwrap();
        let log = SegmentLog::open(&place.dir, rotated(), NOW).unwrap();
        until(|| list_segments(&place.dir).unwrap()[0].0 > first).await;
        log.close().await.unwrap();
    }
    let both = VerifyRequest {
        keys: vec![signer().verifier().clone(), other.verifier().clone()],
        ..VerifyRequest::default()
    };
    assert_eq!(verify_directory(&place.dir, &both).unwrap().defect, None);
}
