//! The contexts a byte can stand in, and those whose rules are short.

use super::{Refusal, Scan, refusal};

/// A context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// Commands.
    Script(Script),
    /// A `case`, between its keyword and its `esac`.
    Case(Case),
    /// The elements of an array.
    List,
    /// Double quotes.
    Double,
    /// `${…}`.
    Brace { in_double: bool },
    /// `((…))` or `$((…))`.
    Arithmetic { depth: usize },
    /// The expanded body of a heredoc.
    Heredoc { end: usize, resume: usize },
}

/// Where in a script the scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Script {
    /// The byte that ends it.
    pub(super) close: Option<u8>,
    /// The word being read, from here.
    pub(super) word: Option<usize>,
    /// What the next word is.
    pub(super) next: Next,
}

/// What a word is by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The name of a command, a reserved word or an assignment.
    Command,
    /// A word of a command.
    Argument,
    /// The target of a redirection, and what comes after.
    Redirect { then_command: bool },
    /// The delimiter of a heredoc, and what comes after.
    Delimiter { then_command: bool, tabs: bool },
    /// The variable of a `for`, or a word of its list.
    Loop,
    /// The name of a function.
    Function,
    /// Within `[[ … ]]`.
    Test,
    /// Behind `time`, where an option may stand.
    Timed,
}

/// Where in a `case` the scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Before `in`; where the word being read starts.
    Subject { word: Option<usize> },
    /// In a pattern.
    Pattern { word: Option<usize> },
}

impl Script {
    pub(super) fn new(close: Option<u8>) -> Self {
        Self {
            close,
            word: None,
            next: Next::Command,
        }
    }
}

impl Frame {
    pub(super) fn is_backquoted(&self) -> bool {
        matches!(
            self,
            Self::Script(Script {
                close: Some(b'`'),
                ..
            })
        )
    }
}

/// Ends the commands of a `case` item; no byte of a script has this value.
pub(super) const CASE_BODY: u8 = 0;

impl Scan<'_> {
    pub(super) fn double(&mut self) -> Result<(), Refusal> {
        match self.byte(0) {
            Some(b'"') => self.pop(1),
            Some(b'\\') => self.escaped()?,
            _ if self.expansion(true)? => {}
            _ => self.at += 1,
        }
        Ok(())
    }

    pub(super) fn brace(&mut self, in_double: bool) -> Result<(), Refusal> {
        match self.byte(0) {
            Some(b'}') => self.pop(1),
            Some(b'\\') => self.escaped()?,
            Some(b'\'') if in_double => {
                return Err(refusal(self.at, "a single quote in ${ } in double quotes"));
            }
            Some(b'\'') => self.single_quoted(false)?,
            Some(b'"') => self.push(Frame::Double, 1),
            Some(b'@') if self.byte(1) == Some(b'P') => {
                return Err(refusal(self.at, "a prompt expansion, ${ @P}"));
            }
            Some(b'<' | b'>') if self.byte(1) == Some(b'(') => {
                return Err(refusal(self.at, "a process substitution in ${ }"));
            }
            _ if self.expansion(in_double)? => {}
            _ => self.at += 1,
        }
        Ok(())
    }

    /// Closes with two brackets side by side, or it was something else: `((a) || (b))`.
    pub(super) fn arithmetic(&mut self, depth: usize) -> Result<(), Refusal> {
        let mut change = |depth| {
            if let Some(Frame::Arithmetic { depth: current }) = self.frames.last_mut() {
                *current = depth;
            }
        };
        match self.text.get(self.at) {
            Some(b'(') => change(depth + 1),
            Some(b')') if depth > 2 => change(depth - 1),
            Some(b')') if self.byte(1) == Some(b')') => {
                self.pop(2);
                return Ok(());
            }
            Some(b')') => return Err(refusal(self.at, "(( that is no arithmetic")),
            Some(b'\'' | b'#' | b'\\') => {
                // A base, `16#ff`, is the one harmless use.
                let digits = self.at.checked_sub(1).and_then(|at| self.text.get(at));
                if self.byte(0) != Some(b'#') || !digits.is_some_and(u8::is_ascii_digit) {
                    return Err(refusal(self.at, "a quote or comment in arithmetic"));
                }
            }
            Some(b'"') => {
                self.push(Frame::Double, 1);
                return Ok(());
            }
            _ if self.expansion(false)? => return Ok(()),
            _ => {}
        }
        self.at += 1;
        Ok(())
    }

    /// The elements of an array.
    pub(super) fn list(&mut self) -> Result<(), Refusal> {
        match self.byte(0) {
            Some(b')') => self.pop(1),
            Some(b'(' | b';' | b'&' | b'|') => {
                return Err(refusal(self.at, "an operator in an array"));
            }
            Some(b'<' | b'>') => {
                return Err(refusal(
                    self.at,
                    "a redirection or process substitution in an array",
                ));
            }
            Some(b'#') if self.at_word_start() => self.comment()?,
            _ if self.quoted()? => {}
            _ => self.at += 1,
        }
        Ok(())
    }

    /// Anything that quotes or expands; whether it was there.
    pub(super) fn quoted(&mut self) -> Result<bool, Refusal> {
        match (self.byte(0), self.byte(1)) {
            (Some(b'\\'), _) => self.escaped()?,
            (Some(b'\''), _) => self.single_quoted(false)?,
            (Some(b'$'), Some(b'\'')) => self.single_quoted(true)?,
            (Some(b'$'), Some(b'"')) => {
                self.only_bash()?;
                self.push(Frame::Double, 2);
            }
            (Some(b'"'), _) => self.push(Frame::Double, 1),
            _ => return self.expansion(false),
        }
        Ok(true)
    }

    pub(super) fn at_word_start(&self) -> bool {
        self.at
            .checked_sub(1)
            .and_then(|last| self.text.get(last))
            .is_none_or(|before| {
                matches!(
                    before,
                    b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')'
                )
            })
    }

    /// A comment, up to its newline.
    pub(super) fn comment(&mut self) -> Result<(), Refusal> {
        if self.frames.iter().any(Frame::is_backquoted) {
            return Err(refusal(self.at, "a comment within backquotes"));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        Ok(())
    }
}
