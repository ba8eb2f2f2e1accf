//! sed: the command `e`, and the flag `e` of `s`.

use super::Start;

pub(super) fn starts(code: &str) -> Vec<Start> {
    let mut reader = Reader {
        text: code,
        found: Vec::new(),
    };
    // A script that is not understood is no script for sed either.
    while reader.command().is_some() {}
    reader.found
}

struct Reader<'a> {
    text: &'a str,
    found: Vec<Start>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let letter = self.text.chars().next()?;
        self.text = self.text.get(letter.len_utf8()..)?;
        Some(letter)
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.text = self.text.trim_start_matches(what);
    }

    /// The rest of the line; a backslash carries it on.
    fn line(&mut self) -> String {
        let mut line = String::new();
        while let Some(letter) = self.next() {
            match letter {
                '\n' => break,
                '\\' => line.extend(self.next()),
                other => line.push(other),
            }
        }
        line
    }

    /// Up to `delimiter`, which a backslash takes its meaning.
    fn until(&mut self, delimiter: char) -> Option<()> {
        let mut class = false;
        loop {
            match self.next()? {
                '\\' => drop(self.next()),
                '[' => class = true,
                ']' => class = false,
                letter if letter == delimiter && !class => return Some(()),
                // A bracket that closes nothing.
                letter if letter == delimiter && !self.text.contains(']') => return Some(()),
                _ => {}
            }
        }
    }

    fn address(&mut self) -> Option<()> {
        loop {
            self.skip(|letter| letter.is_whitespace() || letter == ';');
            match self.text.chars().next()? {
                '/' => {
                    self.next();
                    self.until('/')?;
                    self.skip(|letter| matches!(letter, 'I' | 'M'));
                }
                '\\' => {
                    self.next();
                    let delimiter = self.next()?;
                    self.until(delimiter)?;
                }
                letter if letter.is_ascii_digit() || "$,~+!".contains(letter) => {
                    self.next();
                }
                _ => return Some(()),
            }
        }
    }

    fn command(&mut self) -> Option<()> {
        self.address()?;
        match self.next()? {
            '#' | 'r' | 'R' | 'w' | 'W' | ':' => drop(self.line()),
            'e' => {
                let text = self.line();
                self.found.push(match text.trim() {
                    "" | "}" => Start::Unread,
                    text => Start::Script(text.trim_end_matches([';', '}']).to_owned()),
                });
            }
            'a' | 'i' | 'c' => drop(self.line()),
            'b' | 't' | 'T' => self.skip(|letter| !matches!(letter, ';' | '\n' | '}')),
            's' => {
                let delimiter = self.next()?;
                self.until(delimiter)?;
                self.until(delimiter)?;
                let flags: String = self
                    .text
                    .chars()
                    .take_while(|letter| letter.is_alphanumeric())
                    .collect();
                self.skip(|letter| letter.is_alphanumeric());
                if let Some(before) = flags.split('w').next()
                    && before.contains('e')
                {
                    self.found.push(Start::Unread);
                }
                if flags.contains('w') {
                    self.line();
                }
            }
            'y' => {
                let delimiter = self.next()?;
                self.until(delimiter)?;
                self.until(delimiter)?;
            }
            _ => {}
        }
        Some(())
    }
}
