//! Values that a command gives to a secret-shaped name: `export API_TOKEN=…`. Found in
//! the command's text, so that they are hidden from its own output on, whatever it does
//! with them.
//!
//! Only what the text itself says is found: `$(…)` and variables have no value here.

use super::named;
use super::secret::Secret;

/// Shortest value in bytes that is learned: shorter ones are flags and words, and hiding
/// those damages the output that the agent works with.
pub const MIN_LEARNED_BYTES: usize = 6;

/// Longest value in bytes that is learned.
const MAX_LEARNED_BYTES: usize = 4096;

/// Most values learned from one command.
const MAX_LEARNED: usize = 32;

/// The names and values of the secrets that `script` assigns, in their order. Pass them to
/// [`super::RedactionRules::with_values`] before the command runs.
#[must_use]
pub fn assigned_secrets(script: &str) -> Vec<(String, Secret)> {
    let text = script.as_bytes();
    let mut found: Vec<(String, Secret)> = Vec::new();
    for equals in memchr::memchr_iter(b'=', text) {
        let (name, quote) = name_before(text, equals);
        if !named::is_secret_name(name.as_bytes()) {
            continue;
        }
        let Some(value) = text.get(equals + 1..).and_then(|rest| word(rest, quote)) else {
            continue;
        };
        let known = found.iter().any(|(_, secret)| secret.expose() == value);
        if !known && is_worth_hiding(&value) && found.len() < MAX_LEARNED {
            found.push((name, Secret::new(value)));
        }
    }
    found
}

/// The variable's name that ends at `equals`, empty if that is no assignment, and the
/// quote that stands before it.
fn name_before(text: &[u8], equals: usize) -> (String, Option<u8>) {
    let before = text.get(..equals).unwrap_or_default();
    let part_of_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let length = before.iter().rev().take_while(part_of_name).count();
    let (outside, name) = before.split_at(before.len() - length);
    let starts_word = outside
        .last()
        .is_none_or(|byte| b" \t\n;&|({`'\"".contains(byte));
    let quote = outside.last().copied();
    let quote = quote.filter(|byte| matches!(byte, b'\'' | b'"'));
    let name = match starts_word && !name.first().is_some_and(u8::is_ascii_digit) {
        true => String::from_utf8_lossy(name).into_owned(),
        false => String::new(),
    };
    (name, quote)
}

/// The value of the shell word that `text` begins with, `quote` being open; `None` if it is
/// not literal.
fn word(text: &[u8], mut quote: Option<u8>) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(b'\''), byte) => value.push(byte),
            (_, b'$' | b'`') => return None,
            (Some(_), b'\\') => match bytes.next()? {
                b'\n' => {}
                next @ (b'$' | b'`' | b'"' | b'\\') => value.push(next),
                next => value.extend_from_slice(&[b'\\', next]),
            },
            (Some(_), byte) => value.push(byte),
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'\\') => match bytes.next()? {
                b'\n' => {}
                next => value.push(next),
            },
            (None, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')') => break,
            (None, byte) => value.push(byte),
        }
        if value.len() > MAX_LEARNED_BYTES {
            return None;
        }
    }
    Some(value)
}

/// Not a placeholder, a path, an address without password, a number or a reference.
fn is_worth_hiding(value: &[u8]) -> bool {
    let path = value.starts_with(b"/") || value.starts_with(b"./") || value.starts_with(b"~/");
    value.len() >= MIN_LEARNED_BYTES
        && !path
        && !value.iter().all(u8::is_ascii_digit)
        && memchr::memmem::find(value, b"://").is_none()
        && !named::is_placeholder(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, expected: &[(&str, &str)]) {
        let found: Vec<(String, String)> = assigned_secrets(script)
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8(value.expose().to_vec()).unwrap()))
            .collect();
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn literal_values_of_secret_names_are_learned() {
        check("export API_TOKEN=abc123def", &[("API_TOKEN", "abc123def")]);
        check(
            "DB_PASSWORD='it is \"so\"' GITHUB_TOKEN=\"a\\\"b\\$cd\" make; PGPASSWORD=corr\\ ect psql",
            &[
                ("DB_PASSWORD", "it is \"so\""),
                ("GITHUB_TOKEN", "a\"b$cd"),
                ("PGPASSWORD", "corr ect"),
            ],
        );
        check(
            "f() { local my_secret=hunter22; }",
            &[("my_secret", "hunter22")],
        );
        check(
            "declare -x AWS_SECRET_ACCESS_KEY=a/b+c/d&& ls",
            &[("AWS_SECRET_ACCESS_KEY", "a/b+c/d")],
        );
        check("TOKEN=first1 TOKEN=first1", &[("TOKEN", "first1")]);
        check("env 'API_KEY=abc def' x", &[("API_KEY", "abc def")]);
    }

    #[test]
    fn what_is_no_literal_secret_is_not_learned() {
        for script in [
            "TOKEN=$(cat token) SECRET=${X} PASSWORD=\"a$b\" API_KEY=`x`",
            "TOKEN= PASSWORD=short SECRET=123456789 TOKEN_FILE=/run/secrets/token",
            "PASSWORD=/run/secrets/pw SECRET=changeme PASSWORD=********",
            "PATH=/usr/local/bin:$PATH LANG=C.UTF-8 KEYBOARD=qwertz MAX_TOKENS=100000",
            "test \"$token\" == abcdefgh; curl http://h/?xtoken=abcdefgh",
            "TOKENIZERS_PARALLELISM=disabled",
        ] {
            check(script, &[]);
        }
    }
}
