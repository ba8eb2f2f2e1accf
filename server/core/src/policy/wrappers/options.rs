//! Programs of which some options name a command.

use super::{Inner, Reader, joined_perhaps, script, unresolved};
use crate::policy::Dialect;
use crate::policy::code::Language;
use crate::policy::words::Word;

/// One option that names a command.
struct Names {
    program: &'static str,
    short: Option<char>,
    /// The long name without its dashes; empty for none.
    long: &'static str,
    /// The short options of the program that take an argument.
    valued: &'static str,
}

const fn names(
    program: &'static str,
    short: Option<char>,
    long: &'static str,
    valued: &'static str,
) -> Names {
    Names {
        program,
        short,
        long,
        valued,
    }
}

const TAR: &str = "fbCFgHIKLNTVX";
const RSYNC: &str = "eBTM";
const MAN: &str = "CEHLMPRSemprs";

const OPTIONS: &[Names] = &[
    names("tar", Some('I'), "use-compress-program", TAR),
    names("tar", Some('F'), "info-script", TAR),
    names("tar", None, "new-volume-script", TAR),
    names("tar", None, "to-command", TAR),
    names("tar", None, "rsh-command", TAR),
    names("rsync", Some('e'), "rsh", RSYNC),
    names("sort", None, "compress-program", "koSTt"),
    names("split", None, "filter", "abClnt"),
    names("man", Some('P'), "pager", MAN),
    names("man", Some('H'), "html", MAN),
    names("zip", None, "unzip-command", "bntix"),
    names("wget", None, "use-askpass", "OoaeiBtTwQPUAIRXDl"),
    names("npm", Some('c'), "call", "cw"),
    names("npm", None, "script-shell", "cw"),
    names("npm", None, "shell", "cw"),
    names("npx", Some('c'), "call", "cp"),
    names("npx", None, "shell", "cp"),
    names("rg", None, "pre", "ABCEdefgjMmrtT"),
    names("rg", None, "hostname-bin", "ABCEdefgjMmrtT"),
    names("fzf", None, "preview", ""),
    names("scp", Some('S'), "", "cDFiJloPSX"),
    names("sftp", Some('S'), "", "BbcDFiJloPRSsX"),
    names("rpm", Some('E'), "eval", "qE"),
    names("rpm", None, "pipe", "qE"),
    names("pip", None, "editor", ""),
    names("dpkg", None, "pre-invoke", "D"),
    names("dpkg", None, "post-invoke", "D"),
    names("dpkg", None, "status-logger", "D"),
];

/// Programs that run others in a way that is not read: whatever is named in their
/// arguments may run.
const RUNNERS: &[&str] = &[
    "valgrind",
    "perf",
    "ltrace",
    "bwrap",
    "firejail",
    "proot",
    "systemd-run",
    "systemd-inhibit",
    "xvfb-run",
    "catchsegv",
    "entr",
    "nodemon",
    "concurrently",
    "dotenv",
    "direnv",
    "poetry",
    "pipenv",
    "uv",
    "hatch",
    "bundle",
    "conda",
    "mamba",
    "nix-shell",
    "nix",
    "hyperfine",
    "screen",
    "tmux",
    "start-stop-daemon",
    "daemonize",
    "run-one",
    "cgexec",
    "aa-exec",
    "sg",
    "newgrp",
    "faketime",
    "pdsh",
    "ansible",
    "vagrant",
    "kubectl",
    "oc",
    "lxc",
    "lxc-attach",
    "podman",
    "nerdctl",
    "machinectl",
    "adb",
    "mosh",
    "socat",
    "nc",
    "ncat",
    "netcat",
    "script-exec",
    "cargo-watch",
    "watchexec",
    "expect",
    "dialog",
    "xterm",
    "gnome-terminal",
    "konsole",
    "tsp",
    "batch",
    "logrotate",
    "debugfs",
    "crash",
    "dmsetup",
    "pm2",
    "forever",
    "supervisorctl",
    "trickle",
    "cpulimit",
    "numactl",
    "schedtool",
    "softlimit",
    "chpst",
    "setuidgid",
    "envdir",
    "s6-setuidgid",
    "execlineb",
    "multilog",
    "tcpserver",
    "inetd",
    "catatonit",
    "tini",
    "dumb-init",
];

pub(super) fn inner(program: &str, arguments: &[Word]) -> Vec<Inner> {
    let mut found = Vec::new();
    for option in OPTIONS.iter().filter(|option| option.program == program) {
        let given = values(arguments, option.short, option.long, option.valued);
        found.extend(
            given
                .iter()
                .map(|value| script(value, program, Some(Dialect::Posix))),
        );
    }
    match program {
        "tar" => found.extend(checkpoints(arguments)),
        "ssh" => found.extend(remote(arguments)),
        "scp" | "sftp" => found.extend(ssh_options(arguments, "BbcDFiJloPRSsX")),
        "zip" => found.extend(zip_test(arguments)),
        "gcc" | "cc" | "g++" | "c++" | "clang" | "clang++" => found.extend(compiler(arguments)),
        "go" | "rustc" => found.extend(sources(arguments)),
        "npm" | "yarn" | "pnpm" => {
            let manifest = Word::Literal("package.json".to_owned());
            found.push(Inner::File(manifest, Reader::Code(Language::Manifest)));
        }
        "apt" | "apt-get" | "aptitude" => found.extend(hooks(arguments)),
        "docker" => found.extend(container(arguments)),
        "run-parts" => found.extend(parts(arguments)),
        "strace" => found.extend(traced(arguments)),
        "less" | "more" | "most" => found.extend(pager(arguments)),
        "wget" => found.extend(wget(arguments)),
        _ if RUNNERS.contains(&program) => found.push(Inner::Among(arguments.to_vec())),
        _ => {}
    }
    found
}

/// The values of an option: `--long=v`, `--long v`, abbreviated, `-Sv`, `-S v`, `-xSv`.
pub(super) fn values(
    arguments: &[Word],
    short: Option<char>,
    long: &str,
    valued: &str,
) -> Vec<Word> {
    let mut found = Vec::new();
    let mut words = arguments.iter().peekable();
    while let Some(word) = words.next() {
        let (text, literal) = match word {
            Word::Literal(text) => (text.as_str(), true),
            Word::Unknown { raw, .. } => (raw.as_str(), false),
        };
        let value_of = |value: &str| match literal {
            true => Word::Literal(value.to_owned()),
            false => super::unknown(value),
        };
        if let Some(name) = text.strip_prefix("--") {
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name, None),
            };
            let same = |full: &str| !full.is_empty() && name.len() > 1 && full.starts_with(name);
            if same(long) {
                found.extend(match value {
                    Some(value) => Some(value_of(value)),
                    None => words.next().cloned(),
                });
            }
        } else if let Some(cluster) = text.strip_prefix('-') {
            let mut letters = cluster.char_indices();
            let stop =
                letters.find(|(_, letter)| valued.contains(*letter) || Some(*letter) == short);
            let Some((at, letter)) = stop else { continue };
            let rest = cluster.get(at + letter.len_utf8()..).unwrap_or_default();
            let value = match rest.is_empty() {
                true => words.next().cloned(),
                false => Some(value_of(rest)),
            };
            if Some(letter) == short {
                found.extend(value);
            }
        }
    }
    found
}

/// `--checkpoint-action=exec=command`.
fn checkpoints(arguments: &[Word]) -> Vec<Inner> {
    let given = values(arguments, None, "checkpoint-action", TAR);
    let actions = given.iter().filter_map(|value| match value.literal() {
        Some(text) => {
            let command = text.strip_prefix("exec=")?;
            Some(Inner::Script(command.to_owned(), Some(Dialect::Posix)))
        }
        None => Some(unresolved("what tar runs at a checkpoint")),
    });
    actions.collect()
}

/// The options of ssh that take an argument.
const SSH_VALUED: &str = "BbcDEeFIiJLlmOoPpQRSWw";

fn remote(arguments: &[Word]) -> Vec<Inner> {
    let mut found = ssh_options(arguments, SSH_VALUED);
    let mut at = 0;
    let mut host = false;
    while let Some(word) = arguments.get(at) {
        at += 1;
        match word.text().strip_prefix('-') {
            Some(cluster) if !host && !cluster.is_empty() => {
                let stop = cluster.find(|letter| SSH_VALUED.contains(letter));
                at += usize::from(stop.is_some_and(|stop| stop + 1 == cluster.len()));
            }
            _ if !host => host = true,
            _ => {
                found.push(joined_perhaps(arguments.get(at - 1..).unwrap_or_default()));
                break;
            }
        }
    }
    found
}

/// `-o ProxyCommand=…` and its like, and `-F file`.
fn ssh_options(arguments: &[Word], valued: &str) -> Vec<Inner> {
    let options = values(arguments, Some('o'), "", valued);
    let mut found: Vec<Inner> = options
        .iter()
        .map(|value| Inner::Code(Language::Ssh, value.text().to_owned()))
        .collect();
    for file in values(arguments, Some('F'), "", valued) {
        found.push(match &file {
            Word::Unknown { raw, .. } if raw.starts_with('<') => {
                unresolved("settings of ssh from another command")
            }
            _ => Inner::File(file, Reader::Code(Language::Ssh)),
        });
    }
    found
}

fn zip_test(arguments: &[Word]) -> Option<Inner> {
    let at = arguments
        .iter()
        .position(|word| word.literal() == Some("-TT"))?;
    let command = arguments.get(at + 1)?;
    Some(script(command, "zip", Some(Dialect::Posix)))
}

/// `-wrapper program,argument`, and the sources.
fn compiler(arguments: &[Word]) -> Vec<Inner> {
    let mut found = sources(arguments);
    let at = arguments
        .iter()
        .position(|word| word.literal() == Some("-wrapper"));
    if let Some(value) = at.and_then(|at| arguments.get(at + 1)) {
        let words = value.text().split(',');
        found.push(Inner::Words(
            words.map(|word| Word::Literal(word.to_owned())).collect(),
        ));
    }
    found
}

/// What is compiled may be run next.
fn sources(arguments: &[Word]) -> Vec<Inner> {
    let of_compiler = |word: &&Word| Language::of_file(word.text()) == Some(Language::Compiled);
    let files = arguments.iter().filter(of_compiler);
    let reader = Reader::Code(Language::Compiled);
    files
        .map(|file| Inner::File(file.clone(), reader))
        .collect()
}

/// `-o APT::Update::Pre-Invoke::=command`.
fn hooks(arguments: &[Word]) -> Vec<Inner> {
    let given = values(arguments, Some('o'), "option", "oct");
    let commands = given.iter().filter_map(|value| {
        let (name, command) = value.text().split_once('=')?;
        let runs = ["invoke", "hook", "dir::bin", "solver", "::run", "askpass"];
        let name = name.to_ascii_lowercase();
        runs.iter()
            .any(|part| name.contains(part))
            .then(|| match value.literal() {
                Some(_) => Inner::Script(command.to_owned(), Some(Dialect::Posix)),
                None => unresolved("a hook of apt"),
            })
    });
    commands.collect()
}

/// `docker exec [options] container command`.
fn container(arguments: &[Word]) -> Option<Inner> {
    let mut words = arguments
        .iter()
        .skip_while(|word| word.text() != "exec")
        .skip(1);
    while let Some(word) = words.next() {
        let text = word.text();
        if !text.starts_with('-') {
            let rest: Vec<Word> = words.cloned().collect();
            return match rest.iter().any(|word| word.literal() == Some("-c")) {
                true => Some(Inner::Among(rest)),
                false => Some(joined_perhaps(&rest)),
            };
        }
        let alone = [
            "-e",
            "-u",
            "-w",
            "--env",
            "--user",
            "--workdir",
            "--env-file",
        ];
        if alone.contains(&text) {
            words.next();
        }
    }
    None
}

fn parts(arguments: &[Word]) -> Option<Inner> {
    let only_tells = |word: &Word| matches!(word.text(), "--test" | "--list");
    (!arguments.iter().any(only_tells)).then(|| unresolved("the programs of a directory"))
}

/// `strace -o '|command' program`.
fn traced(arguments: &[Word]) -> Vec<Inner> {
    const VALUED: &str = "aAbeEIoOpPsSuUX";
    let mut found = Vec::new();
    for value in values(arguments, Some('o'), "output", VALUED) {
        if let Some(command) = value.text().strip_prefix(['|', '!']) {
            found.push(Inner::Script(command.to_owned(), Some(Dialect::Posix)));
        }
    }
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let Some(option) = word.text().strip_prefix('-').filter(|o| !o.is_empty()) else {
            found.push(Inner::Words(
                arguments.get(at..).unwrap_or_default().to_vec(),
            ));
            break;
        };
        at += 1;
        if option == "-" {
            continue;
        }
        let long_valued = [
            "-output",
            "-trace",
            "-string-limit",
            "-user",
            "-env",
            "-attach",
        ];
        let last = option
            .char_indices()
            .find(|(_, letter)| VALUED.contains(*letter));
        let alone = match option.strip_prefix('-') {
            Some(_) => long_valued.contains(&option),
            None => last.is_some_and(|(place, _)| place + 1 == option.len()),
        };
        at += usize::from(alone);
    }
    found
}

/// `less '+!command'`.
fn pager(arguments: &[Word]) -> Vec<Inner> {
    let commands = arguments.iter().filter_map(|word| {
        let (_, command) = word.text().strip_prefix('+')?.split_once('!')?;
        Some(Inner::Script(command.to_owned(), Some(Dialect::Posix)))
    });
    commands.collect()
}

/// `wget -e use_askpass=program`.
fn wget(arguments: &[Word]) -> Vec<Inner> {
    let given = values(arguments, Some('e'), "execute", "OoaeiBtTwQPUAIRXDl");
    let commands = given.iter().filter_map(|value| {
        let (name, program) = value.text().split_once('=')?;
        let program = Inner::Script(program.trim().to_owned(), Some(Dialect::Posix));
        name.contains("askpass").then_some(program)
    });
    commands.collect()
}
