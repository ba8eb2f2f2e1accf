//! Calls that start programs, in languages with calls.

use super::Start;
use super::literals::{Argument, argument, delimited, string, words};
use crate::policy::words::Word;

/// What a call's first argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// A text for a shell.
    Shell,
    /// A list of words, or a text for a shell.
    Either,
    /// A program, then its arguments, somewhere among others.
    Program,
}

/// The places behind each call of `name`: behind its opening bracket, or with `bare`
/// behind the name itself.
fn calls<'a>(code: &'a str, name: &'a str, bare: bool) -> impl Iterator<Item = (&'a str, &'a str)> {
    code.match_indices(name).filter_map(move |(at, _)| {
        let before = code.get(..at)?;
        let after = code.get(at + name.len()..)?;
        let part = |letter: char| letter.is_alphanumeric() || letter == '_';
        if before.ends_with(part) || after.starts_with(part) {
            return None;
        }
        let rest = after.trim_start();
        match rest.strip_prefix('(') {
            Some(inside) => Some((before, inside)),
            None if bare && rest.len() < after.len() => Some((before, rest)),
            None if bare && rest.starts_with(['"', '\'', '{']) => Some((before, rest)),
            None => None,
        }
    })
}

fn start(takes: Takes, rest: &str) -> Start {
    let (argument, _) = argument(rest);
    match (takes, argument) {
        (Takes::Program, _) => program(rest),
        (_, Argument::Text(text)) => Start::Script(text),
        (Takes::Either, Argument::List(words)) if !words.is_empty() => Start::Program(words),
        _ => Start::Unread,
    }
}

/// The first string among a call's arguments names the program.
fn program(rest: &str) -> Start {
    let (mut words, _) = words(rest);
    let first = words.iter().position(|word| word.literal().is_some());
    match first {
        Some(0) => Start::Program(words),
        // `spawnlp(os.P_WAIT, "rm", …)`.
        Some(1) => Start::Program(words.split_off(1)),
        _ => Start::Unread,
    }
}

fn has_any(code: &str, markers: &[&str]) -> bool {
    markers.iter().any(|marker| code.contains(marker))
}

fn all(code: &str, table: &[(&str, Takes)], bare: bool) -> Vec<Start> {
    let mut found = Vec::new();
    for (name, takes) in table {
        found.extend(calls(code, name, bare).map(|(_, rest)| start(*takes, rest)));
    }
    found
}

/// Python's calls whose names nothing else has.
const PYTHON: &[(&str, Takes)] = &[
    ("system", Takes::Shell),
    ("popen", Takes::Shell),
    ("getoutput", Takes::Shell),
    ("getstatusoutput", Takes::Shell),
    ("create_subprocess_shell", Takes::Shell),
    ("check_call", Takes::Either),
    ("check_output", Takes::Either),
    ("Popen", Takes::Either),
    ("create_subprocess_exec", Takes::Program),
    ("execv", Takes::Program),
    ("execve", Takes::Program),
    ("execvp", Takes::Program),
    ("execvpe", Takes::Program),
    ("execl", Takes::Program),
    ("execle", Takes::Program),
    ("execlp", Takes::Program),
    ("execlpe", Takes::Program),
    ("posix_spawn", Takes::Program),
    ("posix_spawnp", Takes::Program),
    ("spawnl", Takes::Program),
    ("spawnle", Takes::Program),
    ("spawnlp", Takes::Program),
    ("spawnlpe", Takes::Program),
    ("spawnv", Takes::Program),
    ("spawnve", Takes::Program),
    ("spawnvp", Takes::Program),
    ("spawnvpe", Takes::Program),
];

pub(super) fn python(code: &str) -> Vec<Start> {
    let mut found = all(code, PYTHON, false);
    // Names that other modules have too.
    let module = code.split_once("import subprocess as ").map(|(_, rest)| {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    });
    let imported = code.contains("from subprocess import");
    for name in ["run", "call"] {
        for (before, rest) in calls(code, name, false) {
            let owner = before.strip_suffix('.').map(last_name);
            let meant = match owner {
                Some(owner) => owner == "subprocess" || Some(owner) == module || owner == ")",
                None => imported && !before.ends_with("def "),
            };
            if meant {
                found.push(start(Takes::Either, rest));
            }
        }
    }
    for (before, rest) in calls(code, "spawn", false) {
        if before.ends_with("pty.") {
            found.push(start(Takes::Either, rest));
        }
    }
    for name in ["exec", "eval", "__import__", "import_module", "getattr"] {
        for (before, rest) in calls(code, name, false) {
            let own = !before.ends_with('.') || name == "import_module";
            let about_modules = name != "getattr" || rest.trim_start().starts_with(['o', '_', 's']);
            let literal =
                string(rest.trim_start()).is_some_and(|(_, after)| after.starts_with(')'));
            if own && about_modules && !(literal && name != "exec" && name != "eval") {
                found.push(Start::Unread);
            }
        }
    }
    let unseen = has_any(
        code,
        &["subprocess", "ctypes", "pty.", "os.exec", "os.spawn"],
    ) && found.is_empty()
        && has_any(code, &["(", "="])
        && !is_only_asked(code);
    if unseen {
        found.push(Start::Unread);
    }
    found
}

/// Code that has the module, and uses only its constants and errors.
fn is_only_asked(code: &str) -> bool {
    let uses = code.matches("subprocess.").count();
    let harmless = ["subprocess.PIPE", "subprocess.DEVNULL", "subprocess.STDOUT"];
    let harmless: usize = harmless.iter().map(|name| code.matches(name).count()).sum();
    !has_any(code, &["ctypes", "pty.", "os.exec", "os.spawn"])
        && uses == harmless
        && !code.contains("from subprocess")
        && !code.contains("import subprocess as")
}

/// The name that a text ends with; `)` for the value of a call.
fn last_name(text: &str) -> &str {
    if text.ends_with(')') {
        return ")";
    }
    let start = text.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_');
    text.get(start.map_or(0, |at| at + 1)..).unwrap_or_default()
}

pub(super) fn node(code: &str) -> Vec<Start> {
    use Takes::{Program, Shell};
    let mut found = Vec::new();
    for (_, rest) in calls(code, "require", false).chain(calls(code, "import", false)) {
        if string(rest.trim_start()).is_none() {
            found.push(Start::Unread);
        }
    }
    if has_any(
        code,
        &["process.binding(", "process.dlopen", "mainModule", "_load("],
    ) {
        found.push(Start::Unread);
    }
    for name in ["eval", "Function"] {
        if calls(code, name, false).next().is_some() {
            found.push(Start::Unread);
        }
    }
    if code.contains("child_process") {
        let calls = all(
            code,
            &[
                ("exec", Shell),
                ("execSync", Shell),
                ("execFile", Program),
                ("execFileSync", Program),
                ("spawn", Program),
                ("spawnSync", Program),
                ("fork", Program),
            ],
            false,
        );
        if calls.is_empty() {
            found.push(Start::Unread);
        }
        found.extend(calls);
    }
    found
}

/// `system`, `exec` and what stands in backquotes, in languages that took them from the
/// shell.
fn shell_like(code: &str, names: &[&str]) -> Vec<Start> {
    let mut found = Vec::new();
    for name in names {
        for (_, rest) in calls(code, name, true) {
            let (words, _) = words(rest);
            found.push(match words.as_slice() {
                [Word::Literal(text)] => Start::Script(text.clone()),
                [Word::Literal(_), _, ..] => Start::Program(words),
                _ => Start::Unread,
            });
        }
    }
    let mut parts = code.split('`');
    parts.next();
    while let (Some(inside), Some(_)) = (parts.next(), parts.next()) {
        found.push(interpolated(inside));
    }
    found
}

/// A text that the language puts values in before a shell gets it.
fn interpolated(text: &str) -> Start {
    match text.contains(['$', '@', '\\']) || text.contains("#{") {
        true => Start::Unread,
        false => Start::Script(text.to_owned()),
    }
}

/// What stands in `qx(…)` or `%x(…)`.
fn quoted_commands<'a>(code: &'a str, operator: &'a str) -> impl Iterator<Item = Start> + 'a {
    code.match_indices(operator).filter_map(move |(at, _)| {
        let before = code.get(..at)?;
        let after = code.get(at + operator.len()..)?.trim_start();
        let part = |letter: char| letter.is_alphanumeric() || "_$".contains(letter);
        let delimiter = after.chars().next()?;
        if before.ends_with(part) || part(delimiter) || delimiter.is_whitespace() {
            return None;
        }
        Some(interpolated(delimited(after)?))
    })
}

pub(super) fn perl(code: &str) -> Vec<Start> {
    let mut found = shell_like(code, &["system", "exec", "readpipe"]);
    found.extend(quoted_commands(code, "qx"));
    for (_, rest) in calls(code, "open", true) {
        let (words, _) = words(rest);
        found.extend(piped(&words));
    }
    for (_, rest) in calls(code, "eval", true) {
        if !rest.starts_with('{') {
            found.push(Start::Unread);
        }
    }
    if has_any(code, &["syscall", "IPC::", "POSIX::exec", "DynaLoader"]) {
        found.push(Start::Unread);
    }
    found
}

/// `open(F, "|cmd")` and `open(F, "-|", "cmd", …)`.
fn piped(words: &[Word]) -> Option<Start> {
    let texts = words.iter().enumerate();
    for (at, text) in texts.filter_map(|(at, word)| Some((at, word.literal()?))) {
        let text = text.trim();
        if matches!(text, "-|" | "|-") {
            let program = words.get(at + 1..).unwrap_or_default();
            return Some(match program {
                [Word::Literal(script)] => Start::Script(script.clone()),
                [Word::Literal(_), ..] => Start::Program(program.to_vec()),
                _ => Start::Unread,
            });
        }
        if let Some(script) = text.strip_prefix('|').or_else(|| text.strip_suffix('|')) {
            return Some(Start::Script(script.to_owned()));
        }
    }
    let computed = words.iter().any(|word| word.text().contains('|'));
    computed.then_some(Start::Unread)
}

pub(super) fn ruby(code: &str) -> Vec<Start> {
    let mut found = shell_like(
        code,
        &["system", "exec", "spawn", "popen", "capture2", "capture3"],
    );
    found.extend(quoted_commands(code, "%x"));
    for (_, rest) in calls(code, "open", true) {
        let (words, _) = words(rest);
        found.extend(piped(&words));
    }
    if has_any(code, &["instance_eval", "Kernel.send", "Fiddle", "syscall"])
        || calls(code, "eval", true).next().is_some()
    {
        found.push(Start::Unread);
    }
    found
}

pub(super) fn php(code: &str) -> Vec<Start> {
    let names = [
        "system",
        "exec",
        "shell_exec",
        "passthru",
        "popen",
        "proc_open",
        "pcntl_exec",
    ];
    let mut found = shell_like(code, &names);
    if calls(code, "eval", false).next().is_some() {
        found.push(Start::Unread);
    }
    found
}

pub(super) fn compiled(code: &str) -> Vec<Start> {
    use Takes::{Program, Shell};
    let table = [
        ("system", Shell),
        ("popen", Shell),
        ("execl", Program),
        ("execlp", Program),
        ("execv", Program),
        ("execvp", Program),
        ("execve", Program),
        ("posix_spawn", Program),
        ("posix_spawnp", Program),
        ("Command::new", Program),
        ("exec.Command", Program),
    ];
    all(code, &table, false)
}

pub(super) fn lua(code: &str) -> Vec<Start> {
    let mut found = shell_like(code, &["execute", "popen"]);
    if calls(code, "load", true).next().is_some() || code.contains("loadstring") {
        found.push(Start::Unread);
    }
    found
}

pub(super) fn tcl(code: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for name in ["exec", "spawn", "system"] {
        for (_, rest) in calls(code, name, true) {
            let line = rest.split(['\n', ';', ']']).next().unwrap_or_default();
            let words: Vec<Word> = line.split_whitespace().map(tcl_word).collect();
            let options = words.iter().take_while(|word| word.text().starts_with('-'));
            let options = options.count();
            match words.get(options..) {
                Some(words @ [Word::Literal(_), ..]) => found.push(Start::Program(words.to_vec())),
                _ => found.push(Start::Unread),
            }
        }
    }
    for name in ["eval", "source", "uplevel", "subst"] {
        if calls(code, name, true).next().is_some() {
            found.push(Start::Unread);
        }
    }
    if has_any(code, &["open |", "open \"|", "open {|"]) {
        found.push(Start::Unread);
    }
    found
}

fn tcl_word(raw: &str) -> Word {
    let text = raw.trim_matches(['"', '{', '}']);
    match text.contains(['$', '[', '\\']) {
        true => Word::Unknown {
            raw: raw.to_owned(),
            tail: None,
        },
        false => Word::Literal(text.to_owned()),
    }
}
