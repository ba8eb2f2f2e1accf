//! What comes out of a shell: markers, pipeline, redaction, budgets.

use bytes::Bytes;
use execgate_core::budget::{Grep, GrepMode, OutputBudget, Select};
use execgate_core::framing::{Framing, Nonce, Streams, Token};
use execgate_core::outcome::Channel;
use execgate_core::pipeline::{MAX_OUTPUT_EVENT_BYTES, Pipeline, PipelineEvent, Stream};
use execgate_core::redact::{HOLD_BACK_MAX, RedactionRules, Redactor, Secret};

use super::{Input, cut};

const VALUE: &str = "swordfish\u{e9}-12";
const LINES: &str = "first line of it\nand another one";

fn rules() -> RedactionRules {
    let values = [VALUE, LINES].map(|value| ("value", Secret::new(value)));
    RedactionRules::builtin().with_values(values)
}

fn token(byte: u8) -> Token {
    Token::new([byte; 16])
}

fn framing_of_session() -> Framing {
    Framing::new(Nonce::new([7; 8]), Streams::Separate)
}

/// What came out, with neighbouring pieces of a channel joined.
#[derive(Debug, PartialEq, Eq)]
enum Out {
    Data(Channel, u64, Vec<u8>),
    Ended(Option<i32>, String),
    Environment(Vec<u8>),
}

fn joined(events: Vec<PipelineEvent>) -> Vec<Out> {
    let mut outs: Vec<Out> = Vec::new();
    for event in events {
        match event {
            PipelineEvent::Output {
                channel,
                offset,
                data,
            } => {
                assert!(!data.is_empty() && data.len() <= MAX_OUTPUT_EVENT_BYTES);
                match outs.last_mut() {
                    Some(Out::Data(of, at, before)) if *of == channel => {
                        assert_eq!(*at + before.len() as u64, offset, "a hole");
                        before.extend_from_slice(&data);
                    }
                    _ => outs.push(Out::Data(channel, offset, data.to_vec())),
                }
            }
            PipelineEvent::Ended(end) => outs.push(Out::Ended(end.status, end.cwd)),
            PipelineEvent::Environment(text) => outs.push(Out::Environment(text.to_vec())),
        }
    }
    outs
}

fn marker(token: &Token, tail: &[u8]) -> Vec<u8> {
    [&framing_of_session().marker_start(), token.as_bytes(), tail].concat()
}

fn end_marker(token: &Token, status: u8, cwd: &str) -> Vec<u8> {
    let says = format!(" {status} {cwd}\x1e");
    let tail = [says.as_bytes(), token.as_bytes(), b"\x1e"];
    marker(token, &tail.concat())
}

/// What a command prints comes out as it was, in any pieces, and its end says what it said,
/// whatever the output looks like.
pub(crate) fn framing(data: &[u8]) {
    let mut input = Input(data);
    let (split, status) = (input.byte(), input.byte());
    let cwd = format!("/{}", String::from_utf8_lossy(input.bytes()));
    if cwd.contains('\x1e') {
        return;
    }
    let errors = input.bytes();
    let output = input.rest();
    let mut pipeline = Pipeline::new(
        Streams::Separate,
        &framing_of_session().marker_start(),
        RedactionRules::none(),
        &token(0),
    );
    let mut events = Vec::new();
    let ready = end_marker(&token(0), 1, "/");
    pipeline.push(
        Stream::Stdout,
        [b"noise", &ready[..]].concat().into(),
        &mut events,
    );
    pipeline.push(
        Stream::Stderr,
        marker(&token(0), b"\x1e").into(),
        &mut events,
    );
    assert_eq!(
        joined(std::mem::take(&mut events)),
        [Out::Ended(Some(1), "/".into())]
    );
    pipeline.begin(&token(1), &mut events);
    let stdout = [
        &marker(&token(1), b">\x1e"),
        output,
        &end_marker(&token(1), status, &cwd),
    ]
    .concat();
    let stderr = [errors, &marker(&token(1), b"\x1e")].concat();
    for piece in cut(&stdout, split) {
        pipeline.push(Stream::Stdout, Bytes::copy_from_slice(piece), &mut events);
    }
    for piece in cut(&stderr, split.rotate_left(3)) {
        pipeline.push(Stream::Stderr, Bytes::copy_from_slice(piece), &mut events);
    }
    let mut expected = Vec::new();
    if !output.is_empty() {
        expected.push(Out::Data(Channel::Stdout, 0, output.to_vec()));
    }
    if !errors.is_empty() {
        expected.push(Out::Data(Channel::Stderr, 0, errors.to_vec()));
    }
    expected.push(Out::Ended(Some(i32::from(status)), cwd));
    // No input knows the token, which is made after it.
    let knows = [output, errors]
        .iter()
        .any(|text| memchr_of(text, token(1).as_bytes()));
    if !knows {
        assert_eq!(joined(events), expected);
        let totals = pipeline.totals();
        assert_eq!(totals[0].bytes, output.len() as u64);
    }
}

fn memchr_of(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Bytes of any kind, on both streams, with tokens that are known: the same comes out however
/// they are cut up, and all of it in the end.
pub(crate) fn pipeline(data: &[u8]) {
    let mut input = Input(data);
    let (split, turns) = (input.byte(), input.byte());
    let text = expanded(input.rest());
    let at = text.len() * usize::from(turns) / 255;
    let streams = [(Stream::Stdout, &text[..at]), (Stream::Stderr, &text[at..])];
    let run = |split: Option<u8>| {
        let start = framing_of_session().marker_start();
        let mut pipeline = Pipeline::new(Streams::Separate, &start, rules(), &token(0));
        let mut events = Vec::new();
        for (index, (stream, bytes)) in streams.iter().enumerate() {
            if index == 1 {
                pipeline.begin(&token(1), &mut events);
            }
            let pieces = split.map_or_else(|| vec![*bytes], |seed| cut(bytes, seed));
            for piece in pieces {
                pipeline.push(*stream, Bytes::copy_from_slice(piece), &mut events);
            }
        }
        pipeline.abandon(&mut events);
        assert!(!pipeline.holds_back());
        let totals = pipeline.totals();
        (joined(events), totals)
    };
    assert_eq!(run(None), run(Some(split)));
}

/// Puts markers in place of bytes that stand for them: random bytes would never be one.
fn expanded(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            0x80 => text.extend(end_marker(&token(0), 0, "/")),
            0x81 => text.extend(marker(&token(0), b"\x1e")),
            0x82 => text.extend(marker(&token(1), b">\x1e")),
            0x83 => text.extend(end_marker(&token(1), 3, "/a b")),
            0x84 => text.extend(marker(&token(1), b"\x1e")),
            0x85 => text.extend(framing_of_session().marker_start()),
            0x86 => text.extend(token(1).as_bytes()),
            0x87 => text.extend(VALUE.as_bytes()),
            byte => text.push(byte),
        }
    }
    text
}

/// The same comes out however a stream is cut up; no registered value is in it; little is
/// held back.
pub(crate) fn redactor(data: &[u8]) {
    let mut input = Input(data);
    let split = input.byte();
    let text = expanded(input.rest());
    let rules = rules();
    let mut whole = Vec::new();
    let mut redactor = Redactor::new(&rules);
    redactor.push(&text, &mut whole);
    redactor.finish(&mut whole);
    let (total, counts) = (redactor.redactions(), redactor.counts().clone());
    let mut parts = Vec::new();
    let mut shared = Vec::new();
    let (mut one, mut other) = (Redactor::new(&rules), Redactor::new(&rules));
    for piece in cut(&text, split) {
        one.push(piece, &mut parts);
        other.push_bytes(Bytes::copy_from_slice(piece), &mut shared);
        assert!(
            one.held() <= 2 * HOLD_BACK_MAX + piece.len(),
            "{} held",
            one.held()
        );
    }
    one.finish(&mut parts);
    let mut end = Vec::new();
    other.finish(&mut end);
    shared.push(end.into());
    assert_eq!(show(&parts), show(&whole));
    assert_eq!(show(&shared.concat()), show(&whole));
    assert_eq!((one.redactions(), one.counts()), (total, &counts));
    assert!(!memchr_of(&whole, VALUE.as_bytes()), "{}", show(&whole));
    // Without anything secret to it, it is as it was.
    if total == 0 {
        assert_eq!(show(&whole), show(&text));
    }
    idle(&rules, &text, split);
}

/// What is let go when nothing comes for a while hides the same values.
fn idle(rules: &RedactionRules, text: &[u8], split: u8) {
    let mut redactor = Redactor::new(rules);
    let mut out = Vec::new();
    for piece in cut(text, split.rotate_left(1)) {
        redactor.push(piece, &mut out);
        redactor.flush_idle(&mut out);
    }
    redactor.finish(&mut out);
    assert_eq!(redactor.held(), 0);
    assert!(!memchr_of(&out, VALUE.as_bytes()), "{}", show(&out));
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// No more is kept than was asked for, the numbers add up, and nothing that is kept was not
/// there.
pub(crate) fn budget(data: &[u8]) {
    let mut input = Input(data);
    let max_bytes = 1 + usize::from(input.byte()) * 4;
    let lines = usize::from(input.byte() % 16);
    let select = match input.byte() % 4 {
        0 => Select::All,
        1 => Select::Head { lines },
        2 => Select::Tail { lines },
        _ => Select::HeadTail {
            head: lines,
            tail: lines / 2,
        },
    };
    let mode = match input.byte() % 2 {
        0 => GrepMode::Matching,
        _ => GrepMode::NotMatching,
    };
    let pattern = String::from_utf8_lossy(input.bytes()).into_owned();
    let stream = input.rest();
    let Ok(grep) = Grep::new(&pattern, lines % 3, lines % 5, mode) else {
        return;
    };
    let grep = (!pattern.is_empty()).then_some(grep);
    let Ok(budget) = OutputBudget::new(max_bytes, select, grep) else {
        return;
    };
    let kept = budget.apply(stream);
    let report = kept.report;
    assert!(report.kept_bytes <= max_bytes as u64);
    assert_eq!(report.total_bytes, stream.len() as u64);
    assert_eq!(report.kept_bytes + report.omitted_bytes, report.total_bytes);
    assert!(report.kept_lines <= report.total_lines);
    assert!(report.matched_lines <= report.total_lines);
    if report.omitted_bytes == 0 {
        assert_eq!(kept.bytes, stream);
    }
    if std::str::from_utf8(stream).is_ok() {
        assert!(
            std::str::from_utf8(&kept.bytes).is_ok(),
            "{}",
            show(&kept.bytes)
        );
    }
}
