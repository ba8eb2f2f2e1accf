//! Private key blocks, from their BEGIN line to their END line, or to where the
//! body stops looking like one: a block may be cut off by `head`, and what follows
//! it is not secret.

use super::look::{Answer, End, Hit, Then};

/// Longest label between the dashes, in bytes.
const MAX_LABEL: usize = 64;

/// Longest stretch looked at as one, in bytes: a PEM line is 64 to 76, a key on one
/// line is taken in several.
const MAX_STRETCH: usize = 256;

/// Longest block in bytes: a 16384-bit RSA key is 13 kB; beyond, it is no key.
const MAX_BLOCK: usize = 64 * 1024;

const DASHES: &[u8] = b"-----";

/// What comes next in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes would have to be seen.
    More,
    /// Body up to here.
    Body {
        /// Its end in the buffer.
        end: usize,
    },
    /// The END line, up to here.
    Last {
        /// Its end in the buffer.
        end: usize,
    },
    /// No longer a key.
    Broken,
}

/// The BEGIN line at `start`.
pub(super) fn begin(buffer: &[u8], start: usize, end: End) -> Answer {
    let rest = buffer.get(start..).unwrap_or_default();
    let Some(label) = rest.strip_prefix(b"-----BEGIN ".as_slice()) else {
        return Answer::No;
    };
    let length = label
        .iter()
        .position(|byte| !is_label(*byte))
        .unwrap_or(label.len());
    if length > MAX_LABEL {
        return Answer::No;
    }
    let (label, dashes) = label.split_at_checked(length).unwrap_or_default();
    if dashes.len() < DASHES.len() && DASHES.starts_with(dashes) {
        return if end == End::Open {
            Answer::More
        } else {
            Answer::No
        };
    }
    if !dashes.starts_with(DASHES) || !contains(label, b"PRIVATE KEY") {
        return Answer::No;
    }
    let length = b"-----BEGIN ".len() + label.len() + DASHES.len();
    Answer::Secret(Hit {
        start,
        end: start + length,
        kind: "private-key",
        then: Then::PrivateKey,
    })
}

/// The line of a PuTTY key file that says how many lines of private key follow, from its
/// anchor at `start` to `behind`.
pub(super) fn begin_putty(buffer: &[u8], start: usize, behind: usize, end: End) -> Answer {
    /// Most digits of a count of lines.
    const MAX_DIGITS: usize = 4;
    let rest = buffer.get(behind..).unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits) {
        _ if digits > MAX_DIGITS => Answer::No,
        None if end == End::Open => Answer::More,
        Some(b'\n' | b'\r') if digits > 0 => Answer::Secret(Hit {
            start,
            end: behind + digits,
            kind: "private-key",
            then: Then::PrivateKey,
        }),
        _ => Answer::No,
    }
}

/// The next line, or stretch of a long line, behind `at`. The line end before it is
/// taken with it, the one behind it is left: it goes only if the block goes on.
pub(super) fn step(buffer: &[u8], at: usize, end: End, length: usize) -> Step {
    let rest = buffer.get(at..).unwrap_or_default();
    let lead = match rest {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        [b'\r'] | [] if end == End::Open => return Step::More,
        _ => 0,
    };
    let line = rest.get(lead..).unwrap_or_default();
    let stop = |(index, byte): (usize, &u8)| {
        matches!(byte, b'\n' | b'\r') || line.get(index..).is_some_and(|l| l.starts_with(DASHES))
    };
    let shown = line.get(..MAX_STRETCH).unwrap_or(line);
    let stretch = match shown.iter().enumerate().position(stop) {
        Some(stretch) => stretch,
        // Dashes could stand across the stretch's end.
        None if end == End::Open && line.len() < MAX_STRETCH + DASHES.len() => return Step::More,
        None => shown.len(),
    };
    let text = line.get(..stretch).unwrap_or_default();
    let ended = line
        .get(stretch..)
        .is_some_and(|behind| behind.starts_with(DASHES));
    if ended && text.iter().all(|byte| is_indent(*byte)) {
        return last(line, at + lead, stretch, end);
    }
    let going_on = lead + stretch > 0 && length <= MAX_BLOCK;
    if going_on && (text.iter().all(|byte| is_body(*byte)) || is_header(text)) {
        Step::Body {
            end: at + lead + stretch,
        }
    } else {
        Step::Broken
    }
}

/// The END line, whose dashes stand `indent` bytes into `line` at `at`.
fn last(line: &[u8], at: usize, indent: usize, end: End) -> Step {
    let prefix = b"-----END ";
    let dashes = line.get(indent..).unwrap_or_default();
    let Some(label) = dashes.strip_prefix(prefix.as_slice()) else {
        return if end == End::Open && prefix.starts_with(dashes) {
            Step::More
        } else {
            Step::Broken
        };
    };
    let length = label
        .iter()
        .position(|byte| !is_label(*byte))
        .unwrap_or(label.len());
    let (label, closing) = label.split_at_checked(length).unwrap_or_default();
    if label.len() > MAX_LABEL {
        return Step::Broken;
    }
    if closing.starts_with(DASHES) {
        return Step::Last {
            end: at + indent + prefix.len() + label.len() + DASHES.len(),
        };
    }
    if DASHES.starts_with(closing) && end == End::Open {
        Step::More
    } else {
        Step::Broken
    }
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' '
}

/// Indentation, and what a quoted or escaped key has around its lines.
fn is_indent(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\\' | b'n' | b'r' | b'"' | b'\'' | b'+' | b',' | b'|' | b'#'
    )
}

fn is_body(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'=') || is_indent(byte)
}

/// `Proc-Type: 4,ENCRYPTED`, `DEK-Info: …`, `Version: …`, `Comment: …`.
fn is_header(line: &[u8]) -> bool {
    const HEADERS: &[&[u8]] = &[
        b"Proc-Type:",
        b"DEK-Info:",
        b"Version:",
        b"Comment:",
        b"Charset:",
        b"Hash:",
        b"Subject:",
    ];
    HEADERS.iter().any(|header| line.starts_with(header))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
