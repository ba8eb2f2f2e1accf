//! Passwords in the places that programs read them from without an equals sign: `.netrc`,
//! `.pgpass`, `curl -u`, `sshpass -p`, SQL. What stands where says what it is, so a value
//! needs no name; it must not be a placeholder.

use super::look::{self, Answer, Class, End};
use super::named::{self, Cursor, Unfinished};

/// Longest name of a user or a database, in bytes.
const MAX_USER: usize = 64;

/// Most blanks and line ends between two words.
const MAX_BLANKS: usize = 16;

/// Fewest bytes of a password.
const MIN_PASSWORD: usize = 4;

/// Fewest bytes of a password in `user:password`, which other pairs look like.
const MIN_PAIRED: usize = 6;

const KIND: &str = "password";

/// Where a password stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// `login USER password PASSWORD`, in one line or several.
    Netrc,
    /// `host:5432:database:user:PASSWORD`.
    Pgpass,
    /// `-u user:PASSWORD`.
    Pair,
    /// `sshpass -p PASSWORD`.
    Word,
    /// `IDENTIFIED BY 'PASSWORD'`.
    Sql,
    /// `"auth": "…"`, base64 of `user:PASSWORD`.
    Docker,
}

/// What leads to them, in lower case.
pub(super) const ANCHORS: &[(&str, Login)] = &[
    ("login ", Login::Netrc),
    (":5432:", Login::Pgpass),
    ("-u ", Login::Pair),
    ("--user ", Login::Pair),
    ("--proxy-user ", Login::Pair),
    ("sshpass -p", Login::Word),
    ("identified by ", Login::Sql),
    ("with password ", Login::Sql),
    ("-pass pass:", Login::Word),
    ("-passin pass:", Login::Word),
    ("-passout pass:", Login::Word),
    ("requirepass ", Login::Word),
    ("masterauth ", Login::Word),
    ("redis-cli -a ", Login::Word),
    ("ldapsearch -w ", Login::Word),
    ("zip -p ", Login::Word),
    ("openssl enc -k ", Login::Word),
    ("\"auth\"", Login::Docker),
];

/// The password behind an anchor; `before` is the byte before it.
pub(super) fn login(
    login: Login,
    buffer: &[u8],
    behind: usize,
    before: Option<u8>,
    end: End,
) -> Answer {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if in_word && login != Login::Pgpass {
        return Answer::No;
    }
    let mut cursor = Cursor {
        buffer,
        at: behind,
        end,
    };
    let class = match walk(login, &mut cursor) {
        Err(Unfinished) => return Answer::More,
        Ok(None) => return Answer::No,
        Ok(Some(class)) => class,
    };
    let run = look::run(buffer, cursor.at, class, end);
    if run.open && run.len() < look::CERTAIN_AFTER {
        return Answer::More;
    }
    let value = look::window(buffer, run);
    let secret = match login {
        // A sentence may say `login` and `password`, too.
        Login::Netrc => {
            let made = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
            value.len() >= MIN_PASSWORD && value.iter().any(made)
        }
        Login::Word => value.len() >= MIN_PASSWORD && !value.contains(&b' '),
        Login::Sql => value.len() >= MIN_PASSWORD,
        Login::Docker => is_encoded_pair(value),
        Login::Pgpass => value.len() >= MIN_PASSWORD && value.iter().any(u8::is_ascii_alphabetic),
        Login::Pair => value.len() >= MIN_PAIRED && look::is_random(value),
    };
    match secret && !named::is_placeholder(value) {
        true => look::accept(run, class, KIND),
        false => Answer::No,
    }
}

/// Goes to where the password would begin; `None` where there is none.
fn walk(login: Login, cursor: &mut Cursor<'_>) -> Result<Option<Class>, Unfinished> {
    let found = match login {
        Login::Netrc => {
            cursor.skip(MAX_USER, is_graphic)? > 0
                && cursor.skip(MAX_BLANKS, is_space)? > 0
                && cursor.literal(b"password")?
                && cursor.skip(MAX_BLANKS, is_space)? > 0
        }
        Login::Pgpass => {
            cursor.skip(MAX_USER, is_field)? > 0
                && cursor.take(b':')?
                && cursor.skip(MAX_USER, is_field)? > 0
                && cursor.take(b':')?
        }
        Login::Pair => {
            cursor.quote()?;
            cursor.skip(MAX_USER, is_field)? > 0 && cursor.take(b':')?
        }
        Login::Word => {
            cursor.skip(MAX_BLANKS, is_space)?;
            let quote = cursor.quote()?.unwrap_or(Class::Unquoted);
            return Ok((quote != Class::Quoted(b'`')).then_some(quote));
        }
        Login::Docker => {
            cursor.skip(MAX_BLANKS, is_space)?;
            let colon = cursor.take(b':')?;
            cursor.skip(MAX_BLANKS, is_space)?;
            let quoted = colon && cursor.take(b'"')?;
            return Ok(quoted.then_some(Class::Quoted(b'"')));
        }
        Login::Sql => return Ok(cursor.take(b'\'')?.then_some(Class::Quoted(b'\''))),
    };
    Ok(found.then_some(Class::Credential))
}

/// Whether `value` is base64 of a user and a password, as far as it is looked at.
fn is_encoded_pair(value: &[u8]) -> bool {
    /// Digits that stand for three bytes.
    const GROUP: usize = 4;
    let whole = value.len() - value.len() % GROUP;
    let bytes = data_encoding::BASE64.decode(value.get(..whole).unwrap_or_default());
    value.len() >= MIN_PAIRED && bytes.is_ok_and(|pair| pair.contains(&b':'))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_graphic(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

/// A part of a list that colons separate.
fn is_field(byte: u8) -> bool {
    is_graphic(byte) && !matches!(byte, b':' | b'/' | b'"' | b'\'' | b'$')
}
