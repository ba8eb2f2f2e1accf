//! What a judgement says: denials, what could not be read, and the commands found.

use std::ops::Range;

use super::{Around, Judge, Place};
use crate::policy::rules::{DefaultEffect, Effect, Facts, Rule, UnresolvedEffect};
use crate::policy::words::Word;
use crate::policy::wrappers::is_interpreter;
use crate::policy::{
    Allowed, Decision, Denial, FoundCommand, FoundWord, Judgement, Knowledge, Layer, MAX_COMMANDS,
    MAX_EXCERPT_BYTES, MAX_UNRESOLVED, Unresolved, Verdict,
};

/// Something that could not be read.
pub(super) struct Unread {
    span: Range<usize>,
    what: String,
    suggestion: &'static str,
}

impl Judge<'_> {
    pub(super) fn judgement(self) -> Judgement {
        let unresolved = self.unresolved.iter();
        let unresolved = unresolved.map(|unread| Unresolved {
            span: unread.span.clone(),
            reason: unread.what.clone(),
        });
        Judgement {
            unresolved: unresolved.collect(),
            verdict: self.verdict(),
            layer: Layer::default(),
            commands: self.found,
            defined: self.defined,
        }
    }

    fn verdict(&self) -> Verdict {
        if let Some(denial) = &self.denial {
            return Verdict::Denied(denial.clone());
        }
        match self.unresolved.first() {
            Some(unread) if self.policy.rules.unresolved == UnresolvedEffect::Deny => {
                let mut denial = self.denial("unresolved", &unread.span);
                denial.reason = format!("could not be read for certain: {}", unread.what);
                denial.suggestion = Some(unread.suggestion.to_owned());
                denial.unresolved = Some(unread.what.clone());
                Verdict::Denied(denial)
            }
            _ => Verdict::Allowed(Allowed {
                rule: self.rule.clone(),
            }),
        }
    }

    fn denial(&self, rule: &str, span: &Range<usize>) -> Denial {
        let excerpt = self.text.get(span.clone()).unwrap_or_default();
        let end = excerpt.floor_char_boundary(MAX_EXCERPT_BYTES);
        Denial {
            policy: self.policy.rules.name.clone(),
            layer: Layer::default(),
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
        self.decided(Decision::Deny, &rule.id);
    }

    fn deny_by_default(&mut self, span: &Range<usize>, program: &str) {
        if self.denial.is_none() {
            let mut denial = self.denial("default", span);
            denial.reason = format!("{program} is not allowed by any rule");
            self.denial = Some(denial);
        }
        self.decided(Decision::Deny, "default");
    }

    pub(super) fn unread(
        &mut self,
        span: &Range<usize>,
        what: impl Into<String>,
        suggestion: &'static str,
    ) {
        if self.lenient == 0 && self.unresolved.len() < MAX_UNRESOLVED {
            self.unresolved.push(Unread {
                span: span.clone(),
                what: what.into(),
                suggestion,
            });
        }
    }

    /// How the last command that was noted is judged.
    fn decided(&mut self, decision: Decision, rule: &str) {
        if let Some(command) = self.found.last_mut()
            && command.decision != Decision::Deny
        {
            command.decision = decision;
            rule.clone_into(&mut command.rule);
        }
    }

    /// Notes a command.
    pub(super) fn note(
        &mut self,
        words: &[Word],
        program: Option<&str>,
        place: &Place,
        around: &Around<'_>,
    ) {
        if self.found.len() >= MAX_COMMANDS || self.lenient > 0 {
            return;
        }
        let simple = around.simple;
        let assignments = simple.map_or(&[][..], |simple| &simple.assignments);
        let redirects = simple.map_or(&[][..], |simple| &simple.redirects);
        self.found.push(FoundCommand {
            program: program.map(str::to_owned),
            words: words.iter().map(found_word).collect(),
            assignments: assignments
                .iter()
                .map(|(name, value)| (name.clone(), found_word(value)))
                .collect(),
            redirects: redirects
                .iter()
                .map(|redirect| (redirect.operator, found_word(&redirect.target)))
                .collect(),
            contexts: place.contexts.clone(),
            wrappers: place.wrappers.clone(),
            span: place.span.clone(),
            decision: Decision::Allow,
            rule: String::new(),
            beyond: program.is_some_and(is_interpreter),
        });
    }

    /// Asks the rules about one command; `own` is a function that was judged itself.
    pub(super) fn ask(&mut self, facts: &Facts<'_>, place: &Place, own: bool) {
        let program = facts.program.unwrap_or("a redirection");
        match self.policy.rule_for(facts).cloned() {
            Some(rule) if rule.effect == Effect::Deny => self.deny(&rule, &place.span, program),
            Some(_) | None if self.lenient > 0 => {}
            Some(rule) => {
                self.decided(Decision::Allow, &rule.id);
                self.rule.get_or_insert(rule.id);
            }
            None if own || facts.program.is_none() => {}
            None if self.policy.rules.default == DefaultEffect::Deny => {
                self.deny_by_default(&place.span, program);
            }
            None => self.decided(Decision::Allow, "default"),
        }
    }

    /// Denies `program` where a rule denies it, with these arguments or any.
    pub(super) fn ask_denied(&mut self, program: &str, arguments: &[Word], place: &Place) {
        if self.denial.is_some() {
            return;
        }
        let rule = match arguments {
            [] => self.policy.bare_denial(program),
            arguments => {
                let facts = Facts {
                    program: Some(program),
                    called: program,
                    arguments,
                    ..Facts::default()
                };
                let rule = self.policy.rule_for(&facts);
                rule.filter(|rule| rule.effect == Effect::Deny)
            }
        };
        if let Some(rule) = rule.cloned() {
            self.deny(&rule, &place.span, program);
        }
    }
}

fn found_word(word: &Word) -> FoundWord {
    let knowledge = match word {
        Word::Literal(_) => Knowledge::Literal,
        Word::Unknown { raw, .. } => {
            let only = raw.starts_with(['$', '`', '<', '*']) && !raw.contains(['/', '.', '=']);
            match only {
                true => Knowledge::Unknown,
                false => Knowledge::Partial,
            }
        }
    };
    FoundWord {
        text: word.text().to_owned(),
        knowledge,
    }
}
