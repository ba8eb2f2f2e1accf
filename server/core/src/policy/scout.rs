//! The scanner that goes ahead of the parser: one pass over the bytes with a stack
//! of its own, so that no nesting can overflow anything and no input takes more than
//! linear time.
//!
//! It refuses what shells and parsers are known to read differently (the *gate*),
//! enforces the limits, and notes every word that stands in command position by the
//! shell's rules. The parser's commands must be exactly these words; see `judge.rs`.
//!
//! ```text
//!  Script ── " ──► Double      Script ── case ──► Case (subject, pattern, body)
//!     │  └── ( $( <( >( ` ──► Script              Script ── a=( ──► List
//!     ├───── ${ ──► Brace      Script ── (( $(( ──► Arithmetic
//!     └───── newline with pending heredocs ──► Heredoc, up to its delimiter
//! ```

mod frames;
mod heredocs;
mod words;

use self::frames::{Frame, Script};
use self::heredocs::Pending;
use super::{Dialect, MAX_CODE_BYTES, MAX_NESTING, MAX_SCRIPT_BYTES};

/// What the scanner saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scouted {
    /// Offsets of the words in command position.
    pub(super) commands: Vec<usize>,
    /// How many substitutions of any kind there are.
    pub(super) substitutions: usize,
}

/// Why a text is unresolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Where.
    pub(super) at: usize,
    /// What was there.
    pub(super) what: &'static str,
    /// Whether the text is just incomplete.
    pub(super) unfinished: bool,
}

/// Arithmetic evaluates a text such as `a[$(reboot)]` wherever it comes from: a
/// variable, `test -v`, `printf -v`. Data that looks like that is hardly data.
const SUBSCRIPT: &str = "a substitution quoted within a subscript";

/// Scans a script.
pub(super) fn scout(script: &str, dialect: Dialect) -> (Scouted, Result<(), Refusal>) {
    let mut scan = Scan::new(script.as_bytes(), dialect);
    let result = if script.len() > MAX_SCRIPT_BYTES {
        Err(refusal(0, "more than a mebibyte of script"))
    } else if let Some(at) = memchr::memchr(0, script.as_bytes()) {
        Err(refusal(at, "a NUL byte"))
    } else {
        scan.run()
    };
    (scan.seen, result)
}

pub(super) fn refusal(at: usize, what: &'static str) -> Refusal {
    Refusal {
        at,
        what,
        unfinished: false,
    }
}

/// The state of a scan.
struct Scan<'a> {
    text: &'a [u8],
    dialect: Dialect,
    at: usize,
    /// Bytes so far that are data: single-quoted text, bodies that are not expanded.
    data: usize,
    frames: Vec<Frame>,
    /// Heredocs whose bodies start behind the next newline, with the depth of the
    /// frame they were opened in.
    pending: Vec<Pending>,
    seen: Scouted,
}

impl<'a> Scan<'a> {
    fn new(text: &'a [u8], dialect: Dialect) -> Self {
        let frames = vec![Frame::Script(Script::new(None))];
        Self {
            text,
            dialect,
            at: 0,
            data: 0,
            frames,
            pending: Vec::new(),
            seen: Scouted::default(),
        }
    }

    fn run(&mut self) -> Result<(), Refusal> {
        while self.at < self.text.len() || self.in_heredoc() {
            self.byte_is_ordinary()?;
            match self.frames.last().copied() {
                Some(Frame::Script(script)) => self.script(script)?,
                Some(Frame::Case(case)) => self.case(case)?,
                Some(Frame::List) => self.list()?,
                Some(Frame::Double) => self.double()?,
                Some(Frame::Brace { in_double }) => self.brace(in_double)?,
                Some(Frame::Arithmetic { depth }) => self.arithmetic(depth)?,
                Some(Frame::Heredoc { end, resume }) => self.heredoc(end, resume)?,
                None => return Err(refusal(self.at, "an unbalanced closing")),
            }
            if self.frames.len() > MAX_NESTING {
                return Err(refusal(self.at, "nesting deeper than 64"));
            }
            if self.at.saturating_sub(self.data) > MAX_CODE_BYTES {
                return Err(refusal(self.at, "more than 16 KiB of code"));
            }
        }
        self.end_word()?;
        let unclosed = self.frames.len() > 1 || !self.pending.is_empty();
        let refused = Refusal {
            at: self.text.len(),
            what: "an unclosed quote, bracket or heredoc",
            unfinished: true,
        };
        if unclosed { Err(refused) } else { Ok(()) }
    }

    /// Control characters and blanks that only some readers take for blanks. Within
    /// quotes and heredocs they are text.
    fn byte_is_ordinary(&self) -> Result<(), Refusal> {
        if matches!(
            self.frames.last(),
            Some(Frame::Double | Frame::Heredoc { .. })
        ) {
            return Ok(());
        }
        match self.byte(0) {
            Some(b'\n' | b'\t' | b' '..=b'~') | None => Ok(()),
            Some(b'\r') => Err(refusal(self.at, "a carriage return")),
            Some(byte) if byte.is_ascii() => Err(refusal(self.at, "a control character")),
            Some(_) if self.is_odd_blank() => Err(refusal(self.at, "an unusual blank")),
            Some(_) => Ok(()),
        }
    }

    fn is_odd_blank(&self) -> bool {
        let bytes = self
            .text
            .get(self.at..self.text.len().min(self.at + 4))
            .unwrap_or_default();
        let letter = bytes
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next());
        letter.is_some_and(|letter| letter.is_whitespace() || letter.is_control())
    }

    /// What only bash reads as one thing, and another shell as something else.
    fn only_bash(&self) -> Result<(), Refusal> {
        match self.dialect {
            Dialect::Bash => Ok(()),
            Dialect::Posix => Err(refusal(self.at, "what only bash understands")),
        }
    }

    fn in_heredoc(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Heredoc { .. }))
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn looking_at(&self, text: &[u8]) -> bool {
        self.text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(text))
    }

    fn push(&mut self, frame: Frame, length: usize) {
        self.at += length;
        self.frames.push(frame);
    }

    fn pop(&mut self, length: usize) {
        self.at += length;
        self.frames.pop();
    }

    /// A substitution at this byte, whose inside starts `length` bytes on.
    fn substitution(&mut self, close: u8, length: usize) {
        self.seen.substitutions += 1;
        self.push(Frame::Script(Script::new(Some(close))), length);
    }

    /// `$…` and backquotes, in whatever they stand. Whether it was one of them.
    fn expansion(&mut self, in_double: bool) -> Result<bool, Refusal> {
        if self.byte(0) == Some(b'`') {
            if self.frames.iter().any(Frame::is_backquoted) {
                return Err(refusal(self.at, "backquotes within backquotes"));
            }
            self.substitution(b'`', 1);
            return Ok(true);
        }
        if self.byte(0) != Some(b'$') {
            return Ok(false);
        }
        match (self.byte(1), self.byte(2)) {
            (Some(b'('), Some(b'(')) => self.push(Frame::Arithmetic { depth: 2 }, 3),
            (Some(b'('), _) => self.substitution(b')', 2),
            (Some(b'['), _) => return Err(refusal(self.at, "arithmetic in $[ ]")),
            (Some(b'{'), Some(b' ' | b'\t' | b'\n' | b'|')) => {
                return Err(refusal(self.at, "a command in ${ }"));
            }
            (Some(b'{'), _) => self.push(Frame::Brace { in_double }, 2),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A backslash and what it escapes.
    fn escaped(&mut self) -> Result<(), Refusal> {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        let substitution = self.looking_at(b"\\$(") || self.looking_at(b"\\`");
        if before == Some(&b'[') && substitution {
            return Err(refusal(self.at, SUBSCRIPT));
        }
        if self.frames.iter().any(Frame::is_backquoted) {
            return Err(refusal(self.at, "a backslash within backquotes"));
        }
        self.at = (self.at + 2).min(self.text.len());
        Ok(())
    }

    /// Text in single quotes; with `ansi`, in `$'…'`.
    fn single_quoted(&mut self, ansi: bool) -> Result<(), Refusal> {
        if ansi {
            self.only_bash()?;
        }
        let start = self.at;
        self.at += 1 + usize::from(ansi);
        loop {
            match self.byte(0) {
                Some(b'\'') => break,
                Some(b'\\') if ansi => self.at += 2,
                Some(b'[') if self.looking_at(b"[$(") || self.looking_at(b"[`") => {
                    return Err(refusal(self.at, SUBSCRIPT));
                }
                Some(b'`') if self.frames.iter().any(Frame::is_backquoted) => {
                    return Err(refusal(self.at, "a quoted backquote within backquotes"));
                }
                Some(_) => self.at += 1,
                None => {
                    let what = "an unclosed single quote";
                    return Err(Refusal {
                        at: start,
                        what,
                        unfinished: true,
                    });
                }
            }
        }
        self.at += 1;
        self.data += self.at - start;
        Ok(())
    }
}
