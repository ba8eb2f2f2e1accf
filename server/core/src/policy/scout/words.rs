//! Commands: where words start and end, and which of them name a command.

use super::frames::{CASE_BODY, Case, Frame, Next, Script};
use super::{Refusal, Scan, refusal};

impl Scan<'_> {
    pub(super) fn script(&mut self, script: Script) -> Result<(), Refusal> {
        let Some(byte) = self.byte(0) else {
            return Ok(());
        };
        if script.next == Next::Test {
            return self.test(byte);
        }
        match byte {
            b' ' | b'\t' => {
                self.end_word()?;
                self.at += 1;
            }
            b'\\' if self.byte(1) == Some(b'\n') => self.escaped()?,
            b'#' if script.word.is_none() => self.comment()?,
            b'`' if script.close == Some(b'`') => {
                self.end_word()?;
                self.pop(1);
            }
            b'\n' => {
                self.end_word()?;
                self.at += 1;
                self.expect(Next::Command);
                self.bodies()?;
            }
            b';' | b'&' | b'|' => self.operator(byte)?,
            b'<' | b'>' => self.redirection(byte)?,
            b'(' => self.open(script)?,
            b')' => self.close()?,
            _ => {
                self.begin_word();
                if !self.quoted()? {
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    fn begin_word(&mut self) {
        let at = self.at;
        if let Some(script) = self.top() {
            script.word.get_or_insert(at);
        }
    }

    fn expect(&mut self, next: Next) {
        if let Some(script) = self.top() {
            script.next = next;
            script.word = None;
        }
    }

    /// `;`, `&`, `|` and what they begin.
    fn operator(&mut self, byte: u8) -> Result<(), Refusal> {
        if byte == b'&' && self.byte(1) == Some(b'>') {
            self.only_bash()?;
            self.end_word()?;
            self.at += 1;
            return self.redirection(b'>');
        }
        self.end_word()?;
        let in_case = matches!(
            self.top(),
            Some(Script {
                close: Some(CASE_BODY),
                ..
            })
        );
        if in_case && byte == b';' && matches!(self.byte(1), Some(b';' | b'&')) {
            let length = if self.looking_at(b";;&") { 3 } else { 2 };
            self.pop(length);
            self.case_goes_on();
            return Ok(());
        }
        self.at += 1;
        if byte == b'|' && self.byte(0) == Some(b'&') {
            self.only_bash()?;
            self.at += 1;
        }
        self.expect(Next::Command);
        Ok(())
    }

    fn redirection(&mut self, byte: u8) -> Result<(), Refusal> {
        let word = self.top().and_then(|script| script.word);
        if self.byte(1) == Some(b'(') {
            self.only_bash()?;
            self.begin_word();
            self.substitution(b')', 2);
            return Ok(());
        }
        // `2>` and `{name}>`: the word belongs to the operator.
        let raw = word
            .and_then(|start| self.text.get(start..self.at))
            .unwrap_or_default();
        let descriptor = !raw.is_empty() && raw.iter().all(u8::is_ascii_digit);
        if raw.first() == Some(&b'{') {
            return Err(refusal(self.at, "a redirection to a named descriptor"));
        }
        if descriptor {
            if let Some(script) = self.top() {
                script.word = None;
            }
        } else {
            self.end_word()?;
        }
        let then_command = matches!(
            self.top().map(|s| s.next),
            Some(Next::Command | Next::Timed)
        );
        let operator: &[u8] = match byte {
            b'<' if self.looking_at(b"<<<") => b"<<<",
            b'<' if self.looking_at(b"<<-") => b"<<-",
            b'<' if self.looking_at(b"<<") => b"<<",
            b'<' if self.looking_at(b"<&") => b"<&",
            b'<' if self.looking_at(b"<>") => b"<>",
            b'>' if self.looking_at(b">>") => b">>",
            b'>' if self.looking_at(b">&") => b">&",
            b'>' if self.looking_at(b">|") => b">|",
            _ => b"<",
        };
        if operator == b"<<<" {
            self.only_bash()?;
        }
        self.at += operator.len();
        match operator {
            b"<<" => self.expect(Next::Delimiter {
                then_command,
                tabs: false,
            }),
            b"<<-" => self.expect(Next::Delimiter {
                then_command,
                tabs: true,
            }),
            _ => self.expect(Next::Redirect { then_command }),
        }
        Ok(())
    }

    fn open(&mut self, script: Script) -> Result<(), Refusal> {
        let word = script.word.and_then(|start| self.text.get(start..self.at));
        match word {
            Some(raw) if is_assignment(raw) && raw.ends_with(b"=") => {
                self.only_bash()?;
                self.push(Frame::List, 1);
            }
            Some(raw) if raw.last().is_some_and(|last| b"?*+@!".contains(last)) => {
                return Err(refusal(self.at, "an extended pattern"));
            }
            Some(_) | None if script.next == Next::Function || self.empty_brackets().is_some() => {
                // `name()`: a function follows, whose body is a command.
                let Some(length) = self.empty_brackets() else {
                    return Err(refusal(self.at, "a bracket in a function's name"));
                };
                self.end_word()?;
                self.at += length;
                self.expect(Next::Command);
            }
            Some(_) => return Err(refusal(self.at, "a bracket within a word")),
            None if script.next == Next::Loop && self.byte(1) == Some(b'(') => {
                self.only_bash()?;
                self.expect(Next::Command);
                self.push(Frame::Arithmetic { depth: 2 }, 2);
            }
            None if !matches!(script.next, Next::Command | Next::Timed) => {
                return Err(refusal(self.at, "a bracket among arguments"));
            }
            None if self.byte(1) == Some(b'(') => {
                self.only_bash()?;
                self.expect(Next::Command);
                self.push(Frame::Arithmetic { depth: 2 }, 2);
            }
            None => {
                self.expect(Next::Command);
                self.push(Frame::Script(Script::new(Some(b')'))), 1);
            }
        }
        Ok(())
    }

    /// The length of `()` here, blanks included.
    fn empty_brackets(&self) -> Option<usize> {
        let rest = self.text.get(self.at + 1..)?;
        let blanks = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        (rest.get(blanks) == Some(&b')')).then_some(blanks + 2)
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.end_word()?;
        match self.top().map(|script| script.close) {
            Some(Some(b')')) => {
                if !self.pending.is_empty() {
                    return Err(refusal(self.at, "a heredoc that its brackets end"));
                }
                self.pop(1);
                Ok(())
            }
            _ => Err(refusal(self.at, "an unbalanced bracket")),
        }
    }

    /// Within `[[ … ]]`, where operators are just text.
    fn test(&mut self, byte: u8) -> Result<(), Refusal> {
        match byte {
            b' ' | b'\t' | b'\n' => {
                let closed = self.word_so_far() == Some(b"]]");
                self.expect(if closed { Next::Command } else { Next::Test });
                if !closed {
                    self.at += 1;
                }
            }
            b';' | b'&' | b'|' | b')' if self.word_so_far() == Some(b"]]") => {
                self.expect(Next::Command);
            }
            b'<' | b'>' if self.byte(1) == Some(b'(') => {
                return Err(refusal(self.at, "a process substitution in a test"));
            }
            b';' => return Err(refusal(self.at, "a semicolon in a test")),
            _ => {
                self.begin_word();
                if !self.quoted()? {
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    fn word_so_far(&mut self) -> Option<&[u8]> {
        let start = self.top()?.word?;
        self.text.get(start..self.at)
    }

    /// Between `case` and `esac`, outside of the items' commands.
    pub(super) fn case(&mut self, case: Case) -> Result<(), Refusal> {
        let (Case::Subject { word } | Case::Pattern { word }) = case;
        let Some(byte) = self.byte(0) else {
            return Ok(());
        };
        let subject = matches!(case, Case::Subject { .. });
        let raw = word.and_then(|start| self.text.get(start..self.at));
        let with = |word| {
            if subject {
                Case::Subject { word }
            } else {
                Case::Pattern { word }
            }
        };
        match byte {
            b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')' | b'`'
                if raw == Some(b"esac") && !subject =>
            {
                self.pop(0);
                self.expect(Next::Command);
            }
            b' ' | b'\t' | b'\n' => {
                let next = if subject && raw == Some(b"in") {
                    Case::Pattern { word: None }
                } else {
                    with(None)
                };
                self.in_case(next);
                self.at += 1;
            }
            b')' if !subject => {
                self.in_case(Case::Pattern { word: None });
                self.push(Frame::Script(Script::new(Some(CASE_BODY))), 1);
            }
            b'(' if !subject && word.is_none() => self.at += 1,
            b'(' => return Err(refusal(self.at, "an extended pattern")),
            b'|' if !subject => {
                self.in_case(with(None));
                self.at += 1;
            }
            b'#' if word.is_none() => self.comment()?,
            b';' | b'&' | b'|' | b')' | b'<' | b'>' => {
                return Err(refusal(self.at, "an operator in the head of a case"));
            }
            _ => {
                let at = self.at;
                self.in_case(with(word.or(Some(at))));
                if !self.quoted()? {
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    fn in_case(&mut self, case: Case) {
        if let Some(frame @ Frame::Case(_)) = self.frames.last_mut() {
            *frame = Frame::Case(case);
        }
    }

    fn case_goes_on(&mut self) {
        self.in_case(Case::Pattern { word: None });
    }

    /// Ends the word being read, and decides what the next one is.
    pub(super) fn end_word(&mut self) -> Result<(), Refusal> {
        let case_ends = matches!(self.frames.last(), Some(Frame::Case(Case::Pattern { word: Some(start) }))
            if self.text.get(*start..self.at) == Some(b"esac"));
        if case_ends {
            self.pop(0);
            self.expect(Next::Argument);
        }
        let Some(script) = self.top().copied() else {
            return Ok(());
        };
        let Some(start) = script.word else {
            return Ok(());
        };
        let raw = self.text.get(start..self.at).unwrap_or_default();
        let after = |command: bool| {
            if command {
                Next::Command
            } else {
                Next::Argument
            }
        };
        let next = match script.next {
            Next::Command => return self.end_command_word(start),
            Next::Timed if matches!(raw, b"-p" | b"--") => Next::Timed,
            Next::Timed => return self.end_command_word(start),
            Next::Redirect { then_command } => after(then_command),
            Next::Delimiter { then_command, tabs } => {
                self.note_heredoc(start, tabs)?;
                after(then_command)
            }
            Next::Function => Next::Command,
            Next::Test if raw == b"]]" => Next::Command,
            other @ (Next::Argument | Next::Loop | Next::Test) => other,
        };
        self.expect(next);
        Ok(())
    }

    /// A word in command position.
    fn end_command_word(&mut self, start: usize) -> Result<(), Refusal> {
        let raw = self.text.get(start..self.at).unwrap_or_default();
        if joins_reserved_word(raw) {
            return Err(refusal(start, "a reserved word continued on the next line"));
        }
        let next = match raw {
            b"if" | b"then" | b"elif" | b"else" | b"while" | b"until" | b"do" | b"{" | b"!" => {
                Next::Command
            }
            b"fi" | b"done" | b"}" => Next::Command,
            b"for" | b"in" => Next::Loop,
            b"time" | b"select" | b"function" | b"[[" => {
                self.only_bash()?;
                match raw {
                    b"time" => Next::Timed,
                    b"select" => Next::Loop,
                    b"function" => Next::Function,
                    _ => Next::Test,
                }
            }
            b"case" => {
                self.expect(Next::Argument);
                self.frames.push(Frame::Case(Case::Subject { word: None }));
                return Ok(());
            }
            b"esac" => {
                let in_body = matches!(
                    self.top(),
                    Some(Script {
                        close: Some(CASE_BODY),
                        ..
                    })
                );
                if !in_body {
                    return Err(refusal(start, "an esac without case"));
                }
                self.pop(0);
                self.pop(0);
                Next::Command
            }
            b"coproc" => return Err(refusal(start, "a coprocess")),
            raw if is_assignment(raw) => Next::Command,
            _ => {
                self.seen.commands.push(start);
                Next::Argument
            }
        };
        self.expect(next);
        Ok(())
    }
}

/// Whether a word is a reserved one once its line continuations are gone.
fn joins_reserved_word(raw: &[u8]) -> bool {
    const RESERVED: &[&[u8]] = &[
        b"if",
        b"then",
        b"elif",
        b"else",
        b"fi",
        b"while",
        b"until",
        b"do",
        b"done",
        b"for",
        b"select",
        b"in",
        b"case",
        b"esac",
        b"function",
        b"time",
        b"coproc",
        b"{",
        b"}",
        b"!",
        b"[[",
    ];
    if memchr::memmem::find(raw, b"\\\n").is_none() {
        return false;
    }
    let text = String::from_utf8_lossy(raw).replace("\\\n", "");
    RESERVED.contains(&text.as_bytes())
}

/// `name=…`, `name+=…`, `name[…]=…`.
fn is_assignment(raw: &[u8]) -> bool {
    let name = raw
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count();
    if name == 0 || raw.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let mut rest = raw.get(name..).unwrap_or_default();
    if rest.first() == Some(&b'[') {
        let end = memchr::memchr(b']', rest).map_or(rest.len(), |at| at + 1);
        rest = rest.get(end..).unwrap_or_default();
    }
    matches!(rest, [b'=', ..] | [b'+', b'=', ..])
}
