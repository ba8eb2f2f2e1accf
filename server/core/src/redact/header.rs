//! The `Authorization` header: everything behind its scheme is secret.

use super::look::{self, Answer, Class, End};
use super::named::{Cursor, MAX_BLANKS, MIN_LOOSE_VALUE, Unfinished, is_blank, separator};
use super::placeholder::is_placeholder;

/// The credentials in an `Authorization` header: everything behind the scheme.
pub(super) fn authorization(buffer: &[u8], behind: usize, end: End) -> Answer {
    let mut cursor = Cursor {
        buffer,
        at: behind,
        end,
    };
    match find_credentials(&mut cursor) {
        Err(Unfinished) => Answer::More,
        Ok(false) => Answer::No,
        Ok(true) => {
            let run = look::run(buffer, cursor.at, Class::Credential, end);
            if run.open && run.len() < look::CERTAIN_AFTER {
                return Answer::More;
            }
            let credentials = look::window(buffer, run);
            if !is_credentials(credentials) {
                return Answer::No;
            }
            look::accept(run, Class::Credential, "authorization")
        }
    }
}

/// Not a placeholder, a type or a word of a sentence.
fn is_credentials(value: &[u8]) -> bool {
    /// Bytes from which letters alone are no word.
    const LONG: usize = 20;
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-.~".contains(byte);
    value.len() >= MIN_LOOSE_VALUE
        && !is_placeholder(value)
        && (value.iter().any(u8::is_ascii_digit)
            || (value.len() >= LONG && value.iter().all(in_token)))
}

fn find_credentials(cursor: &mut Cursor<'_>) -> Result<bool, Unfinished> {
    /// Longest name of an authentication scheme, in bytes.
    const MAX_SCHEME: usize = 24;
    cursor.quote()?;
    cursor.skip(MAX_BLANKS, is_blank)?;
    if separator(cursor)?.is_none() {
        return Ok(false);
    }
    cursor.skip(MAX_BLANKS, is_blank)?;
    cursor.quote()?;
    let scheme = cursor.skip(MAX_SCHEME, |byte| {
        byte.is_ascii_alphabetic() || byte == b'-'
    })?;
    let blanks = cursor.skip(MAX_BLANKS, is_blank)?;
    if blanks == 0 {
        // No scheme: the whole field is the token.
        cursor.at -= scheme;
    }
    Ok(true)
}
