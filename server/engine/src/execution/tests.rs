//! Facts about retained output, without a shell: a writer that behaves as a session's
//! task does, and readers of every kind.

#![allow(
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod readers;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use execgate_core::outcome::{Cause, ChannelTotals, ObservedBy, Outcome};
use execgate_core::redact::RedactionCounts;

use super::*;

/// Small enough that a test fills it.
const MEMORY: usize = 64 * 1024;
const DISK: u64 = 512 * 1024;
/// What the log may hold above its bounds: a batch on its way, and an event.
const SLACK: u64 = 160 * 1024;

fn limits(disk: u64) -> RetentionLimits {
    RetentionLimits {
        memory_bytes: MEMORY,
        spill_bytes: disk,
        ..RetentionLimits::default()
    }
}

fn execution(retention: &Retention, overflow: Overflow) -> Arc<Execution> {
    let execution = Execution::new(
        ExecutionId::parse("e").unwrap(),
        SessionId::parse("s").unwrap(),
        Asked {
            command: "command".into(),
            kind: CommandKind::Script,
            payload: Digest([0; 32]),
            overflow,
            origin: Origin::default(),
        },
        retention,
        None,
    );
    execution.mark_started();
    execution
}

/// An execution that spills into a directory of its own.
fn spilling(disk: u64, overflow: Overflow) -> (tempfile::TempDir, Retention, Arc<Execution>) {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention::spilling(limits(disk), dir.path()).unwrap();
    let execution = execution(&retention, overflow);
    (dir, retention, execution)
}

/// The byte at an offset of a channel: a different text at every place.
fn text(channel: Channel, offset: u64, bytes: usize) -> Bytes {
    let salt = match channel {
        Channel::Stdout => 1,
        _ => 2,
    };
    let byte = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15 + salt) >> 56) as u8;
    (offset..offset + bytes as u64).map(byte).collect()
}

/// Pushes output as a session's task does: only while there is room.
async fn write(execution: &Arc<Execution>, pieces: &[(Channel, usize)]) -> BTreeMap<Channel, u64> {
    let mut ends = BTreeMap::new();
    for &(channel, bytes) in pieces {
        execution.log.until_room().await;
        let end: &mut u64 = ends.entry(channel).or_default();
        execution.log.push(EventKind::Output {
            channel,
            offset: *end,
            data: text(channel, *end, bytes),
        });
        *end += bytes as u64;
        // Readers and the disk get their turn, as between two reads of a pipe.
        tokio::task::yield_now().await;
    }
    ends
}

fn end(execution: &Execution, ends: &BTreeMap<Channel, u64>) {
    let totals = ends.iter().map(|(&channel, &bytes)| ChannelTotals {
        channel,
        bytes,
        lines: 0,
        redacted: RedactionCounts::default(),
        sha256: [0; 32],
    });
    execution.finish(Ending {
        outcome: Outcome::ExitCode(0),
        observed_by: ObservedBy::Shell,
        cause: Cause::Exited,
        wall_time: Duration::ZERO,
        cwd: None,
        totals: totals.collect(),
        usage: None,
    });
}

/// Writes all of it, ends, and waits until the disk has its part.
async fn write_to_the_end(execution: Arc<Execution>, pieces: Vec<(Channel, usize)>) {
    let ends = write(&execution, &pieces).await;
    end(&execution, &ends);
    loop {
        let mut changed = std::pin::pin!(execution.log.changed.notified());
        changed.as_mut().enable();
        if !execution.log.lock().is_writing() {
            return;
        }
        changed.await;
    }
}

/// What a reader got: per channel the bytes and the gaps.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    bytes: BTreeMap<Channel, Vec<(u64, Vec<u8>)>>,
    gaps: Vec<(Channel, u64, u64, GapReason)>,
    notices: Vec<Notice>,
    finished: usize,
}

impl Got {
    fn take(&mut self, event: Event) {
        match event.kind {
            EventKind::Started => {}
            EventKind::Notice(notice) => self.notices.push(notice),
            EventKind::Finished(_) => self.finished += 1,
            EventKind::Gap {
                channel,
                from,
                to,
                reason,
            } => self.gaps.push((channel, from, to, reason)),
            EventKind::Output {
                channel,
                offset,
                data,
            } => {
                assert!(data.len() <= 64 * 1024);
                assert_eq!(
                    data,
                    text(channel, offset, data.len()),
                    "{channel:?} {offset}"
                );
                let runs = self.bytes.entry(channel).or_default();
                match runs.last_mut() {
                    Some((start, run)) if *start + run.len() as u64 == offset => {
                        run.extend_from_slice(&data);
                    }
                    _ => runs.push((offset, data.to_vec())),
                }
            }
        }
    }

    /// The next byte of each channel, as a client that comes back names them.
    fn offsets(&self) -> Vec<(Channel, u64)> {
        let ends = self.bytes.iter().filter_map(|(&channel, runs)| {
            let (start, run) = runs.last()?;
            Some((channel, start + run.len() as u64))
        });
        ends.collect()
    }

    fn ranges(&self) -> Vec<(Channel, u64, u64)> {
        let runs = self.bytes.iter().flat_map(|(&channel, runs)| {
            let range =
                move |(start, run): &(u64, Vec<u8>)| (channel, *start, *start + run.len() as u64);
            runs.iter().map(range)
        });
        runs.collect()
    }
}

async fn all(mut follower: Follower) -> Got {
    let mut got = Got::default();
    while let Some(event) = follower.next().await {
        got.take(event);
    }
    got
}

/// So many pieces of 10 000 bytes on standard output.
fn stdout(pieces: usize) -> Vec<(Channel, usize)> {
    vec![(Channel::Stdout, 10_000); pieces]
}

#[tokio::test]
async fn what_fits_into_memory_meets_no_disk() {
    let (dir, retention, execution) = spilling(DISK, Overflow::Backpressure);
    write_to_the_end(Arc::clone(&execution), stdout(6)).await;
    assert_eq!(
        all(execution.follow()).await.ranges(),
        [(Channel::Stdout, 0, 60_000)]
    );
    assert_eq!(retention.disk_bytes_used(), 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_was_spilled_is_read_as_if_it_had_not_been() {
    let (dir, retention, execution) = spilling(DISK, Overflow::Backpressure);
    write_to_the_end(Arc::clone(&execution), stdout(40)).await;
    assert!(retention.disk_bytes_used() > 250_000);
    assert!(execution.log.retained() < MEMORY + 70_000);
    let got = all(execution.follow()).await;
    assert_eq!(got.ranges(), [(Channel::Stdout, 0, 400_000)]);
    assert_eq!((got.gaps, got.notices, got.finished), (vec![], vec![], 1));
    // The files have no names, and their room comes back with the execution.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    drop(execution);
    assert_eq!(retention.disk_bytes_used(), 0);
}

#[tokio::test]
async fn tiny_pieces_of_two_channels_keep_their_order_and_their_room() {
    let (_dir, _, execution) = spilling(2 * DISK, Overflow::Backpressure);
    let pieces: Vec<_> = (0..9_000)
        .map(|n| match n % 3 {
            0 => (Channel::Stderr, 7),
            _ => (Channel::Stdout, 11),
        })
        .collect();
    write_to_the_end(Arc::clone(&execution), pieces).await;
    assert!(execution.log.retained() < MEMORY + 70_000);
    let got = all(execution.follow()).await;
    let expected = [(Channel::Stdout, 0, 66_000), (Channel::Stderr, 0, 21_000)];
    assert_eq!((got.ranges(), got.gaps), (expected.into(), vec![]));
}

/// Until the command has waited so long that readers are told.
async fn throttled(execution: &Execution) {
    loop {
        let mut changed = std::pin::pin!(execution.log.changed.notified());
        changed.as_mut().enable();
        // A look at the marks reads no output.
        if execution.log.lock().mark_from(1).is_some() {
            return;
        }
        changed.await;
    }
}

#[tokio::test]
async fn a_command_waits_for_the_only_reader_within_the_bounds() {
    let (_dir, retention, execution) = spilling(DISK, Overflow::Backpressure);
    let dead = execution.follow();
    let writer = tokio::spawn(write_to_the_end(Arc::clone(&execution), stdout(200)));
    let mut told = execution.follow();
    throttled(&execution).await;
    assert!(execution.log.is_full());
    let retained = execution.retained()[0];
    assert_eq!(retained.first_offset, 0);
    assert!(
        retained.end_offset <= MEMORY as u64 + DISK + SLACK,
        "{retained:?}"
    );
    assert!(retention.disk_bytes_used() <= DISK);
    assert!(!writer.is_finished());
    drop(dead);
    // A reader that comes later gets all of it, and the command goes on.
    let mut got = Got::default();
    while let Some(event) = told.next().await {
        got.take(event);
    }
    assert_eq!(got.ranges(), [(Channel::Stdout, 0, 2_000_000)]);
    assert!(matches!(got.notices[..], [Notice::OutputThrottled { .. }]));
    writer.await.unwrap();
}

#[tokio::test]
async fn a_dead_reader_delays_nobody_who_reads() {
    let (_dir, _, execution) = spilling(DISK, Overflow::Backpressure);
    let dead = execution.follow();
    let reader = tokio::spawn(all(execution.follow()));
    write_to_the_end(Arc::clone(&execution), stdout(500)).await;
    let got = reader.await.unwrap();
    assert_eq!(
        (got.ranges(), got.gaps),
        (vec![(Channel::Stdout, 0, 5_000_000)], vec![])
    );
    // The dead one finds the end and is told what it missed.
    let late = all(dead).await;
    let (_, from, to, reason) = late.gaps[0];
    assert_eq!((from, reason), (0, GapReason::Evicted));
    assert_eq!(late.ranges(), [(Channel::Stdout, to, 5_000_000)]);
}

#[tokio::test]
async fn evicted_output_is_a_gap_to_the_byte() {
    for disk in [0, DISK] {
        let (_dir, retention, execution) = spilling(disk, Overflow::Evict);
        write_to_the_end(Arc::clone(&execution), stdout(300)).await;
        let first = execution.retained()[0].first_offset;
        let got = all(execution.follow()).await;
        assert_eq!(got.gaps, [(Channel::Stdout, 0, first, GapReason::Evicted)]);
        assert_eq!(got.ranges(), [(Channel::Stdout, first, 3_000_000)]);
        let kept = 3_000_000 - first;
        assert!(kept > disk / 2 + 40_000, "{kept} of {disk}");
        assert!(kept <= disk + MEMORY as u64 + SLACK, "{kept} of {disk}");
        assert!(retention.disk_bytes_used() <= disk);
        assert_eq!(got.notices, []);
    }
}

#[tokio::test]
async fn a_command_that_is_being_ended_waits_for_nobody() {
    let (_dir, _, execution) = spilling(DISK, Overflow::Backpressure);
    let writer = tokio::spawn(write_to_the_end(Arc::clone(&execution), stdout(300)));
    throttled(&execution).await;
    execution.log.release();
    writer.await.unwrap();
    let got = all(execution.follow()).await;
    let (_, from, first, _) = got.gaps[0];
    assert_eq!(from, 0);
    assert_eq!(got.ranges(), [(Channel::Stdout, first, 3_000_000)]);
}

#[tokio::test]
async fn where_the_disk_fails_the_overflow_rule_holds_for_memory_alone() {
    let (dir, retention, evicting) = spilling(DISK, Overflow::Evict);
    std::fs::remove_dir(dir.path()).unwrap();
    write_to_the_end(Arc::clone(&evicting), stdout(100)).await;
    let got = all(evicting.follow()).await;
    let first = evicting.retained()[0].first_offset;
    assert_eq!(
        got.gaps,
        [(Channel::Stdout, 0, first, GapReason::StorageFailed)]
    );
    assert_eq!(
        (got.notices, got.finished),
        (vec![Notice::StorageFailed], 1)
    );
    let slowed = execution(&retention, Overflow::Backpressure);
    let reader = tokio::spawn(all(slowed.follow()));
    write_to_the_end(Arc::clone(&slowed), stdout(100)).await;
    let got = reader.await.unwrap();
    assert_eq!(
        (got.ranges(), got.gaps),
        (vec![(Channel::Stdout, 0, 1_000_000)], vec![])
    );
}

#[tokio::test]
async fn finished_executions_give_their_room_back_the_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let shared = RetentionLimits {
        spill_total_bytes: DISK,
        ..limits(DISK)
    };
    let retention = Retention::spilling(shared, dir.path()).unwrap();
    let mut executions = Vec::new();
    for _ in 0..3 {
        let execution = execution(&retention, Overflow::Backpressure);
        write_to_the_end(Arc::clone(&execution), stdout(40)).await;
        executions.push(execution);
        assert!(retention.disk_bytes_used() <= DISK);
    }
    let gaps: Vec<usize> = futures::future::join_all(
        executions
            .iter()
            .map(async |execution| all(execution.follow()).await.gaps.len()),
    )
    .await;
    assert_eq!(gaps, [1, 1, 0]);
}

#[test]
fn what_an_earlier_server_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("retained");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("output-7"), "left").unwrap();
    Retention::spilling(limits(0), &place).unwrap();
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    std::fs::write(place.join("output-7"), "left").unwrap();
    Retention::spilling(limits(DISK), &place).unwrap();
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    assert!(Retention::spilling(limits(DISK), Path::new("/proc/no")).is_err());
}
