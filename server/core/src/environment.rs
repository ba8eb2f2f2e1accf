//! What a shell exports, read from what its `export -p` prints.
//!
//! bash prints `declare -x NAME="value"`, with `\` before `"`, `\`, `$` and a backquote,
//! or `$'…'` with escapes where control characters are in it; dash and busybox print
//! `export NAME='value'`, with `'"'"'` or `'\''` for a quote. A value may go over many
//! lines. Exported names without a value, and arrays, are no part of an environment.

/// Name and value of one exported variable.
pub type Variable = (String, String);

/// The variables in the output of `export -p`, in its order. A value that is no UTF-8 is
/// left out, as is a line that cannot be read.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Variable> {
    let mut reader = Reader { rest: text };
    let mut variables = Vec::new();
    while !reader.rest.is_empty() {
        if let Some(variable) = reader.declaration() {
            variables.push(variable);
        }
        reader.skip_line();
    }
    variables
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|byte| byte != b'\n') {}
    }

    /// Takes a word of the language: everything up to a blank, `=` or line end.
    fn bare(&mut self) -> Vec<u8> {
        let end = self
            .rest
            .iter()
            .position(|byte| matches!(byte, b' ' | b'=' | b'\n'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_vec()
    }

    fn declaration(&mut self) -> Option<Variable> {
        let command = self.bare();
        if !matches!(command.as_slice(), b"export" | b"declare" | b"typeset") {
            return None;
        }
        let name = loop {
            if self.next()? != b' ' {
                return None;
            }
            let word = self.bare();
            if !word.starts_with(b"-") {
                break word;
            }
        };
        if self.rest.first() != Some(&b'=') || name.is_empty() {
            return None;
        }
        self.next();
        if self.rest.first() == Some(&b'(') {
            return None;
        }
        let value = self.value()?;
        Some((
            String::from_utf8(name).ok()?,
            String::from_utf8(value).ok()?,
        ))
    }

    /// A word, its quotes taken off; ends before the line end.
    fn value(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        while let Some(&byte) = self.rest.first() {
            match byte {
                b'\n' => break,
                b'\'' => {
                    self.next();
                    self.until_quote(&mut value)?;
                }
                b'"' => {
                    self.next();
                    self.double_quoted(&mut value)?;
                }
                b'$' if self.rest.get(1) == Some(&b'\'') => {
                    self.next();
                    self.next();
                    self.escaped(&mut value)?;
                }
                b'\\' => {
                    self.next();
                    value.push(self.next()?);
                }
                _ => {
                    self.next();
                    value.push(byte);
                }
            }
        }
        Some(value)
    }

    fn until_quote(&mut self, value: &mut Vec<u8>) -> Option<()> {
        loop {
            match self.next()? {
                b'\'' => return Some(()),
                byte => value.push(byte),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut Vec<u8>) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\' | b'$' | b'`') => value.push(escaped),
                    b'\n' => {}
                    other => value.extend([b'\\', other]),
                },
                byte => value.push(byte),
            }
        }
    }

    /// The inside of `$'…'`, as bash writes it.
    fn escaped(&mut self, value: &mut Vec<u8>) -> Option<()> {
        loop {
            match self.next()? {
                b'\'' => return Some(()),
                b'\\' => {
                    let byte = match self.next()? {
                        b'a' => 0x07,
                        b'b' => 0x08,
                        b'e' | b'E' => 0x1b,
                        b'f' => 0x0c,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'v' => 0x0b,
                        digit @ b'0'..=b'7' => self.octal(digit),
                        other => other,
                    };
                    value.push(byte);
                }
                byte => value.push(byte),
            }
        }
    }

    /// Up to three octal digits, the first of which has been taken.
    fn octal(&mut self, first: u8) -> u8 {
        let mut number = u32::from(first - b'0');
        for _ in 0..2 {
            match self.rest.first() {
                Some(&digit @ b'0'..=b'7') => {
                    self.next();
                    number = number * 8 + u32::from(digit - b'0');
                }
                _ => break,
            }
        }
        // bash writes one byte with three digits; more does not come.
        u8::try_from(number & 0xff).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<Variable> {
        pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn what_bash_prints_is_read() {
        let text = br#"declare -x A="plain"
declare -x B="a \"quoted\" \$HOME \\ \`x\`"
declare -x C=$'line one\nline two\t\033 it\'s'
declare -rx D="fixed"
declare -x NOVALUE
declare -ax LIST=([0]="x" [1]="y")
declare -x E=""
declare -x F="two
lines"
"#;
        assert_eq!(
            parse(text),
            variables(&[
                ("A", "plain"),
                ("B", "a \"quoted\" $HOME \\ `x`"),
                ("C", "line one\nline two\t\u{1b} it's"),
                ("D", "fixed"),
                ("E", ""),
                ("F", "two\nlines"),
            ])
        );
    }

    #[test]
    fn what_dash_and_busybox_print_is_read() {
        let text = b"export A='plain'\nexport B='it'\"'\"'s'\nexport C='it'\\''s'\nexport D\nexport E='two\nlines'\n";
        assert_eq!(
            parse(text),
            variables(&[
                ("A", "plain"),
                ("B", "it's"),
                ("C", "it's"),
                ("E", "two\nlines"),
            ])
        );
    }

    #[test]
    fn what_is_no_declaration_or_no_utf8_is_left_out() {
        let text = b"noise\nexport A='\xff'\nexport B='unclosed";
        assert_eq!(parse(text), []);
        assert_eq!(parse(b""), []);
    }
}
