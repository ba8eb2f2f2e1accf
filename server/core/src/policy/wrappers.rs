//! Programs that run another program: which of their words start the inner command.
//! Both layers are judged. An option the table does not know is unresolved, because
//! nobody can say which word comes after it.

use super::Dialect;
use super::words::Word;

/// What a command runs besides itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inner {
    /// Nothing.
    None,
    /// The command whose words start at this index.
    Command(usize),
    /// The command in these words (of a `find -exec`, without its end).
    Commands(Vec<std::ops::Range<usize>>),
    /// A script, in its language or that of the script around it.
    Script(String, Option<Dialect>),
    /// Whatever comes on its standard input, in this language.
    Stdin(Dialect),
    /// Something that cannot be read.
    Unresolved(String),
}

/// How a wrapper's command line is read.
struct Grammar {
    program: &'static str,
    /// Short options without argument.
    flags: &'static str,
    /// Short options with one.
    valued: &'static str,
    /// Long options; those with an argument of their own end in `=`.
    long: &'static [&'static str],
    /// Operands before the inner command.
    operands: usize,
    /// Whether `NAME=value` words stand before it.
    assignments: bool,
}

const fn grammar(
    program: &'static str,
    flags: &'static str,
    valued: &'static str,
    long: &'static [&'static str],
    operands: usize,
) -> Grammar {
    Grammar {
        program,
        flags,
        valued,
        long,
        operands,
        assignments: false,
    }
}

const GRAMMARS: &[Grammar] = &[
    Grammar {
        assignments: true,
        ..grammar(
            "env",
            "i0v",
            "uC",
            &["ignore-environment", "null", "unset=", "chdir=", "debug"],
            0,
        )
    },
    Grammar {
        assignments: true,
        ..grammar(
            "sudo",
            "AbEHknPS",
            "CghpRTtUur",
            &[
                "preserve-env",
                "set-home",
                "non-interactive",
                "stdin",
                "user=",
                "group=",
                "host=",
                "chdir=",
            ],
            0,
        )
    },
    grammar("doas", "nL", "uC", &[], 0),
    grammar("command", "p", "", &[], 0),
    grammar("builtin", "", "", &[], 0),
    grammar("exec", "cl", "a", &[], 0),
    grammar("nohup", "", "", &[], 0),
    grammar("nice", "", "n", &["adjustment="], 0),
    grammar("ionice", "t", "cnp", &["class=", "classdata=", "ignore"], 0),
    grammar(
        "timeout",
        "v",
        "ks",
        &[
            "foreground",
            "kill-after=",
            "signal=",
            "preserve-status",
            "verbose",
        ],
        1,
    ),
    grammar(
        "time",
        "apvq",
        "fo",
        &[
            "append",
            "portability",
            "verbose",
            "quiet",
            "format=",
            "output=",
        ],
        0,
    ),
    grammar("setsid", "cfw", "", &["ctty", "fork", "wait"], 0),
    grammar("stdbuf", "", "ioe", &["input=", "output=", "error="], 0),
    grammar("chroot", "", "", &["groups=", "userspec=", "skip-chdir"], 1),
    grammar(
        "flock",
        "enosuxF",
        "wE",
        &["exclusive", "nonblock", "shared", "timeout="],
        1,
    ),
    grammar("strace", "fqtv", "eopsu", &[], 0),
    grammar("busybox", "", "", &[], 0),
    grammar("toybox", "", "", &[], 0),
    grammar(
        "xargs",
        "0rtxpo",
        "aEILPnsd",
        &[
            "null",
            "no-run-if-empty",
            "verbose",
            "exit",
            "delimiter=",
            "max-args=",
            "max-procs=",
            "max-lines=",
            "replace=",
            "arg-file=",
            "interactive",
        ],
        0,
    ),
];

/// Programs that read shell scripts.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash"];

/// What `words`, a command with its name, runs besides itself.
pub(super) fn inner(words: &[Word]) -> Inner {
    let Some(program) = words.first().and_then(Word::program) else {
        return Inner::None;
    };
    if let Some(grammar) = GRAMMARS.iter().find(|grammar| grammar.program == program) {
        return grammar.inner(words);
    }
    if SHELLS.contains(&program) {
        let bash = matches!(program, "bash" | "rbash");
        return shell(words, if bash { Dialect::Bash } else { Dialect::Posix });
    }
    match program {
        "eval" => joined(words.get(1..).unwrap_or_default(), "eval", None),
        "trap" => match words.get(1..).unwrap_or_default() {
            [_] | [] => Inner::None,
            [Word::Literal(option), ..] if option.starts_with('-') => Inner::None,
            [script, ..] => joined(std::slice::from_ref(script), "trap", None),
        },
        "alias" => aliases(words),
        "su" | "runuser" => after_option(words, 'c'),
        "watch" => Inner::Unresolved("what watch runs".to_owned()),
        "find" => find(words),
        "hash" if has_option(words, 'p') => Inner::Unresolved("a rewired program name".to_owned()),
        "enable" if has_option(words, 'f') => Inner::Unresolved("a loaded builtin".to_owned()),
        "mapfile" | "readarray" | "compgen" | "complete" if has_option(words, 'C') => {
            Inner::Unresolved(format!("the command {program} calls"))
        }
        _ => Inner::None,
    }
}

impl Grammar {
    fn inner(&self, words: &[Word]) -> Inner {
        let mut operands = self.operands;
        let mut at = 1;
        let mut options = true;
        while let Some(word) = words.get(at) {
            let text = word.literal();
            match text {
                Some("--") if options => options = false,
                Some(option) if options && option.starts_with('-') && option.len() > 1 => {
                    match self.skipped(option) {
                        Skip::Words(more) => at += more,
                        Skip::LooksUp => return Inner::None,
                        Skip::Unknown => return self.unresolved(option),
                    }
                }
                Some("-") if self.program == "env" => {}
                Some(assignment) if self.assignments && assignment.contains('=') => options = false,
                // What is not known could be an option, an assignment or the command.
                None if word.program().is_none() && operands == 0 => {
                    return self.unresolved(word.text());
                }
                _ if operands > 0 => {
                    operands -= 1;
                    options = false;
                }
                _ => return Inner::Command(at),
            }
            at += 1;
        }
        Inner::None
    }

    fn unresolved(&self, what: &str) -> Inner {
        Inner::Unresolved(format!("what {} runs behind {what:?}", self.program))
    }

    /// How many words an option takes besides its own.
    fn skipped(&self, option: &str) -> Skip {
        if let Some(long) = option.strip_prefix("--") {
            let (name, value) = long
                .split_once('=')
                .map_or((long, None), |(n, v)| (n, Some(v)));
            let known = self
                .long
                .iter()
                .find(|known| known.trim_end_matches('=') == name);
            return match known {
                Some(known) if known.ends_with('=') && value.is_none() => Skip::Words(1),
                Some(_) => Skip::Words(0),
                None => Skip::Unknown,
            };
        }
        if self.program == "nice" && option.get(1..).is_some_and(|n| n.parse::<i32>().is_ok()) {
            return Skip::Words(0);
        }
        let mut letters = option.chars().skip(1);
        while let Some(letter) = letters.next() {
            if self.program == "command" && matches!(letter, 'v' | 'V') {
                return Skip::LooksUp;
            }
            if self.valued.contains(letter) {
                return Skip::Words(usize::from(letters.next().is_none()));
            }
            if !self.flags.contains(letter) {
                return Skip::Unknown;
            }
        }
        Skip::Words(0)
    }
}

enum Skip {
    /// Known, with so many words of its own.
    Words(usize),
    /// The command is only looked up.
    LooksUp,
    Unknown,
}

/// A shell: its `-c` script, its script file (an ordinary program), or its input.
fn shell(words: &[Word], dialect: Dialect) -> Inner {
    let mut at = 1;
    let mut script = false;
    while let Some(word) = words.get(at) {
        let Some(option) = word.literal() else { break };
        if option == "--" {
            at += 1;
            break;
        }
        if matches!(option, "--version" | "--help") {
            return Inner::None;
        }
        if option == "--rcfile" || option == "--init-file" {
            at += 1;
        } else if let Some(cluster) = option.strip_prefix(['-', '+'])
            && !cluster.is_empty()
        {
            if !option.starts_with("--") {
                script |= cluster.contains('c');
                at += usize::from(cluster.ends_with(['o', 'O']));
                if cluster.contains('s') {
                    return Inner::Stdin(dialect);
                }
            }
        } else {
            break;
        }
        at += 1;
    }
    match words.get(at) {
        Some(word) if script => joined(std::slice::from_ref(word), "a shell", Some(dialect)),
        Some(Word::Literal(file)) if matches!(file.as_str(), "-" | "/dev/stdin" | "/dev/fd/0") => {
            Inner::Stdin(dialect)
        }
        Some(Word::Unknown { raw, .. }) if raw.starts_with("<(") => {
            Inner::Unresolved("what a shell reads from another command".to_owned())
        }
        Some(_) => Inner::None,
        None if script => Inner::None,
        None => Inner::Stdin(dialect),
    }
}

/// Words that are joined to a script.
fn joined(words: &[Word], who: &str, dialect: Option<Dialect>) -> Inner {
    let texts: Option<Vec<&str>> = words.iter().map(Word::literal).collect();
    match texts {
        Some(texts) if texts.is_empty() => Inner::None,
        Some(texts) => Inner::Script(texts.join(" "), dialect),
        None => Inner::Unresolved(format!("the script {who} runs is only known when it runs")),
    }
}

/// What an alias stands for is judged where it is defined.
fn aliases(words: &[Word]) -> Inner {
    let mut scripts = Vec::new();
    for word in words.iter().skip(1) {
        match word {
            Word::Literal(text) => scripts.extend(text.split_once('=').map(|(_, value)| value)),
            Word::Unknown { .. } => {
                return Inner::Unresolved("an alias is only known when it runs".to_owned());
            }
        }
    }
    if scripts.is_empty() {
        Inner::None
    } else {
        Inner::Script(scripts.join("\n"), None)
    }
}

fn after_option(words: &[Word], letter: char) -> Inner {
    let is_option = |word: &Word| {
        word.literal().is_some_and(|text| {
            text.strip_prefix('-')
                .is_some_and(|cluster| cluster.ends_with(letter))
                || text == "--command"
        })
    };
    match words
        .iter()
        .position(is_option)
        .and_then(|at| words.get(at + 1))
    {
        Some(script) => joined(std::slice::from_ref(script), "su", Some(Dialect::Posix)),
        None => Inner::None,
    }
}

/// The commands behind `-exec` and its like, each up to `;` or `+`.
fn find(words: &[Word]) -> Inner {
    let mut commands = Vec::new();
    let mut at = 1;
    while let Some(word) = words.get(at) {
        at += 1;
        if !matches!(
            word.literal(),
            Some("-exec" | "-execdir" | "-ok" | "-okdir")
        ) {
            continue;
        }
        let rest = words.get(at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|word| matches!(word.literal(), Some(";" | "+")))
            .unwrap_or(rest.len());
        if length > 0 {
            commands.push(at..at + length);
        }
        at += length;
    }
    if commands.is_empty() {
        Inner::None
    } else {
        Inner::Commands(commands)
    }
}

fn has_option(words: &[Word], letter: char) -> bool {
    words.iter().skip(1).any(|word| match word.literal() {
        Some(text) => text
            .strip_prefix('-')
            .is_some_and(|cluster| cluster.contains(letter)),
        None => true,
    })
}
