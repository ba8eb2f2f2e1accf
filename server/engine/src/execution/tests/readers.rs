//! Readers that come back, and reads of ranges.

use std::sync::atomic::{AtomicBool, Ordering};

use execgate_core::budget::{OutputBudget, Select};
use proptest::prelude::*;

use super::*;

/// A reader that is cut off after each of these numbers of events and attaches again
/// where it was, with a pause of as many turns as the second number says.
async fn cut_off(execution: Arc<Execution>, cuts: Vec<(usize, usize)>) -> Got {
    let mut got = Got::default();
    for (events, pause) in cuts {
        let mut follower = execution.follow_from(&got.offsets()).unwrap();
        for _ in 0..events {
            match follower.next().await {
                Some(event) => got.take(event),
                None => return got,
            }
        }
        drop(follower);
        for _ in 0..pause {
            tokio::task::yield_now().await;
        }
    }
    let mut follower = execution.follow_from(&got.offsets()).unwrap();
    while let Some(event) = follower.next().await {
        got.take(event);
    }
    got
}

fn pieces() -> impl Strategy<Value = Vec<(Channel, usize)>> {
    let channel = prop_oneof![Just(Channel::Stdout), Just(Channel::Stderr)];
    let bytes = prop_oneof![1..20_usize, 1..5_000_usize, 30_000..90_000_usize];
    prop::collection::vec((channel, bytes), 1..80)
}

fn cuts() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..6_usize, 0..40_usize), 0..20)
}

fn whole(pieces: &[(Channel, usize)]) -> Vec<(Channel, u64, u64)> {
    let mut ends = BTreeMap::new();
    for &(channel, bytes) in pieces {
        *ends.entry(channel).or_insert(0) += bytes as u64;
    }
    ends.into_iter()
        .map(|(channel, end)| (channel, 0, end))
        .collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written, wherever readers are cut off: while the disk holds it, each
    /// of them has all of it in the end, across disk, memory and what comes live.
    #[test]
    fn readers_that_come_back_have_it_all(pieces in pieces(), readers in prop::collection::vec(cuts(), 1..4)) {
        runtime().block_on(async {
            let (_dir, _, execution) = spilling(16 * 1024 * 1024, Overflow::Backpressure);
            let readers: Vec<_> = readers
                .into_iter()
                .map(|cuts| tokio::spawn(cut_off(Arc::clone(&execution), cuts)))
                .collect();
            write_to_the_end(Arc::clone(&execution), pieces.clone()).await;
            for reader in readers {
                let got = reader.await.unwrap();
                assert_eq!((got.ranges(), got.gaps), (whole(&pieces), vec![]));
            }
        });
    }

    /// The same for one reader where little is kept: the command waits while it is away.
    #[test]
    fn a_reader_that_comes_back_is_waited_for(pieces in pieces(), cuts in cuts(), disk in prop_oneof![Just(0), Just(DISK)]) {
        runtime().block_on(async {
            let (_dir, _, execution) = spilling(disk, Overflow::Backpressure);
            let reader = tokio::spawn(cut_off(Arc::clone(&execution), cuts));
            write_to_the_end(Arc::clone(&execution), pieces.clone()).await;
            let got = reader.await.unwrap();
            assert_eq!((got.ranges(), got.gaps), (whole(&pieces), vec![]));
        });
    }

    /// With eviction, what a reader got and what it was told is missing make the whole.
    #[test]
    fn output_and_gaps_make_the_whole(pieces in pieces(), cuts in cuts(), disk in prop_oneof![Just(0), Just(DISK)]) {
        runtime().block_on(async {
            let (_dir, _, execution) = spilling(disk, Overflow::Evict);
            let reader = tokio::spawn(cut_off(Arc::clone(&execution), cuts));
            write_to_the_end(Arc::clone(&execution), pieces.clone()).await;
            let got = reader.await.unwrap();
            let mut ranges = got.ranges();
            ranges.extend(got.gaps.iter().map(|&(channel, from, to, _)| (channel, from, to)));
            ranges.sort_unstable();
            for (channel, _, end) in whole(&pieces) {
                let own: Vec<_> = ranges.iter().filter(|(of, _, _)| *of == channel).collect();
                // A cut between a gap and what follows it has the gap told twice.
                let mut at = 0;
                for (_, from, to) in own {
                    assert!(*from <= at, "{from} after {at}");
                    at = at.max(*to);
                }
                assert_eq!(at, end);
            }
        });
    }
}

#[tokio::test]
async fn an_offset_that_has_not_come_is_refused() {
    let (_dir, _, execution) = spilling(DISK, Overflow::Backpressure);
    write(&execution, &stdout(1)).await;
    let refused = execution.follow_from(&[(Channel::Stdout, 10_001)]);
    let expected = ReadError::OffsetOutOfRange {
        offset: 10_001,
        next_offset: 10_000,
    };
    assert_eq!(refused.unwrap_err(), expected);
    assert!(execution.follow_from(&[(Channel::Stdout, 10_000)]).is_ok());
    let read = execution.read_output(Channel::Stdout, Some(10_001), 1, Duration::ZERO);
    assert_eq!(read.await.unwrap_err(), expected);
}

#[tokio::test]
async fn ranges_are_read_across_disk_and_memory() {
    let (_dir, _, execution) = spilling(DISK, Overflow::Evict);
    write_to_the_end(Arc::clone(&execution), stdout(100)).await;
    let first = execution.retained()[0].first_offset;
    assert!(first > 0);
    let gone = execution.read_output(Channel::Stdout, Some(first - 1), 10, Duration::ZERO);
    let expected = ReadError::Evicted {
        offset: first - 1,
        first_offset: first,
    };
    assert_eq!(gone.await.unwrap_err(), expected);
    let (mut at, mut got) = (None, 0);
    loop {
        let read = execution
            .read_output(Channel::Stdout, at, 33_333, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(
            read.data,
            text(Channel::Stdout, read.offset, read.data.len())
        );
        assert_eq!(
            (
                read.retained.first_offset,
                read.retained.end_offset,
                read.complete
            ),
            (first, 1_000_000, true)
        );
        got += read.data.len();
        at = Some(read.offset + read.data.len() as u64);
        if read.data.len() < 33_333 {
            break;
        }
    }
    assert_eq!((got as u64, at), (1_000_000 - first, Some(1_000_000)));
    let nothing = execution.read_output(Channel::Stderr, None, 10, Duration::ZERO);
    assert_eq!(nothing.await.unwrap().data, Bytes::new());
}

#[tokio::test]
async fn a_read_may_wait_for_the_first_byte() {
    let (_dir, _, execution) = spilling(DISK, Overflow::Backpressure);
    let reader = Arc::clone(&execution);
    let read = tokio::spawn(async move {
        let read = reader.read_output(Channel::Stdout, None, 10, Duration::from_secs(60));
        read.await.unwrap()
    });
    tokio::task::yield_now().await;
    write(&execution, &stdout(1)).await;
    let read = read.await.unwrap();
    assert_eq!((read.data.len(), read.complete), (10, false));
    let none = execution.read_output(Channel::Stdout, Some(10_000), 10, Duration::from_millis(1));
    assert_eq!(none.await.unwrap().data, Bytes::new());
}

#[tokio::test]
async fn reading_ranges_counts_as_reading() {
    let (_dir, _, execution) = spilling(DISK, Overflow::Backpressure);
    let (done, reader) = (Arc::new(AtomicBool::new(false)), Arc::clone(&execution));
    let polling = tokio::spawn(async move {
        let mut at = 0;
        loop {
            let read =
                reader.read_output(Channel::Stdout, Some(at), 100_000, Duration::from_secs(60));
            let read = read.await.unwrap();
            at += read.data.len() as u64;
            if read.complete && read.data.is_empty() {
                return at;
            }
        }
    });
    write_to_the_end(Arc::clone(&execution), stdout(300)).await;
    done.store(true, Ordering::Relaxed);
    assert_eq!(polling.await.unwrap(), 3_000_000);
}

#[tokio::test]
async fn a_budget_looks_at_all_that_is_kept() {
    let (_dir, _, execution) = spilling(DISK, Overflow::Backpressure);
    let mut offset = 0;
    for line in 0..30_000 {
        let data = Bytes::from(format!("line {line}\n"));
        let bytes = data.len() as u64;
        execution.log.until_room().await;
        execution.log.push(EventKind::Output {
            channel: Channel::Stdout,
            offset,
            data,
        });
        offset += bytes;
        if line % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let budget = OutputBudget::new(1000, Select::Head { lines: 2 }, None).unwrap();
    let (stream, range, complete) = execution.read_budgeted(Channel::Stdout, &budget).await;
    assert!(stream.bytes.starts_with(b"line 0\nline 1\n"));
    assert_eq!((stream.report.total_lines, complete), (30_000, false));
    assert_eq!((range.first_offset, range.end_offset), (0, offset));
}
