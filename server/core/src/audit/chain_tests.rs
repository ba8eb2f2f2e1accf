//! Facts about the encoding and the chain.

use std::collections::BTreeMap;

use super::super::record::{
    AuditCause, AuditChannel, AuditKind, AuditObserver, AuditOutcome, AuthFailure, ChannelTotals,
    ExecutionOutcome, ServerStopped,
};
use super::*;

fn record(principal: &str, body: AuditBody) -> NewRecord {
    NewRecord {
        time: Micros(1_700_000_000_000_000),
        principal: principal.to_owned(),
        session_id: Some("ses_1".to_owned()),
        execution_id: None,
        trace_id: None,
        auth: None,
        body,
    }
}

fn stopped(reason: &str) -> NewRecord {
    record(
        "system",
        AuditBody::ServerStopped(ServerStopped {
            reason: reason.to_owned(),
        }),
    )
}

fn outcome() -> NewRecord {
    record(
        "agent \"quoted\"\n\u{1}é",
        AuditBody::ExecutionOutcome(ExecutionOutcome {
            outcome: AuditOutcome::Signal {
                number: 9,
                name: "SIGKILL".to_owned(),
            },
            cause: AuditCause::Timeout,
            observed_by: AuditObserver::Kernel,
            wall_micros: u64::MAX,
            totals: vec![ChannelTotals {
                channel: AuditChannel::Stdout,
                bytes: 5,
                lines: 1,
                redactions: 0,
                redacted: BTreeMap::new(),
                sha256: Digest([0xab; 32]),
            }],
        }),
    )
}

fn log(records: &[NewRecord]) -> (ChainState, Vec<Vec<u8>>) {
    let mut state = ChainState::default();
    let lines = records.iter().map(|record| {
        let mut line = Vec::new();
        state.append(record, 0, &mut line).unwrap();
        assert_eq!(line.pop(), Some(b'\n'));
        line
    });
    let lines = lines.collect();
    (state, lines)
}

fn slices(lines: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    lines.iter().map(Vec::as_slice)
}

#[test]
fn the_stored_line_is_as_documented() {
    let (_, lines) = log(&[stopped("SIGTERM")]);
    let text = String::from_utf8(lines[0].clone()).unwrap();
    let payload = format!(
        "{{\"sequence\":1,\"time_micros\":1700000000000000,\"principal\":\"system\",\
         \"session_id\":\"ses_1\",\"previous_hash\":\"{}\",\"durable\":0,\
         \"body\":{{\"kind\":\"server_stopped\",\"reason\":\"SIGTERM\"}}}}",
        "0".repeat(64)
    );
    let mut hasher = Sha256::new();
    hasher.update([0; 32]);
    hasher.update(payload.as_bytes());
    assert_eq!(
        text,
        format!("{} {payload}", Digest(hasher.finalize().into()))
    );
}

#[test]
fn a_record_survives_the_round_trip() {
    let (state, lines) = log(&[outcome()]);
    let read = decode_line(&lines[0]).unwrap().record().unwrap();
    let given = outcome();
    let expected = AuditRecord {
        sequence: 1,
        time: given.time,
        principal: given.principal,
        session_id: given.session_id,
        execution_id: None,
        trace_id: None,
        auth: None,
        previous_hash: Digest::default(),
        hash: state.hash,
        body: given.body,
        payload: read.payload.clone(),
    };
    assert_eq!(read, expected);
}

#[test]
fn a_whole_chain_verifies() {
    let (state, lines) = log(&[stopped("a"), outcome(), stopped("b")]);
    assert_eq!(verify(ChainState::default(), slices(&lines)), Ok(state));
}

#[test]
fn every_flipped_byte_is_found_at_its_record() {
    let (_, lines) = log(&[stopped("a"), outcome(), stopped("b")]);
    for at in 0..lines[1].len() {
        let mut changed = lines.clone();
        changed[1][at] ^= 1;
        let error = verify(ChainState::default(), slices(&changed)).unwrap_err();
        assert_eq!(error.sequence, 2, "byte {at}");
    }
}

#[test]
fn removed_swapped_and_inserted_records_are_found() {
    let (_, lines) = log(&[stopped("a"), stopped("b"), stopped("c")]);
    let wrong = |order: &[usize]| {
        verify(
            ChainState::default(),
            order.iter().map(|&at| lines[at].as_slice()),
        )
        .unwrap_err()
    };
    let jump = |expected, found| VerifyError {
        sequence: expected,
        fault: ChainFault::WrongSequence { expected, found },
    };
    assert_eq!(wrong(&[0, 2]), jump(2, 3));
    assert_eq!(wrong(&[0, 2, 1]), jump(2, 3));
    assert_eq!(wrong(&[0, 0, 1]), jump(2, 1));
}

#[test]
fn a_record_of_another_chain_is_found() {
    let (_, lines) = log(&[stopped("a"), stopped("b")]);
    let (_, other) = log(&[stopped("z"), stopped("b")]);
    let mixed = [lines[0].as_slice(), other[1].as_slice()];
    assert_eq!(
        verify(ChainState::default(), mixed),
        Err(VerifyError {
            sequence: 2,
            fault: ChainFault::WrongPrevious
        })
    );
}

#[test]
fn a_record_over_the_limit_leaves_no_trace() {
    let mut state = ChainState::default();
    let mut out = b"before".to_vec();
    let body = AuditBody::AuthFailure(AuthFailure {
        method: "m".to_owned(),
        peer: "p".to_owned(),
        reason: "x".repeat(MAX_PAYLOAD_BYTES),
    });
    let error = state.append(&record("p", body), 0, &mut out).unwrap_err();
    assert!(matches!(error, EncodeError::TooLarge { .. }), "{error}");
    assert_eq!((state, out), (ChainState::default(), b"before".to_vec()));
}

#[test]
fn a_kind_of_a_newer_version_can_still_be_read() {
    let payload = format!(
        "{{\"sequence\":1,\"time_micros\":1,\"principal\":\"p\",\"previous_hash\":\"{}\",\
         \"durable\":0,\"new_field\":true,\"body\":{{\"kind\":\"from_the_future\",\"x\":1}}}}",
        "0".repeat(64)
    );
    let line = format!(
        "{} {payload}",
        chain_hash(Digest::default(), payload.as_bytes())
    );
    let record = decode_line(line.as_bytes()).unwrap().record().unwrap();
    assert_eq!(
        (record.body.kind(), record.payload),
        (AuditKind::Unknown, payload)
    );
}
