//! What commands run besides themselves, judged.

use super::{Around, BE_PLAIN, Inner, Judge, Place};
use crate::policy::code::{self, Language, Start};
use crate::policy::files::Content;
use crate::policy::rules::system_program;
use crate::policy::walk::{Input, Simple};
use crate::policy::words::Word;
use crate::policy::wrappers::Reader;
use crate::policy::{Dialect, MAX_SCRIPT_DEPTH, files};

impl Judge<'_> {
    /// Judges what `words` run besides themselves.
    pub(super) fn inner(
        &mut self,
        inner: Inner,
        words: &[Word],
        place: &Place,
        around: &Around<'_>,
    ) {
        match inner {
            Inner::Command(at) => {
                let rest = words.get(at..).unwrap_or_default();
                if !rest.is_empty() {
                    self.command(rest, &Self::behind(words, place), &around.bare());
                }
            }
            Inner::Words(own) if place.depth < MAX_SCRIPT_DEPTH => {
                if !own.is_empty() {
                    let place = Self::deeper(&Self::behind(words, place));
                    self.command(&own, &place, &around.bare());
                }
            }
            Inner::Words(_) => {
                self.unread(
                    &place.span,
                    "commands within commands within commands",
                    BE_PLAIN,
                );
            }
            Inner::Script(script, dialect) => {
                let inside = Self::deeper(&Self::behind(words, place));
                self.script(&script, dialect.unwrap_or(place.dialect), &inside);
            }
            Inner::Perhaps(script) => self.perhaps(&script, place),
            Inner::Among(words) => self.among(&words, place),
            Inner::Code(language, code) => {
                self.loaded(language, place);
                self.code(language, &code, place);
            }
            Inner::Input(reader) => self.input(reader, words, place, around),
            Inner::File(file, reader) => self.file(&file, reader, place),
            Inner::Variable(name, value) => self.variable(&name, &value, place),
            Inner::Unresolved(what) => self.unread(&place.span, what, BE_PLAIN),
        }
    }

    /// Judges a text that may run by what is denied in it.
    pub(super) fn perhaps(&mut self, script: &str, place: &Place) {
        self.lenient += 1;
        self.script(script, Dialect::Bash, &Self::deeper(place));
        self.lenient -= 1;
    }

    /// Judges the substitutions in a text that may be expanded later.
    pub(super) fn latent(&mut self, text: &str, place: &Place) {
        for (at, _) in text.match_indices("$(") {
            let inside = text.get(at + 2..).unwrap_or_default();
            let end = inside.find(')').unwrap_or(inside.len());
            self.perhaps(inside.get(..end).unwrap_or_default(), place);
        }
        let mut parts = text.split('`');
        parts.next();
        while let (Some(inside), Some(_)) = (parts.next(), parts.next()) {
            self.perhaps(inside, place);
        }
    }

    /// Words of which any may name a program.
    fn among(&mut self, words: &[Word], place: &Place) {
        for (at, word) in words.iter().enumerate() {
            let text = word.text();
            if text.contains([' ', ';', '\n']) {
                self.perhaps(text, place);
            } else if let Some(program) = word.program() {
                let arguments = words.get(at + 1..).unwrap_or_default();
                self.ask_denied(program, arguments, place);
            }
        }
    }

    /// Judges code of another language by what it starts.
    pub(super) fn code(&mut self, language: Language, code: &str, place: &Place) {
        match self.foreign_left.checked_sub(code.len()) {
            Some(left) if place.depth <= MAX_SCRIPT_DEPTH => self.foreign_left = left,
            _ => {
                return self.unread(&place.span, "code that is run again and again", BE_PLAIN);
            }
        }
        for path in code::paths(code) {
            if let Some(program) = system_program(path) {
                self.ask_denied(program, &[], place);
            }
        }
        let starts = code::starts(language, code);
        if !starts.is_empty() {
            for name in code::names(code) {
                self.ask_denied(name, &[], place);
            }
        }
        // Recipes are written for another tool, which puts values into them.
        let guess = matches!(
            language,
            Language::Make | Language::Manifest | Language::Git
        );
        let inside = Self::deeper(place);
        for start in starts {
            match start {
                Start::Script(script) if guess => self.perhaps(&script, place),
                Start::Script(script) => self.script(&script, Dialect::Posix, &inside),
                Start::Program(words) => self.command(&words, &inside, &Around::program()),
                Start::Unread => {
                    let what = format!("what {} starts", language.name());
                    self.unread(&place.span, what, BE_PLAIN);
                }
            }
        }
    }

    /// Judges what comes on the standard input of `words`.
    fn input(&mut self, reader: Reader, words: &[Word], place: &Place, around: &Around<'_>) {
        match (&around.input, reader) {
            (Input::Text(text), Reader::Shell(dialect)) => {
                let inside = Self::deeper(&Self::behind(words, place));
                self.script(&text.clone(), dialect.unwrap_or(place.dialect), &inside);
            }
            (Input::Text(text), Reader::Code(language)) => {
                self.code(language, &text.clone(), place)
            }
            (Input::File(file), reader) => {
                let known = self.files.get(file).is_some();
                match reader {
                    Reader::Shell(_) if !known && !is_plain_file(file) => {
                        self.unread_input(words, place);
                    }
                    _ => self.file(&file.clone(), reader, place),
                }
            }
            (Input::Inherited | Input::Unread, Reader::Shell(_)) => self.unread_input(words, place),
            // What an interpreter reads from elsewhere is like a file of its own.
            (Input::Inherited | Input::Unread, Reader::Code(_)) => {}
        }
    }

    fn unread_input(&mut self, words: &[Word], place: &Place) {
        let program = words.first().map_or("", Word::text);
        self.unread(
            &place.span,
            format!("what {program} reads from its input"),
            BE_PLAIN,
        );
    }

    /// Judges a file that is run or read as code, where this script wrote it.
    fn file(&mut self, file: &Word, reader: Reader, place: &Place) {
        if let Reader::Code(language) = reader {
            self.loaded(language, place);
        }
        if let Some(text) = file.literal()
            && (text.starts_with("/proc/") || text.starts_with("/dev/fd"))
        {
            return self.unread(&place.span, "code behind a descriptor", BE_PLAIN);
        }
        match (self.files.get(file).cloned(), reader) {
            (Some(Content::Text(text)), Reader::Shell(dialect)) => {
                let dialect = dialect.unwrap_or(place.dialect);
                self.script(&text, dialect, &Self::deeper(place));
            }
            (Some(Content::Text(text)), Reader::Code(language)) => {
                self.code(language, &text, &Self::deeper(place));
            }
            (Some(Content::Unread), Reader::Shell(_)) => {
                self.unread(&place.span, "a script that was written just now", BE_PLAIN);
            }
            (Some(Content::Unread), Reader::Code(_)) | (None, _) => {}
        }
    }

    /// Judges the files that this script wrote for an interpreter, which may load them.
    fn loaded(&mut self, language: Language, place: &Place) {
        for text in self.files.in_language(language) {
            self.lenient += 1;
            self.code(language, &text, place);
            self.lenient -= 1;
        }
    }

    /// Judges a file that this script wrote and now runs by its name.
    pub(super) fn written_file(&mut self, words: &[Word], place: &Place) {
        if self.files.is_empty() {
            return;
        }
        let Some(file) = words.first() else { return };
        match self.files.get(file).cloned() {
            None => {}
            Some(Content::Unread) => {
                self.unread(&place.span, "a program that was written just now", BE_PLAIN);
            }
            Some(Content::Text(text)) => match text.strip_prefix("#!") {
                Some(line) => {
                    let line = line.lines().next().unwrap_or_default();
                    let own = line
                        .split_whitespace()
                        .map(|word| Word::Literal(word.to_owned()));
                    let run: Vec<Word> = own.chain([file.clone()]).collect();
                    self.command(&run, &Self::behind(words, place), &Around::program());
                }
                None => self.script(&text, place.dialect, &Self::deeper(place)),
            },
        }
    }

    /// Judges where a statement's redirections lead.
    pub(super) fn redirections(&mut self, simple: &Simple, place: &Place) {
        for redirect in &simple.redirects {
            if redirect.operator == "<" {
                self.handed(std::slice::from_ref(&redirect.target), place);
            }
            if !redirect.writes() {
                continue;
            }
            let text = match (&simple.output, simple.words.first().and_then(Word::program)) {
                (Some(text), _) => text.clone(),
                (None, Some("cat" | "echo" | "printf")) => simple
                    .words
                    .iter()
                    .skip(1)
                    .map(Word::text)
                    .collect::<Vec<_>>()
                    .join("\n"),
                (None, _) => continue,
            };
            match files::runs_later(&redirect.target) {
                Some(files::Later::Shell) => self.perhaps(&text, place),
                Some(files::Later::Code(language)) => {
                    self.lenient += 1;
                    self.code(language, &text, place);
                    self.lenient -= 1;
                }
                None => {}
            }
        }
    }
}

/// A file that lies there, as far as its name tells; not a pipe or a device.
fn is_plain_file(file: &Word) -> bool {
    match file {
        Word::Literal(path) => !path.starts_with("/dev/") && !path.starts_with("/proc/"),
        Word::Unknown { raw, .. } => !raw.starts_with('<'),
    }
}
