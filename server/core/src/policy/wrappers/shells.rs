//! Shells, and the builtins and programs that give a script to one.

use super::{Inner, Reader, joined, script, unresolved};
use crate::policy::Dialect;
use crate::policy::words::Word;

/// Programs that read shell scripts.
const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash", "hush",
];

/// Programs with another language that looks like a shell's.
const FOREIGN: &[&str] = &["fish", "csh", "tcsh", "nu", "pwsh", "xonsh", "elvish"];

/// What is run by `program`; `None` where it is none of these.
pub(super) fn inner(program: &str, words: &[Word]) -> Option<Vec<Inner>> {
    if SHELLS.contains(&program) {
        let bash = matches!(program, "bash" | "rbash");
        return Some(shell(
            words,
            if bash { Dialect::Bash } else { Dialect::Posix },
        ));
    }
    let arguments = words.get(1..).unwrap_or_default();
    let found = match program {
        _ if FOREIGN.contains(&program) => foreign(program, arguments),
        "eval" => match arguments {
            [] => Vec::new(),
            [Word::Literal(end), rest @ ..] if end == "--" => vec![joined(rest, "eval", None)],
            rest => vec![joined(rest, "eval", None)],
        },
        "trap" => trap(arguments),
        "." | "source" => sourced(arguments),
        "alias" => aliases(arguments),
        "su" | "runuser" => other_user(arguments),
        "script" => recorded(arguments),
        "capsh" => capabilities(arguments),
        "at" | "batch" => vec![Inner::Input(Reader::Shell(Some(Dialect::Posix)))],
        "crontab" => crontab(arguments),
        "hash" if has_option(arguments, 'p') => vec![unresolved("a rewired program name")],
        "enable" if has_option(arguments, 'f') => vec![unresolved("a loaded builtin")],
        "bind" if has_option(arguments, 'x') => vec![unresolved("a command behind a key")],
        "fc" if !has_option(arguments, 'l') => vec![unresolved("a command of the past")],
        "mapfile" | "readarray" | "complete" if has_option(arguments, 'C') => {
            vec![unresolved(format!("the command {program} calls"))]
        }
        "compgen" if has_option(arguments, 'C') => vec![unresolved("the command compgen calls")],
        "compgen" | "complete" if has_option(arguments, 'W') => {
            // Its list of words is expanded like a script's.
            let expanded = arguments
                .iter()
                .any(|word| word.text().contains(['$', '`']));
            expanded
                .then(|| unresolved("words that are expanded again"))
                .into_iter()
                .collect()
        }
        _ => return None,
    };
    Some(found)
}

/// A shell: its `-c` script, its script file, or its input; and its start-up files.
fn shell(words: &[Word], dialect: Dialect) -> Vec<Inner> {
    let reader = Reader::Shell(Some(dialect));
    let mut found = Vec::new();
    let mut at = 1;
    let mut inline = false;
    let mut stdin = false;
    while let Some(option) = words.get(at).and_then(Word::literal) {
        at += 1;
        match option {
            "--" | "-" => break,
            "--version" | "--help" => return found,
            "--rcfile" | "--init-file" => {
                found.extend(words.get(at).cloned().map(|file| Inner::File(file, reader)));
                at += 1;
            }
            _ if option.starts_with("--") => {}
            _ => match option.strip_prefix(['-', '+']) {
                Some(cluster) => {
                    inline |= cluster.contains('c') && option.starts_with('-');
                    stdin |= cluster.contains('s');
                    at += cluster.matches(['o', 'O']).count();
                }
                None => {
                    at -= 1;
                    break;
                }
            },
        }
    }
    let rest = words.get(at..).unwrap_or_default();
    let last = match rest.first() {
        Some(word) if inline => Some(script(word, "a shell", Some(dialect))),
        None if inline => None,
        _ if stdin => Some(Inner::Input(reader)),
        Some(Word::Literal(file)) if is_stdin(file) => Some(Inner::Input(reader)),
        // It could be an option, and what follows its script.
        Some(Word::Unknown { raw, .. }) if raw.starts_with('<') || hides_script(rest) => {
            Some(unresolved("what a shell reads is only known when it runs"))
        }
        Some(file) => {
            // A bare name is looked for on the search path too.
            found.push(Inner::Among(vec![file.clone()]));
            Some(Inner::File(file.clone(), reader))
        }
        None => Some(Inner::Input(reader)),
    };
    found.extend(last);
    found
}

fn hides_script(rest: &[Word]) -> bool {
    let later = rest.iter().skip(1).filter_map(Word::literal);
    later
        .into_iter()
        .any(|text| text.contains([' ', ';', '\n', '|']))
}

fn is_stdin(file: &str) -> bool {
    matches!(file, "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0")
}

fn foreign(program: &str, arguments: &[Word]) -> Vec<Inner> {
    let inline = arguments
        .iter()
        .position(|word| word.text().starts_with("-c"));
    match (inline, arguments.first()) {
        (Some(at), _) => match arguments.get(at + 1) {
            // Simple commands look the same there.
            Some(word) => vec![script(word, program, Some(Dialect::Posix))],
            None => vec![unresolved(format!("what {program} runs"))],
        },
        (None, Some(_)) => Vec::new(),
        (None, None) => vec![Inner::Input(Reader::Shell(Some(Dialect::Posix)))],
    }
}

fn trap(arguments: &[Word]) -> Vec<Inner> {
    let arguments = match arguments {
        [Word::Literal(end), rest @ ..] if end == "--" => rest,
        [Word::Literal(option), ..] if option.starts_with('-') => return Vec::new(),
        all => all,
    };
    match arguments {
        [_] | [] => Vec::new(),
        [first, ..] => vec![script(first, "trap", None)],
    }
}

fn sourced(arguments: &[Word]) -> Vec<Inner> {
    let file = match arguments {
        [Word::Literal(end), file, ..] if end == "--" => file,
        [file, ..] => file,
        [] => return Vec::new(),
    };
    match file {
        Word::Literal(path) if is_stdin(path) => vec![Inner::Input(Reader::Shell(None))],
        Word::Literal(path) if path.starts_with("/dev/fd/") || path.starts_with("/proc/") => {
            vec![unresolved("a script from a descriptor")]
        }
        Word::Unknown { raw, .. } if raw.starts_with('<') => {
            vec![unresolved("a script from another command")]
        }
        file => vec![Inner::File(file.clone(), Reader::Shell(None))],
    }
}

/// What an alias stands for is judged where it is defined, and again where it is used.
fn aliases(arguments: &[Word]) -> Vec<Inner> {
    arguments.iter().filter_map(alias).collect()
}

fn alias(word: &Word) -> Option<Inner> {
    match word {
        Word::Literal(text) => {
            let (_, value) = text.split_once('=')?;
            Some(Inner::Script(value.to_owned(), None))
        }
        Word::Unknown { .. } => Some(unresolved("an alias is only known when it runs")),
    }
}

/// `su` and `runuser`: `-c`, or with `-u` a command, or else a shell.
fn other_user(arguments: &[Word]) -> Vec<Inner> {
    let mut at = 0;
    let mut direct = false;
    while let Some(word) = arguments.get(at) {
        at += 1;
        let Some(text) = word.literal() else {
            continue;
        };
        if let Some(long) = text.strip_prefix("--") {
            let (name, value) = long.split_once('=').unwrap_or((long, ""));
            let command = |full: &str| name.len() > 2 && full.starts_with(name);
            if command("command") || command("session-command") {
                let joined = Word::Literal(value.to_owned());
                let next = if long.contains('=') {
                    Some(&joined)
                } else {
                    arguments.get(at)
                };
                return next
                    .map(|word| script(word, "su", Some(Dialect::Posix)))
                    .into_iter()
                    .collect();
            }
            if direct && long.is_empty() {
                let rest = arguments.get(at..).unwrap_or_default();
                return vec![Inner::Words(rest.to_vec())];
            }
        } else if let Some(cluster) = text.strip_prefix('-').filter(|c| !c.is_empty()) {
            if let Some((_, rest)) = cluster.split_once('c') {
                let joined = Word::Literal(rest.to_owned());
                let next = if rest.is_empty() {
                    arguments.get(at)
                } else {
                    Some(&joined)
                };
                return next
                    .map(|word| script(word, "su", Some(Dialect::Posix)))
                    .into_iter()
                    .collect();
            }
            direct |= cluster.contains('u');
            at += usize::from(cluster.ends_with(['u', 'g', 'G', 's', 'w']));
        } else if direct {
            let rest = arguments.get(at - 1..).unwrap_or_default();
            return vec![Inner::Words(rest.to_vec())];
        }
    }
    vec![Inner::Input(Reader::Shell(Some(Dialect::Posix)))]
}

/// `script -c 'command'`.
fn recorded(arguments: &[Word]) -> Vec<Inner> {
    let given = super::options::values(arguments, Some('c'), "command", "EImoBIOTt");
    match given.as_slice() {
        [] => vec![Inner::Input(Reader::Shell(None))],
        given => given
            .iter()
            .map(|word| script(word, "script", None))
            .collect(),
    }
}

/// `capsh … -- arguments for bash`.
fn capabilities(arguments: &[Word]) -> Vec<Inner> {
    let at = arguments
        .iter()
        .position(|word| matches!(word.literal(), Some("--" | "==")));
    match at {
        Some(at) => {
            let shell = [Word::Literal("bash".to_owned())].into_iter();
            let rest = arguments.get(at + 1..).unwrap_or_default().iter().cloned();
            vec![Inner::Words(shell.chain(rest).collect())]
        }
        None => Vec::new(),
    }
}

fn crontab(arguments: &[Word]) -> Vec<Inner> {
    match arguments.last() {
        None => vec![unresolved("a crontab from an input")],
        Some(word) if word.literal() == Some("-") => vec![unresolved("a crontab from an input")],
        Some(word) if word.text().starts_with('-') => Vec::new(),
        Some(file) => vec![Inner::File(
            file.clone(),
            Reader::Shell(Some(Dialect::Posix)),
        )],
    }
}

fn has_option(words: &[Word], letter: char) -> bool {
    words.iter().any(|word| match word.literal() {
        Some(text) => text
            .strip_prefix('-')
            .is_some_and(|cluster| !cluster.starts_with('-') && cluster.contains(letter)),
        None => true,
    })
}
