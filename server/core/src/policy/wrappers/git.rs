//! git: settings, hooks and options that name a command.

use super::{Inner, script, unresolved};
use crate::policy::Dialect;
use crate::policy::words::Word;

pub(super) fn inner(arguments: &[Word]) -> Vec<Inner> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let text = word.text();
        at += 1;
        match text {
            "-c" => {
                found.extend(arguments.get(at).and_then(given_setting));
                at += 1;
            }
            "-C" | "--git-dir" | "--work-tree" | "--namespace" | "--super-prefix" => at += 1,
            "--config-env" => {
                found.push(unresolved("a setting of git from a variable"));
                at += 1;
            }
            _ if text.starts_with("--config-env=") => {
                found.push(unresolved("a setting of git from a variable"));
            }
            _ if text.starts_with("--exec-path=") => {
                found.push(unresolved("git's own programs from elsewhere"));
            }
            _ if text.starts_with('-') => {}
            _ => {
                let rest = arguments.get(at..).unwrap_or_default();
                found.extend(subcommand(text, rest));
                break;
            }
        }
    }
    found.extend(arguments.iter().filter_map(address));
    found
}

/// `ext::command` as an address.
fn address(word: &Word) -> Option<Inner> {
    let command = word.text().strip_prefix("ext::")?;
    Some(Inner::Script(
        command.replace("% ", " "),
        Some(Dialect::Posix),
    ))
}

/// `name=value` behind `-c`.
fn given_setting(word: &Word) -> Option<Inner> {
    match word.literal() {
        Some(text) => {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            setting(name, &Word::Literal(value.to_owned()))
        }
        None => {
            let (name, value) = word.text().split_once('=')?;
            setting(name, &super::unknown(value))
        }
    }
}

/// What a setting runs.
fn setting(name: &str, value: &Word) -> Option<Inner> {
    let name = name.to_ascii_lowercase();
    let (section, key) = (name.split('.').next()?, name.rsplit('.').next()?);
    let text = value.text();
    let shell = |text: &str| {
        let text = Word::Literal(text.to_owned());
        Some(script(&text, "git", Some(Dialect::Posix)))
    };
    let runs = match (section, key) {
        ("alias", _) => match (text.strip_prefix('!'), value.literal()) {
            (_, None) => return Some(unresolved("an alias of git")),
            (Some(command), _) => return shell(command),
            (None, _) => {
                let words = text
                    .split_whitespace()
                    .map(|word| Word::Literal(word.to_owned()));
                let git = [Word::Literal("git".to_owned())].into_iter();
                return Some(Inner::Words(git.chain(words).collect()));
            }
        },
        ("credential", "helper") => {
            return shell(text.strip_prefix('!').filter(|t| !t.is_empty())?);
        }
        ("core", "hookspath" | "gitproxy" | "worktree") | ("init", "templatedir") => {
            return (text != "/dev/null").then(|| unresolved("hooks of git from elsewhere"));
        }
        ("include" | "includeif", _) => return Some(unresolved("settings of git from elsewhere")),
        ("protocol", "allow") => name.starts_with("protocol.ext") && text != "never",
        ("core", "pager" | "editor" | "sshcommand" | "fsmonitor" | "askpass")
        | ("core", "alternaterefscommand")
        | ("sequence", "editor")
        | ("pager", _)
        | ("diff", "command" | "textconv" | "external")
        | ("interactive", "difffilter")
        | ("merge", "driver")
        | ("mergetool" | "difftool" | "browser" | "man", "cmd" | "path")
        | ("filter", "clean" | "smudge" | "process")
        | ("gpg", "program" | "defaultkeycommand")
        | ("remote", "uploadpack" | "receivepack" | "vcs")
        | ("trailer", "command" | "cmd")
        | ("tar", "command")
        | ("uploadpack", "packobjectshook")
        | ("receive", "procreceiverefs")
        | ("sendemail", "smtpserver" | "sendmailcmd" | "tocmd" | "cccmd" | "headercmd")
        | ("submodule", "update")
        | ("web", "browser") => !matches!(
            text,
            "true" | "false" | "" | "merge" | "rebase" | "checkout" | "none"
        ),
        _ => false,
    };
    runs.then(|| match (section, text.strip_prefix('!')) {
        ("submodule", None) => None,
        ("protocol", _) => Some(unresolved("commands as addresses of git")),
        (_, command) => match value.literal() {
            Some(_) => shell(command.unwrap_or(text)),
            None => Some(unresolved(
                "a command that git runs is only known when it runs",
            )),
        },
    })?
}

fn subcommand(name: &str, rest: &[Word]) -> Vec<Inner> {
    let named = |short: Option<char>, long: &str, valued: &str| {
        let given = super::options::values(rest, short, long, valued);
        let scripts = given
            .iter()
            .map(|value| script(value, "git", Some(Dialect::Posix)));
        scripts.collect::<Vec<_>>()
    };
    match name {
        "config" => config(rest),
        "bisect" if rest.first().is_some_and(|word| word.text() == "run") => {
            vec![Inner::Words(rest.get(1..).unwrap_or_default().to_vec())]
        }
        "rebase" => named(Some('x'), "exec", "xCSsX"),
        "submodule" | "for-each-repo" => foreach(rest),
        "filter-branch" => {
            let filters = [
                "env", "tree", "index", "parent", "msg", "commit", "tag-name",
            ];
            let filters = filters.map(|filter| named(None, &format!("{filter}-filter"), ""));
            filters.concat()
        }
        "difftool" | "mergetool" => named(Some('x'), "extcmd", "xt"),
        "grep" => pager(rest),
        "clone" | "fetch" | "pull" | "ls-remote" | "fetch-pack" => {
            let mut found = named(Some('u'), "upload-pack", "ubcjo");
            if name == "clone" {
                let settings = super::options::values(rest, Some('c'), "config", "ubcjo");
                found.extend(settings.iter().filter_map(given_setting));
                if rest
                    .iter()
                    .any(|word| word.text().starts_with("--template"))
                {
                    found.push(unresolved("hooks of git from elsewhere"));
                }
            }
            found
        }
        "push" | "send-pack" | "archive" => {
            let mut found = named(None, "receive-pack", "o");
            found.extend(named(None, "exec", "o"));
            found
        }
        "instaweb" | "daemon" | "shell" => vec![unresolved(format!("what git {name} runs"))],
        _ => Vec::new(),
    }
}

/// `git config [options] name value`.
fn config(rest: &[Word]) -> Vec<Inner> {
    let edits = rest
        .iter()
        .any(|word| matches!(word.text(), "-e" | "--edit" | "edit"));
    if edits {
        // Its editor is in a variable, which is judged where it is set.
        return Vec::new();
    }
    let mut words = rest.iter().peekable();
    let mut plain = Vec::new();
    while let Some(word) = words.next() {
        match word.text() {
            "-f" | "--file" | "--blob" | "--type" | "--default" | "--comment" | "--value" => {
                words.next();
            }
            text if text.starts_with('-') || (plain.is_empty() && text == "set") => {}
            _ => plain.push(word),
        }
    }
    match plain.as_slice() {
        [name, value, ..] => setting(name.text(), value).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `git submodule foreach [--recursive] command`.
fn foreach(rest: &[Word]) -> Vec<Inner> {
    let Some(at) = rest.iter().position(|word| word.text() == "foreach") else {
        return Vec::new();
    };
    let command = rest.get(at + 1..).unwrap_or_default();
    let options = command
        .iter()
        .take_while(|word| word.text().starts_with('-'))
        .count();
    let command = command.get(options..).unwrap_or_default();
    match command {
        [] => Vec::new(),
        words => vec![super::joined(words, "git", Some(Dialect::Posix))],
    }
}

/// `git grep -O'command'`.
fn pager(rest: &[Word]) -> Vec<Inner> {
    let commands = rest.iter().filter_map(|word| {
        let text = word.text();
        let command = text
            .strip_prefix("-O")
            .or_else(|| text.strip_prefix("--open-files-in-pager="))?;
        Some(Inner::Script(command.to_owned(), Some(Dialect::Posix)))
    });
    commands.collect()
}
