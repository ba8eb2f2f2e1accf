//! Output budgets.

use execgate_core::budget::{Grep, GrepMode, OutputBudget, Select};
use execgate_proto::v1;
use execgate_proto::v1::output_budget::Select as ProtoSelect;

use super::fields::enumeration;
use crate::grpc::refusal::Refusal;

/// A budget; `default` says what an absent bound is.
pub(super) fn budget(
    field: &str,
    budget: v1::OutputBudget,
    default: &OutputBudget,
) -> Result<OutputBudget, Refusal> {
    let max_bytes = match budget.max_bytes {
        None => default.max_bytes(),
        Some(bytes) => count(bytes),
    };
    let select = match budget.select {
        None | Some(ProtoSelect::All(_)) => Select::All,
        Some(ProtoSelect::Head(head)) => Select::Head {
            lines: count(head.lines),
        },
        Some(ProtoSelect::Tail(tail)) => Select::Tail {
            lines: count(tail.lines),
        },
        Some(ProtoSelect::HeadTail(both)) => Select::HeadTail {
            head: count(both.head),
            tail: count(both.tail),
        },
    };
    let grep = budget
        .grep
        .map(|grep| self::grep(field, &grep))
        .transpose()?;
    OutputBudget::new(max_bytes, select, grep).map_err(|error| Refusal::budget(field, error))
}

fn grep(field: &str, grep: &v1::Grep) -> Result<Grep, Refusal> {
    if grep.pattern.is_empty() {
        return Err(Refusal::field(format!("{field}.grep.pattern"), "is empty"));
    }
    let mode = match enumeration(&format!("{field}.grep.mode"), grep.mode)? {
        v1::GrepMode::Unspecified | v1::GrepMode::Matching => GrepMode::Matching,
        v1::GrepMode::NotMatching => GrepMode::NotMatching,
    };
    let (before, after) = (count(grep.before.into()), count(grep.after.into()));
    Grep::new(&grep.pattern, before, after, mode).map_err(|error| Refusal::budget(field, error))
}

/// A count of lines or bytes; what does not fit is more than there can be.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
