//! Interpreters: which of their words is code, and which a file with code.

use super::{Inner, Reader, unresolved};
use crate::policy::code::Language;
use crate::policy::words::Word;

/// How an interpreter's command line is read.
struct Interpreter {
    programs: &'static [&'static str],
    language: Language,
    /// Short options that take code.
    code: &'static str,
    /// Long options that take code.
    long: &'static [&'static str],
    /// Short options that take something else.
    valued: &'static str,
    /// Whether the first operand is code where no option gave some.
    first_is_code: bool,
    /// Short options that take a file with code.
    files: &'static str,
}

const fn interpreter(
    programs: &'static [&'static str],
    language: Language,
    code: &'static str,
    long: &'static [&'static str],
    valued: &'static str,
) -> Interpreter {
    Interpreter {
        programs,
        language,
        code,
        long,
        valued,
        first_is_code: false,
        files: "",
    }
}

const INTERPRETERS: &[Interpreter] = &[
    interpreter(
        &["python", "python2", "python3", "pypy", "pypy3"],
        Language::Python,
        "c",
        &[],
        "mWX",
    ),
    interpreter(&["perl"], Language::Perl, "eE", &[], "IMmxi0CD"),
    interpreter(
        &["ruby", "jruby", "irb"],
        Language::Ruby,
        "e",
        &[],
        "ICEKrTWFx",
    ),
    interpreter(
        &["node", "nodejs", "deno", "bun"],
        Language::Node,
        "ep",
        &["eval", "print"],
        "rC",
    ),
    interpreter(&["php"], Language::Php, "rBRE", &["run"], "cdfFStz"),
    interpreter(
        &["lua", "luajit", "lua5.1", "lua5.3", "lua5.4"],
        Language::Lua,
        "e",
        &[],
        "l",
    ),
    interpreter(&["tclsh", "wish"], Language::Tcl, "", &[], ""),
    interpreter(&["expect"], Language::Tcl, "c", &[], "d"),
    Interpreter {
        first_is_code: true,
        files: "f",
        ..interpreter(
            &["awk", "gawk", "mawk", "nawk", "original-awk"],
            Language::Awk,
            "e",
            &["source"],
            "FvW",
        )
    },
    Interpreter {
        first_is_code: true,
        files: "f",
        ..interpreter(&["sed", "gsed"], Language::Sed, "e", &["expression"], "l")
    },
    Interpreter {
        files: "f",
        ..interpreter(
            &["make", "gmake"],
            Language::Make,
            "E",
            &["eval"],
            "CIoWjlO",
        )
    },
    interpreter(&["sqlite3"], Language::Sqlite, "", &["cmd"], ""),
    interpreter(
        &["gdb", "lldb"],
        Language::Gdb,
        "",
        &["eval-command", "ex", "init-eval-command", "iex"],
        "",
    ),
    Interpreter {
        files: "S",
        ..interpreter(
            &["vim", "vi", "ex", "view", "nvim", "vimdiff", "rvim", "gvim"],
            Language::Vim,
            "c",
            &["cmd"],
            "uUTwWtPiq",
        )
    },
    interpreter(&["ed", "red"], Language::Ed, "", &[], "p"),
];

/// Programs whose code is not judged, whatever it is: what runs below them is beyond a
/// policy.
pub(in crate::policy) fn is_interpreter(program: &str) -> bool {
    const MORE: &[&str] = &[
        "make", "gcc", "cc", "cargo", "npm", "npx", "yarn", "pnpm", "go", "java", "ghc", "rustc",
        "julia", "R", "Rscript", "emacs", "ssh", "docker", "kubectl", "psql", "mysql", "erl",
        "elixir", "guile", "sbcl", "racket", "ocaml", "swift", "dotnet", "mono", "busybox",
    ];
    find(program).is_some() || MORE.contains(&program)
}

/// An interpreter by its name, which may carry a version: `python3.11`.
fn find(program: &str) -> Option<&'static Interpreter> {
    let bare = program.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    INTERPRETERS
        .iter()
        .find(|known| known.programs.contains(&program))
        .or_else(|| {
            INTERPRETERS
                .iter()
                .find(|known| known.programs.contains(&bare))
        })
}

/// The code that `program` runs; `None` where it is no interpreter.
pub(super) fn inner(program: &str, arguments: &[Word]) -> Option<Vec<Inner>> {
    let known = find(program)?;
    let mut found = known.options(arguments);
    match known.language {
        Language::Make => found.extend(variables(arguments)),
        Language::Gdb => found.extend(debugged(arguments)),
        Language::Vim => found.extend(plus(arguments)),
        Language::Awk => found.extend(assigned(arguments)),
        _ => {}
    }
    Some(found)
}

impl Interpreter {
    fn options(&self, arguments: &[Word]) -> Vec<Inner> {
        let mut line = Line {
            found: Vec::new(),
            operands: Vec::new(),
            words: arguments.iter(),
            given: false,
        };
        while let Some(word) = line.words.next() {
            let text = word.text();
            let long = text.strip_prefix("--").or_else(|| match self.language {
                // These take one dash too.
                Language::Gdb | Language::Sqlite => text.strip_prefix('-'),
                _ => None,
            });
            if text == "--" {
                line.operands.extend(line.words.by_ref());
            } else if let Some(long) = long.filter(|long| !long.is_empty()) {
                self.long_option(long, word, &mut line);
            } else if let Some(cluster) = text.strip_prefix('-').filter(|c| !c.is_empty()) {
                if self.short_options(cluster, word, &mut line) == Goes::Over {
                    return line.found;
                }
            } else {
                line.operands.push(word);
                // Where options may follow operands, they are looked for.
                let goes_on = matches!(
                    self.language,
                    Language::Sed
                        | Language::Make
                        | Language::Sqlite
                        | Language::Vim
                        | Language::Gdb
                );
                if text != "-" && !goes_on {
                    break;
                }
            }
        }
        line.found.extend(self.operands(&line.operands, line.given));
        line.found
    }

    fn long_option<'w>(&self, long: &str, word: &'w Word, line: &mut Line<'w>) {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let same = |full: &str| full == name || (name.len() > 2 && full.starts_with(name));
        let takes_code = self.long.iter().any(|full| same(full));
        let has_files = matches!(
            self.language,
            Language::Sed | Language::Make | Language::Awk
        );
        let takes_file = has_files && (same("file") || same("makefile"));
        if !takes_code && !takes_file {
            return;
        }
        let value = match value {
            Some(value) => Some(same_knowledge(word, value)),
            None => line.words.next().cloned(),
        };
        line.given = true;
        line.found.extend(value.map(|value| match takes_code {
            true => self.code_of(&value),
            false => self.file(value),
        }));
    }

    fn short_options<'w>(&self, cluster: &str, word: &'w Word, line: &mut Line<'w>) -> Goes {
        let takes = |letter: char| {
            [self.code, self.valued, self.files]
                .iter()
                .any(|letters| letters.contains(letter))
        };
        let Some((at, letter)) = cluster.char_indices().find(|(_, letter)| takes(*letter)) else {
            return Goes::On;
        };
        let rest = cluster.get(at + letter.len_utf8()..).unwrap_or_default();
        let joined_only = matches!(
            (self.language, letter),
            (Language::Perl, 'i' | '0' | 'C' | 'D' | 'x' | 'm' | 'M')
                | (Language::Ruby, 'i' | '0' | 'F')
                | (Language::Make, 'j' | 'l' | 'O')
        );
        let value = match rest.is_empty() {
            true if joined_only => None,
            true => line.words.next().cloned(),
            false => Some(same_knowledge(word, rest)),
        };
        if self.code.contains(letter) {
            line.given = true;
            line.found.extend(value.map(|value| self.code_of(&value)));
        } else if self.files.contains(letter) {
            line.given = true;
            line.found.extend(value.map(|value| self.file(value)));
        }
        // What follows belongs to the code, or to the module.
        match (self.language, letter) {
            (Language::Python, 'c' | 'm') => Goes::Over,
            _ => Goes::On,
        }
    }

    /// What stands without an option.
    fn operands(&self, operands: &[&Word], given: bool) -> Vec<Inner> {
        let stdin = Inner::Input(Reader::Code(self.language));
        match (self.language, operands) {
            (Language::Sqlite, [_, commands @ ..]) if !commands.is_empty() => {
                commands.iter().map(|word| self.code_of(word)).collect()
            }
            (Language::Sqlite | Language::Ed, _) => vec![stdin],
            (Language::Vim | Language::Gdb, _) => vec![stdin],
            (Language::Make, _) if given => Vec::new(),
            (Language::Make, _) => ["GNUmakefile", "makefile", "Makefile"]
                .map(|name| self.file(Word::Literal(name.to_owned())))
                .to_vec(),
            _ if given => Vec::new(),
            (_, [code, ..]) if self.first_is_code => vec![self.code_of(code)],
            (_, []) if self.first_is_code => Vec::new(),
            (_, []) => vec![stdin],
            (_, [first, ..]) => match first.literal() {
                Some("-" | "/dev/stdin") => vec![stdin],
                _ => vec![self.file((*first).clone())],
            },
        }
    }

    fn code_of(&self, word: &Word) -> Inner {
        match word.literal() {
            Some(code) => Inner::Code(self.language, code.to_owned()),
            // A value that is put into a pattern is everyday; one that is the whole code is not.
            None if self.language == Language::Sed && !is_only_expansion(word.text()) => {
                Inner::Code(self.language, word.text().to_owned())
            }
            None if self.language == Language::Awk && !is_only_expansion(word.text()) => {
                Inner::Code(self.language, word.text().to_owned())
            }
            None if self.language == Language::Sqlite && !word.text().starts_with(['.', '$']) => {
                Inner::Code(self.language, word.text().to_owned())
            }
            None => {
                let name = self.language.name();
                unresolved(format!("the code {name} runs is only known when it runs"))
            }
        }
    }

    fn file(&self, word: Word) -> Inner {
        match &word {
            Word::Literal(name) if matches!(name.as_str(), "-" | "/dev/stdin") => {
                Inner::Input(Reader::Code(self.language))
            }
            Word::Unknown { raw, .. } if raw.starts_with('<') => unresolved(format!(
                "the code {} runs comes from another command",
                self.language.name()
            )),
            _ => Inner::File(word, Reader::Code(self.language)),
        }
    }
}

/// A command line that is being read.
struct Line<'w> {
    found: Vec<Inner>,
    operands: Vec<&'w Word>,
    words: std::slice::Iter<'w, Word>,
    /// Whether an option gave code.
    given: bool,
}

/// Whether the options go on.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    Over,
}

/// `value`, a part of `word`, as much known as it.
fn same_knowledge(word: &Word, value: &str) -> Word {
    match word.literal() {
        Some(_) => Word::Literal(value.to_owned()),
        None => super::unknown(value),
    }
}

fn is_only_expansion(raw: &str) -> bool {
    raw.starts_with('$') && !raw.contains([' ', '/', '{'])
        || raw.starts_with("$(")
        || raw.starts_with('`')
}

/// `make SHELL=… CC=…`: values that recipes run.
fn variables(arguments: &[Word]) -> Vec<Inner> {
    let given = arguments.iter().filter_map(|word| {
        let (name, value) = word.literal()?.split_once('=')?;
        let plain = |letter: char| letter.is_alphanumeric() || "_.".contains(letter);
        let value = value.trim_start_matches(['"', '\'']);
        (!name.starts_with('-') && name.chars().all(plain))
            .then(|| Inner::Perhaps(value.to_owned()))
    });
    given.collect()
}

/// `gdb --args program …`.
fn debugged(arguments: &[Word]) -> Option<Inner> {
    let at = arguments
        .iter()
        .position(|word| matches!(word.text(), "--args" | "-args"))?;
    Some(Inner::Words(arguments.get(at + 1..)?.to_vec()))
}

/// `vim '+command' file`.
fn plus(arguments: &[Word]) -> Vec<Inner> {
    let commands = arguments.iter().filter_map(|word| {
        let command = word.text().strip_prefix('+')?;
        Some(Inner::Code(Language::Vim, command.to_owned()))
    });
    commands.collect()
}

/// `awk -v name=value`: a value that a program can give to `system`.
fn assigned(arguments: &[Word]) -> Vec<Inner> {
    let values = super::options::values(arguments, Some('v'), "assign", "FvWfe");
    let scripts = values.iter().filter_map(|value| {
        let (_, value) = value.literal()?.split_once('=')?;
        value
            .contains(' ')
            .then(|| Inner::Perhaps(value.to_owned()))
    });
    scripts.collect()
}
