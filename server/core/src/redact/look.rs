//! How the shapes look at bytes: runs of a class, and the honest answer "I would
//! have to see more".

/// Length in bytes from which an unfinished run is taken for certain: longer than
/// any token is recognised by, so the rest is swallowed as it comes.
pub(super) const CERTAIN_AFTER: usize = 1024;

/// How much of a run in bytes the filters look at. Below [`CERTAIN_AFTER`], so that
/// the verdict is the same however the run arrived.
pub(super) const FILTER_WINDOW: usize = 256;

/// Whether the stream can go on behind the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// More may come.
    Open,
    /// This is all there is.
    Closed,
}

/// A set of bytes a run consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Letters and digits.
    Alnum,
    /// Hexadecimal digits.
    Hex,
    /// Letters, digits and what password hashes have besides.
    Hash,
    /// What a header's line consists of, up to a quote.
    Header,
    /// Letters, digits, `_`, `-`, `.` and `~`.
    Secret,
    /// Capitals and digits.
    Capitals,
    /// Letters, digits, `_` and `-`.
    Base64Url,
    /// Letters, digits, `_`, `-` and `.`: base64url segments joined by dots.
    Dotted,
    /// Letters, digits and what the base64 alphabets have besides, and the padding.
    Base64,
    /// Letters, digits and what an address escapes: `%2B`.
    Escaped,
    /// A path with an `@` in it.
    Webhook,
    /// Letters, digits, `_`, `-` and `/`: the secret path of a web hook.
    Path,
    /// Whatever is neither blank nor quote.
    Credential,
    /// An unquoted value: up to a blank, a quote or a closing or separating mark.
    Unquoted,
    /// Up to this quote, minding backslashes, or the line's end.
    Quoted(u8),
    /// A quoted value inside a quoted text, as in `{\"password\":\"…\"}`.
    EscapedQuoted,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Hash => byte.is_ascii_alphanumeric() || b"./$=,+-".contains(&byte),
            Self::Header => byte >= b' ' && !matches!(byte, b'"' | b'\'' | b'`' | 0x7f),
            Self::Secret => byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte),
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base64 => {
                byte.is_ascii_alphanumeric()
                    || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=' | b',')
            }
            Self::Escaped => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'+' | b'/' | b'=')
            }
            Self::Webhook => Self::Path.has(byte) || byte == b'@',
            Self::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/'),
            Self::Credential => byte > b' ' && !matches!(byte, b'"' | b'\'' | b'`' | b'\\' | 0x7f),
            Self::Unquoted => {
                byte > b' '
                    && !matches!(
                        byte,
                        b'"' | b'\'' | b'`' | b'\\' | b',' | b';' | b'&' | b'|'
                    )
                    && !matches!(byte, b'<' | b'>' | b'(' | b')' | b']' | b'}' | 0x7f)
            }
            Self::Quoted(quote) => byte != quote && !matches!(byte, b'\n' | b'\r'),
            Self::EscapedQuoted => !matches!(byte, b'\\' | b'"' | b'\n' | b'\r'),
        }
    }
}

/// A run of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it may go on behind the buffer.
    pub(super) open: bool,
}

impl Run {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// Most bytes of a run that an anchor is judged by: there may be one every few bytes, and
/// runs that each reached to the end of the buffer would cost its square. What goes on
/// beyond is swallowed.
const MAX_RUN: usize = 2 * CERTAIN_AFTER;

/// The run of `class` at `start`, as far as an anchor needs it.
pub(super) fn run(buffer: &[u8], start: usize, class: Class, end: End) -> Run {
    match buffer.get(..start + MAX_RUN) {
        Some(near) => whole_run(near, start, class, End::Open),
        None => whole_run(buffer, start, class, end),
    }
}

/// The run of `class` at `start`, to its end.
pub(super) fn whole_run(buffer: &[u8], start: usize, class: Class, end: End) -> Run {
    let run = measure(buffer, start, class, end);
    super::work::add(run.len());
    run
}

fn measure(buffer: &[u8], start: usize, class: Class, end: End) -> Run {
    let rest = buffer.get(start..).unwrap_or_default();
    let escapes = matches!(class, Class::Quoted(_));
    let mut length = 0;
    while let Some(byte) = rest.get(length) {
        if escapes && *byte == b'\\' {
            match rest.get(length + 1) {
                Some(b'\n' | b'\r') => length += 1,
                Some(_) => length += 2,
                // What the backslash escapes decides where the run ends.
                None if end == End::Open => break,
                None => length += 1,
            }
        } else if class.has(*byte) {
            length += 1;
        } else {
            return Run {
                start,
                end: start + length,
                open: false,
            };
        }
    }
    Run {
        start,
        end: start + length,
        open: end == End::Open,
    }
}

/// What a shape says about the bytes at an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// This is no secret.
    No,
    /// That depends on what comes next.
    More,
    /// This is one.
    Secret(Hit),
}

/// A secret in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What the marker calls it.
    pub(super) kind: &'static str,
    pub(super) then: Then,
}

/// How a secret goes on behind its [`Hit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Not at all.
    Done,
    /// For as long as the bytes are of this class.
    Swallow(Class),
    /// As the body of a private key.
    PrivateKey,
}

/// Turns a run that a shape accepts into its answer, or waits for its end.
pub(super) fn accept(run: Run, class: Class, kind: &'static str) -> Answer {
    let then = match (run.open, run.len() >= CERTAIN_AFTER) {
        (false, _) => Then::Done,
        (true, true) => Then::Swallow(class),
        (true, false) => return Answer::More,
    };
    Answer::Secret(Hit {
        start: run.start,
        end: run.end,
        kind,
        then,
    })
}

/// The part of a run that filters may judge.
pub(super) fn window(buffer: &[u8], run: Run) -> &[u8] {
    buffer
        .get(run.start..run.end.min(run.start + FILTER_WINDOW))
        .unwrap_or_default()
}

/// Whether `text` looks made by a machine: digits and letters, and not the same few
/// over and over, as in a placeholder.
pub(super) fn is_random(text: &[u8]) -> bool {
    /// Fewer different bytes than this are `xxxx-0000`, not a token.
    const FEWEST_DIFFERENT: usize = 6;
    let mut seen = [false; 256];
    for byte in text {
        if let Some(flag) = seen.get_mut(usize::from(*byte)) {
            *flag = true;
        }
    }
    let different = seen.iter().filter(|flag| **flag).count();
    different >= FEWEST_DIFFERENT
        && text.iter().any(u8::is_ascii_digit)
        && text.iter().any(u8::is_ascii_alphabetic)
}
