//! Patterns over arguments: options in the ways a command line may spell them, and
//! plain text with `*`.

use super::words::Word;

/// One required argument, with its alternatives.
#[derive(Debug)]
pub(super) struct ArgPattern(Vec<Alternative>);

#[derive(Debug)]
enum Alternative {
    /// `-r`: alone or among others, as in `-fr`.
    Short(char),
    /// `--recursive`: whole, abbreviated, with or without `=value`.
    Long(String),
    /// Any text, with `*`.
    Text(Glob),
}

/// Fewest letters of an abbreviated long option: GNU accepts one where it is
/// unambiguous.
const MIN_ABBREVIATION: usize = 1;

impl ArgPattern {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.split('|').map(Alternative::new).collect())
    }

    /// Whether one of `arguments` is one of the alternatives.
    pub(super) fn is_in(&self, arguments: &[Word]) -> bool {
        arguments
            .iter()
            .any(|argument| self.0.iter().any(|option| option.is(argument)))
    }
}

impl Alternative {
    fn new(text: &str) -> Self {
        let mut letters = text.chars();
        match (letters.next(), letters.next(), letters.next()) {
            (Some('-'), Some(letter), None) if letter != '-' => Self::Short(letter),
            (Some('-'), Some('-'), Some(_)) => Self::Long(text.trim_start_matches('-').to_owned()),
            _ => Self::Text(Glob::new(text)),
        }
    }

    fn is(&self, argument: &Word) -> bool {
        let text = argument.text();
        match self {
            Self::Short(letter) => text
                .strip_prefix('-')
                .is_some_and(|cluster| !cluster.starts_with('-') && cluster.contains(*letter)),
            Self::Long(name) => text.strip_prefix("--").is_some_and(|option| {
                let option = option.split('=').next().unwrap_or_default();
                option.len() >= MIN_ABBREVIATION && name.starts_with(option)
            }),
            Self::Text(pattern) => {
                pattern.matches(text)
                    || (text.contains("//") || text.contains("/.") || text.ends_with('/'))
                        && pattern.matches(&tidy_path(text))
            }
        }
    }
}

/// `//etc/./x/` as `/etc/x`: what a path means, as far as its text tells.
pub(super) fn tidy_path(text: &str) -> String {
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    let root = if text.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// A pattern with alternatives (`|`), in which `*` stands for any text and `\*` for a star.
#[derive(Debug, Clone)]
pub(super) struct Glob(Vec<Vec<String>>);

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.split('|').map(between_stars).collect())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|parts| is_made_of(text, parts))
    }
}

/// Whether `text` is one of the alternatives of `pattern`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    Glob::new(pattern).matches(text)
}

/// Whether `text` is these parts with any text between them.
fn is_made_of(text: &str, parts: &[String]) -> bool {
    let (Some((first, rest)), Some(last)) = (parts.split_first(), parts.last()) else {
        return text.is_empty();
    };
    if rest.is_empty() {
        return first == text;
    }
    let Some(mut left) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    for part in rest.iter().take(rest.len() - 1) {
        match left.find(part.as_str()) {
            Some(at) => left = left.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(last.as_str())
}

/// The texts between the stars of a pattern.
fn between_stars(pattern: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, parts.last_mut()) {
            ('*', _) => parts.push(String::new()),
            ('\\', Some(part)) if letters.peek() == Some(&'*') => {
                part.extend(letters.next());
            }
            (other, Some(part)) => part.push(other),
            (_, None) => {}
        }
    }
    parts
}
