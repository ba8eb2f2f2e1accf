//! Code of other languages that stands in a command: what it starts, as far as that can
//! be read. Not a judgement of what the code does otherwise: deleting a file with
//! Python's own means is nothing that a rule about programs could see.
//!
//! Only the calls that start programs are looked for, each by its name and the literal
//! that it is given. A call whose argument is computed is `Unread`.

mod awk;
mod calls;
mod consoles;
mod literals;
mod makefile;
mod sed;

use super::words::Word;

/// A language whose code can start programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Perl,
    Ruby,
    Node,
    Php,
    Lua,
    Tcl,
    Awk,
    Sed,
    Make,
    Sqlite,
    Gdb,
    Vim,
    Ed,
    /// The configuration of ssh.
    Ssh,
    /// The configuration of git.
    Git,
    /// C, C++, Rust, Go.
    Compiled,
    /// A package.json and the like: scripts within data.
    Manifest,
}

impl Language {
    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Perl => "perl",
            Self::Ruby => "ruby",
            Self::Node => "node",
            Self::Php => "php",
            Self::Lua => "lua",
            Self::Tcl => "tcl",
            Self::Awk => "awk",
            Self::Sed => "sed",
            Self::Make => "make",
            Self::Sqlite => "sqlite3",
            Self::Gdb => "gdb",
            Self::Vim => "vim",
            Self::Ed => "ed",
            Self::Ssh => "ssh",
            Self::Git => "git",
            Self::Compiled => "a compiled program",
            Self::Manifest => "npm",
        }
    }

    /// The language of a file, by the ending of its name.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        let base = name.rsplit('/').next().unwrap_or(name);
        let (_, ending) = base.rsplit_once('.').unwrap_or((base, base));
        Some(match ending {
            "py" | "pyw" => Self::Python,
            "pl" | "pm" => Self::Perl,
            "rb" => Self::Ruby,
            "js" | "mjs" | "cjs" => Self::Node,
            "php" => Self::Php,
            "lua" => Self::Lua,
            "tcl" => Self::Tcl,
            "awk" => Self::Awk,
            "sed" => Self::Sed,
            "vim" => Self::Vim,
            "c" | "cc" | "cpp" | "cxx" | "rs" | "go" => Self::Compiled,
            "mk" | "Makefile" | "makefile" | "GNUmakefile" => Self::Make,
            _ if base == "package.json" => Self::Manifest,
            _ if base == ".gitconfig" => Self::Git,
            _ if base == ".vimrc" => Self::Vim,
            _ => return None,
        })
    }
}

/// Something that code starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// A text for `/bin/sh`.
    Script(String),
    /// A program with its arguments.
    Program(Vec<Word>),
    /// It starts something that only shows when it runs.
    Unread,
}

/// What `code` starts.
pub(super) fn starts(language: Language, code: &str) -> Vec<Start> {
    match language {
        Language::Awk => awk::starts(code),
        Language::Sed => sed::starts(code),
        Language::Make => makefile::starts(code),
        Language::Sqlite => consoles::sqlite(code),
        Language::Gdb => consoles::gdb(code),
        Language::Vim => consoles::vim(code),
        Language::Ed => consoles::ed(code),
        Language::Ssh => consoles::ssh(code),
        Language::Git => consoles::git(code),
        Language::Manifest => consoles::manifest(code),
        Language::Compiled => calls::compiled(code),
        Language::Python => calls::python(code),
        Language::Node => calls::node(code),
        Language::Perl => calls::perl(code),
        Language::Ruby => calls::ruby(code),
        Language::Php => calls::php(code),
        Language::Lua => calls::lua(code),
        Language::Tcl => calls::tcl(code),
    }
}

/// The names that stand in `code`: whatever could be a program's.
pub(super) fn names(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !(letter.is_alphanumeric() || "_.+-".contains(letter)))
        .filter(|name| !name.is_empty())
}

/// The absolute paths that stand in `code`.
pub(super) fn paths(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !(letter.is_alphanumeric() || "/_.+-".contains(letter)))
        .filter(|path| path.starts_with('/') && path.len() > 1)
}
