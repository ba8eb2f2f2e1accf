//! What a stream of responses becomes, without a server.

use execgate_proto::v1::exec_event::Kind;
use execgate_proto::v1::outcome::Result as OutcomeKind;
use futures::executor::block_on;
use futures::stream;

use super::*;
use crate::outcome::Outcome;

fn started() -> Kind {
    Kind::Started(v1::Started {
        execution_id: "exe".into(),
        generation: 1,
        command: "make".into(),
        cwd: "/srv".into(),
        ..v1::Started::default()
    })
}

fn output(channel: v1::Channel, offset: u64, data: &'static [u8]) -> Kind {
    Kind::Output(v1::Output {
        channel: channel.into(),
        offset,
        data: Bytes::from_static(data),
    })
}

fn finished(result: Option<OutcomeKind>) -> Kind {
    Kind::Finished(v1::Finished {
        outcome: Some(v1::Outcome { result }),
        observed_by: v1::ObservedBy::Shell.into(),
        cause: v1::Cause::Exited.into(),
        wall_time: Some(prost_types::Duration {
            seconds: 1,
            nanos: 500_000_000,
        }),
        cwd: "/tmp".into(),
        generation: 1,
        ..v1::Finished::default()
    })
}

fn exited(code: i32) -> Kind {
    finished(Some(OutcomeKind::Exited(v1::Exited {
        code,
        possible_signal: None,
    })))
}

fn events(kinds: Vec<Kind>) -> Events<impl Stream<Item = Result<v1::ExecEvent, Status>> + Unpin> {
    let events = kinds.into_iter().map(|kind| {
        Ok(v1::ExecEvent {
            kind: Some(kind),
            ..v1::ExecEvent::default()
        })
    });
    let call = Call {
        address: "http://gate.example:1".into(),
        method: "ExecService/Exec",
    };
    Events::new(stream::iter(events.collect::<Vec<_>>()), call)
}

#[test]
fn result_joins_the_pieces_of_each_channel() {
    let gap = Kind::Gap(v1::Gap {
        channel: v1::Channel::Stderr.into(),
        ..v1::Gap::default()
    });
    let stream = events(vec![
        started(),
        output(v1::Channel::Stdout, 0, b"a\0\xff"),
        Kind::KeepAlive(v1::KeepAlive {}),
        output(v1::Channel::Stderr, 0, b"e"),
        output(v1::Channel::Background, 0, b"not the command's"),
        output(v1::Channel::Stdout, 3, b"b\r\n"),
        gap,
        exited(3),
    ]);
    let result = block_on(stream.result()).unwrap();
    let expected = RunResult {
        execution_id: "exe".into(),
        command: "make".into(),
        stdout: Bytes::from_static(b"a\0\xffb\r\n"),
        stderr: Bytes::from_static(b"e"),
        terminal: Bytes::new(),
        finished: Finished {
            outcome: Outcome::Exited {
                code: 3,
                possible_signal: None,
            },
            cause: v1::Cause::Exited,
            observed_by: v1::ObservedBy::Shell,
            wall_time: std::time::Duration::from_millis(1500),
            cwd: "/tmp".into(),
            generation: 1,
            channels: Vec::new(),
        },
        truncated: true,
        budgets: Vec::new(),
        notices: Vec::new(),
        deduplicated: false,
    };
    assert_eq!(result, expected);
    assert_eq!(result.exit_code(), Some(3));
}

#[test]
fn nothing_follows_the_end() {
    let late = output(v1::Channel::Stdout, 0, b"late");
    let stream = events(vec![started(), exited(0), late]);
    let kinds: Vec<Event> = block_on(stream.map(Result::unwrap).collect());
    assert!(
        matches!(kinds[..], [Event::Started(_), Event::Finished(_)]),
        "{kinds:?}"
    );
}

#[test]
fn stream_cut_short_is_an_error_once() {
    let mut stream = events(vec![started()]);
    assert!(matches!(
        block_on(stream.next()),
        Some(Ok(Event::Started(_)))
    ));
    assert!(matches!(
        block_on(stream.next()),
        Some(Err(Error::Disconnected { .. }))
    ));
    assert!(block_on(stream.next()).is_none());
}

#[test]
fn end_without_outcome_is_refused() {
    let stream = events(vec![started(), finished(None)]);
    let error = block_on(stream.result()).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[test]
fn result_of_a_stream_read_in_part_is_refused() {
    let mut stream = events(vec![started(), exited(0)]);
    block_on(stream.next()).unwrap().unwrap();
    let error = block_on(stream.result()).unwrap_err();
    assert!(matches!(error, Error::ResultConsumed), "{error:?}");
}

#[test]
fn looking_at_the_start_takes_nothing_away() {
    let mut stream = events(vec![started(), exited(0)]);
    assert_eq!(block_on(stream.start()).unwrap(), "exe");
    assert_eq!(block_on(stream.result()).unwrap().execution_id, "exe");
}

#[test]
fn stream_that_does_not_begin_with_its_start_is_refused() {
    for kinds in [vec![exited(0)], vec![]] {
        let error = block_on(events(kinds).start()).unwrap_err();
        assert!(
            matches!(error, Error::Protocol { .. } | Error::Disconnected { .. }),
            "{error:?}"
        );
    }
}
