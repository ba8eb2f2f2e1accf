//! What a stream of responses becomes, without a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use execgate_proto::ERROR_DOMAIN;
use execgate_proto::v1::outcome::Result as OutcomeKind;
use futures::executor::block_on;
use futures::stream;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt as _};

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

fn call() -> Call {
    Call {
        address: "http://gate.example:1".into(),
        method: "ExecService/Exec",
    }
}

/// A stream that is cut after these.
fn source(kinds: Vec<Kind>) -> Source {
    let events = kinds.into_iter().map(|kind| {
        Ok(v1::ExecEvent {
            kind: Some(kind),
            ..v1::ExecEvent::default()
        })
    });
    stream::iter(events.collect::<Vec<_>>()).boxed()
}

/// A call that is answered with each of these in turn, and what it was asked.
fn calls(
    resume: Resume,
    answers: Vec<Result<Source, Error>>,
) -> (Events, Arc<Mutex<Vec<Option<v1::AttachRequest>>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asking = Arc::clone(&asked);
    let answers = Mutex::new(answers.into_iter());
    let opener: Opener = Box::new(move |start| {
        asking.lock().unwrap().push(match start {
            Start::First => None,
            Start::Again(request) => Some(request),
        });
        let answer = answers.lock().unwrap().next();
        let answer = answer.unwrap_or_else(|| Err(call().cut_short()));
        std::future::ready(answer).boxed()
    });
    let following = Following {
        session_id: "ses".into(),
        execution_id: "exe".into(),
        call: call(),
        resume,
        retry: RetryPolicy::none(),
        starts: true,
        fresh: true,
    };
    (Events::new(following, Position::default(), opener), asked)
}

fn events(kinds: Vec<Kind>) -> Events {
    calls(Resume::Never, vec![Ok(source(kinds))]).0
}

/// What a stream gives, in short.
fn told(event: Result<Event, Error>) -> String {
    match event {
        Ok(Event::Started(started)) => format!("started {}", started.deduplicated),
        Ok(Event::Output(output)) => format!("{} {:?}", output.offset, output.data),
        Ok(Event::Notice(notice)) => format!("notice {}", notice.number),
        Ok(Event::Gap(gap)) => format!("gap {}-{}", gap.from_offset, gap.to_offset),
        Ok(Event::Finished(_)) => "finished".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_goes_on_where_it_was() {
    let again = Kind::Started(v1::Started {
        deduplicated: true,
        ..v1::Started::default()
    });
    let notice = |number| {
        Kind::Notice(v1::Notice {
            number,
            ..v1::Notice::default()
        })
    };
    let (events, asked) = calls(
        Resume::default(),
        vec![
            // Nobody knows whether it was started.
            Err(call().cut_short()),
            Ok(source(vec![
                again.clone(),
                output(v1::Channel::Stdout, 0, b"ab"),
                notice(1),
            ])),
            Err(call().cut_short()),
            Ok(source(vec![again.clone()])),
            // Cut differently, and told twice.
            Ok(source(vec![
                again,
                notice(1),
                output(v1::Channel::Stdout, 1, b"bc"),
                output(v1::Channel::Stderr, 0, b"e"),
                notice(2),
                exited(0),
            ])),
        ],
    );
    let events: Vec<String> = events.map(told).collect().await;
    assert_eq!(
        events,
        [
            "started false",
            "0 b\"ab\"",
            "notice 1",
            "2 b\"c\"",
            "0 b\"e\"",
            "notice 2",
            "finished",
        ]
    );
    let from = v1::AttachRequest {
        session_id: "ses".into(),
        execution_id: "exe".into(),
        offsets: vec![v1::ChannelOffset {
            channel: v1::Channel::Stdout.into(),
            offset: 2,
        }],
        notices_seen: 1,
    };
    let from = Some(from);
    assert_eq!(
        *asked.lock().unwrap(),
        [None, None, from.clone(), from.clone(), from]
    );
}

#[test]
fn server_that_forgot_the_execution_says_so() {
    let refused = || {
        let reason = "SESSION_NOT_FOUND";
        let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
        call().failed(Status::with_error_details(
            Code::NotFound,
            "no such session",
            details,
        ))
    };
    let (mut events, _) = calls(
        Resume::For(Duration::from_secs(1)),
        vec![Ok(source(vec![started()])), Err(refused())],
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let error = runtime.block_on(async {
        events.next().await.unwrap().unwrap();
        events.next().await.unwrap().unwrap_err()
    });
    assert_eq!(error.reason(), Some(v1::ErrorReason::SessionNotFound));
    let text = error.to_string();
    assert!(text.contains("no longer knows"), "{text}");
    assert!(text.contains("exe"), "{text}");
    // Before anything was heard of it, it is only not there.
    let (mut events, _) = calls(Resume::default(), vec![Err(refused())]);
    let error = block_on(events.next()).unwrap().unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

#[test]
fn nobody_at_the_address_is_told_at_once() {
    let nobody = Error::Connect {
        address: "http://gate.example:1".into(),
        source: "refused".into(),
    };
    let (mut events, asked) = calls(Resume::default(), vec![Err(nobody)]);
    let error = block_on(events.next()).unwrap().unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn server_that_cannot_attach_leaves_the_broken_connection() {
    let unknown = call().failed(Status::unimplemented(""));
    let (mut events, _) = calls(
        Resume::default(),
        vec![Ok(source(vec![started()])), Err(unknown)],
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let error = runtime.block_on(async {
        events.next().await.unwrap().unwrap();
        events.next().await.unwrap().unwrap_err()
    });
    assert!(
        matches!(&error, Error::Disconnected { execution_id: Some(id), .. } if id == "exe"),
        "{error:?}"
    );
}

#[test]
fn result_joins_the_pieces_of_each_channel() {
    let gap = Kind::Gap(v1::Gap {
        channel: v1::Channel::Stderr.into(),
        from_offset: 1,
        to_offset: 9,
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
    assert_eq!(block_on(stream.start()).unwrap().execution_id, "exe");
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
