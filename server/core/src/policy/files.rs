//! Files that a script writes, as far as it shows: a script that writes another one and
//! runs it is judged by both.

use std::collections::BTreeMap;

use super::args::tidy_path;
use super::code::Language;
use super::walk::{Input, Simple};
use super::words::Word;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// This text.
    Text(String),
    /// Something that only shows when it runs.
    Unread,
}

/// The files that were written so far.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, Content>);

impl Files {
    /// Notes what a command writes.
    pub(super) fn note(&mut self, simple: &Simple) {
        let output = match &simple.output {
            Some(text) => Content::Text(text.clone()),
            None => Content::Unread,
        };
        for redirect in simple.redirects.iter().filter(|redirect| redirect.writes()) {
            self.write(&redirect.target, output.clone(), redirect.operator == ">>");
        }
        let program = simple.words.first().and_then(Word::program);
        let operands = simple
            .words
            .iter()
            .skip(1)
            .filter(|word| !word.text().starts_with('-'));
        match program {
            Some("tee") => {
                let appends = simple.words.iter().any(|word| word.text() == "-a");
                let content = match &simple.input {
                    Input::Text(text) => Content::Text(text.clone()),
                    _ => Content::Unread,
                };
                for file in operands {
                    self.write(file, content.clone(), appends);
                }
            }
            Some("cp" | "mv" | "ln" | "install") => {
                let operands: Vec<&Word> = operands.collect();
                if let [from, to] = operands.as_slice()
                    && let Some(content) = self.get(from).cloned()
                {
                    self.write(to, content, false);
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, file: &Word, content: Content, appends: bool) {
        let name = key(file);
        if name.starts_with("/dev/") {
            return;
        }
        let before = if appends { self.0.remove(&name) } else { None };
        let content = match (before, content) {
            (Some(Content::Text(before)), Content::Text(more)) => Content::Text(before + &more),
            (Some(Content::Unread), _) => Content::Unread,
            (_, content) => content,
        };
        self.0.insert(name, content);
    }

    /// What was written to a file.
    pub(super) fn get(&self, file: &Word) -> Option<&Content> {
        self.0.get(&key(file))
    }

    /// The texts that were written for an interpreter, which may load them by itself.
    pub(super) fn in_language(&self, language: Language) -> Vec<String> {
        let texts = self.0.iter().filter_map(|(name, content)| match content {
            Content::Text(text) if Language::of_file(name) == Some(language) => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn key(file: &Word) -> String {
    let text = file.text();
    let here = ["$PWD/", "${PWD}/", "$(pwd)/"];
    let text = here
        .iter()
        .find_map(|here| text.strip_prefix(here))
        .unwrap_or(text);
    tidy_path(text)
}

/// Who runs a file by itself, some other time: a start-up file, a hook.
pub(super) enum Later {
    Shell,
    Code(Language),
}

/// Who runs a file that is written to this path.
pub(super) fn runs_later(file: &Word) -> Option<Later> {
    const STARTUP: &[&str] = &[
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".bash_logout",
        ".profile",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".zlogin",
        ".kshrc",
        ".mkshrc",
        ".xinitrc",
        ".xprofile",
        ".envrc",
    ];
    let path = file.text();
    let name = path.rsplit('/').next().unwrap_or(path);
    let system = [
        "/etc/profile",
        "/etc/bash.bashrc",
        "/etc/cron",
        "/var/spool/cron",
    ];
    let hook = path.contains(".git/hooks/") || path.starts_with("hooks/");
    if STARTUP.contains(&name) || hook || system.iter().any(|place| path.starts_with(place)) {
        return Some(Later::Shell);
    }
    match name {
        ".gitconfig" => Some(Later::Code(Language::Git)),
        "config" if path.ends_with(".git/config") => Some(Later::Code(Language::Git)),
        "config" if path.ends_with(".ssh/config") => Some(Later::Code(Language::Ssh)),
        ".vimrc" | ".exrc" => Some(Later::Code(Language::Vim)),
        ".gdbinit" => Some(Later::Code(Language::Gdb)),
        ".sqliterc" => Some(Later::Code(Language::Sqlite)),
        _ => None,
    }
}
