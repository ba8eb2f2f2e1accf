//! Shell words: what a word means before the shell expands it, as far as that can be
//! known from its text.

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Its text is known.
    Literal(String),
    /// Only the shell will know.
    Unknown {
        /// The word as written, without double quotes.
        raw: String,
        /// The part behind the last slash, where that much is known.
        tail: Option<String>,
    },
}

impl Word {
    /// The text, or what stands for it.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Unknown { raw, .. } => raw,
        }
    }

    /// The text, if it is known.
    pub(super) fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Unknown { .. } => None,
        }
    }

    /// The program this names, without its directory.
    pub(super) fn program(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => text.rsplit('/').next().filter(|name| !name.is_empty()),
            Self::Unknown { tail, .. } => tail.as_deref().filter(|name| !name.is_empty()),
        }
    }

    /// Reads a word as it stands in a script.
    pub(super) fn read(raw: &str) -> Self {
        match unquote(raw) {
            Some(text) => Self::Literal(text),
            None => Self::Unknown {
                raw: raw.replace('"', ""),
                tail: tail(raw),
            },
        }
    }
}

/// The word without its quotes; `None` when the shell would expand something in it.
fn unquote(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    let mut double = false;
    if raw.starts_with('~') {
        return None;
    }
    while let Some(letter) = chars.next() {
        match letter {
            '"' => double = !double,
            '\\' => match chars.next()? {
                '\n' => {}
                escaped if !double || matches!(escaped, '$' | '`' | '"' | '\\') => {
                    text.push(escaped)
                }
                other => text.extend(['\\', other]),
            },
            '\'' if !double => text.extend(chars.by_ref().take_while(|letter| *letter != '\'')),
            '$' => match chars.peek() {
                Some('\'') if !double => {
                    chars.next();
                    ansi_unquote(&mut chars, &mut text)?;
                }
                Some('"') if !double => {}
                Some(next) if next.is_alphanumeric() || "_{([@*#?-$!".contains(*next) => {
                    return None;
                }
                _ => text.push('$'),
            },
            '`' => return None,
            // A glob or a brace list becomes words of its own, a process a file name.
            '*' | '?' | '<' | '>' | '(' if !double => return None,
            '[' if !double && raw.contains(']') => return None,
            '{' if !double && (raw.contains(',') || raw.contains("..")) => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

/// The rest of `$'…'`. Escapes by number are for hiding; they stay unread.
fn ansi_unquote(chars: &mut impl Iterator<Item = char>, text: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '\'' => return Some(()),
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                same @ ('\\' | '\'' | '"' | '?') => same,
                _ => return None,
            }),
            other => text.push(other),
        }
    }
}

/// The name behind the last slash, if that much of a word is plain: the `python` of
/// `"$VENV/bin/python"`.
fn tail(raw: &str) -> Option<String> {
    let (_, name) = raw.rsplit_once('/')?;
    let name = name.strip_suffix('"').unwrap_or(name);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    let inside_other_command = raw.contains(['(', '`']);
    (!name.is_empty() && !inside_other_command && name.chars().all(plain)).then(|| name.to_owned())
}
