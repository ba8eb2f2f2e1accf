//! Programs with commands of their own, one a line, some of which run a shell's; and
//! settings that hold a command.

use super::{Language, Start, starts};

pub(super) fn sqlite(code: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for line in code.lines().map(str::trim) {
        let Some((command, rest)) = line.split_once([' ', '\t']) else {
            continue;
        };
        match command {
            ".shell" | ".system" | ".shel" | ".she" | ".sh" | ".sys" | ".syst" | ".syste" => {
                found.push(Start::Script(rest.to_owned()));
            }
            ".output" | ".once" | ".import" | ".read" | ".o" | ".log" if rest.contains('|') => {
                found.push(Start::Unread);
            }
            ".load" | ".excel" => found.push(Start::Unread),
            _ => {}
        }
    }
    if code.contains("edit(") || code.contains("load_extension") {
        found.push(Start::Unread);
    }
    found
}

pub(super) fn gdb(code: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for line in code.lines().map(str::trim) {
        let (command, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        match command {
            "shell" | "she" | "shel" | "make" | "pipe" | "|" => {
                found.push(Start::Script(rest.to_owned()));
            }
            "python" | "py" | "python-interactive" | "pi" => match rest.is_empty() {
                true => found.push(Start::Unread),
                false => found.extend(starts(Language::Python, rest)),
            },
            "source" | "guile" | "gu" | "call" | "print" | "p" if rest.contains("system") => {
                found.push(Start::Unread);
            }
            "source" => found.push(Start::Unread),
            _ => {
                if let Some(script) = line.strip_prefix('!') {
                    found.push(Start::Script(script.to_owned()));
                }
            }
        }
    }
    found
}

/// Commands of vim and ex.
pub(super) fn vim(code: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for line in code.lines() {
        let line = line.trim_start_matches([' ', '\t', ':']);
        if let Some(script) = after_bang(line) {
            found.push(Start::Script(script.to_owned()));
        }
        let word = |name: &str| {
            line.match_indices(name).any(|(at, _)| {
                let before = line.get(..at).unwrap_or_default();
                !before.ends_with(|letter: char| letter.is_alphanumeric())
            })
        };
        let runs = [
            "system(",
            "systemlist(",
            "job_start(",
            "term_start(",
            "jobstart(",
            "libcall(",
        ];
        let calls = [
            "execute ",
            "exe ",
            "source ",
            "so ",
            "terminal",
            "feedkeys(",
        ];
        let languages = [
            "py3 ", "python", "py ", "pyx ", "perl ", "ruby ", "lua ", "tcl ", "mz ",
        ];
        if runs
            .iter()
            .chain(&calls)
            .chain(&languages)
            .any(|name| word(name))
        {
            found.push(Start::Unread);
        }
    }
    found
}

/// The text behind a `!` that starts a command: at the start, behind a range, `r`, `w`,
/// `silent` or a bar. `wq!` only insists.
fn after_bang(line: &str) -> Option<&str> {
    line.match_indices('!').find_map(|(at, _)| {
        let before = line.get(..at)?.trim_end();
        let spaced = line.get(..at)?.len() > before.len();
        let word = before
            .rsplit([' ', '|', ':', '!'])
            .next()
            .unwrap_or_default();
        let starts = before.is_empty()
            || before.ends_with(['|', ':', '%', '$', '.', ',', '\'', '/'])
            || word
                .chars()
                .all(|letter| letter.is_ascii_digit() || "%$.,'".contains(letter))
            || spaced
            || matches!(word, "silent" | "sil" | "exec");
        if starts { line.get(at + 1..) } else { None }
    })
}

pub(super) fn ed(code: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for line in code.lines() {
        let line = line.trim_start();
        let bare = line.trim_start_matches(|letter: char| {
            letter.is_ascii_digit() || "$.,; \t+-'".contains(letter)
        });
        let command = bare.trim_start_matches(['r', 'w', 'e', 'E', 'W', 'g', 'v', ' ']);
        if let Some(script) = command.strip_prefix('!') {
            found.push(Start::Script(script.to_owned()));
        }
    }
    found
}

/// A configuration of ssh: options that hold a command.
pub(super) fn ssh(code: &str) -> Vec<Start> {
    const RUNS: [&str; 4] = [
        "proxycommand",
        "localcommand",
        "knownhostscommand",
        "remotecommand",
    ];
    let mut found = Vec::new();
    for line in code.lines().map(str::trim) {
        let (option, value) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
        let option = option.to_ascii_lowercase();
        let value = value.trim_start_matches([' ', '\t', '=']);
        if RUNS.contains(&option.as_str()) && value != "none" {
            found.push(Start::Script(value.to_owned()));
        }
        if option == "match"
            && let Some((_, command)) = value.split_once("exec")
        {
            found.push(Start::Script(
                command.trim_matches([' ', '"', '=']).to_owned(),
            ));
        }
        if matches!(
            option.as_str(),
            "include" | "pkcs11provider" | "securitykeyprovider"
        ) {
            found.push(Start::Unread);
        }
    }
    found
}

/// A configuration of git.
pub(super) fn git(code: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for line in code.lines() {
        let Some((_, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        if let Some(script) = value.strip_prefix('!') {
            found.push(Start::Script(script.to_owned()));
        } else if value.contains([' ', '/']) {
            found.push(Start::Script(value.to_owned()));
        }
    }
    found
}

/// A package.json: the strings in it that stand behind a colon.
pub(super) fn manifest(code: &str) -> Vec<Start> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(code) else {
        return vec![Start::Unread];
    };
    let scripts = value.get("scripts").and_then(|scripts| scripts.as_object());
    let texts = scripts.into_iter().flatten();
    texts
        .filter_map(|(_, script)| Some(Start::Script(script.as_str()?.to_owned())))
        .collect()
}
