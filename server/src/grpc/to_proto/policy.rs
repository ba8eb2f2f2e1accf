//! How commands were judged.

use data_encoding::HEXLOWER;
use execgate_core::policy::{
    Context, Decision, Denial, FoundCommand, FoundWord, Judgement, Knowledge, PolicyStack,
    Unresolved, Verdict,
};
use execgate_engine::isolation::ControlLevel;
use execgate_proto::v1;

use crate::grpc::edge::Shown;

/// A judgement, with what a caller may see of the command.
pub(crate) fn verdict(
    judgement: &Judgement,
    policy: &PolicyStack,
    shown: Shown<'_>,
    enforcement: ControlLevel,
) -> v1::PolicyVerdict {
    let answer = match &judgement.verdict {
        Verdict::Allowed(allowed) => v1::PolicyVerdict {
            decision: v1::Decision::Allow.into(),
            rule_id: allowed.rule.clone().unwrap_or_else(|| "default".to_owned()),
            ..v1::PolicyVerdict::default()
        },
        Verdict::Denied(denial) => denied(denial, shown),
    };
    let found = &judgement.commands;
    let beyond = found.iter().filter(|command| command.beyond).map(beyond);
    v1::PolicyVerdict {
        layer: judgement.layer.name().to_owned(),
        commands: found.iter().map(|found| command(found, shown)).collect(),
        unresolved: judgement
            .unresolved
            .iter()
            .map(unresolved)
            .chain(beyond)
            .collect(),
        policy_hash: HEXLOWER.encode(&policy.content_hash()),
        enforcement: super::fence::level(enforcement).into(),
        ..answer
    }
}

fn denied(denial: &Denial, shown: Shown<'_>) -> v1::PolicyVerdict {
    v1::PolicyVerdict {
        decision: v1::Decision::Deny.into(),
        rule_id: denial.rule.clone(),
        reason: shown.redact(&denial.reason),
        suggestion: denial.suggestion.clone().unwrap_or_default(),
        span: Some(span(&denial.span)),
        excerpt: shown.redact(&denial.excerpt),
        ..v1::PolicyVerdict::default()
    }
}

fn unresolved(part: &Unresolved) -> v1::Unresolved {
    v1::Unresolved {
        span: Some(span(&part.span)),
        reason: part.reason.clone(),
    }
}

/// An interpreter is judged as a program; what it does is nobody's to judge.
fn beyond(command: &FoundCommand) -> v1::Unresolved {
    let program = command.program.as_deref().unwrap_or_default();
    v1::Unresolved {
        span: Some(span(&command.span)),
        reason: format!("{program} runs code that is not enforceable by a policy"),
    }
}

fn command(found: &FoundCommand, shown: Shown<'_>) -> v1::SimpleCommand {
    let assignments = found.assignments.iter();
    let redirects = found.redirects.iter();
    let nested = (!found.wrappers.is_empty()).then_some(v1::CommandContext::NestedShell);
    let shell = |name: &String| matches!(name.as_str(), "sh" | "bash" | "dash" | "ash" | "eval");
    let nested = nested.filter(|_| found.wrappers.iter().any(shell));
    v1::SimpleCommand {
        words: found.words.iter().map(|found| word(found, shown)).collect(),
        assignments: assignments
            .map(|(name, value)| v1::Assignment {
                name: name.clone(),
                value: Some(word(value, shown)),
            })
            .collect(),
        redirects: redirects
            .map(|(operator, target)| v1::Redirect {
                operator: (*operator).to_owned(),
                target: Some(word(target, shown)),
            })
            .collect(),
        contexts: found
            .contexts
            .iter()
            .map(|found| context(*found))
            .chain(nested)
            .map(Into::into)
            .collect(),
        span: Some(span(&found.span)),
        wrappers: found.wrappers.clone(),
        decision: match found.decision {
            Decision::Allow => v1::Decision::Allow.into(),
            Decision::Deny => v1::Decision::Deny.into(),
        },
        rule_id: found.rule.clone(),
    }
}

fn word(word: &FoundWord, shown: Shown<'_>) -> v1::Word {
    let knowledge = match word.knowledge {
        Knowledge::Literal => v1::WordKnowledge::Literal,
        Knowledge::Partial => v1::WordKnowledge::Partial,
        Knowledge::Unknown => v1::WordKnowledge::Unknown,
    };
    v1::Word {
        text: shown.redact(&word.text),
        knowledge: knowledge.into(),
    }
}

fn context(context: Context) -> v1::CommandContext {
    match context {
        Context::Pipeline => v1::CommandContext::Pipeline,
        Context::Substitution => v1::CommandContext::Substitution,
        Context::Subshell => v1::CommandContext::Subshell,
        Context::Function => v1::CommandContext::Function,
        Context::Background => v1::CommandContext::Background,
        Context::Compound => v1::CommandContext::Compound,
    }
}

fn span(range: &std::ops::Range<usize>) -> v1::ByteSpan {
    v1::ByteSpan {
        start: range.start as u64,
        end: range.end as u64,
    }
}
