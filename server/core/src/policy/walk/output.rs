//! What commands write, where that stands in the script: `echo` and `printf` of literal
//! words, `cat` of a heredoc. What is not understood is not known; nothing is guessed.

use shuck_ast::{BinaryOp, Command, CompoundCommand, Stmt};

use super::{Input, Walker};
use crate::policy::words::Word;

/// Most stages of a pipeline that a text is followed through.
const MAX_STAGES: usize = 8;

impl Walker<'_> {
    /// What a statement writes to its standard output.
    pub(super) fn output_of(&self, statement: &Stmt) -> Option<String> {
        self.output_through(statement, &self.input, MAX_STAGES)
    }

    fn output_through(&self, statement: &Stmt, given: &Input, stages: usize) -> Option<String> {
        let stages = stages.checked_sub(1)?;
        let redirects = &statement.redirects;
        if redirects
            .iter()
            .any(|r| self.redirected(r).is_some_and(|r| r.writes()))
        {
            return None;
        }
        let input = match redirects.is_empty() {
            true => given.clone(),
            false => self.input_of(redirects),
        };
        match &statement.command {
            Command::Simple(simple) => {
                let words = [&simple.name].into_iter().chain(&simple.args);
                let words: Vec<Word> = words.map(|word| Word::read(self.text(word.span))).collect();
                written(&words, &input)
            }
            Command::Binary(binary) if binary.op == BinaryOp::Pipe => {
                let first = self.output_through(&binary.left, &input, stages);
                let input = first.map_or(Input::Unread, Input::Text);
                self.output_through(&binary.right, &input, stages)
            }
            Command::Compound(
                CompoundCommand::Subshell(body) | CompoundCommand::BraceGroup(body),
            ) => match body.stmts.as_slice() {
                [only] => self.output_through(only, &input, stages),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What a simple command writes to its standard output.
pub(super) fn written(words: &[Word], input: &Input) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    let arguments = || {
        arguments
            .iter()
            .map(Word::literal)
            .collect::<Option<Vec<&str>>>()
    };
    match program.program()? {
        "echo" => echo(&arguments()?),
        "printf" => printf(&arguments()?),
        "cat" | "tee" => match input {
            Input::Text(text) if program.program() == Some("tee") || words.len() == 1 => {
                Some(text.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

fn echo(arguments: &[&str]) -> Option<String> {
    let mut end = "\n";
    let mut words = arguments;
    while let Some((first, rest)) = words.split_first() {
        match *first {
            "-n" => end = "",
            "-E" => {}
            "-e" | "-ne" | "-en" => {
                if *first != "-e" {
                    end = "";
                }
                return unescape(&rest.join(" ")).map(|text| text + end);
            }
            _ => break,
        }
        words = rest;
    }
    let text = words.join(" ");
    // Some shells read escapes here, others do not.
    (!text.contains('\\')).then(|| text + end)
}

/// The format is used again while there are arguments, as in the shell.
fn printf(arguments: &[&str]) -> Option<String> {
    let (format, mut arguments) = match arguments {
        ["--", format, rest @ ..] => (format, rest),
        [format, ..] if format.starts_with('-') => return None,
        [format, rest @ ..] => (format, rest),
        [] => return None,
    };
    let mut text = String::new();
    loop {
        let before = arguments.len();
        let mut parts = format.split('%');
        text.push_str(&unescape(parts.next()?)?);
        while let Some(part) = parts.next() {
            if part.is_empty() {
                text.push('%');
                text.push_str(&unescape(parts.next()?)?);
            } else if let Some(rest) = part.strip_prefix(['s', 'b']) {
                let (argument, more) = arguments.split_first().unwrap_or((&"", &[]));
                arguments = more;
                match part.starts_with('b') {
                    true => text.push_str(&unescape(argument)?),
                    false => text.push_str(argument),
                }
                text.push_str(&unescape(rest)?);
            } else {
                return None;
            }
        }
        if arguments.is_empty() || arguments.len() == before {
            return Some(text);
        }
    }
}

/// A text with the escapes of `printf` read.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        let escaped = letters.next()?;
        let (radix, most, first) = match escaped {
            '0'..='7' => (8, 3, escaped.to_digit(8)?),
            'x' => (16, 2, 0),
            _ => {
                out.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    '\\' | '"' | '\'' => escaped,
                    _ => return None,
                });
                continue;
            }
        };
        let mut value = first;
        for _ in usize::from(radix == 8)..most {
            let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(radix)) else {
                break;
            };
            value = value * radix + digit;
            letters.next();
        }
        out.push(char::from_u32(value).filter(char::is_ascii)?);
    }
    Some(out)
}
