//! Variables that make a shell or a program run something: what their value runs.

use super::Dialect;
use super::code::Language;
use super::words::Word;
use super::wrappers::{Inner, Reader};

/// Variables whose value is a command of a shell.
const COMMANDS: &[&str] = &[
    "PROMPT_COMMAND",
    "PAGER",
    "MANPAGER",
    "EDITOR",
    "VISUAL",
    "FCEDIT",
    "SUDO_EDITOR",
    "BROWSER",
    "GIT_PAGER",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "GIT_EXTERNAL_DIFF",
    "GIT_PROXY_COMMAND",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "RSYNC_RSH",
    "RSYNC_CONNECT_PROG",
    "CVS_RSH",
    "SVN_SSH",
    "SVN_EDITOR",
    "HGEDITOR",
    "TAR_RSH",
    "LESSEDIT",
    "FZF_DEFAULT_COMMAND",
    "FZF_CTRL_T_COMMAND",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC",
    "RUSTDOC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "BAT_PAGER",
    "DELTA_PAGER",
    "SYSTEMD_PAGER",
    "PSQL_EDITOR",
    "PSQL_PAGER",
    "KUBE_EDITOR",
    "MANROFFOPT",
    "command_not_found_handle",
];

/// Variables whose value is often a command with options, of a build.
const TOOLS: &[&str] = &[
    "CC", "CXX", "LD", "AR", "CPP", "MAKE", "RM", "INSTALL", "SHELL",
];

/// Variables whose value a shell expands like a text in double quotes.
const EXPANDED: &[&str] = &["PS0", "PS1", "PS2", "PS4", "MAILPATH"];

/// Variables that load code into every program of a kind.
const LOADERS: &[&str] = &[
    "LD_PRELOAD",
    "LD_AUDIT",
    "GCONV_PATH",
    "LUA_INIT",
    "LUA_INIT_5_4",
    "RUBYOPT",
    "PERL5OPT",
    "PERL5DB",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONBREAKPOINT",
    "PYTHONHOME",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "BASH_LOADABLES_PATH",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "NODE_REPL_EXTERNAL_MODULE",
    "GLIBC_TUNABLES",
    "BASH_ALIASES",
    "BASH_CMDS",
    "SHELLOPTS",
    "BASHOPTS",
    "BASH_FUNC",
    "EXINIT",
    "VIMINIT",
];

/// What a variable with this value runs.
pub(super) fn runs(name: &str, value: &Word) -> Vec<Inner> {
    let text = value.text();
    let known = value.literal();
    let unresolved = || vec![Inner::Unresolved(format!("what {name} makes programs run"))];
    let shell = |text: &str| vec![Inner::Script(text.to_owned(), Some(Dialect::Posix))];
    if text.is_empty() || matches!(text, "0" | "/dev/null" | "false" | "true") {
        return Vec::new();
    }
    match name {
        "PATH" => path(text),
        "BASH_ENV" | "ENV" => {
            let file = Inner::File(value.clone(), Reader::Shell(None));
            let mut found = expanded(text);
            match known {
                _ if text.starts_with('<') => return unresolved(),
                None | Some(_) => found.push(file),
            }
            found
        }
        "PROMPT_COMMAND" if known.is_none() => unresolved(),
        "LESSOPEN" | "LESSCLOSE" => shell(text.trim_start_matches(['|', '-', '@', ' '])),
        "TAR_OPTIONS" => options("tar", text),
        "MAKEFLAGS" | "GNUMAKEFLAGS" | "MFLAGS" => options("make", text),
        "NODE_OPTIONS" => match text.split_whitespace().all(harmless_node) {
            true => Vec::new(),
            false => unresolved(),
        },
        "GIT_CONFIG_GLOBAL" | "GIT_CONFIG_SYSTEM" | "GIT_CONFIG" => {
            vec![Inner::File(value.clone(), Reader::Code(Language::Git))]
        }
        "PYTHONSTARTUP" => vec![Inner::File(value.clone(), Reader::Code(Language::Python))],
        "PERL5DB" => vec![Inner::Code(Language::Perl, text.to_owned())],
        _ if LOADERS.contains(&name)
            || name.starts_with("GIT_CONFIG_KEY_")
            || name.starts_with("GIT_CONFIG_VALUE_")
            || name.starts_with("BASH_FUNC_")
            || name.contains(['%', '(']) =>
        {
            unresolved()
        }
        _ if EXPANDED.contains(&name) => match known {
            Some(text) => expanded(text),
            None => unresolved(),
        },
        _ if COMMANDS.contains(&name) => match known {
            Some(text) => shell(text),
            None => unresolved(),
        },
        _ if TOOLS.contains(&name)
            || (name.starts_with("CARGO_TARGET_")
                && (name.ends_with("_RUNNER") || name.ends_with("_LINKER"))) =>
        {
            known
                .map(|text| Inner::Perhaps(text.to_owned()))
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

/// A text that is expanded as if it stood in double quotes.
fn expanded(text: &str) -> Vec<Inner> {
    match text.contains("$(") || text.contains('`') || text.contains("${") {
        true => {
            let quoted = text.replace('"', "\\\"");
            vec![Inner::Script(format!(": \"{quoted}\""), None)]
        }
        false => Vec::new(),
    }
}

/// A search path: each place absolute, none that everybody writes to.
fn path(text: &str) -> Vec<Inner> {
    let wrong = |place: &str| {
        let known = place.starts_with(['/', '$', '~']);
        let shared = ["/tmp", "/var/tmp", "/dev", "/proc", "/run"];
        let shared = shared.iter().any(|dir| {
            place
                .strip_prefix(dir)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        !place.is_empty() && (!known || shared) || place.starts_with("$(")
    };
    // A place may hold a substitution with colons of its own.
    let computed = text.contains("$(") || text.contains('`');
    match computed || text.split(':').any(wrong) {
        true => vec![Inner::Unresolved(
            "a search path with places of one's own".to_owned(),
        )],
        false => Vec::new(),
    }
}

/// Options of a program that a variable adds.
fn options(program: &str, text: &str) -> Vec<Inner> {
    let text = text.replace("\\ ", "\u{1}");
    let words = text
        .split_whitespace()
        .map(|word| word.replace('\u{1}', " "));
    let words = [program.to_owned()]
        .into_iter()
        .chain(words)
        .map(Word::Literal);
    vec![Inner::Words(words.collect())]
}

fn harmless_node(option: &str) -> bool {
    let loads = [
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "-e",
        "--eval",
    ];
    option.starts_with("--") && !loads.iter().any(|load| option.starts_with(load))
}
