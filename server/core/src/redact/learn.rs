//! Secrets that a command is given: what its text assigns to a secret-shaped name
//! (`export API_TOKEN=…`), passes behind a flag, in a header or an address, and what its
//! environment holds. Found before it runs, so that they are hidden from its own output
//! on, in every encoding, whatever it does with them.
//!
//! Only what the text itself says is found: `$(…)` and variables have no value here.

use super::RedactionRules;
use super::look::End;
use super::named;
use super::scan::Scanner;
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

/// What in `text` these rules take for a secret by its shape, under the kinds' names, in
/// its order. Not private keys: no single value is one.
#[must_use]
pub fn given_secrets(rules: &RedactionRules, text: &str) -> Vec<(String, Secret)> {
    let mut scanner = Scanner::default();
    scanner.scan(rules.inner.shapes, text.as_bytes(), End::Closed);
    let mut found: Vec<(String, Secret)> = Vec::new();
    while let Some(span) = scanner.next_span(u64::MAX, None) {
        let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        let value = text.as_bytes().get(at(span.start)..at(span.end));
        let (Some(kind), Some(value)) = (span.kind, value) else {
            continue;
        };
        let known = found.iter().any(|(_, secret)| secret.expose() == value);
        let one_value = value.len() <= MAX_LEARNED_BYTES && !value.contains(&b'\n');
        if !known && one_value && is_worth_hiding(value) && found.len() < MAX_LEARNED {
            found.push((kind.to_owned(), Secret::new(value)));
        }
    }
    found
}

/// Those of these variables whose name says that they are secret.
pub fn secret_variables<'a>(
    variables: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Vec<(String, Secret)> {
    variables
        .into_iter()
        .filter(|(name, value)| {
            named::is_secret_name(name.as_bytes())
                && value.len() <= MAX_LEARNED_BYTES
                && is_worth_hiding(value.as_bytes())
        })
        .take(MAX_LEARNED)
        .map(|(name, value)| (name.clone(), Secret::new(value.as_str())))
        .collect()
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

    #[test]
    fn what_a_command_is_given_by_flag_header_or_address_is_found() {
        let rules = RedactionRules::builtin();
        let found = |text: &str| -> Vec<(String, String)> {
            given_secrets(&rules, text)
                .into_iter()
                .map(|(kind, value)| (kind, String::from_utf8(value.expose().to_vec()).unwrap()))
                .collect()
        };
        let one = |kind: &str, value: &str| vec![(kind.to_owned(), value.to_owned())];
        assert_eq!(
            found("tool --password Tr0ub4dor-3 run"),
            one("named-secret", "Tr0ub4dor-3")
        );
        assert_eq!(
            found("git clone https://ann:s3cr3t-9x@example.org/a"),
            one("url-password", "s3cr3t-9x")
        );
        assert_eq!(found("echo hello; make -j2"), []);
        let none = RedactionRules::none();
        assert_eq!(given_secrets(&none, "tool --password Tr0ub4dor-3"), []);
    }

    #[test]
    fn variables_are_secret_by_their_names() {
        let variables = [
            ("API_TOKEN", "abc123def"),
            ("PATH", "/usr/bin"),
            ("DB_PASSWORD", "pw"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = secret_variables(variables.iter().map(|(name, value)| (name, value)));
        assert_eq!(found, [("API_TOKEN".to_owned(), Secret::new("abc123def"))]);
    }

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
