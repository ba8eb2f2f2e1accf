//! Literals of the languages that look like C: strings, and lists of strings.

use crate::policy::words::Word;

/// Longest list of arguments that is read; more is no program call by hand.
const MAX_WORDS: usize = 64;

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// One string, known whole.
    Text(String),
    /// A list; what is computed in it is unknown.
    List(Vec<Word>),
    /// Something else.
    Unknown,
}

/// The argument at the start of `rest`, and what comes after it.
pub(super) fn argument(rest: &str) -> (Argument, &str) {
    let rest = rest.trim_start();
    if let Some(list) = rest.strip_prefix(['[', '(']) {
        let (words, after) = words(list);
        return (Argument::List(words), after);
    }
    match string(rest) {
        Some((text, after)) if ends(after) => (Argument::Text(text), after),
        Some((text, after)) if after.starts_with(".split()") => {
            let words = text.split_whitespace();
            let words = words.map(|word| Word::Literal(word.to_owned())).collect();
            (Argument::List(words), after)
        }
        _ => (Argument::Unknown, rest),
    }
}

/// The strings between here and the bracket that closes, commas between them.
pub(super) fn words(list: &str) -> (Vec<Word>, &str) {
    let mut words = Vec::new();
    let mut rest = list;
    while words.len() < MAX_WORDS {
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with([']', ')', '}', ';']) {
            break;
        }
        match string(rest) {
            Some((text, after)) if ends(after) => {
                words.push(Word::Literal(text));
                rest = after.trim_start();
            }
            _ => {
                let end = end_of_expression(rest);
                let raw = rest.get(..end).unwrap_or_default().to_owned();
                words.push(Word::Unknown { raw, tail: None });
                rest = rest.get(end..).unwrap_or_default();
            }
        }
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    (words, rest)
}

/// Where an expression ends: at a comma or a bracket that it has not opened.
fn end_of_expression(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(letter),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') if depth == 0 => return at,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',' | ';' | '\n') if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Whether a string that ends here is the whole expression.
fn ends(after: &str) -> bool {
    let after = after.trim_start_matches([' ', '\t']);
    after.is_empty() || after.starts_with([')', ',', ']', ';', '}', '\n', '#', '|'])
}

/// The string at the start of `text`, when it is known whole, and what comes after.
pub(super) fn string(text: &str) -> Option<(String, &str)> {
    let start = text.find(['"', '\'', '`'])?;
    let prefix = text.get(..start)?;
    if prefix.len() > 2 || !prefix.chars().all(|letter| "rRbBuUfF".contains(letter)) {
        return None;
    }
    let computed = prefix.contains(['f', 'F']);
    let raw = prefix.contains(['r', 'R']);
    let rest = text.get(start..)?;
    let quote = rest.chars().next()?;
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let close = match rest.starts_with(&triple) && quote != '`' {
        true => triple,
        false => quote.to_string(),
    };
    let body = rest.get(close.len()..)?;
    let mut value = String::new();
    let mut at = 0;
    loop {
        let left = body.get(at..)?;
        if left.starts_with(&close) {
            return Some((value, left.get(close.len()..)?));
        }
        let letter = left.chars().next()?;
        at += letter.len_utf8();
        match letter {
            '\\' if !raw => {
                let escaped = body.get(at..)?.chars().next()?;
                at += escaped.len_utf8();
                value.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    '\n' => continue,
                    '\\' | '"' | '\'' | '`' | '$' | '/' | '@' => escaped,
                    _ => return None,
                });
            }
            '{' if computed => return None,
            // Perl, Ruby, PHP and templates put values there; a shell would too.
            '$' | '@' if quote != '\'' && starts_name(body.get(at..)?) => return None,
            '#' if quote != '\'' && body.get(at..)?.starts_with('{') => return None,
            _ => value.push(letter),
        }
    }
}

fn starts_name(rest: &str) -> bool {
    rest.starts_with(|letter: char| letter.is_alphanumeric() || "_{".contains(letter))
}

/// What stands between `open` at the start of `text` and its partner.
pub(super) fn delimited(text: &str) -> Option<&str> {
    let open = text.chars().next()?;
    let close = match open {
        '(' => ')',
        '[' => ']',
        '{' => '}',
        '<' => '>',
        other => other,
    };
    let body = text.get(open.len_utf8()..)?;
    body.split(close).next()
}
