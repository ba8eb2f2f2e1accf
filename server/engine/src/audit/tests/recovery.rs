//! Facts about logs that were left behind by a crash, and what a record costs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use execgate_core::audit::{ExecutionAbandoned, Recovered};

use super::*;

#[tokio::test]
async fn a_torn_tail_of_any_length_is_set_aside_and_recorded() {
    // Two hundred logs: what is not needed is left out.
    let open = |dir: &Path| {
        let options = SegmentLogOptions {
            index: IndexMode::Scan,
            ..small()
        };
        SegmentLog::open(dir, options, NOW).unwrap()
    };
    for torn in 1_usize..=200 {
        let place = place();
        let log = open(&place.dir);
        append(&log, stopped("kept")).await;
        append(&log, stopped(&"lost".repeat(50))).await;
        log.close().await.unwrap();
        let bytes = used(&place.dir);
        let cut = bytes.len() - torn;
        write_at(&newest(&place.dir), &vec![0; torn], cut as u64);
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let left = (cut - first) as u64;

        let log = open(&place.dir);
        let recovered = Recovered {
            torn_bytes: left,
            abandoned_executions: 0,
            lost_sessions: 0,
            abandoned_checkpoints: 0,
        };
        let kept = ServerStopped {
            reason: "kept".to_owned(),
        };
        let expected = [
            AuditBody::ServerStopped(kept),
            AuditBody::Recovered(recovered),
        ];
        assert_eq!(bodies(&log).await, expected, "torn {torn}");
        let aside = newest(&place.dir).with_extension(format!("{first}.torn"));
        assert_eq!(fs::read(aside).unwrap(), &bytes[first..cut]);
    }
}

#[tokio::test]
async fn an_intent_left_open_is_abandoned_at_the_next_start_only() {
    let place = place();
    let log = open(&place.dir);
    append(&log, intent("a")).await;
    log.close().await.unwrap();
    open(&place.dir).close().await.unwrap();
    let log = open(&place.dir);
    let abandoned = ExecutionAbandoned { intent_sequence: 1 };
    let recovered = Recovered {
        torn_bytes: 0,
        abandoned_executions: 1,
        lost_sessions: 0,
        abandoned_checkpoints: 0,
    };
    let expected = [
        intent("a").body,
        AuditBody::ExecutionAbandoned(abandoned),
        AuditBody::Recovered(recovered),
    ];
    assert_eq!(bodies(&log).await, expected);
}

#[tokio::test]
async fn a_flipped_byte_in_a_durable_record_refuses_to_open() {
    let place = place();
    let log = open(&place.dir);
    for text in ["one", "two", "three"] {
        append(&log, stopped(text)).await;
    }
    log.close().await.unwrap();
    let text = used(&place.dir);
    let at = text.windows(3).position(|window| window == b"two").unwrap();
    write_at(&newest(&place.dir), b"T", at as u64);
    let error = SegmentLog::open(&place.dir, SegmentLogOptions::default(), NOW).unwrap_err();
    let AuditError::Corrupt {
        sequence, fault, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((sequence, fault), (2, ChainFault::HashMismatch));
}

#[tokio::test]
async fn a_hole_that_was_never_durable_is_torn_with_what_follows() {
    let place = place();
    let options = SegmentLogOptions {
        sync: SyncMode::Never,
        ..SegmentLogOptions::default()
    };
    let log = SegmentLog::open(&place.dir, options, NOW).unwrap();
    for text in ["one", "two", "three"] {
        append(&log, stopped(text)).await;
    }
    log.close().await.unwrap();
    let bytes = used(&place.dir);
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    write_at(&newest(&place.dir), &[0; 32], first as u64);

    let log = open(&place.dir);
    let torn_bytes = (bytes.len() - first) as u64;
    let recovered = Recovered {
        torn_bytes,
        abandoned_executions: 0,
        lost_sessions: 0,
        abandoned_checkpoints: 0,
    };
    let kept = ServerStopped {
        reason: "one".to_owned(),
    };
    let expected = [
        AuditBody::ServerStopped(kept),
        AuditBody::Recovered(recovered),
    ];
    assert_eq!(bodies(&log).await, expected);
}

/// Names the directory to the child of the next test.
const CHILD_DIR: &str = "EXECGATE_TEST_AUDIT_DIR";

/// The child of the next test: appends for as long as it lives and prints each sequence
/// when it is answered. On its own it has nothing to do.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let log = SegmentLog::open(Path::new(&dir), small(), NOW).unwrap();
    for number in 0_u64.. {
        let record = if number % 2 == 0 {
            intent("a")
        } else {
            outcome("a")
        };
        let durability = if number % 2 == 0 {
            Durability::Synced
        } else {
            Durability::Written
        };
        let Appended { sequence, .. } = log.append(record, durability).await.unwrap();
        eprintln!("answered {sequence}");
    }
}

#[tokio::test]
async fn what_was_answered_survives_sigkill() {
    let place = place();
    for answers in [1_usize, 2, 3, 10, 37, 64, 101] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "audit::tests::recovery::child_that_appends_until_it_is_killed",
            ])
            .arg("--nocapture")
            .env(CHILD_DIR, &place.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let last = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("answered ")?.parse::<u64>().ok())
            .nth(answers);
        child.kill().unwrap();
        child.wait().unwrap();
        let log = SegmentLog::open(&place.dir, small(), NOW).unwrap();
        let head = log.head();
        assert!(
            last.is_some_and(|last| head.sequence >= last),
            "{last:?} {head:?}"
        );
        log.close().await.unwrap();
    }
}
