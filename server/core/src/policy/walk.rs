//! The parser's tree, read for its simple commands. What this does not know how to
//! read it leaves out; the scanner has seen it, and the difference is unresolved.

mod expansions;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shuck_ast::{
    BinaryCommand, BuiltinCommand, Command, CompoundCommand, ConditionalExpr, DeclOperand,
    FunctionDef, Redirect, RedirectTarget, Span, Stmt, StmtSeq, Word as Tree,
};
use shuck_parser::parser::{Parser, ShellDialect, ShellProfile};

use super::words::Word;

/// A simple command as the parser sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Simple {
    /// Its words, the name first.
    pub(super) words: Vec<Word>,
    /// From its name to its last word.
    pub(super) span: Range<usize>,
    /// What it reads, if that stands in the script: an unexpanded heredoc or a
    /// literal here-string.
    pub(super) stdin: Option<String>,
}

/// What the parser found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// By the offset of the name.
    pub(super) commands: BTreeMap<usize, Simple>,
    /// Functions that are defined, by the offset of the name.
    pub(super) functions: BTreeMap<usize, String>,
}

/// Parses and walks `script`; `None` when the parser is not content with it.
pub(super) fn walk(script: &str) -> Option<Walked> {
    // The parser bounds its own depth, fuel and stack. Should it still fail in a way
    // it does not know, that is one more reason to leave the text unresolved.
    catch_unwind(AssertUnwindSafe(|| {
        let profile = ShellProfile::native(ShellDialect::Bash);
        let parsed = Parser::with_profile(script, profile).parse();
        if !parsed.is_ok() {
            return None;
        }
        let mut walker = Walker {
            script,
            walked: Walked::default(),
        };
        walker.sequence(&parsed.file.body);
        Some(walker.walked)
    }))
    .ok()
    .flatten()
}

struct Walker<'a> {
    script: &'a str,
    walked: Walked,
}

impl Walker<'_> {
    fn sequence(&mut self, sequence: &StmtSeq) {
        for statement in &sequence.stmts {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        let stdin = self.stdin(&statement.redirects);
        for redirect in &statement.redirects {
            self.redirect(redirect);
        }
        match &statement.command {
            Command::Simple(simple) => {
                self.assignments(&simple.assignments);
                self.tree(&simple.name);
                simple.args.iter().for_each(|word| self.tree(word));
                if !self.text(simple.name.span).is_empty() {
                    let words = [&simple.name].into_iter().chain(&simple.args);
                    let spans: Vec<Span> = words.map(|word| word.span).collect();
                    self.found(&spans, stdin);
                }
            }
            Command::Builtin(builtin) => self.builtin(builtin, stdin),
            Command::Decl(declared) => {
                self.assignments(&declared.assignments);
                let mut spans = vec![declared.variant_span];
                for operand in &declared.operands {
                    spans.push(self.operand(operand));
                }
                self.found(&spans, stdin);
            }
            Command::Binary(binary) => self.binary(binary),
            Command::Compound(compound) => self.compound(compound),
            Command::Function(function) => self.function(function),
            // Not bash.
            Command::AnonymousFunction(_) => {}
        }
    }

    /// Chains nest to the left as long as they are, so they are walked in a loop.
    fn binary(&mut self, binary: &BinaryCommand) {
        let mut current = binary;
        loop {
            self.statement(&current.right);
            match &current.left.command {
                Command::Binary(left) if current.left.redirects.is_empty() => current = left,
                _ => break self.statement(&current.left),
            }
        }
    }

    fn builtin(&mut self, builtin: &BuiltinCommand, stdin: Option<String>) {
        let (assignments, first, more, span) = match builtin {
            BuiltinCommand::Break(c) => (&c.assignments, &c.depth, &c.extra_args, c.span),
            BuiltinCommand::Continue(c) => (&c.assignments, &c.depth, &c.extra_args, c.span),
            BuiltinCommand::Return(c) => (&c.assignments, &c.code, &c.extra_args, c.span),
            BuiltinCommand::Exit(c) => (&c.assignments, &c.code, &c.extra_args, c.span),
        };
        self.assignments(assignments);
        let words: Vec<&Tree> = first.iter().chain(more).collect();
        words.iter().for_each(|word| self.tree(word));
        let before = assignments
            .last()
            .map_or(span.start.offset(), |last| last.span.end.offset());
        let rest = self.script.get(before..).unwrap_or_default();
        let start = before + rest.len() - rest.trim_start().len();
        let name: String = rest
            .trim_start()
            .chars()
            .take_while(char::is_ascii_lowercase)
            .collect();
        let end = words
            .last()
            .map_or(start + name.len(), |word| word.span.end.offset());
        let texts = words.iter().map(|word| Word::read(self.text(word.span)));
        let words = [Word::Literal(name)].into_iter().chain(texts).collect();
        self.walked.commands.insert(
            start,
            Simple {
                words,
                span: start..end,
                stdin,
            },
        );
    }

    fn found(&mut self, spans: &[Span], stdin: Option<String>) {
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
            return;
        };
        let span = first.start.offset()..last.end.offset().max(first.end.offset());
        let words = spans
            .iter()
            .map(|span| Word::read(self.text(*span)))
            .collect();
        self.walked
            .commands
            .insert(span.start, Simple { words, span, stdin });
    }

    fn text(&self, span: Span) -> &str {
        self.script
            .get(span.start.offset()..span.end.offset())
            .unwrap_or_default()
    }

    fn function(&mut self, function: &FunctionDef) {
        for entry in &function.header.entries {
            let name = entry
                .static_name
                .as_ref()
                .map(|name| name.as_str().to_owned());
            self.walked
                .functions
                .insert(entry.word.span.start.offset(), name.unwrap_or_default());
        }
        self.statement(&function.body);
    }

    fn compound(&mut self, compound: &CompoundCommand) {
        match compound {
            CompoundCommand::If(c) => {
                self.sequence(&c.condition);
                self.sequence(&c.then_branch);
                for (condition, branch) in &c.elif_branches {
                    self.sequence(condition);
                    self.sequence(branch);
                }
                c.else_branch
                    .iter()
                    .for_each(|branch| self.sequence(branch));
            }
            CompoundCommand::While(c) => {
                self.sequence(&c.condition);
                self.sequence(&c.body);
            }
            CompoundCommand::Until(c) => {
                self.sequence(&c.condition);
                self.sequence(&c.body);
            }
            CompoundCommand::Case(c) => {
                self.tree(&c.word);
                for item in &c.cases {
                    item.patterns
                        .iter()
                        .for_each(|pattern| self.pattern(pattern));
                    self.sequence(&item.body);
                }
            }
            CompoundCommand::Subshell(body) | CompoundCommand::BraceGroup(body) => {
                self.sequence(body);
            }
            CompoundCommand::Arithmetic(c) => {
                c.expr_ast
                    .iter()
                    .for_each(|expression| self.arithmetic(expression));
            }
            CompoundCommand::Time(c) => {
                c.command
                    .iter()
                    .for_each(|statement| self.statement(statement));
            }
            CompoundCommand::Conditional(c) => self.condition(&c.expression),
            _ => self.counting(compound),
        }
    }

    /// Loops over words and numbers.
    fn counting(&mut self, compound: &CompoundCommand) {
        match compound {
            CompoundCommand::For(c) => {
                c.words.iter().flatten().for_each(|word| self.tree(word));
                self.sequence(&c.body);
            }
            CompoundCommand::ArithmeticFor(c) => {
                for part in [&c.init_ast, &c.condition_ast, &c.step_ast]
                    .into_iter()
                    .flatten()
                {
                    self.arithmetic(part);
                }
                self.sequence(&c.body);
            }
            CompoundCommand::Select(c) => {
                c.words.iter().for_each(|word| self.tree(word));
                self.sequence(&c.body);
            }
            // The gate refuses coprocesses, and bash does not know the others.
            _ => {}
        }
    }

    fn condition(&mut self, expression: &ConditionalExpr) {
        match expression {
            ConditionalExpr::Binary(binary) => {
                self.condition(&binary.left);
                self.condition(&binary.right);
            }
            ConditionalExpr::Unary(unary) => self.condition(&unary.expr),
            ConditionalExpr::Parenthesized(inner) => self.condition(&inner.expr),
            ConditionalExpr::Word(word) | ConditionalExpr::Regex(word) => self.tree(word),
            ConditionalExpr::Pattern(pattern) => self.pattern(pattern),
            ConditionalExpr::VarRef(reference) => self.reference(reference),
        }
    }

    fn operand(&mut self, operand: &DeclOperand) -> Span {
        match operand {
            DeclOperand::Flag(word) | DeclOperand::Dynamic(word) => {
                self.tree(word);
                word.span
            }
            DeclOperand::Name(reference) => {
                self.reference(reference);
                reference.span
            }
            DeclOperand::Assignment(assignment) => {
                self.assignments(std::slice::from_ref(assignment));
                assignment.span
            }
        }
    }

    /// What the last redirection of standard input holds, if it stands in the script.
    fn stdin(&self, redirects: &[Redirect]) -> Option<String> {
        let reads = |redirect: &&Redirect| match &redirect.target {
            RedirectTarget::Heredoc(_) => redirect.fd.is_none_or(|fd| fd == 0),
            RedirectTarget::Word(_) => {
                redirect.kind == shuck_ast::RedirectKind::HereString
                    && redirect.fd.is_none_or(|fd| fd == 0)
            }
        };
        match &redirects.iter().rfind(reads)?.target {
            RedirectTarget::Heredoc(heredoc) if heredoc.delimiter.quoted => {
                Some(self.text(heredoc.body.span).to_owned())
            }
            RedirectTarget::Heredoc(_) => None,
            RedirectTarget::Word(word) => Word::read(self.text(word.span))
                .literal()
                .map(str::to_owned),
        }
    }
}
