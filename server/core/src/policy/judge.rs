//! The judgement: reads a text to its commands, unwraps them, and asks the rules.

mod inside;
mod report;
mod shadows;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use self::report::Unread;
use super::files::Files;
use super::rules::{Compiled, DefaultEffect, Facts, system_program};
use super::scout::{Refusal, scout};
use super::walk::{Input, Simple, Walked, walk};
use super::words::Word;
use super::wrappers::{self, Inner};
use super::{
    Asked, Context, Denial, Dialect, FoundCommand, Judgement, MAX_SCRIPT_BYTES, MAX_SCRIPT_DEPTH,
    Question, SessionNames, variables,
};

/// Most wrappers around one command: `env env env …` is no command of real work.
const MAX_WRAPPERS: usize = 16;

/// Most bytes of scripts within scripts that are read for one judgement, what is read again
/// included: a file that is run a thousand times would else take a thousand times as long.
const MAX_INNER_BYTES: usize = 256 * 1024;

/// Most bytes of other languages' code that are read for one judgement.
const MAX_FOREIGN_BYTES: usize = MAX_SCRIPT_BYTES;

/// Most commands that are judged, what aliases and wrappers make of them included: twice
/// what the code of a script has room for.
const MAX_JUDGED: usize = 20_000;

/// What a parse error is told to do.
const FIX_SYNTAX: &str = "check it with `bash -n`, or run it in simpler parts";

/// What unresolved text is told to do.
const BE_PLAIN: &str =
    "write the program's name out, without variables or eval, in a command of its own";

/// Judges a question by one policy.
pub(super) fn judge(policy: &Compiled, question: &Question<'_>) -> Judgement {
    let joined;
    let text = match question.asked {
        Asked::Script(_, script) => script,
        Asked::Argv(words) => {
            joined = words.join(" ");
            &joined
        }
    };
    let mut judge = Judge::new(policy, text, question.names);
    let mut place = Place {
        span: 0..text.len(),
        dialect: Dialect::Bash,
        depth: 0,
        wrappers: Vec::new(),
        contexts: Vec::new(),
    };
    for (name, value) in question.env {
        let value = Word::Literal(value.clone());
        judge.variable(name, &value, &place);
    }
    match question.asked {
        Asked::Script(dialect, script) => judge.script(script, dialect, &place),
        Asked::Argv(words) => {
            let words: Vec<Word> = words.iter().cloned().map(Word::Literal).collect();
            place.wrappers.clear();
            judge.command(&words, &place, &Around::program());
        }
    }
    judge.judgement()
}

/// The state of a judgement.
struct Judge<'a> {
    policy: &'a Compiled,
    /// The text that spans count in.
    text: &'a str,
    names: &'a SessionNames,
    /// The first allow rule that decided.
    rule: Option<String>,
    found: Vec<FoundCommand>,
    denial: Option<Denial>,
    /// What could not be read.
    unresolved: Vec<Unread>,
    /// Names that the script defines.
    defined: SessionNames,
    /// Functions of the script, from where they are known for certain.
    functions: BTreeMap<String, usize>,
    files: Files,
    /// How many scripts around this one are judged by what is denied alone.
    lenient: usize,
    /// Bytes of scripts within the script that may still be read.
    inner_left: usize,
    /// Bytes of other languages' code that may still be read.
    foreign_left: usize,
    /// Commands that may still be judged.
    commands_left: usize,
}

/// Where a command stands.
#[derive(Clone)]
struct Place {
    /// In the judged text.
    span: Range<usize>,
    /// The language around it.
    dialect: Dialect,
    /// How many scripts it is within.
    depth: usize,
    /// The wrappers around it.
    wrappers: Vec<String>,
    contexts: Vec<Context>,
}

/// What there is around the words of a command.
struct Around<'s> {
    /// The statement, for its redirections and assignments, where these are its own words.
    simple: Option<&'s Simple>,
    input: Input,
    /// Functions and aliases do not count: behind a wrapper, and for argv.
    plain: bool,
}

impl Around<'_> {
    fn program() -> Self {
        Self {
            simple: None,
            input: Input::Inherited,
            plain: true,
        }
    }
}

impl<'a> Judge<'a> {
    fn new(policy: &'a Compiled, text: &'a str, names: &'a SessionNames) -> Self {
        Self {
            policy,
            text,
            names,
            rule: None,
            found: Vec::new(),
            denial: None,
            unresolved: Vec::new(),
            defined: SessionNames::default(),
            functions: BTreeMap::new(),
            files: Files::default(),
            lenient: 0,
            inner_left: MAX_INNER_BYTES,
            foreign_left: MAX_FOREIGN_BYTES,
            commands_left: MAX_JUDGED,
        }
    }

    /// Judges a script. Where `place` has a depth, spans are those of the command that
    /// will run it.
    fn script(&mut self, script: &str, dialect: Dialect, place: &Place) {
        if place.depth > MAX_SCRIPT_DEPTH {
            return self.unread(
                &place.span,
                "scripts within scripts within scripts",
                BE_PLAIN,
            );
        }
        let inner = if place.depth > 0 { script.len() } else { 0 };
        match self.inner_left.checked_sub(inner) {
            Some(left) => self.inner_left = left,
            None => {
                return self.unread(&place.span, "code that is run again and again", BE_PLAIN);
            }
        }
        let (seen, scouted) = scout(script, dialect);
        if let Err(refusal) = scouted {
            return self.refused(script, &refusal, place);
        }
        let Some(walked) = walk(script) else {
            // Nothing stands in it that could run: the shell says best what is wrong.
            if !seen.commands.is_empty() || seen.substitutions > 0 {
                self.mentions(script, place);
                self.unread(
                    &place.span,
                    "it does not parse as a shell script",
                    FIX_SYNTAX,
                );
            }
            return;
        };
        let seen: BTreeSet<usize> = seen.commands.into_iter().collect();
        let parsed: BTreeSet<usize> = walked.commands.keys().copied().collect();
        // A function's name stands where a command's would, or behind its keyword.
        let differing = seen
            .symmetric_difference(&parsed)
            .find(|at| !walked.functions.contains_key(at));
        if let Some(at) = differing {
            let span = match place.depth {
                0 => self.word_at(*at),
                _ => place.span.clone(),
            };
            self.mentions(script, place);
            return self.unread(&span, "two readers disagree about what runs here", BE_PLAIN);
        }
        self.walked(&walked, dialect, place);
    }

    fn walked(&mut self, walked: &Walked, dialect: Dialect, place: &Place) {
        let outer = place.depth == 0;
        self.learn_functions(walked, place);
        let mut statements: Vec<&Simple> = walked.commands.values().chain(&walked.bare).collect();
        statements.sort_by_key(|simple| simple.span.start);
        for simple in statements {
            let contexts = place.contexts.iter().chain(&simple.contexts);
            let place = Place {
                span: match outer {
                    true => simple.span.clone(),
                    false => place.span.clone(),
                },
                dialect,
                depth: place.depth,
                wrappers: place.wrappers.clone(),
                contexts: contexts.copied().collect(),
            };
            self.simple(simple, &place);
            self.files.note(simple);
        }
    }

    /// Judges one statement with all its parts.
    fn simple(&mut self, simple: &Simple, place: &Place) {
        for (name, value) in &simple.assignments {
            self.variable(name, value, place);
        }
        self.redirections(simple, place);
        if simple.words.is_empty() {
            let facts = Facts {
                redirects: &simple.redirects,
                assignments: &simple.assignments,
                ..Facts::default()
            };
            return self.ask(&facts, place, false);
        }
        let around = Around {
            simple: Some(simple),
            input: simple.input.clone(),
            plain: false,
        };
        self.command(&simple.words, place, &around);
    }

    /// Judges a variable that is set.
    fn variable(&mut self, name: &str, value: &Word, place: &Place) {
        if name == "PATH" && !self.keeps_programs(value) {
            self.unread(&place.span, "a search path beside the system's", BE_PLAIN);
        }
        for inner in variables::runs(name, value) {
            self.inner(inner, &[], place, &Around::program());
        }
        if let Some(text) = value.literal() {
            if text.contains("$(") || text.contains('`') {
                self.latent(text, place);
            }
            if text.contains('/') && !text.contains(':') {
                self.handed(std::slice::from_ref(value), place);
            }
        }
    }

    /// Whether names still mean the system's programs with this search path. It is asked
    /// only where a name allows something.
    fn keeps_programs(&self, path: &Word) -> bool {
        let system = |place: &str| {
            matches!(place, "" | "$PATH" | "${PATH}")
                || system_program(&format!("{place}/x")).is_some()
        };
        self.policy.rules.default == DefaultEffect::Allow || path.text().split(':').all(system)
    }

    /// Judges a command, and what it runs besides itself. `words` are not empty.
    fn command(&mut self, words: &[Word], place: &Place, around: &Around<'_>) {
        let Some(left) = self.commands_left.checked_sub(1) else {
            return self.unread(&place.span, "more commands than are judged", BE_PLAIN);
        };
        self.commands_left = left;
        if place.wrappers.len() > MAX_WRAPPERS {
            return self.unread(
                &place.span,
                "commands within commands within commands",
                BE_PLAIN,
            );
        }
        let Some(program) = words.first().and_then(Word::program) else {
            self.note(words, None, place, around);
            return self.unread(
                &place.span,
                "the program's name is only known when it runs",
                BE_PLAIN,
            );
        };
        self.note(words, Some(program), place, around);
        let called = words.first().map_or("", Word::text);
        let own = self.is_own_function(called, place, around);
        let facts = Facts {
            program: Some(program),
            called,
            arguments: words.get(1..).unwrap_or_default(),
            redirects: around.simple.map_or(&[], |simple| &simple.redirects),
            assignments: around.simple.map_or(&[], |simple| &simple.assignments),
        };
        self.ask(&facts, place, own);
        if called.starts_with("/proc/") || called.starts_with("/dev/") {
            self.unread(&place.span, "a program behind a descriptor", BE_PLAIN);
        }
        self.handed_to(program, words, place);
        if !around.plain {
            self.shadowed(words, place, around);
        }
        self.define(program, words, place);
        self.written_file(words, place);
        for inner in wrappers::inner(words) {
            self.inner(inner, words, place, around);
        }
    }

    fn refused(&mut self, script: &str, refusal: &Refusal, place: &Place) {
        self.mentions(script, place);
        let at = refusal.at.min(script.len());
        let span = match place.depth {
            0 => self.word_at(at),
            _ => place.span.clone(),
        };
        let suggestion = if refusal.unfinished {
            FIX_SYNTAX
        } else {
            BE_PLAIN
        };
        self.unread(&span, refusal.what, suggestion);
    }

    /// The bytes from `at` to the end of the word there.
    fn word_at(&self, at: usize) -> Range<usize> {
        let rest = self.text.get(at..).unwrap_or_default();
        let length = rest
            .find([' ', '\t', '\n', ';', '|', '&', ')'])
            .unwrap_or(rest.len());
        // At a separator, that is what stands there.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        at..at + length.max(first)
    }

    fn deeper(place: &Place) -> Place {
        Place {
            depth: place.depth + 1,
            ..place.clone()
        }
    }

    fn behind(words: &[Word], place: &Place) -> Place {
        let wrapper = words.first().and_then(Word::program).unwrap_or_default();
        let mut inner = place.clone();
        inner.wrappers.push(wrapper.to_owned());
        inner
    }
}
