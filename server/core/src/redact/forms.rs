//! The byte strings under which a registered value is searched for: as it is, and as
//! the programs of a shell print it. Encodings are those of RFC 4648 (base64, base64url,
//! base16), RFC 3986 (percent), RFC 8259 (JSON strings) and the shells' quoting.
//!
//! Forms are compared without line ends (see `view`), so none of them holds one.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXUPPER};
use zeroize::Zeroizing;

use super::secret::Secret;
use super::values::{MAX_VALUE_BYTES, MIN_VALUE_BYTES};
use super::view;

/// Shortest value in bytes that is also searched for in its encodings: of a shorter one
/// so little is left in base64 that any image would contain it.
const MIN_ENCODED_BYTES: usize = 6;

/// Shortest form in bytes that is found across a line end that is not its own: shorter
/// ones stand there by chance.
const MIN_WRAPPED_BYTES: usize = 8;

/// Longest value in bytes that is also searched for in its encodings; a longer one is a
/// file, and its forms would cost megabytes.
const MAX_ENCODED_BYTES: usize = 16 * 1024;

/// How a form writes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Writing {
    /// As it is.
    Plain,
    /// In an encoding, escaped or reversed.
    Encoded,
}

/// A byte string to search for.
pub(super) struct Form {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) writing: Writing,
    /// Whether a line end may stand in it.
    pub(super) wraps: bool,
}

/// All forms of `secret`; none if it is too short.
pub(super) fn forms(secret: &Secret) -> Vec<Form> {
    let value = trimmed(secret.expose());
    let mut forms = Vec::new();
    if value.len() < MIN_VALUE_BYTES {
        return forms;
    }
    add(&mut forms, value, Writing::Plain);
    let mut written = vec![
        percent(value, Blank::Escaped, &HEXUPPER),
        percent(value, Blank::Escaped, &HEXLOWER),
        percent(value, Blank::Plus, &HEXUPPER),
        json(value, Slash::Plain),
        json(value, Slash::Escaped),
        single_quoted(value),
        backslashed(value),
    ];
    if (MIN_ENCODED_BYTES..=MAX_ENCODED_BYTES).contains(&value.len()) {
        for before in 0..3 {
            written.push(base64(value, before, &BASE64_NOPAD));
            written.push(base64(value, before, &BASE64URL_NOPAD));
        }
        // As it ends when nothing follows it: the last digit, too.
        written.push(encoded(value, &BASE64_NOPAD));
        written.push(encoded(value, &BASE64URL_NOPAD));
        written.push(encoded(value, &HEXLOWER));
        written.push(encoded(value, &HEXUPPER));
        written.push(Zeroizing::new(value.iter().rev().copied().collect()));
    }
    for form in written {
        if form.as_slice() != value {
            add(&mut forms, &form, Writing::Encoded);
        }
    }
    forms
}

/// Without the line end of a secret's file, and without what no search starts at.
fn trimmed(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// Adds `form` in pieces of equal size, none above the maximum.
fn add(forms: &mut Vec<Form>, form: &[u8], writing: Writing) {
    let own_line_end = form.contains(&b'\n');
    let seen = Zeroizing::new(view::without_line_ends(form));
    if seen.len() < MIN_VALUE_BYTES {
        return;
    }
    let count = seen.len().div_ceil(MAX_VALUE_BYTES);
    let size = seen.len().div_ceil(count);
    forms.extend(seen.chunks(size).map(|piece| Form {
        bytes: Zeroizing::new(piece.to_vec()),
        writing,
        wraps: own_line_end || piece.len() >= MIN_WRAPPED_BYTES,
    }));
}

fn encoded(value: &[u8], encoding: &Encoding) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(encoding.encode(value).into_bytes())
}

/// The digits that `value` alone decides when `before` bytes of something else stand
/// before it in its group of three.
fn base64(value: &[u8], before: usize, encoding: &Encoding) -> Zeroizing<Vec<u8>> {
    const BITS_IN_BYTE: usize = 8;
    const BITS_IN_DIGIT: usize = 6;
    let mut padded = Zeroizing::new(vec![0; before]);
    padded.extend_from_slice(value);
    let digits = Zeroizing::new(encoding.encode(&padded).into_bytes());
    let from = (before * BITS_IN_BYTE).div_ceil(BITS_IN_DIGIT);
    let to = padded.len() * BITS_IN_BYTE / BITS_IN_DIGIT;
    Zeroizing::new(digits.get(from..to).unwrap_or_default().to_vec())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Blank {
    Escaped,
    Plus,
}

/// As in an address or a form: everything but the unreserved characters escaped.
fn percent(value: &[u8], blank: Blank, digits: &Encoding) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() * 3));
    for byte in value {
        match byte {
            b' ' if blank == Blank::Plus => out.push(b'+'),
            b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            byte if byte.is_ascii_alphanumeric() => out.push(*byte),
            byte => {
                out.push(b'%');
                out.extend_from_slice(digits.encode(&[*byte]).as_bytes());
            }
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Plain,
    Escaped,
}

/// As within a JSON string.
fn json(value: &[u8], slash: Slash) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() * 2));
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'/' if slash == Slash::Escaped => out.extend_from_slice(b"\\/"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte if *byte < b' ' => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(HEXLOWER.encode(&[*byte]).as_bytes());
            }
            byte => out.push(*byte),
        }
    }
    out
}

/// As within single quotes of a shell, which only a quote has to leave.
fn single_quoted(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() * 2));
    for byte in value {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out
}

/// As `printf %q` writes it.
fn backslashed(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() * 2));
    for byte in value {
        let plain = byte.is_ascii_alphanumeric()
            || !byte.is_ascii()
            || byte.is_ascii_control()
            || b"-_./:=@%+".contains(byte);
        if !plain {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &[&str]) {
        let mut found: Vec<String> = forms(&Secret::new(value))
            .iter()
            .map(|form| String::from_utf8(form.bytes.to_vec()).unwrap())
            .collect();
        found.sort();
        found.dedup();
        let mut expected: Vec<String> = expected.iter().map(|form| (*form).to_owned()).collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn short_value_has_its_written_forms_only() {
        check(
            "a/b\"c",
            &["a/b\"c", "a%2Fb%22c", "a%2fb%22c", "a/b\\\"c", "a\\/b\\\"c"],
        );
        check("abc", &[]);
    }

    #[test]
    fn value_is_encoded_at_every_alignment() {
        check(
            "sw ord!",
            &[
                "sw ord!",
                "sw%20ord%21",
                "sw+ord%21",
                "sw\\ ord\\!",
                "c3cgb3JkI",
                "c3cgb3JkIQ",
                "N3IG9yZC",
                "zdyBvcmQh",
                "7377206f726421",
                "7377206F726421",
                "!dro ws",
            ],
        );
    }
}
