//! The judgement: reads a text to its commands, unwraps them, and asks the rules.

use std::collections::BTreeSet;
use std::ops::Range;

use super::rules::{Compiled, DefaultEffect, Effect, Rule, UnresolvedEffect};
use super::scout::{Refusal, scout};
use super::walk::{Simple, walk};
use super::words::Word;
use super::wrappers::{Inner, inner};
use super::{Allowed, Denial, Dialect, FoundCommand, MAX_EXCERPT_BYTES, MAX_SCRIPT_DEPTH, Verdict};

/// Most wrappers around one command: `env env env …` is no command of real work.
const MAX_WRAPPERS: usize = 16;

/// What a parse error is told to do.
const FIX_SYNTAX: &str = "check it with `bash -n`, or run it in simpler parts";

/// What unresolved text is told to do.
const BE_PLAIN: &str =
    "write the program's name out, without variables or eval, in a command of its own";

/// Judges a script.
pub(super) fn script(policy: &Compiled, dialect: Dialect, text: &str) -> Verdict {
    let mut judge = Judge::new(policy, text);
    judge.script(text, dialect, None, 0);
    judge.verdict()
}

/// Judges a program with its arguments.
pub(super) fn argv(policy: &Compiled, argv: &[String]) -> Verdict {
    let text = argv.join(" ");
    let words: Vec<Word> = argv.iter().cloned().map(Word::Literal).collect();
    let mut judge = Judge::new(policy, &text);
    let place = Place {
        span: 0..text.len(),
        dialect: Dialect::Bash,
        depth: 0,
    };
    judge.command(&words, &place, None, &BTreeSet::new());
    judge.verdict()
}

struct Judge<'a> {
    policy: &'a Compiled,
    /// The text that spans count in.
    text: &'a str,
    allowed: Allowed,
    denial: Option<Denial>,
    /// The first thing that could not be read.
    unresolved: Option<Unread>,
}

/// Where a command stands.
struct Place {
    /// In the judged text.
    span: Range<usize>,
    /// The language around it.
    dialect: Dialect,
    /// How many scripts it is within.
    depth: usize,
}

/// Something that could not be read.
struct Unread {
    span: Range<usize>,
    what: String,
    suggestion: &'static str,
}

impl<'a> Judge<'a> {
    fn new(policy: &'a Compiled, text: &'a str) -> Self {
        Self {
            policy,
            text,
            allowed: Allowed::default(),
            denial: None,
            unresolved: None,
        }
    }

    fn verdict(self) -> Verdict {
        if let Some(denial) = self.denial {
            return Verdict::Denied(denial);
        }
        match &self.unresolved {
            Some(unread) if self.policy.rules.unresolved == UnresolvedEffect::Deny => {
                let mut denial = self.denial("unresolved", &unread.span);
                denial.reason = format!("could not be read for certain: {}", unread.what);
                denial.suggestion = Some(unread.suggestion.to_owned());
                denial.unresolved = Some(unread.what.clone());
                Verdict::Denied(denial)
            }
            _ => Verdict::Allowed(self.allowed),
        }
    }

    fn denial(&self, rule: &str, span: &Range<usize>) -> Denial {
        let excerpt = self.text.get(span.clone()).unwrap_or_default();
        let mut end = excerpt.len().min(MAX_EXCERPT_BYTES);
        while !excerpt.is_char_boundary(end) {
            end -= 1;
        }
        Denial {
            policy: self.policy.rules.name.clone(),
            rule: rule.to_owned(),
            span: span.clone(),
            excerpt: excerpt.get(..end).unwrap_or_default().to_owned(),
            reason: String::new(),
            suggestion: None,
            unresolved: None,
        }
    }

    fn deny(&mut self, rule: &Rule, span: &Range<usize>, program: &str) {
        if self.denial.is_none() {
            let mut denial = self.denial(&rule.id, span);
            let reason = rule.reason.clone();
            denial.reason = reason.unwrap_or_else(|| format!("{program} is denied"));
            denial.suggestion.clone_from(&rule.suggest);
            self.denial = Some(denial);
        }
    }

    fn deny_by_default(&mut self, span: &Range<usize>, program: &str) {
        if self.denial.is_none() {
            let mut denial = self.denial("default", span);
            denial.reason = format!("{program} is not allowed by any rule");
            self.denial = Some(denial);
        }
    }

    fn unread(&mut self, span: &Range<usize>, what: impl Into<String>, suggestion: &'static str) {
        if self.unresolved.is_none() {
            self.unresolved = Some(Unread {
                span: span.clone(),
                what: what.into(),
                suggestion,
            });
        }
    }

    /// Judges a script. `within` is its place in the judged text when it is not the
    /// text itself: the command that will run it.
    fn script(
        &mut self,
        script: &str,
        dialect: Dialect,
        within: Option<&Range<usize>>,
        depth: usize,
    ) {
        let whole = within.cloned().unwrap_or(0..script.len());
        if depth > MAX_SCRIPT_DEPTH {
            return self.unread(&whole, "scripts within scripts within scripts", BE_PLAIN);
        }
        let (seen, scouted) = scout(script, dialect);
        if let Err(refusal) = scouted {
            return self.refused(script, &refusal, within, &whole);
        }
        let Some(walked) = walk(script) else {
            // Nothing stands in it that could run: the shell says best what is wrong.
            if !seen.commands.is_empty() || seen.substitutions > 0 {
                self.unread(&whole, "it does not parse as a shell script", FIX_SYNTAX);
            }
            return;
        };
        let seen: BTreeSet<usize> = seen.commands.into_iter().collect();
        let parsed: BTreeSet<usize> = walked.commands.keys().copied().collect();
        let functions: BTreeSet<usize> = walked.functions.keys().copied().collect();
        // A function's name stands where a command's would, or behind its keyword.
        let differing = seen
            .symmetric_difference(&parsed)
            .find(|at| !functions.contains(at));
        if let Some(at) = differing {
            let span = if within.is_some() {
                whole
            } else {
                self.word_at(*at)
            };
            return self.unread(&span, "two readers disagree about what runs here", BE_PLAIN);
        }
        let names: BTreeSet<String> = walked.functions.into_values().collect();
        for simple in walked.commands.values() {
            let Simple { words, span, stdin } = simple;
            let place = Place {
                span: within.unwrap_or(span).clone(),
                dialect,
                depth,
            };
            self.command(words, &place, stdin.as_deref(), &names);
        }
    }

    fn refused(
        &mut self,
        script: &str,
        refusal: &Refusal,
        within: Option<&Range<usize>>,
        whole: &Range<usize>,
    ) {
        let at = refusal.at.min(script.len());
        let span = if within.is_some() {
            whole.clone()
        } else {
            self.word_at(at)
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

    /// Judges one command and, layer by layer, what it runs.
    fn command(
        &mut self,
        words: &[Word],
        place: &Place,
        stdin: Option<&str>,
        functions: &BTreeSet<String>,
    ) {
        let Place {
            span,
            dialect,
            depth,
        } = place;
        let mut words = words;
        for _ in 0..=MAX_WRAPPERS {
            let Some(program) = self.found(words, span) else {
                return self.unread(
                    span,
                    "the program's name is only known when it runs",
                    BE_PLAIN,
                );
            };
            self.ask(words, program, span, functions);
            let (script, language) = match inner(words) {
                Inner::None => return,
                Inner::Command(start) => {
                    words = words.get(start..).unwrap_or_default();
                    continue;
                }
                Inner::Commands(commands) if *depth < MAX_SCRIPT_DEPTH => {
                    let place = Place {
                        span: span.clone(),
                        dialect: *dialect,
                        depth: depth + 1,
                    };
                    for command in commands {
                        let rest = words.get(command).unwrap_or_default();
                        self.command(rest, &place, None, functions);
                    }
                    return;
                }
                Inner::Commands(_) => break,
                Inner::Script(script, language) => (script, language),
                Inner::Stdin(language) => match stdin {
                    Some(script) => (script.to_owned(), Some(language)),
                    None => {
                        let what = format!("what {program} reads from its input");
                        return self.unread(span, what, BE_PLAIN);
                    }
                },
                Inner::Unresolved(what) => return self.unread(span, what, BE_PLAIN),
            };
            return self.script(&script, language.unwrap_or(*dialect), Some(span), depth + 1);
        }
        self.unread(span, "commands within commands within commands", BE_PLAIN);
    }

    /// Notes a command; its program, if that is known.
    fn found<'w>(&mut self, words: &'w [Word], span: &Range<usize>) -> Option<&'w str> {
        let program = words.first().and_then(Word::program);
        self.allowed.commands.push(FoundCommand {
            program: program.map(str::to_owned),
            argv: words.iter().map(|word| word.text().to_owned()).collect(),
            span: span.clone(),
        });
        program
    }

    /// Asks the rules about one command.
    fn ask(
        &mut self,
        words: &[Word],
        program: &str,
        span: &Range<usize>,
        functions: &BTreeSet<String>,
    ) {
        let called = words.first().and_then(Word::literal) == Some(program);
        let arguments = words.get(1..).unwrap_or_default();
        match self.policy.rule_for(program, arguments).cloned() {
            Some(rule) if rule.effect == Effect::Deny => self.deny(&rule, span, program),
            Some(rule) => {
                self.allowed.rule.get_or_insert(rule.id);
            }
            // A function of this script is judged where it is defined.
            None if called && functions.contains(program) => {}
            None if self.policy.rules.default == DefaultEffect::Deny => {
                self.deny_by_default(span, program);
            }
            None => {}
        }
    }
}
