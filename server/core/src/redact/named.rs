//! Values behind a name that says they are secret: `KEY=value`, `"key": "value"`,
//! `--key value`, `<key>value</key>`, headers. The name stays, the value goes.
//!
//! Most lines with `token` or `password` in them are prose or source code. So the
//! name must end as a name, a separator must follow, and a value that is a
//! placeholder, a reference or plain code is left alone.

use super::look::{self, Answer, Class, End};
use super::placeholder::is_one_of;
pub(super) use super::placeholder::is_placeholder;

/// Longest rest of a name behind its anchor, in bytes.
const MAX_NAME_REST: usize = 48;

/// Most blanks on either side of the separator.
pub(super) const MAX_BLANKS: usize = 8;

/// Fewest bytes of a value.
const MIN_VALUE: usize = 4;

/// Fewest bytes of an unquoted value behind a colon or a spaced separator, where
/// prose and code are more likely than a secret.
pub(super) const MIN_LOOSE_VALUE: usize = 8;

/// What a secret-shaped name has in it.
pub(super) const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pgpass",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "account_key",
    "accountkey",
    "auth_key",
    "encryption_key",
    "signing_key",
    "private_key",
    "privatekey",
    "credential",
    "auth-key",
    "authkey",
    "app_key",
    "appkey",
    "app-key",
    "application_key",
    "application-key",
    "presharedkey",
    "preshared_key",
    "pre_shared_key",
    "key-data",
    "psk",
    "_pat",
    "_auth",
    "_pass",
    "-pass",
    ".pass",
    "pass",
    "pwd",
];

/// Names that are parts of other words: nothing may stand before them in a word.
const WHOLE_WORDS: &[&str] = &["psk", "pass", "pwd"];

/// Fewest bytes of a value that follows a flag as the next word.
const MIN_FLAG_VALUE: usize = 6;

/// Fewest bytes of a value that follows a name with nothing but a blank between.
const MIN_FOLLOWING_VALUE: usize = 20;

/// Words that may follow the anchor within a name: `SECRET_ACCESS_KEY`, `token2`.
const NAME_PARTS: &[&str] = &[
    "access",
    "key",
    "base",
    "base64",
    "b64",
    "value",
    "val",
    "string",
    "text",
    "plain",
    "raw",
    "prod",
    "production",
    "dev",
    "test",
    "staging",
    "live",
    "app",
    "admin",
    "root",
    "user",
    "db",
    "api",
    "new",
    "old",
    "s",
];

/// A cursor that knows when the buffer ends before the text does.
pub(super) struct Cursor<'a> {
    pub(super) buffer: &'a [u8],
    pub(super) at: usize,
    pub(super) end: End,
}

/// The text may go on: [`Answer::More`], or nothing more at its end.
pub(super) struct Unfinished;

impl Cursor<'_> {
    fn peek(&self) -> Result<Option<u8>, Unfinished> {
        match (self.buffer.get(self.at), self.end) {
            (Some(byte), _) => Ok(Some(*byte)),
            (None, End::Closed) => Ok(None),
            (None, End::Open) => Err(Unfinished),
        }
    }

    pub(super) fn take(&mut self, wanted: u8) -> Result<bool, Unfinished> {
        let found = self.peek()? == Some(wanted);
        self.at += usize::from(found);
        Ok(found)
    }

    /// Skips at most `most` bytes that `matches`; returns how many.
    pub(super) fn skip(
        &mut self,
        most: usize,
        matches: fn(u8) -> bool,
    ) -> Result<usize, Unfinished> {
        let mut skipped = 0;
        while skipped < most && self.peek()?.is_some_and(matches) {
            self.at += 1;
            skipped += 1;
        }
        Ok(skipped)
    }

    /// Takes all of `wanted`.
    pub(super) fn literal(&mut self, wanted: &[u8]) -> Result<bool, Unfinished> {
        for byte in wanted {
            if !self.take(*byte)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An opening quote, and how a value within it runs.
    pub(super) fn quote(&mut self) -> Result<Option<Class>, Unfinished> {
        for quote in [b'"', b'\'', b'`'] {
            if self.take(quote)? {
                return Ok(Some(Class::Quoted(quote)));
            }
        }
        if self.peek()? == Some(b'\\') {
            self.at += 1;
            if self.take(b'"')? {
                return Ok(Some(Class::EscapedQuoted));
            }
            self.at -= 1;
        }
        Ok(None)
    }
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// How sure the form of an assignment makes us that it is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `NAME=value`, all capitals: the environment.
    Environment,
    /// `name=value` without blanks, or anything in quotes.
    Tight,
    /// `name: value`, `name = value`.
    Loose,
    /// `--name value`.
    Flag,
    /// `<name>value</`.
    Element,
    /// `NAME value`.
    Follows,
}

/// A secret-shaped name, its `anchor` standing in the buffer; `before` is the byte before it.
pub(super) fn named(
    buffer: &[u8],
    anchor: std::ops::Range<usize>,
    before: Option<u8>,
    end: End,
) -> Answer {
    let behind = anchor.end;
    let anchor = buffer.get(anchor).unwrap_or_default();
    let whole = is_one_of(WHOLE_WORDS, anchor);
    if whole && before.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return Answer::No;
    }
    let place = Place {
        capitals: !anchor.iter().any(u8::is_ascii_lowercase),
        flag: before == Some(b'-'),
    };
    let mut cursor = Cursor {
        buffer,
        at: behind,
        end,
    };
    let Ok(place) = find_value(&mut cursor, place) else {
        return Answer::More;
    };
    let Some((class, form)) = place else {
        return Answer::No;
    };
    let run = look::run(buffer, cursor.at, class, end);
    if run.open && run.len() < look::CERTAIN_AFTER {
        return Answer::More;
    }
    if form == Form::Element {
        match buffer.get(run.end..run.end + CLOSING.len()) {
            Some(closing) if closing == CLOSING => {}
            None if end == End::Open => return Answer::More,
            _ => return Answer::No,
        }
    }
    let value = look::window(buffer, run);
    let sort_of_path = whole && (form == Form::Loose || value.starts_with(b"/"));
    if is_secret(value, form) && !sort_of_path && !is_count(anchor, value) {
        look::accept(run, class, "named-secret")
    } else {
        Answer::No
    }
}

/// What closes an element.
const CLOSING: &[u8] = b"</";

/// What is known of a name before what follows it.
#[derive(Clone, Copy)]
struct Place {
    capitals: bool,
    /// A `-` stands before it.
    flag: bool,
}

/// Walks from the anchor's end to the value; `None` where there is none.
fn find_value(cursor: &mut Cursor<'_>, place: Place) -> Result<Option<(Class, Form)>, Unfinished> {
    let name = cursor.at;
    if cursor.skip(MAX_NAME_REST, is_name)? == MAX_NAME_REST {
        return Ok(None);
    }
    if !ends_name(cursor.buffer.get(name..cursor.at).unwrap_or_default()) {
        return Ok(None);
    }
    let quoted_name = cursor.quote()?.is_some();
    if quoted_name {
        cursor.take(b']')?;
    }
    if cursor.take(b'>')? {
        return Ok(Some((Class::Unquoted, Form::Element)));
    }
    let mut blanks = cursor.skip(MAX_BLANKS, is_blank)?;
    if quoted_name && let Some(found) = find_second(cursor, blanks)? {
        return Ok(Some(found));
    }
    if place.flag && !quoted_name && blanks > 0 && !matches!(cursor.peek()?, Some(b':' | b'=')) {
        let quote = cursor.quote()?;
        return Ok(Some((quote.unwrap_or(Class::Unquoted), Form::Flag)));
    }
    let Some(colon) = separator(cursor)? else {
        let follows = blanks > 0 && !quoted_name;
        let quote = match follows {
            true => cursor.quote()?.unwrap_or(Class::Unquoted),
            false => return Ok(None),
        };
        return Ok(Some((quote, Form::Follows)));
    };
    blanks += cursor.skip(MAX_BLANKS, is_blank)?;
    if cursor.take(b'!')? {
        // A tag of YAML.
        cursor.skip(MAX_BLANKS, |byte| byte.is_ascii_alphabetic())?;
        cursor.skip(MAX_BLANKS, is_blank)?;
    }
    if colon && quoted_name && cursor.take(b'{')? {
        return find_inner(cursor);
    }
    let quote = cursor.quote()?;
    let form = match (colon || blanks > 0, place.capitals, quote) {
        (false, true, _) => Form::Environment,
        (false, false, None) | (_, _, Some(_)) => Form::Tight,
        (true, _, None) => Form::Loose,
    };
    Ok(Some((quote.unwrap_or(Class::Unquoted), form)))
}

/// The value that stands in quotes behind a quoted name: `('name', 'value')`, or
/// `key="name" value="value"`.
fn find_second(
    cursor: &mut Cursor<'_>,
    blanks: usize,
) -> Result<Option<(Class, Form)>, Unfinished> {
    let start = cursor.at;
    if cursor.take(b',')? {
        cursor.skip(MAX_BLANKS, is_blank)?;
        return Ok(cursor.quote()?.map(|quote| (quote, Form::Flag)));
    }
    if blanks > 0 && cursor.literal(b"value=")? {
        return Ok(cursor.quote()?.map(|quote| (quote, Form::Tight)));
    }
    cursor.at = start;
    Ok(None)
}

/// The value within `{ "value": "…" }`.
fn find_inner(cursor: &mut Cursor<'_>) -> Result<Option<(Class, Form)>, Unfinished> {
    let space = |byte| is_blank(byte) || byte == b'\n' || byte == b'\r';
    cursor.skip(MAX_BLANKS, space)?;
    let quoted = cursor.quote()?.is_some();
    if !quoted || !cursor.literal(b"value\"")? {
        return Ok(None);
    }
    cursor.skip(MAX_BLANKS, space)?;
    if !cursor.take(b':')? {
        return Ok(None);
    }
    cursor.skip(MAX_BLANKS, space)?;
    Ok(cursor.quote()?.map(|quote| (quote, Form::Tight)))
}

/// Whether what follows an anchor ends a name that still means a secret.
fn ends_name(rest: &[u8]) -> bool {
    rest.split(|byte| matches!(byte, b'_' | b'-' | b'.'))
        .all(|part| {
            part.iter().all(u8::is_ascii_digit)
                || NAME_PARTS
                    .iter()
                    .any(|known| known.as_bytes().eq_ignore_ascii_case(part))
        })
}

/// Whether a variable of this name holds a secret.
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| {
        memchr::memmem::rfind(&name, part.as_bytes())
            .and_then(|at| name.get(at + part.len()..))
            .is_some_and(ends_name)
    })
}

/// `=`, `:`, `:=` or `=>`, but no comparison and no path. Whether it is a colon.
pub(super) fn separator(cursor: &mut Cursor<'_>) -> Result<Option<bool>, Unfinished> {
    let colon = if cursor.take(b':')? {
        true
    } else if cursor.take(b'=')? {
        false
    } else {
        return Ok(None);
    };
    let second = cursor.peek()?;
    match (colon, second) {
        (true, Some(b'=')) | (false, Some(b'>')) => cursor.at += 1,
        (true, Some(b':' | b'/')) | (false, Some(b'=' | b'~')) => return Ok(None),
        _ => {}
    }
    Ok(Some(colon))
}

fn is_secret(value: &[u8], form: Form) -> bool {
    if value.len() < MIN_VALUE || is_placeholder(value) {
        return false;
    }
    match form {
        Form::Environment => true,
        Form::Tight => !is_prose(value) && !is_reference(value),
        Form::Element => !is_reference(value),
        Form::Follows => {
            value.len() >= MIN_FOLLOWING_VALUE && !is_reference(value) && is_key(value)
        }
        Form::Flag => {
            value.len() >= MIN_FLAG_VALUE
                && !value.starts_with(b"-")
                && !is_reference(value)
                && look::is_random(value)
        }
        Form::Loose => {
            value.len() >= MIN_LOOSE_VALUE && !is_reference(value) && look::is_random(value)
        }
    }
}

/// Letters of both cases and digits, and nothing that paths, times and addresses have.
fn is_key(value: &[u8]) -> bool {
    let in_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte);
    value.iter().all(in_key)
        && value.iter().any(u8::is_ascii_uppercase)
        && value.iter().any(u8::is_ascii_lowercase)
        && value.iter().any(u8::is_ascii_digit)
        && !value.starts_with(b"/")
        && look::is_random(value)
}

/// `prompt_tokens=1532`: how many tokens, not which.
fn is_count(anchor: &[u8], value: &[u8]) -> bool {
    /// Most digits of a count.
    const MAX_DIGITS: usize = 9;
    anchor.eq_ignore_ascii_case(b"token")
        && value.len() <= MAX_DIGITS
        && value.iter().all(u8::is_ascii_digit)
}

/// Words with blanks between them and no digit: a label, a message.
fn is_prose(value: &[u8]) -> bool {
    value.contains(&b' ') && !value.iter().any(u8::is_ascii_digit)
}

/// An identifier or a member of one: source code, not a value.
fn is_reference(value: &[u8]) -> bool {
    let in_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"_:.&".contains(byte);
    if memchr::memmem::find(value, b"::").is_some() && value.iter().all(in_path) {
        return true;
    }
    let parts = || value.split(|byte| *byte == b'.');
    parts().count() > 1
        && parts().all(|part| {
            part.first()
                .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
                && part
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
                && part.iter().filter(|byte| byte.is_ascii_digit()).count() <= 1
        })
}
