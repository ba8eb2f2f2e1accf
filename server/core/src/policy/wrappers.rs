//! Programs that run something besides themselves: another program, a shell's script,
//! code of their own language, or a command that an option names. Both layers are judged.
//! An option of a wrapper that is not known is unresolved, because nobody can say which
//! word comes after it.
//!
//! ```text
//! env sudo timeout …   grammars.rs   which word starts the inner command
//! sh su eval trap …    shells.rs     which word is a script
//! python3 awk sed …    readers.rs    which word is code, or a file with code
//! tar rsync ssh git …  options.rs, git.rs   which option's value is a command
//! find xargs           finders.rs
//! ```

mod finders;
mod git;
mod grammars;
mod options;
mod readers;
mod shells;

use super::Dialect;
use super::code::Language;
use super::words::Word;
pub(super) use readers::is_interpreter;

/// What a command runs besides itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inner {
    /// The command whose words start at this index; functions and aliases are passed over.
    Command(usize),
    /// Another command.
    Words(Vec<Word>),
    /// A script, in its language or that of the script around it.
    Script(String, Option<Dialect>),
    /// A script that runs elsewhere or perhaps: only what is denied in it counts.
    Perhaps(String),
    /// Words among which a program's name may be, in an order that is not known.
    Among(Vec<Word>),
    /// Code.
    Code(Language, String),
    /// Whatever comes on its standard input.
    Input(Reader),
    /// What stands in a file.
    File(Word, Reader),
    /// A variable for what it runs.
    Variable(String, Word),
    /// Something that cannot be read.
    Unresolved(String),
}

/// Who reads an input or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A shell; `None` is the one around it.
    Shell(Option<Dialect>),
    /// An interpreter.
    Code(Language),
}

/// What `words`, a command with its name, runs besides itself.
pub(super) fn inner(words: &[Word]) -> Vec<Inner> {
    let Some(program) = words.first().and_then(Word::program) else {
        return Vec::new();
    };
    let arguments = words.get(1..).unwrap_or_default();
    if let Some(found) = grammars::inner(program, words) {
        return found;
    }
    if let Some(found) = shells::inner(program, words) {
        return found;
    }
    if let Some(found) = readers::inner(program, arguments) {
        return found;
    }
    match program {
        "find" => finders::find(arguments),
        "xargs" => finders::xargs(words),
        "parallel" => finders::parallel(arguments),
        "git" => git::inner(arguments),
        "exec" => finders::exec(words),
        _ => options::inner(program, arguments),
    }
}

fn unresolved(what: impl Into<String>) -> Inner {
    Inner::Unresolved(what.into())
}

/// A word as a script, whole.
fn script(word: &Word, who: &str, dialect: Option<Dialect>) -> Inner {
    match word.literal() {
        Some(text) => Inner::Script(text.to_owned(), dialect),
        None => unresolved(format!("the script {who} runs is only known when it runs")),
    }
}

/// Words that are joined to a script.
fn joined(words: &[Word], who: &str, dialect: Option<Dialect>) -> Inner {
    let texts: Option<Vec<&str>> = words.iter().map(Word::literal).collect();
    match texts {
        Some(texts) => Inner::Script(texts.join(" "), dialect),
        None => unresolved(format!("the script {who} runs is only known when it runs")),
    }
}

/// Words that are joined to a script that runs elsewhere.
fn joined_perhaps(words: &[Word]) -> Inner {
    let texts: Vec<&str> = words.iter().map(Word::text).collect();
    Inner::Perhaps(texts.join(" "))
}

/// A word that only shows when it runs.
fn unknown(raw: &str) -> Word {
    Word::Unknown {
        raw: raw.to_owned(),
        tail: None,
    }
}
