//! A buffer as registered values are compared with it: without line ends and the
//! indentation behind them, and, in a second view, without the escape sequences of a
//! terminal. So `base64 -w 76`, `fold` and colours within a value do not save it.
//!
//! What is left out is decided by the bytes from its own first byte on, and no value
//! begins with such a byte: the view of a buffer's rest is the rest of its view.

/// Most carriage returns before a line feed that belong to the line end: a terminal adds
/// one to those of a file.
const MAX_RETURNS: usize = 2;

/// Most blanks behind a line end that are indentation.
const MAX_INDENT: usize = 16;

/// Longest escape sequence in bytes; colours are below 20.
const MAX_ESCAPE: usize = 32;

const ESCAPE: u8 = 0x1b;

/// What a view does with escape sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// They are text.
    Kept,
    /// They are left out.
    Dropped,
}

/// A view, and where its bytes stand in the buffer.
pub(super) struct View {
    pub(super) bytes: Vec<u8>,
    /// Where each part starts, in the view and in the buffer.
    parts: Vec<(usize, usize)>,
    /// Where an escape sequence starts that the buffer's end cuts.
    pub(super) cut_escape: Option<usize>,
}

impl View {
    pub(super) fn new(buffer: &[u8], escapes: Escapes) -> Self {
        super::work::add(buffer.len());
        let mut view = Self {
            bytes: Vec::with_capacity(buffer.len()),
            parts: Vec::new(),
            cut_escape: None,
        };
        let mut at = 0;
        while let Some((gap, behind)) = view.next_gap(buffer, at, escapes) {
            view.part(buffer, at, gap);
            at = behind;
        }
        let end = buffer.len() - returns(buffer.get(at..).unwrap_or_default());
        view.part(buffer, at, end);
        view
    }

    /// Whether `buffer` has anything that the two views differ in.
    pub(super) fn has_escapes(buffer: &[u8]) -> bool {
        memchr::memchr(ESCAPE, buffer).is_some()
    }

    /// Where the byte at `at` of the view stands in the buffer.
    pub(super) fn place(&self, at: usize) -> usize {
        let part = self.parts.partition_point(|part| part.0 <= at);
        let (view, buffer) = part
            .checked_sub(1)
            .and_then(|part| self.parts.get(part))
            .copied()
            .unwrap_or_default();
        buffer + (at - view)
    }

    fn part(&mut self, buffer: &[u8], from: usize, to: usize) {
        if let Some(bytes) = buffer.get(from..to)
            && !bytes.is_empty()
        {
            self.parts.push((self.bytes.len(), from));
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next stretch at or behind `from` that is left out.
    fn next_gap(&mut self, buffer: &[u8], from: usize, escapes: Escapes) -> Option<(usize, usize)> {
        let mut at = from;
        loop {
            let rest = buffer.get(at..)?;
            let next = at
                + match escapes {
                    Escapes::Kept => memchr::memchr(b'\n', rest),
                    Escapes::Dropped => memchr::memchr2(b'\n', ESCAPE, rest),
                }?;
            let tail = buffer.get(next..)?;
            if tail.first() == Some(&b'\n') {
                let before = buffer.get(from..next)?;
                let indent = tail.iter().skip(1).take(MAX_INDENT);
                let indent = indent
                    .take_while(|byte| matches!(byte, b' ' | b'\t'))
                    .count();
                return Some((next - returns(before), next + 1 + indent));
            }
            match escape(tail) {
                Sequence::Whole(length) => return Some((next, next + length)),
                Sequence::Cut => {
                    self.cut_escape = Some(next);
                    return Some((next, buffer.len()));
                }
                Sequence::None => at = next + 1,
            }
        }
    }
}

/// `bytes` as they are seen when registered values are compared.
pub(super) fn without_line_ends(bytes: &[u8]) -> Vec<u8> {
    View::new(bytes, Escapes::Kept).bytes
}

/// Where the escape sequence begins that `at` lies within; `at` itself where there is none.
/// A buffer that began in the middle of one would be seen as another text.
pub(super) fn before_escape(buffer: &[u8], at: usize) -> usize {
    let mut from = 0;
    while let Some(next) = buffer
        .get(from..at)
        .and_then(|rest| memchr::memchr(ESCAPE, rest))
    {
        let start = from + next;
        from = match escape(buffer.get(start..).unwrap_or_default()) {
            Sequence::Whole(length) if start + length > at => return start,
            Sequence::Whole(length) => start + length,
            Sequence::Cut => return start,
            Sequence::None => start + 1,
        };
    }
    at
}

/// How many carriage returns at the end belong to a line end behind it.
fn returns(text: &[u8]) -> usize {
    let last = text.iter().rev().take(MAX_RETURNS);
    last.take_while(|byte| **byte == b'\r').count()
}

enum Sequence {
    Whole(usize),
    Cut,
    None,
}

/// The control sequence (ECMA-48) or choice of a character set that `text` begins with.
fn escape(text: &[u8]) -> Sequence {
    match text.get(1) {
        None => Sequence::Cut,
        Some(b'(' | b')') if text.len() == 2 => Sequence::Cut,
        Some(b'(' | b')') => Sequence::Whole(3),
        Some(b'[') => {
            let rest = text.get(2..).unwrap_or_default();
            let shown = rest.get(..MAX_ESCAPE).unwrap_or(rest);
            match shown.iter().position(|byte| !matches!(byte, 0x20..=0x3f)) {
                Some(at) if matches!(shown.get(at), Some(0x40..=0x7e)) => Sequence::Whole(at + 3),
                None if rest.len() < MAX_ESCAPE => Sequence::Cut,
                _ => Sequence::None,
            }
        }
        Some(_) => Sequence::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, escapes: Escapes, seen: &str) {
        let view = View::new(text.as_bytes(), escapes);
        assert_eq!(String::from_utf8_lossy(&view.bytes), seen);
        for (at, byte) in view.bytes.iter().enumerate() {
            assert_eq!(text.as_bytes()[view.place(at)], *byte);
        }
    }

    #[test]
    fn line_ends_and_indentation_are_left_out() {
        check("ab\ncd\r\n  ef\r\r\n\tgh", Escapes::Kept, "abcdefgh");
        check("a\rb\r\r\r\nc\r", Escapes::Kept, "a\rb\rc");
        check("\n\n", Escapes::Kept, "");
    }

    #[test]
    fn escape_sequences_are_left_out_where_asked() {
        check("a\x1b[1;31mb\x1b(Bc\x1b[Kd\n", Escapes::Dropped, "abcd");
        check("a\x1b[1;31mb\nc", Escapes::Kept, "a\x1b[1;31mbc");
        check("a\x1bZb", Escapes::Dropped, "a\x1bZb");
        check("ab\x1b[3", Escapes::Dropped, "ab");
    }
}
