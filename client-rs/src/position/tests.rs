//! What of a repeated stream is new.

use bytes::Bytes;
use execgate_proto::v1::GapReason;

use super::*;
use crate::event::{Gap, Output};

fn output(channel: Channel, offset: u64, data: &'static [u8]) -> Event {
    Event::Output(Output {
        channel,
        offset,
        data: Bytes::from_static(data),
    })
}

fn gap(from_offset: u64, to_offset: u64) -> Event {
    Event::Gap(Gap {
        channel: Channel::Stdout,
        from_offset,
        to_offset,
        reason: GapReason::Evicted,
    })
}

#[test]
fn bytes_come_once_however_they_are_cut() {
    let mut position = Position::at([(Channel::Stdout, 2)]);
    let mut admit = |event| position.admit(event).unwrap();
    let out = Channel::Stdout;
    assert_eq!(admit(output(out, 2, b"cd")), Some(output(out, 2, b"cd")));
    assert_eq!(admit(output(out, 0, b"abcd")), None);
    assert_eq!(admit(output(out, 3, b"def")), Some(output(out, 4, b"ef")));
    assert_eq!(admit(gap(4, 9)), Some(gap(6, 9)));
    assert_eq!(admit(gap(6, 9)), None);
    let err = Channel::Stderr;
    assert_eq!(admit(output(err, 0, b"e")), Some(output(err, 0, b"e")));
    assert_eq!(admit(output(out, 8, b"ij")), Some(output(out, 9, b"j")));
    let next: Vec<_> = position.offsets().clone().into_iter().collect();
    assert_eq!(next, [(out, 10), (err, 1)]);
}

#[test]
fn missing_bytes_are_not_passed_over() {
    let mut position = Position::default();
    let error = position
        .admit(output(Channel::Stdout, 1, b"b"))
        .unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    // The session's own channel began before the execution.
    let background = output(Channel::Background, 7, b"x");
    assert_eq!(
        position.admit(background.clone()).unwrap(),
        Some(background)
    );
}
