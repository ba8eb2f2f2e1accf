//! Wrappers whose command line is options, operands, and then a command.

use super::{Inner, Reader, joined, unresolved};
use crate::policy::words::Word;

/// How a wrapper's command line is read.
struct Grammar {
    program: &'static str,
    /// Short options without argument.
    flags: &'static str,
    /// Short options with one.
    valued: &'static str,
    /// Short options with one that is joined to them or not there at all.
    optional: &'static str,
    /// Long options, blanks between them; those with an argument end in `=`. All may be
    /// abbreviated, as GNU's and util-linux's may.
    long: &'static str,
    /// Operands before the inner command.
    operands: usize,
    /// What comes behind them.
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// A command; functions and aliases of the shell are passed over.
    Command,
    /// Assignments, then a command.
    Assignments,
    /// A command, or without one a shell.
    CommandOrShell,
    /// Words that a shell gets joined.
    Joined,
}

const fn grammar(
    program: &'static str,
    flags: &'static str,
    valued: &'static str,
    long: &'static str,
    operands: usize,
) -> Grammar {
    Grammar {
        program,
        flags,
        valued,
        optional: "",
        long,
        operands,
        then: Then::Command,
    }
}

impl Grammar {
    const fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    const fn optional(self, optional: &'static str) -> Self {
        Self { optional, ..self }
    }
}

const GRAMMARS: &[Grammar] = &[
    grammar(
        "env",
        "i0v",
        "uCaS",
        "ignore-environment null unset= chdir= debug argv0= split-string= default-signal \
         ignore-signal block-signal list-signal-handling",
        0,
    )
    .then(Then::Assignments),
    grammar(
        "sudo",
        "AbEHkKnPSsilBNv",
        "CghpRTtUuraD",
        "preserve-env set-home non-interactive stdin user= group= host= chdir= login shell \
         askpass background bell close-from= chroot= command-timeout= prompt= role= type= \
         other-user= validate list reset-timestamp preserve-groups",
        0,
    )
    .then(Then::Assignments),
    grammar("doas", "nsL", "uC", "", 0),
    grammar("pkexec", "", "", "user= disable-internal-agent keep-cwd", 0),
    grammar("gosu", "", "", "", 1),
    grammar("su-exec", "", "", "", 1),
    grammar("command", "p", "", "", 0),
    grammar("builtin", "", "", "", 0),
    grammar("nohup", "", "", "", 0),
    grammar("nice", "", "n", "adjustment=", 0),
    grammar("ionice", "t", "cnpPu", "class= classdata= ignore pid= pgid= uid=", 0),
    grammar(
        "timeout",
        "vfp",
        "ks",
        "foreground kill-after= signal= preserve-status verbose",
        1,
    ),
    grammar(
        "time",
        "apvq",
        "fo",
        "append portability verbose quiet format= output=",
        0,
    ),
    grammar("setsid", "cfw", "", "ctty fork wait", 0),
    grammar("stdbuf", "", "ioe", "input= output= error=", 0),
    grammar("chrt", "abdefiomrRv", "TPDp", "all-tasks max other batch fifo rr idle deadline reset-on-fork pid sched-runtime= sched-period= sched-deadline= verbose", 1),
    grammar("taskset", "apc", "", "all-tasks pid cpu-list", 1),
    grammar("prlimit", "", "po", "pid= output= noheadings raw verbose core data nice fsize sigpending memlock rss nofile msgqueue rtprio stack cpu nproc as locks rttime", 0)
        .optional("cdefilmnqrstuvxy"),
    grammar("choom", "", "np", "adjust= pid=", 0),
    grammar("uclampset", "asRv", "mMp", "all-tasks system reset-on-fork pid=", 0),
    grammar("setarch", "BFILRSTXZ3v", "", "32bit fdpic-funcptrs short-inode addr-compat-layout addr-no-randomize whole-seconds sticky-timeouts read-implies-exec mmap-page-zero 3gb 4gb uname-2.6 verbose list show", 0),
    grammar("linux32", "BFILRSTXZ3v", "", "", 0),
    grammar("linux64", "BFILRSTXZ3v", "", "", 0),
    grammar("i386", "BFILRSTXZ3v", "", "", 0),
    grammar("i686", "BFILRSTXZ3v", "", "", 0),
    grammar("x86_64", "BFILRSTXZ3v", "", "", 0),
    grammar("uname26", "", "", "", 0),
    grammar("ssh-agent", "csDdk", "aEPtO", "", 0),
    grammar("fakeroot", "uhv", "lfisb", "lib= faked= unknown-is-real fd-base=", 0),
    grammar("dbus-run-session", "", "", "config-file= dbus-daemon=", 0),
    grammar("dbus-launch", "", "", "exit-with-session sh-syntax csh-syntax auto-syntax close-stderr config-file= autolaunch=", 0),
    grammar("setpriv", "dh", "", "dump no-new-privs nnp ambient-caps= inh-caps= bounding-set= list-caps ruid= euid= rgid= egid= reuid= regid= clear-groups keep-groups init-groups groups= securebits= pdeathsig= ptracer= selinux-label= apparmor-profile= reset-env landlock-access= landlock-rule= seccomp-filter=", 0),
    grammar("unshare", "fcrimnpuUCT", "RwSGl", "fork map-current-user map-root-user map-auto map-user= map-group= map-users= map-groups= keep-caps setgroups= propagation= root= wd= setuid= setgid= load-interp= monotonic= boottime= kill-child mount-proc mount-binfmt mount uts ipc net pid user cgroup time", 0)
        .then(Then::CommandOrShell),
    grammar("nsenter", "aeFZc", "tSG", "all target= setuid= setgid= root wd wdns= no-fork env follow-context preserve-credentials user-parent keep-caps join-cgroup net-socket= mount uts ipc net pid user cgroup time", 0)
        .optional("muinpUCTrwW")
        .then(Then::CommandOrShell),
    grammar("chroot", "", "", "groups= userspec= skip-chdir", 1).then(Then::CommandOrShell),
    grammar("flock", "enosuxF", "wE", "exclusive nonblock shared timeout= wait= conflict-exit-code= close no-fork verbose unlock", 1),
    grammar("watch", "bcdegtxwCrpfv", "nqs", "beep color no-color differences errexit chgexit exec interval= no-title precise no-wrap no-rerun equexit= shotsdir= follow", 0)
        .then(Then::Joined),
    grammar("chronic", "ev", "", "", 0),
    grammar("rlwrap", "acimnNorRuvwW", "bCDefFgGHlOpPqsStzA", "", 0),
    grammar("unbuffer", "p", "", "", 0),
    grammar("eatmydata", "", "", "", 0),
    grammar("proxychains", "q", "f", "", 0),
    grammar("proxychains4", "q", "f", "", 0),
    grammar("torsocks", "adip", "uP", "", 0),
    grammar("jobs", "lnprs", "", "", 0),
    grammar("busybox", "", "", "list list-full", 0),
    grammar("toybox", "", "", "long", 0),
];

/// The dynamic loader, whatever its machine: `ld-linux-x86-64.so.2`.
const LOADER: Grammar = grammar(
    "ld.so",
    "",
    "",
    "list verify inhibit-cache library-path= inhibit-rpath= glibc-hwcaps-prepend= \
     glibc-hwcaps-mask= preload= audit= argv0= list-diagnostics list-tunables",
    0,
);

/// What `setarch` takes for a machine and not for a program.
const MACHINES: &[&str] = &[
    "linux32", "linux64", "x86_64", "i386", "i486", "i586", "i686", "athlon", "aarch64", "arm64",
    "armv7l", "ppc64", "ppc64le", "s390x", "uname26",
];

/// What a wrapper runs; `None` where `program` is none of these.
pub(super) fn inner(program: &str, words: &[Word]) -> Option<Vec<Inner>> {
    let loader = program.starts_with("ld-linux") || program.starts_with("ld-musl");
    let found = match loader || program == "ld.so" {
        true => Some(&LOADER),
        false => GRAMMARS.iter().find(|grammar| grammar.program == program),
    };
    let grammar = found?;
    if program == "jobs" {
        let runs = words.iter().any(|word| word.literal() == Some("-x"));
        return Some(match runs {
            true => vec![Inner::Command(2)],
            false => Vec::new(),
        });
    }
    if program == "flock"
        && let Some(at) = words
            .iter()
            .position(|w| matches!(w.literal(), Some("-c" | "--command")))
    {
        return Some(vec![joined(
            words.get(at + 1..).unwrap_or_default(),
            "flock",
            None,
        )]);
    }
    Some(grammar.inner(words))
}

/// The words of a wrapper that is not in the table, from its inner command on.
pub(super) fn behind(
    program: &'static str,
    (flags, valued, optional): (&'static str, &'static str, &'static str),
    long: &'static str,
    words: &[Word],
) -> Result<Option<usize>, String> {
    let grammar = grammar(program, flags, valued, long, 0).optional(optional);
    match grammar.inner(words).pop() {
        Some(Inner::Command(at)) => Ok(Some(at)),
        Some(Inner::Unresolved(what)) => Err(what),
        _ => Ok(None),
    }
}

impl Grammar {
    fn inner(&self, words: &[Word]) -> Vec<Inner> {
        let mut found = Vec::new();
        let mut operands = self.operands;
        let mut at = 1;
        let mut options = true;
        let mut joins = self.then == Then::Joined;
        while let Some(word) = words.get(at) {
            let text = word.literal();
            match text {
                Some("--") if options => options = false,
                Some("-x" | "--exec") if self.program == "watch" => joins = false,
                Some(option) if options && option.starts_with('-') && option.len() > 1 => {
                    match self.skipped(option) {
                        Skip::Words(more) => at += more,
                        Skip::Nothing => return Vec::new(),
                        Skip::Unknown => return vec![self.unresolved(option)],
                        Skip::Split(joined) => return vec![split(joined, words, at)],
                    }
                }
                Some("-") if self.program == "env" => {}
                Some(machine) if self.program == "setarch" && MACHINES.contains(&machine) => {}
                Some(assignment) if self.then == Then::Assignments && assignment.contains('=') => {
                    let (name, value) = assignment.split_once('=').unwrap_or_default();
                    let value = Word::Literal(value.to_owned());
                    found.push(Inner::Variable(name.to_owned(), value));
                    options = false;
                }
                None if self.then == Then::Assignments && is_assignment(word.text()) => {
                    let (name, value) = word.text().split_once('=').unwrap_or_default();
                    found.push(Inner::Variable(name.to_owned(), super::unknown(value)));
                    options = false;
                }
                // What is not known could be an option, an assignment or the command.
                None if word.program().is_none() && operands == 0 => {
                    found.push(self.unresolved(word.text()));
                    return found;
                }
                _ if operands > 0 => {
                    operands -= 1;
                    options = false;
                }
                _ if joins => {
                    let rest = words.get(at..).unwrap_or_default();
                    found.push(joined(rest, self.program, None));
                    return found;
                }
                _ => {
                    found.push(Inner::Command(at));
                    return found;
                }
            }
            at += 1;
        }
        if self.then == Then::CommandOrShell {
            found.push(Inner::Input(Reader::Shell(None)));
        }
        found
    }

    fn unresolved(&self, what: &str) -> Inner {
        unresolved(format!("what {} runs behind {what:?}", self.program))
    }

    /// How many words an option takes besides its own.
    fn skipped<'o>(&self, option: &'o str) -> Skip<'o> {
        if let Some(long) = option.strip_prefix("--") {
            return self.skipped_long(long);
        }
        if self.program == "nice" && option.get(1..).is_some_and(|n| n.parse::<i32>().is_ok()) {
            return Skip::Words(0);
        }
        for (at, letter) in option.char_indices().skip(1) {
            let rest = option.get(at + letter.len_utf8()..).unwrap_or_default();
            if self.program == "command" && matches!(letter, 'v' | 'V') {
                return Skip::Nothing;
            }
            if self.program == "env" && letter == 'S' {
                return Skip::Split(Some(rest).filter(|rest| !rest.is_empty()));
            }
            if self.optional.contains(letter) {
                return Skip::Words(0);
            }
            if self.valued.contains(letter) {
                return Skip::Words(usize::from(rest.is_empty()));
            }
            if !self.flags.contains(letter) {
                return Skip::Unknown;
            }
        }
        Skip::Words(0)
    }

    fn skipped_long<'o>(&self, long: &'o str) -> Skip<'o> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        if matches!(name, "help" | "version") {
            return Skip::Nothing;
        }
        if self.program == "nice" && name.parse::<i32>().is_ok() {
            return Skip::Words(0);
        }
        let all = || self.long.split_whitespace();
        let exact = all().find(|known| known.trim_end_matches('=') == name);
        let mut like = all().filter(|known| !name.is_empty() && known.starts_with(name));
        let (first, takes) = match exact.or_else(|| like.next()) {
            Some(known) => (known, known.ends_with('=')),
            None => return Skip::Unknown,
        };
        // An abbreviation of several is an error, unless they take the same.
        if exact.is_none() && like.any(|other| other.ends_with('=') != takes) {
            return Skip::Unknown;
        }
        if self.program == "env" && first == "split-string=" {
            return Skip::Split(value);
        }
        Skip::Words(usize::from(takes && value.is_none()))
    }
}

/// `env -S 'A=1 prog x' more`: its words are split by env itself, by rules of its own.
fn split(joined: Option<&str>, words: &[Word], at: usize) -> Inner {
    let next = words.get(at + 1);
    let (text, rest) = match joined {
        Some(text) => (Some(text), at + 1),
        None => (next.and_then(Word::literal), at + 2),
    };
    match text {
        Some(text) if !text.contains(['\\', '$', '"', '\'', '#']) => {
            let own = text
                .split_whitespace()
                .map(|word| Word::Literal(word.to_owned()));
            let env = [Word::Literal("env".to_owned())].into_iter();
            let rest = words.get(rest..).unwrap_or_default().iter().cloned();
            Inner::Words(env.chain(own).chain(rest).collect())
        }
        _ => unresolved("what env runs behind -S"),
    }
}

fn is_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        !name.is_empty() && name.chars().all(letter)
    })
}

enum Skip<'o> {
    /// Known, with so many words of its own.
    Words(usize),
    /// The command is not run.
    Nothing,
    /// `-S`, with what is joined to it.
    Split(Option<&'o str>),
    Unknown,
}
