//! Wrappers that add words of their own to a command: `find -exec`, `xargs`, `parallel`,
//! and `exec -a`.

use super::{Inner, grammars, unknown, unresolved};
use crate::policy::words::Word;

/// What stands for the words that only show when it runs.
const ADDED: &str = "<what is read>";

/// The commands behind `-exec` and its like, each up to `;` or `+`.
pub(super) fn find(words: &[Word]) -> Vec<Inner> {
    let mut commands = Vec::new();
    let mut at = 0;
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
        let command = rest.get(..length).unwrap_or_default();
        if length > 0 {
            let command = command.iter().map(|word| replaced(word, "{}"));
            commands.push(Inner::Words(command.collect()));
        }
        at += length;
    }
    commands
}

/// A word in which `mark` is replaced when it runs.
fn replaced(word: &Word, mark: &str) -> Word {
    match word {
        Word::Literal(text) if text.contains(mark) => {
            // A directory may come from outside, the name behind it stands there.
            let tail = text.rsplit_once('/').map(|(_, name)| name.to_owned());
            Word::Unknown {
                raw: text.clone(),
                tail: tail.filter(|name| !name.contains(mark)),
            }
        }
        other => other.clone(),
    }
}

pub(super) fn xargs(words: &[Word]) -> Vec<Inner> {
    let long = "null no-run-if-empty verbose exit delimiter= max-args= max-procs= max-chars= \
                max-lines replace eof arg-file= interactive open-tty process-slot-var= show-limits";
    let options = ("0rtxpo", "aEILPnsd", "iel");
    let at = match grammars::behind("xargs", options, long, words) {
        Ok(Some(at)) => at,
        Ok(None) => return Vec::new(),
        Err(what) => return vec![unresolved(what)],
    };
    let (own, command) = words.split_at_checked(at).unwrap_or_default();
    let command = match mark(own) {
        Some(mark) => command.iter().map(|word| replaced(word, &mark)).collect(),
        None => {
            let added = [unknown(ADDED)];
            command.iter().cloned().chain(added).collect()
        }
    };
    vec![Inner::Words(command)]
}

/// What `-I`, `-i` or `--replace` has replaced.
fn mark(options: &[Word]) -> Option<String> {
    let mut words = options.iter().skip(1);
    while let Some(word) = words.next() {
        let text = word.text();
        if let Some(long) = text.strip_prefix("--") {
            if let Some((name, value)) = long.split_once('=')
                && name.starts_with("rep")
            {
                return Some(value.to_owned());
            }
            if long.starts_with("rep") {
                return Some("{}".to_owned());
            }
        } else if let Some(cluster) = text.strip_prefix('-') {
            let at = cluster.find(['I', 'i', 'a', 'E', 'L', 'P', 'n', 's', 'd', 'e', 'l']);
            let rest = at.and_then(|at| cluster.get(at + 1..)).unwrap_or_default();
            match at.and_then(|at| cluster.get(at..)?.chars().next()) {
                Some('I') if rest.is_empty() => {
                    return words.next().map(|word| word.text().to_owned());
                }
                Some('i') if rest.is_empty() => return Some("{}".to_owned()),
                Some('I' | 'i') => return Some(rest.to_owned()),
                _ => {}
            }
        }
    }
    None
}

/// GNU parallel: its command is joined and given to a shell, its words come from anywhere.
pub(super) fn parallel(words: &[Word]) -> Vec<Inner> {
    let command = words
        .iter()
        .take_while(|word| !matches!(word.literal(), Some(":::" | "::::" | ":::+")))
        .skip_while(|word| word.text().starts_with('-'));
    let command: Vec<Word> = command.map(|word| replaced(word, "{")).collect();
    match command.first().map(Word::program) {
        Some(Some(_)) => vec![
            Inner::Among(command.clone()),
            Inner::Words(command.into_iter().chain([unknown(ADDED)]).collect()),
        ],
        _ => vec![unresolved("what parallel runs")],
    }
}

/// `exec -a name program`: a multi-call binary goes by the name that it is given.
pub(super) fn exec(words: &[Word]) -> Vec<Inner> {
    let mut at = 1;
    let mut name = None;
    while let Some(option) = words.get(at).and_then(Word::literal) {
        let Some(cluster) = option
            .strip_prefix('-')
            .filter(|cluster| !cluster.is_empty())
        else {
            break;
        };
        at += 1;
        if option == "--" {
            break;
        }
        let Some((_, rest)) = cluster.split_once('a') else {
            continue;
        };
        name = match rest.is_empty() {
            true => {
                at += 1;
                words.get(at - 1).cloned()
            }
            false => Some(Word::Literal(rest.to_owned())),
        };
    }
    let mut found = Vec::new();
    if let Some(name) = name {
        let rest = words.get(at + 1..).unwrap_or_default();
        found.push(Inner::Words(
            [name].into_iter().chain(rest.iter().cloned()).collect(),
        ));
    }
    if words.len() > at {
        found.push(Inner::Command(at));
    }
    found
}
