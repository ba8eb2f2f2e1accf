//! Names that are not what they seem: aliases, functions, and files that are a program
//! under another name.

use super::{Around, BE_PLAIN, Judge, Place};
use crate::policy::code;
use crate::policy::names::MAX_NAMES;
use crate::policy::rules::system_program;
use crate::policy::walk::{Function, Simple, Walked, walk};
use crate::policy::words::Word;

/// Programs that look at a file and do not hand it on.
const LOOKERS: &[&str] = &[
    "ls",
    "file",
    "stat",
    "which",
    "type",
    "whereis",
    "man",
    "dpkg",
    "dpkg-query",
    "rpm",
    "apt-file",
    "test",
    "[",
    "readlink",
    "realpath",
    "echo",
    "printf",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "ldd",
    "strings",
    "du",
    "wc",
    "diff",
    "cmp",
    "nm",
    "objdump",
    "readelf",
    "locate",
    "find",
    "getcap",
    "basename",
    "dirname",
    "git",
    "command",
    "hash",
    "grep",
    "rg",
    "size",
    "getfacl",
    "lsattr",
    "exa",
    "eza",
    "tree",
    "pacman",
    "apk",
    "equery",
    "locate",
    "apropos",
    "info",
    "tldr",
    "pgrep",
    "pkill",
    "pidof",
    "killall",
    "ps",
    "lsof",
    "fuser",
    "export",
    "declare",
    "unset",
    "read",
    "for",
    "local",
    "readonly",
    "trap",
];

/// Programs that make another file of one.
const COPIERS: &[&str] = &[
    "cp", "ln", "install", "mv", "rsync", "dd", "tar", "link", "scp", "cpio",
];

impl Judge<'_> {
    /// Notes the functions that a script defines for certain. One that is taken away again
    /// makes all of them uncertain.
    pub(super) fn learn_functions(&mut self, walked: &Walked, place: &Place) {
        let removes = |simple: &Simple| {
            let mut words = simple.words.iter().map(Word::text);
            words.any(|word| word == "unset")
        };
        if walked.commands.values().any(removes) {
            self.functions.clear();
            return;
        }
        for (at, Function { name, certain }) in &walked.functions {
            if *certain && place.depth == 0 {
                self.functions.entry(name.clone()).or_insert(*at);
            }
        }
    }

    /// Whether `called` is a function of this script, defined before it is called, and
    /// judged where it was defined.
    pub(super) fn is_own_function(&self, called: &str, place: &Place, around: &Around<'_>) -> bool {
        let defined = self.functions.get(called);
        !around.plain && defined.is_some_and(|at| *at <= place.span.start)
    }

    /// Judges what an alias makes of a command.
    pub(super) fn shadowed(&mut self, words: &[Word], place: &Place, around: &Around<'_>) {
        let Some((Word::Literal(name), rest)) = words.split_first() else {
            return;
        };
        if name.contains('/') || place.wrappers.len() > super::MAX_WRAPPERS {
            return;
        }
        let own = self.defined.alias(name).map(|body| body.map(str::to_owned));
        let known = self.names.alias(name).map(|body| body.map(str::to_owned));
        let bodies: Vec<Option<String>> = own.chain(known).collect();
        for body in bodies {
            let Some((inner, ends_open)) = body.as_deref().and_then(last_command) else {
                self.unread(&place.span, format!("what the alias {name} runs"), BE_PLAIN);
                continue;
            };
            let mut expanded = inner;
            let repeats = expanded.first().and_then(Word::literal) == Some(name);
            expanded.extend(rest.iter().cloned());
            let around = Around {
                simple: around.simple,
                input: around.input.clone(),
                plain: repeats,
            };
            let inside = Self::behind(words, place);
            self.command(&expanded, &inside, &around);
            if ends_open && !rest.is_empty() {
                // What follows is a command of its own, or expanded like one.
                self.command(rest, &inside, &around);
            }
        }
    }

    /// Notes what a command defines for the session.
    pub(super) fn define(&mut self, program: &str, words: &[Word], place: &Place) {
        let arguments = words.iter().skip(1);
        if program != "alias" {
            return;
        }
        for word in arguments {
            let Some((name, body)) = word.text().split_once('=') else {
                continue;
            };
            if self.names.len() + self.defined.len() >= MAX_NAMES {
                self.unread(&place.span, "more aliases than are remembered", BE_PLAIN);
            }
            let body = word.literal().is_some().then_some(body);
            self.defined.define_alias(name, body);
        }
    }

    /// Words that hand the file of a denied program to another one, which may run it or
    /// give it another name.
    pub(super) fn handed_to(&mut self, program: &str, words: &[Word], place: &Place) {
        let arguments = words.get(1..).unwrap_or_default();
        if COPIERS.contains(&program) {
            for word in arguments {
                let text = word.text();
                let text = text.rsplit('=').next().unwrap_or(text);
                match word.literal() {
                    Some(_) => {
                        let name = text.rsplit('/').next().unwrap_or_default();
                        self.ask_denied(name, &[], place);
                    }
                    None => {
                        let names: Vec<&str> = code::names(text).collect();
                        for name in names {
                            self.ask_denied(name, &[], place);
                        }
                    }
                }
            }
        } else if !LOOKERS.contains(&program) {
            self.handed(arguments, place);
        }
    }

    /// Denies words that are the path of a denied program.
    pub(super) fn handed(&mut self, words: &[Word], place: &Place) {
        for word in words {
            let text = word.text();
            if !text.contains('/') {
                continue;
            }
            let value = text.rsplit(['=', ',']).next().unwrap_or(text);
            for path in [text, value] {
                if let Some(program) = system_program(path) {
                    self.ask_denied(program, &[], place);
                }
            }
        }
    }

    /// Denies a text that cannot be read where it names what is denied anyway: the better
    /// reason of two.
    pub(super) fn mentions(&mut self, script: &str, place: &Place) {
        if self.lenient == 0 {
            return;
        }
        for name in code::names(script) {
            self.ask_denied(name, &[], place);
        }
    }
}

/// The words of the last command of an alias, to which its arguments are added, and
/// whether what follows is read anew. `None` for more than that.
fn last_command(body: &str) -> Option<(Vec<Word>, bool)> {
    let ends_open = body.ends_with([' ', '\t', ';', '&', '|', '\n']);
    let walked = walk(body)?;
    let last = walked.commands.into_values().next_back()?;
    let plain = last.words.iter().all(|word| word.literal().is_some());
    plain.then_some((last.words, ends_open))
}

impl Around<'_> {
    /// The same for a command behind a wrapper.
    pub(super) fn bare(&self) -> Self {
        Self {
            simple: None,
            input: self.input.clone(),
            plain: true,
        }
    }
}
