//! awk: `system(…)`, `… | getline` and `print … | "…"`.

use super::Start;

/// A piece of a program, as far as strings and bars go.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A string with escapes that hide.
    Odd,
    Word(String),
    Other(char),
}

pub(super) fn starts(code: &str) -> Vec<Start> {
    let pieces = pieces(code);
    let mut found = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let next = |ahead: usize| pieces.get(at + ahead);
        match piece {
            Piece::Word(word) if word == "system" && next(1) == Some(&Piece::Other('(')) => {
                found.push(match (next(2), next(3)) {
                    (Some(Piece::Text(text)), Some(Piece::Other(')'))) => {
                        Start::Script(text.clone())
                    }
                    (Some(Piece::Other(')')), _) => continue,
                    _ => Start::Unread,
                });
            }
            Piece::Other('|') if next(1) == Some(&Piece::Other('|')) => {}
            Piece::Other('|') if at > 0 && pieces.get(at - 1) == Some(&Piece::Other('|')) => {}
            Piece::Other('|') | Piece::Other('&') => {
                let getline = matches!(next(1), Some(Piece::Word(word)) if word == "getline");
                let before = at.checked_sub(1).and_then(|at| pieces.get(at));
                match (piece, getline, before, next(1)) {
                    (Piece::Other('&'), ..) => {}
                    (_, true, Some(Piece::Text(text)), _) => {
                        found.push(Start::Script(text.clone()));
                    }
                    (_, true, ..) => found.push(Start::Unread),
                    (_, false, _, Some(Piece::Text(text))) => match whole(next(2)) {
                        true => found.push(Start::Script(text.clone())),
                        false => found.push(Start::Unread),
                    },
                    _ => found.push(Start::Unread),
                }
            }
            Piece::Other('@') => found.push(Start::Unread),
            _ => {}
        }
    }
    found
}

/// Whether nothing is joined to the string before this.
fn whole(next: Option<&Piece>) -> bool {
    matches!(
        next,
        None | Some(Piece::Other(';' | '}' | ')' | '\n' | '|'))
    )
}

fn pieces(code: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut letters = code.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => pieces.push(string(&mut letters)),
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '/' if regex_may_start(pieces.last()) => {
                let mut class = false;
                while let Some(letter) = letters.next() {
                    match letter {
                        '\\' => drop(letters.next()),
                        '[' => class = true,
                        ']' => class = false,
                        '/' if !class => break,
                        '\n' => break,
                        _ => {}
                    }
                }
                pieces.push(Piece::Odd);
            }
            '\n' => pieces.push(Piece::Other('\n')),
            letter if letter.is_whitespace() => {}
            letter if letter.is_alphanumeric() || letter == '_' => {
                let mut word = String::from(letter);
                while let Some(more) =
                    letters.next_if(|letter| letter.is_alphanumeric() || *letter == '_')
                {
                    word.push(more);
                }
                pieces.push(Piece::Word(word));
            }
            other => pieces.push(Piece::Other(other)),
        }
    }
    pieces
}

fn regex_may_start(last: Option<&Piece>) -> bool {
    match last {
        None => true,
        Some(Piece::Other(before)) => !matches!(before, ')' | ']' | '$'),
        Some(Piece::Word(word)) => matches!(word.as_str(), "return" | "in" | "print" | "case"),
        Some(_) => false,
    }
}

fn string(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Piece {
    let mut text = String::new();
    let mut odd = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(same @ ('\\' | '"' | '/')) => text.push(same),
                _ => odd = true,
            },
            other => text.push(other),
        }
    }
    if odd { Piece::Odd } else { Piece::Text(text) }
}
