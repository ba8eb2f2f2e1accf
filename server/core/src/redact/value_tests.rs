//! Facts about registered values: every encoding, wrapped anywhere, in any chunking.

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use proptest::prelude::*;

use super::*;

/// With all that encodings trip over.
const VALUE: &str = "Tr0ub4dor&3 /'\"\\+~pw\u{fc}?=";

fn rules() -> RedactionRules {
    RedactionRules::none().with_values([("V", Secret::new(VALUE))])
}

fn redact(text: &[u8], chunk: usize) -> String {
    let mut redactor = Redactor::new(&rules());
    let mut out = Vec::new();
    for chunk in text.chunks(chunk) {
        redactor.push(chunk, &mut out);
        assert!(redactor.held() <= HOLD_BACK_MAX);
    }
    redactor.finish(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn check(text: &str, expected: &str) {
    for chunk in [1, 7, usize::MAX] {
        assert_eq!(redact(text.as_bytes(), chunk), expected, "{text}");
    }
}

/// `text` with `end` behind every `width` bytes.
fn wrapped(text: &str, width: usize, end: &str) -> String {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join(end)
}

#[test]
fn written_forms_are_hidden() {
    for form in [
        VALUE.to_owned(),
        HEXLOWER.encode(VALUE.as_bytes()),
        HEXUPPER.encode(VALUE.as_bytes()),
        "Tr0ub4dor%263%20%2F%27%22%5C%2B~pw%C3%BC%3F%3D".to_owned(),
        "Tr0ub4dor%263%20%2f%27%22%5c%2b~pw%c3%bc%3f%3d".to_owned(),
        "Tr0ub4dor%263+%2F%27%22%5C%2B~pw%C3%BC%3F%3D".to_owned(),
        serde_json::to_string(VALUE)
            .unwrap()
            .trim_matches('"')
            .to_owned(),
        VALUE.replace('\'', "'\\''"),
        "Tr0ub4dor\\&3\\ /\\'\\\"\\\\+\\~pwü\\?=".to_owned(),
    ] {
        check(&format!("<{form}>"), "<[REDACTED:V]>");
    }
    let reversed: Vec<u8> = VALUE.bytes().rev().collect();
    assert_eq!(redact(&reversed, 4), "[REDACTED:V]");
}

#[test]
fn base64_is_hidden_at_every_alignment_and_width() {
    for before in 0..4 {
        for behind in 0..4 {
            let text = format!("{}{VALUE}{}", "-".repeat(before), "!".repeat(behind));
            for encoding in [BASE64, BASE64URL] {
                let digits = encoding.encode(text.as_bytes());
                for width in [1, 2, 5, 13, 76] {
                    let out = redact(wrapped(&digits, width, "\r\n").as_bytes(), 3);
                    let (head, tail) = out.split_once("[REDACTED:V]").unwrap();
                    assert!(head.len() <= 24 && tail.len() <= 40, "{out}");
                }
            }
        }
    }
}

#[test]
fn line_ends_and_colours_within_a_value_do_not_save_it() {
    let rules = RedactionRules::none().with_values([
        ("PLAIN", Secret::new("correct-horse")),
        ("SHORT", Secret::new("tin7")),
        ("ESC", Secret::new("31mstaple")),
    ]);
    let check = |text: &str, expected: &str| assert_eq!(redact_text(&rules, text), expected);
    check("a correct-\n    horse b", "a [REDACTED:PLAIN] b");
    check("corr\r\r\nect-horse", "[REDACTED:PLAIN]");
    check("corr\x1b[1;31mect\x1b[0m-ho\nrse", "[REDACTED:PLAIN]");
    check("ti\x1b[0mn7 but ti\nn7", "[REDACTED:SHORT] but ti\nn7");
    check("\x1b[31mstaple", "\x1b[[REDACTED:ESC]");
    check("\x1b[correct-horse", "\x1b[[REDACTED:PLAIN]");
}

#[test]
fn multi_line_value_is_found_indented_and_on_one_line() {
    let rules = RedactionRules::none().with_values([("K", Secret::new("first line\nsecond\n"))]);
    for text in [
        "first line\n  second",
        "first line\\nsecond",
        "first linesecond",
    ] {
        assert_eq!(redact_text(&rules, text), "[REDACTED:K]");
    }
}

#[test]
fn line_that_ends_as_a_value_begins_leaves_at_idle() {
    let rules = RedactionRules::none().with_values([("V", Secret::new("swordfish"))]);
    let mut redactor = Redactor::new(&rules);
    let mut out = Vec::new();
    redactor.push(b"tests\n", &mut out);
    assert_eq!((out.as_slice(), redactor.held()), (b"test".as_slice(), 2));
    redactor.flush_idle(&mut out);
    assert_eq!(out, b"tests\n");
    redactor.push(b"wor\n", &mut out);
    redactor.flush_idle(&mut out);
    assert_eq!(out, b"tests\n");
    redactor.push(b"dfish.", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"tests\n[REDACTED:V].");
}

#[test]
fn many_long_values_stay_cheap_and_are_found() {
    let key = |seed: usize| -> String {
        let digits = |at: usize| {
            char::from(b'!' + u8::try_from((at * at + seed * 7 + at / 9) % 90).unwrap())
        };
        (0..6000).map(digits).collect()
    };
    let rules = RedactionRules::none().with_values((0..8).map(|at| ("K", Secret::new(key(at)))));
    let text = BASE64.encode(key(5).as_bytes());
    let out = redact_text(&rules, &wrapped(&text, 76, "\n"));
    assert!(out.len() < 80, "{out}");
}

/// Parts of values, and what can stand in them.
const PARTS: &[&str] = &[
    "sword",
    "fish",
    "swordfish",
    "c3dvcmRmaXNo",
    "c3dvcm",
    "RmaXNo",
    "hsifdrows",
    "\n",
    "\r",
    "\r\n",
    "\n  ",
    "\x1b",
    "\x1b[",
    "[31m",
    "\x1b[1m",
    "0m",
    " ",
    "m",
    "sw",
    "o",
    "rdf",
    "ish",
    "line1",
    "line2",
    "1mx",
    "xyz",
];

#[test]
fn a_stream_is_not_cut_within_an_escape_sequence() {
    let rules = RedactionRules::none().with_values([("E", Secret::new("1mxyz"))]);
    let text = b"\x1b[1m\x1b[1mxyz";
    let mut redactor = Redactor::new(&rules);
    let mut out = Vec::new();
    for byte in text {
        redactor.push(&[*byte], &mut out);
    }
    redactor.finish(&mut out);
    assert_eq!(out, b"\x1b[1m\x1b[[REDACTED:E]");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_chunking_of_wrapped_values_gives_the_same_bytes(
        parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..40),
        chunk in 1..9_usize,
    ) {
        let rules = RedactionRules::none().with_values([
            ("V", Secret::new("swordfish")),
            ("L", Secret::new("line1\nline2")),
            ("E", Secret::new("1mxyz")),
        ]);
        let text = parts.concat();
        let whole = redact_text(&rules, &text);
        let seen = whole.replace("\r\n", "").replace('\n', "");
        prop_assert!(!seen.contains("swordfish") && !whole.contains("c3dvcmRmaXNo"));
        let mut redactor = Redactor::new(&rules);
        let mut out = Vec::new();
        for chunk in text.as_bytes().chunks(chunk) {
            redactor.push(chunk, &mut out);
        }
        redactor.finish(&mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), whole);
    }
}
