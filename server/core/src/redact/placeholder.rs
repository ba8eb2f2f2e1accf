//! What stands where a secret would and is none: masks, variables, words like `null`, and
//! what manuals tell their readers to replace.

/// What stands where a value would.
const PLACEHOLDERS: &[&str] = &[
    "none",
    "null",
    "nil",
    "true",
    "false",
    "undefined",
    "string",
    "bytes",
    "optional",
    "required",
    "redacted",
    "hidden",
    "masked",
    "yes",
    "no",
    "empty",
    "unset",
    "missing",
    "invalid",
    "expired",
    "changed",
    "password",
    "secret",
    "token",
    "example",
    "placeholder",
    "str",
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "replace_me",
    "yourpassword",
    "your_password",
    "your-password",
    "enabled",
    "disabled",
    "default",
];

/// Whether `value` only stands for one: a variable, a mask, a word like `null`.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    /// A mask shows this many different bytes at most.
    const MOST_DIFFERENT_IN_MASK: usize = 1;
    let first = value.first().copied().unwrap_or(b' ');
    if matches!(first, b'$' | b'<' | b'{' | b'%' | b'[' | b'(' | b'@' | b'*') {
        return true;
    }
    let mut different: Vec<u8> = value.to_vec();
    different.sort_unstable();
    different.dedup();
    different.len() <= MOST_DIFFERENT_IN_MASK
        || is_one_of(PLACEHOLDERS, value)
        || is_instruction(value)
}

pub(super) fn is_one_of(words: &[&str], value: &[u8]) -> bool {
    words
        .iter()
        .any(|word| word.as_bytes().eq_ignore_ascii_case(value))
}

/// `your-api-key-here`, `EXAMPLE_SECRET`: says what should stand there.
fn is_instruction(value: &[u8]) -> bool {
    const SAY_SO: &[&[u8]] = &[
        b"your",
        b"here",
        b"example",
        b"placeholder",
        b"replace",
        b"change",
        b"dummy",
        b"insert",
    ];
    let word = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b' ' | b'.');
    let joined = value.iter().any(|byte| matches!(byte, b'-' | b'_' | b' '));
    let lower = value.to_ascii_lowercase();
    joined
        && value.iter().all(word)
        && SAY_SO
            .iter()
            .any(|part| memchr::memmem::find(&lower, part).is_some())
}
