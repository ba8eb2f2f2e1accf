//! Facts about the embedded store, on real files.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use execgate_core::audit::{
    AuditBody, AuditCause, AuditObserver, AuditOutcome, ChainFault, ChainState, CommandKind,
    ExecutionIntent, ExecutionOutcome, ServerStopped, verify,
};
use futures::future::{FutureExt, join_all};
use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};

use super::segment::list_segments;
use super::segment_log::Counters;
use super::writer::{Job, Writer};
use super::*;

mod conformance;
mod recovery;
mod sealed;
mod tampered;

const NOW: Micros = Micros(1_000_000);
/// Segments that a few records fill.
fn small() -> SegmentLogOptions {
    SegmentLogOptions {
        segment_bytes: 4096,
        ..SegmentLogOptions::default()
    }
}

struct Place {
    _root: TempDir,
    dir: PathBuf,
}

fn place() -> Place {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("audit");
    Place { _root: root, dir }
}

fn open(dir: &Path) -> SegmentLog {
    SegmentLog::open(dir, SegmentLogOptions::default(), NOW).unwrap()
}

fn record(execution: &str, body: AuditBody) -> NewRecord {
    NewRecord {
        time: NOW,
        principal: "agent".to_owned(),
        session_id: Some("ses_1".to_owned()),
        execution_id: Some(execution.to_owned()),
        trace_id: None,
        auth: None,
        body,
    }
}

fn intent(execution: &str) -> NewRecord {
    let body = ExecutionIntent {
        command: "make test".to_owned(),
        command_hash: Digest::default(),
        command_kind: CommandKind::Script,
        rule: "default".to_owned(),
        policy_hash: Digest::default(),
        cwd: "/src".to_owned(),
        secrets: Vec::new(),
    };
    record(execution, AuditBody::ExecutionIntent(body))
}

fn outcome(execution: &str) -> NewRecord {
    let body = ExecutionOutcome {
        outcome: AuditOutcome::Exit { code: 0 },
        cause: AuditCause::Exited,
        observed_by: AuditObserver::Shell,
        wall_micros: 5,
        totals: Vec::new(),
    };
    record(execution, AuditBody::ExecutionOutcome(body))
}

fn stopped(text: &str) -> NewRecord {
    let body = AuditBody::ServerStopped(ServerStopped {
        reason: text.to_owned(),
    });
    NewRecord {
        session_id: None,
        execution_id: None,
        ..record("", body)
    }
}

async fn append(log: &SegmentLog, record: NewRecord) -> Appended {
    log.append(record, Durability::Synced).await.unwrap()
}

async fn bodies(log: &SegmentLog) -> Vec<AuditBody> {
    let page = log
        .list(AuditQuery {
            limit: 1000,
            ..AuditQuery::default()
        })
        .await
        .unwrap();
    assert_eq!(page.next, None);
    page.records.into_iter().map(|record| record.body).collect()
}

fn newest(dir: &Path) -> PathBuf {
    list_segments(dir).unwrap().pop().unwrap().1
}

/// The newest segment's bytes without the reserved zeros.
fn used(dir: &Path) -> Vec<u8> {
    let mut bytes = fs::read(newest(dir)).unwrap();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

fn write_at(path: &Path, bytes: &[u8], offset: u64) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(bytes, offset)
        .unwrap();
}

#[tokio::test]
async fn records_survive_reopening_in_order() {
    let place = place();
    let log = open(&place.dir);
    let given = [intent("a"), outcome("a"), stopped("end")];
    for (index, record) in given.iter().enumerate() {
        assert_eq!(
            append(&log, record.clone()).await.sequence,
            index as u64 + 1
        );
    }
    log.close().await.unwrap();
    let log = open(&place.dir);
    let expected: Vec<_> = given.into_iter().map(|record| record.body).collect();
    assert_eq!(bodies(&log).await, expected);
}

#[tokio::test]
async fn the_whole_log_verifies_across_segments() {
    let place = place();
    let log = SegmentLog::open(&place.dir, small(), NOW).unwrap();
    for number in 0..60 {
        append(&log, stopped(&number.to_string())).await;
    }
    let head = log.head();
    log.close().await.unwrap();
    let segments = list_segments(&place.dir).unwrap();
    assert!(segments.len() > 3, "{segments:?}");
    let mut text = Vec::new();
    for (_, path) in &segments {
        text.extend(fs::read(path).unwrap());
    }
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| line.first() > Some(&0));
    let end = ChainState {
        sequence: head.sequence,
        hash: head.hash,
    };
    assert_eq!(verify(ChainState::default(), lines), Ok(end));
    assert_eq!(head.durable, 60);
    let log = SegmentLog::open(&place.dir, small(), NOW).unwrap();
    assert_eq!(log.head(), head);
}

#[tokio::test]
async fn pages_cover_the_log_once_and_in_order() {
    let place = place();
    let log = SegmentLog::open(&place.dir, small(), NOW).unwrap();
    for number in 0..50 {
        append(&log, stopped(&number.to_string())).await;
    }
    let all = async |mut start| {
        let mut seen = Vec::new();
        loop {
            let page = log
                .list(AuditQuery {
                    start,
                    limit: 7,
                    ..AuditQuery::default()
                })
                .await;
            let page = page.unwrap();
            seen.extend(page.records.iter().map(|record| record.sequence));
            match page.next {
                Some(next) => start = next,
                None => return seen,
            }
        }
    };
    let oldest_first = PageStart::OldestFirst { after_sequence: 0 };
    assert_eq!(all(oldest_first).await, (1..=50).collect::<Vec<_>>());
    let newest_first = PageStart::NewestFirst {
        before_sequence: None,
    };
    assert_eq!(all(newest_first).await, (1..=50).rev().collect::<Vec<_>>());
    let beyond = PageStart::OldestFirst { after_sequence: 51 };
    assert_eq!(all(beyond).await, Vec::<u64>::new());
    let older = PageStart::NewestFirst {
        before_sequence: Some(4),
    };
    assert_eq!(all(older).await, [3, 2, 1]);
}

#[tokio::test]
async fn filters_let_through_what_they_name() {
    let place = place();
    let log = open(&place.dir);
    for record in [
        intent("a"),
        intent("b"),
        outcome("a"),
        outcome("b"),
        stopped("end"),
    ] {
        append(&log, record).await;
    }
    let all = AuditQuery::default();
    let kinds = vec![AuditKind::ExecutionOutcome, AuditKind::ServerStopped];
    let queries: [(AuditQuery, &[u64]); 5] = [
        (
            AuditQuery {
                execution_id: Some("b".into()),
                ..all.clone()
            },
            &[2, 4],
        ),
        (
            AuditQuery {
                session_ids: vec!["ses_2".into()],
                ..all.clone()
            },
            &[],
        ),
        (
            AuditQuery {
                kinds,
                ..all.clone()
            },
            &[3, 4, 5],
        ),
        (
            AuditQuery {
                until: Some(NOW),
                ..all.clone()
            },
            &[],
        ),
        (
            AuditQuery {
                since: Some(NOW),
                limit: 2,
                ..all
            },
            &[1, 2],
        ),
    ];
    for (query, expected) in queries {
        let page = log.list(query.clone()).await.unwrap();
        let found: Vec<_> = page.records.iter().map(|record| record.sequence).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

#[tokio::test]
async fn damage_in_a_sealed_segment_is_found_by_list() {
    let place = place();
    let log = SegmentLog::open(&place.dir, small(), NOW).unwrap();
    for number in 0..30 {
        append(&log, stopped(&format!("number {number}"))).await;
    }
    let (_, sealed) = list_segments(&place.dir).unwrap().remove(0);
    let text = fs::read(&sealed).unwrap();
    let at = text
        .windows(8)
        .position(|window| window == b"number 3")
        .unwrap();
    write_at(&sealed, b"N", at as u64);
    let error = log.list(AuditQuery::default()).await.unwrap_err();
    let AuditError::Corrupt {
        sequence, fault, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((sequence, fault), (4, ChainFault::HashMismatch));
}

#[tokio::test]
async fn a_missing_segment_is_found_by_list() {
    let place = place();
    let log = SegmentLog::open(&place.dir, small(), NOW).unwrap();
    for number in 0..40 {
        append(&log, stopped(&number.to_string())).await;
    }
    let mut segments = list_segments(&place.dir).unwrap();
    let (first, removed) = segments.remove(1);
    fs::remove_file(removed).unwrap();
    let starts = [
        PageStart::default(),
        PageStart::NewestFirst {
            before_sequence: None,
        },
    ];
    for start in starts {
        let query = AuditQuery {
            start,
            ..AuditQuery::default()
        };
        let error = log.list(query).await.unwrap_err();
        let AuditError::Corrupt { sequence, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(sequence, first);
    }
}

#[tokio::test]
async fn concurrent_appends_share_syncs() {
    let place = place();
    let log = Arc::new(open(&place.dir));
    let tasks = (0..64).map(|task| {
        let log = Arc::clone(&log);
        async move {
            for number in 0..8 {
                append(&log, intent(&format!("{task}_{number}"))).await;
            }
        }
    });
    join_all(tasks).await;
    let AuditStatistics { records, syncs, .. } = log.statistics();
    assert_eq!(records, 512);
    assert!(syncs < 256, "{syncs} syncs for 512 records");
}

#[tokio::test]
async fn a_record_that_is_only_written_waits_for_no_thread() {
    let place = place();
    let log = open(&place.dir);
    let at_once = (0..100).filter(|number| {
        let written = log.append(outcome(&number.to_string()), Durability::Written);
        // Who is in the way for a moment, has it queued.
        matches!(written.now_or_never(), Some(Ok(_)))
    });
    assert!(at_once.count() > 0);
}

#[tokio::test]
async fn what_was_queued_comes_before_what_is_written_by_its_caller() {
    let place = place();
    let log = open(&place.dir);
    for turn in 0..20 {
        let mut large = intent(&turn.to_string());
        if let AuditBody::ExecutionIntent(intent) = &mut large.body {
            intent.command = "x".repeat(100_000);
        }
        let large = log.append(large, Durability::Written);
        let small = log.append(outcome(&turn.to_string()), Durability::Written);
        let (small, large) = (small.await.unwrap(), large.await.unwrap());
        assert_eq!(large.sequence + 1, small.sequence);
    }
}

#[tokio::test]
async fn written_records_are_not_synced_one_by_one() {
    let place = place();
    let log = open(&place.dir);
    for number in 0..20 {
        log.append(outcome(&number.to_string()), Durability::Written)
            .await
            .unwrap();
    }
    assert_eq!(log.head().sequence, 20);
    append(&log, stopped("end")).await;
    let head = log.head();
    assert_eq!((head.sequence, head.durable), (21, 21));
    // One for the last record; one more if the test took over a second.
    assert!(log.statistics().syncs <= 2);
}

#[tokio::test]
async fn without_sync_nothing_is_synced() {
    let place = place();
    let options = SegmentLogOptions {
        sync: SyncMode::Never,
        ..SegmentLogOptions::default()
    };
    let log = SegmentLog::open(&place.dir, options, NOW).unwrap();
    append(&log, stopped("end")).await;
    log.close().await.unwrap();
    assert_eq!(
        log.statistics(),
        AuditStatistics {
            records: 1,
            writes: 1,
            syncs: 0
        }
    );
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_closes() {
    let place = place();
    let log = open(&place.dir);
    let error = SegmentLog::open(&place.dir, SegmentLogOptions::default(), NOW).unwrap_err();
    assert!(matches!(error, AuditError::Locked { .. }), "{error}");
    log.close().await.unwrap();
    open(&place.dir);
    let after = log
        .append(stopped("late"), Durability::Written)
        .await
        .unwrap_err();
    assert!(matches!(after, AuditError::Closed), "{after}");
}

#[tokio::test]
async fn a_directory_open_to_others_is_refused() {
    let place = place();
    open(&place.dir).close().await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&place.dir), mode(&newest(&place.dir))),
        (0o700, 0o600)
    );
    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o750)).unwrap();
    let error = SegmentLog::open(&place.dir, SegmentLogOptions::default(), NOW).unwrap_err();
    assert!(matches!(error, AuditError::Insecure { .. }), "{error}");
}

#[tokio::test]
async fn a_record_too_large_is_refused_and_the_log_lives_on() {
    let place = place();
    let log = open(&place.dir);
    let large = stopped(&"x".repeat(execgate_core::audit::MAX_PAYLOAD_BYTES));
    let error = log.append(large, Durability::Synced).await.unwrap_err();
    assert!(matches!(error, AuditError::Refused { .. }), "{error}");
    assert_eq!(append(&log, stopped("next")).await.sequence, 1);
}

#[tokio::test]
async fn a_full_disk_fails_closed() {
    let place = place();
    let counters = Arc::new(Counters::default());
    let options = SegmentLogOptions::default();
    let mut writer = Writer::open(&place.dir, options, NOW, Arc::clone(&counters)).unwrap();
    // Every write to this device says that there is no space.
    writer.replace_file(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let permits = Arc::new(Semaphore::new(2));
    let mut tell = async |durability| {
        let (answer, answered) = oneshot::channel();
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let mut group = vec![Job {
            record: stopped("x"),
            durability,
            answer,
            permit,
        }];
        writer.commit(&mut group);
        answered.await.unwrap().unwrap_err().to_string()
    };
    let first = tell(Durability::Synced).await;
    assert!(first.contains("No space left"), "{first}");
    assert_eq!(tell(Durability::Written).await, first);
    assert_eq!(counters.records.load(Ordering::Relaxed), 0);
}
