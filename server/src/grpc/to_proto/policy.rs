//! How commands were judged.

use data_encoding::HEXLOWER;
use execgate_core::policy::{Denial, FoundCommand, PolicyStack, Verdict};
use execgate_proto::v1;

use crate::grpc::edge::Edge;

/// Commands listed in a verdict at most, as the API says.
const MAX_COMMANDS: usize = 1000;

/// A verdict, with what a caller may see of the command.
pub(crate) fn verdict(verdict: &Verdict, policy: &PolicyStack, edge: &Edge) -> v1::PolicyVerdict {
    let answer = match verdict {
        Verdict::Allowed(allowed) => v1::PolicyVerdict {
            decision: v1::Decision::Allow.into(),
            rule_id: allowed.rule.clone().unwrap_or_else(|| "default".to_owned()),
            layer: edge.layer(edge.operator_policy().name()).to_owned(),
            commands: allowed
                .commands
                .iter()
                .take(MAX_COMMANDS)
                .map(|found| command(found, allowed.rule.as_deref(), edge))
                .collect(),
            ..v1::PolicyVerdict::default()
        },
        Verdict::Denied(denial) => denied(denial, edge),
    };
    v1::PolicyVerdict {
        policy_hash: HEXLOWER.encode(&policy.content_hash()),
        enforcement: v1::EnforcementLevel::Advisory.into(),
        ..answer
    }
}

fn denied(denial: &Denial, edge: &Edge) -> v1::PolicyVerdict {
    let span = span(&denial.span);
    v1::PolicyVerdict {
        decision: v1::Decision::Deny.into(),
        rule_id: denial.rule.clone(),
        layer: edge.layer(&denial.policy).to_owned(),
        reason: denial.reason.clone(),
        suggestion: denial.suggestion.clone().unwrap_or_default(),
        span: Some(span),
        excerpt: edge.redact(&denial.excerpt),
        unresolved: denial
            .unresolved
            .iter()
            .map(|reason| v1::Unresolved {
                span: Some(span),
                reason: reason.clone(),
            })
            .collect(),
        ..v1::PolicyVerdict::default()
    }
}

fn command(found: &FoundCommand, rule: Option<&str>, edge: &Edge) -> v1::SimpleCommand {
    let words = found.argv.iter().map(|word| v1::Word {
        text: edge.redact(word),
        knowledge: v1::WordKnowledge::Unspecified.into(),
    });
    v1::SimpleCommand {
        words: words.collect(),
        span: Some(span(&found.span)),
        decision: v1::Decision::Allow.into(),
        rule_id: rule.unwrap_or_default().to_owned(),
        ..v1::SimpleCommand::default()
    }
}

fn span(range: &std::ops::Range<usize>) -> v1::ByteSpan {
    v1::ByteSpan {
        start: range.start as u64,
        end: range.end as u64,
    }
}
