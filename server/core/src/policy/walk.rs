//! The parser's tree, read for its simple commands. What this does not know how to
//! read it leaves out; the scanner has seen it, and the difference is unresolved.

mod expansions;
mod output;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shuck_ast::{
    Assignment, AssignmentValue, BinaryCommand, BinaryOp, BuiltinCommand, Command, CompoundCommand,
    ConditionalExpr, DeclOperand, FunctionDef, Redirect, RedirectKind, RedirectTarget, Span, Stmt,
    StmtSeq, StmtTerminator, Word as Tree,
};
use shuck_parser::parser::{Parser, ShellDialect, ShellProfile};

use super::Context;
use super::words::Word;

/// A simple command as the parser sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Simple {
    /// Its words, the name first; none where there are only assignments or redirections.
    pub(super) words: Vec<Word>,
    /// From its name to its last word.
    pub(super) span: Range<usize>,
    /// What it reads.
    pub(super) input: Input,
    /// What it writes to its standard output, where that stands in the script.
    pub(super) output: Option<String>,
    /// `NAME=value` before it, and behind `export` and its like.
    pub(super) assignments: Vec<(String, Word)>,
    /// Where it is redirected to.
    pub(super) redirects: Vec<Redirected>,
    /// What it stands in, outermost first.
    pub(super) contexts: Vec<Context>,
}

/// A redirection: the operator without its descriptor, and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirected {
    pub(super) operator: &'static str,
    pub(super) target: Word,
}

impl Redirected {
    /// Whether a file is written.
    pub(super) fn writes(&self) -> bool {
        matches!(self.operator, ">" | ">>" | ">|" | "&>" | "<>" | ">&")
    }
}

/// What a command finds on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Input {
    /// What its shell has there.
    #[default]
    Inherited,
    /// A text that stands in the script.
    Text(String),
    /// A file.
    File(Word),
    /// What only shows when it runs.
    Unread,
}

/// Most contexts that are remembered of one command; more nesting is refused anyway.
const MAX_CONTEXTS: usize = super::MAX_NESTING;

/// What the parser found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// By the offset of the name.
    pub(super) commands: BTreeMap<usize, Simple>,
    /// Statements without a command: assignments, redirections of groups.
    pub(super) bare: Vec<Simple>,
    /// Functions that are defined, by the offset of the name.
    pub(super) functions: BTreeMap<usize, Function>,
}

/// A function that is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Whether it is defined for certain, and for the shell itself: not in a subshell,
    /// a branch, behind `&&` or in another function.
    pub(super) certain: bool,
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
            contexts: Vec::new(),
            input: Input::Inherited,
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
    contexts: Vec<Context>,
    /// What commands read here that are not redirected themselves.
    input: Input,
}

impl Walker<'_> {
    fn sequence(&mut self, sequence: &StmtSeq) {
        for statement in &sequence.stmts {
            self.statement(statement);
        }
    }

    /// Walks something that stands in `context`.
    fn within(&mut self, context: Context, walk: impl FnOnce(&mut Self)) {
        let room = self.contexts.len() < MAX_CONTEXTS;
        if room {
            self.contexts.push(context);
        }
        walk(self);
        if room {
            self.contexts.pop();
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        let background = matches!(statement.terminator, Some(StmtTerminator::Background(_)));
        if background {
            self.within(Context::Background, |walker| walker.foreground(statement));
        } else {
            self.foreground(statement);
        }
    }

    fn foreground(&mut self, statement: &Stmt) {
        for redirect in &statement.redirects {
            self.redirect(redirect);
        }
        let mut facts = self.facts(statement);
        match &statement.command {
            Command::Simple(simple) => {
                self.assignments(&simple.assignments);
                facts.assignments = self.assigned(&simple.assignments);
                self.tree(&simple.name);
                simple.args.iter().for_each(|word| self.tree(word));
                if self.text(simple.name.span).is_empty() {
                    facts.span = span_of(statement);
                    self.walked.bare.push(facts);
                } else {
                    let words = [&simple.name].into_iter().chain(&simple.args);
                    let spans: Vec<Span> = words.map(|word| word.span).collect();
                    self.found(&spans, facts);
                }
            }
            Command::Builtin(builtin) => self.builtin(builtin, facts),
            Command::Decl(declared) => {
                self.assignments(&declared.assignments);
                facts.assignments = self.assigned(&declared.assignments);
                let mut spans = vec![declared.variant_span];
                for operand in &declared.operands {
                    spans.push(self.operand(operand));
                    if let DeclOperand::Assignment(assignment) = operand {
                        let own = self.assigned(std::slice::from_ref(assignment));
                        facts.assignments.extend(own);
                    }
                }
                self.found(&spans, facts);
            }
            other => self.group(other, statement, facts),
        }
    }

    /// A command made of commands, which share its redirections.
    fn group(&mut self, command: &Command, statement: &Stmt, mut facts: Simple) {
        let input = std::mem::replace(&mut self.input, facts.input.clone());
        if !facts.redirects.is_empty() {
            facts.span = span_of(statement);
            self.walked.bare.push(facts);
        }
        match command {
            Command::Binary(binary) => self.binary(binary),
            Command::Compound(compound) => self.compound(compound),
            Command::Function(function) => self.function(function),
            // Simple ones are dealt with; the rest is not bash.
            _ => {}
        }
        self.input = input;
    }

    /// Chains nest to the left as long as they are, so they are walked in a loop.
    fn binary(&mut self, binary: &BinaryCommand) {
        let first = self.input.clone();
        let mut current = binary;
        loop {
            let piped = matches!(current.op, BinaryOp::Pipe | BinaryOp::PipeAll);
            if piped {
                let output = self.output_of(&current.left);
                self.input = output.map_or(Input::Unread, Input::Text);
                self.within(Context::Pipeline, |walker| walker.statement(&current.right));
                self.input = first.clone();
            } else {
                self.within(Context::Compound, |walker| walker.statement(&current.right));
            }
            match &current.left.command {
                Command::Binary(left) if current.left.redirects.is_empty() => current = left,
                _ if piped => {
                    let left = &current.left;
                    break self.within(Context::Pipeline, |walker| walker.statement(left));
                }
                _ => break self.statement(&current.left),
            }
        }
    }

    fn builtin(&mut self, builtin: &BuiltinCommand, mut facts: Simple) {
        let (assignments, first, more, span) = match builtin {
            BuiltinCommand::Break(c) => (&c.assignments, &c.depth, &c.extra_args, c.span),
            BuiltinCommand::Continue(c) => (&c.assignments, &c.depth, &c.extra_args, c.span),
            BuiltinCommand::Return(c) => (&c.assignments, &c.code, &c.extra_args, c.span),
            BuiltinCommand::Exit(c) => (&c.assignments, &c.code, &c.extra_args, c.span),
        };
        self.assignments(assignments);
        facts.assignments = self.assigned(assignments);
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
        facts.words = [Word::Literal(name)].into_iter().chain(texts).collect();
        facts.span = start..end;
        self.walked.commands.insert(start, facts);
    }

    fn found(&mut self, spans: &[Span], mut facts: Simple) {
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
            return;
        };
        let words = spans.iter().map(|span| Word::read(self.text(*span)));
        facts.words = words.collect();
        facts.span = first.start.offset()..last.end.offset().max(first.end.offset());
        facts.output = output::written(&facts.words, &facts.input);
        self.walked.commands.insert(facts.span.start, facts);
    }

    /// What is known of a statement whatever its command is.
    fn facts(&self, statement: &Stmt) -> Simple {
        let redirects = statement.redirects.iter();
        Simple {
            input: self.input_of(&statement.redirects),
            redirects: redirects.filter_map(|r| self.redirected(r)).collect(),
            contexts: self.contexts.clone(),
            ..Simple::default()
        }
    }

    fn assigned(&self, assignments: &[Assignment]) -> Vec<(String, Word)> {
        let named = assignments.iter().map(|assignment| {
            let value = match &assignment.value {
                AssignmentValue::Scalar(word) => Word::read(self.text(word.span)),
                AssignmentValue::Compound(_) => {
                    let raw = self.text(assignment.span);
                    let (_, list) = raw.split_once('=').unwrap_or_default();
                    Word::Unknown {
                        raw: list.to_owned(),
                        tail: None,
                    }
                }
            };
            (assignment.target.name.as_str().to_owned(), value)
        });
        named.collect()
    }

    fn text(&self, span: Span) -> &str {
        self.script
            .get(span.start.offset()..span.end.offset())
            .unwrap_or_default()
    }

    fn function(&mut self, function: &FunctionDef) {
        for entry in &function.header.entries {
            let name = entry.static_name.as_ref().map(|name| name.as_str());
            let function = Function {
                name: name.unwrap_or_default().to_owned(),
                certain: self.contexts.is_empty(),
            };
            let at = entry.word.span.start.offset();
            self.walked.functions.insert(at, function);
        }
        let body = &function.body;
        self.within(Context::Function, |walker| walker.statement(body));
    }

    fn compound(&mut self, compound: &CompoundCommand) {
        match compound {
            CompoundCommand::Subshell(body) => {
                self.within(Context::Subshell, |walker| walker.sequence(body));
            }
            // What stands in braces alone is run as if it stood there without them.
            CompoundCommand::BraceGroup(body) => self.sequence(body),
            CompoundCommand::Time(c) => {
                let timed = c.command.iter();
                timed.for_each(|statement| self.statement(statement));
            }
            _ => self.within(Context::Compound, |walker| walker.branching(compound)),
        }
    }

    fn branching(&mut self, compound: &CompoundCommand) {
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
            CompoundCommand::Arithmetic(c) => {
                c.expr_ast
                    .iter()
                    .for_each(|expression| self.arithmetic(expression));
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

    /// What the last redirection of standard input gives.
    fn input_of(&self, redirects: &[Redirect]) -> Input {
        let reads = |redirect: &&Redirect| {
            let reads = matches!(
                redirect.kind,
                RedirectKind::HereDoc
                    | RedirectKind::HereDocStrip
                    | RedirectKind::HereString
                    | RedirectKind::Input
                    | RedirectKind::ReadWrite
                    | RedirectKind::DupInput
            );
            reads && redirect.fd.is_none_or(|fd| fd == 0) && redirect.fd_var.is_none()
        };
        let Some(redirect) = redirects.iter().rfind(reads) else {
            return self.input.clone();
        };
        match &redirect.target {
            RedirectTarget::Heredoc(heredoc) => self.heredoc_text(heredoc),
            RedirectTarget::Word(word) => {
                let word = Word::read(self.text(word.span));
                match (redirect.kind, word.literal()) {
                    (RedirectKind::HereString, Some(text)) => Input::Text(format!("{text}\n")),
                    (RedirectKind::HereString | RedirectKind::DupInput, _) => Input::Unread,
                    _ => Input::File(word),
                }
            }
        }
    }

    fn heredoc_text(&self, heredoc: &shuck_ast::Heredoc) -> Input {
        let body = self.text(heredoc.body.span);
        let plain = heredoc.delimiter.quoted || !body.contains(['$', '`', '\\']);
        match (plain, heredoc.delimiter.strip_tabs) {
            (false, _) => Input::Unread,
            (true, false) => Input::Text(body.to_owned()),
            (true, true) => {
                let lines = body.split_inclusive('\n');
                Input::Text(lines.map(|line| line.trim_start_matches('\t')).collect())
            }
        }
    }

    fn redirected(&self, redirect: &Redirect) -> Option<Redirected> {
        let operator = match redirect.kind {
            RedirectKind::Output => ">",
            RedirectKind::Clobber => ">|",
            RedirectKind::Append => ">>",
            RedirectKind::Input => "<",
            RedirectKind::ReadWrite => "<>",
            RedirectKind::HereDoc | RedirectKind::HereDocStrip => return None,
            RedirectKind::HereString => "<<<",
            RedirectKind::DupOutput => ">&",
            RedirectKind::DupInput => "<&",
            RedirectKind::OutputBoth => "&>",
        };
        let word = redirect.word_target()?;
        let target = Word::read(self.text(word.span));
        Some(Redirected { operator, target })
    }
}

/// Where a statement stands, its redirections included.
fn span_of(statement: &Stmt) -> Range<usize> {
    statement.span.start.offset()..statement.span.end.offset()
}
