//! What part of an output is returned.

use execgate_proto::v1;
use execgate_proto::v1::output_budget::Select;

/// Chooses a part of each output channel: lines that match, then lines by position,
/// then a bound in bytes. What is left out is said in the text by a marker line.
///
/// ```
/// use execgate_client::Budget;
///
/// // The last 20 lines that speak of errors, with two lines around each.
/// let errors = Budget::new().grep("(?i)error").around(2).tail(20);
/// // The first and the last 50 lines, 20 kB at most.
/// let ends = Budget::new().head(50).tail(50).max_bytes(20_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Budget {
    max_bytes: Option<u64>,
    head: Option<u64>,
    tail: Option<u64>,
    grep: Option<v1::Grep>,
}

impl Budget {
    /// All lines, up to the server's bound in bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most bytes of one channel. Default: 100 000.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How many of the first lines.
    pub fn head(mut self, lines: u64) -> Self {
        self.head = Some(lines);
        self
    }

    /// How many of the last lines.
    pub fn tail(mut self, lines: u64) -> Self {
        self.tail = Some(lines);
        self
    }

    /// Only lines that match a regular expression (syntax of the crate `regex`).
    pub fn grep(mut self, pattern: impl Into<String>) -> Self {
        self.filter().pattern = pattern.into();
        self
    }

    /// Only lines that do not match.
    pub fn grep_not(mut self, pattern: impl Into<String>) -> Self {
        let filter = self.filter();
        filter.pattern = pattern.into();
        filter.mode = v1::GrepMode::NotMatching.into();
        self
    }

    /// Lines before and after each that was found, which are kept too.
    pub fn around(mut self, lines: u32) -> Self {
        let filter = self.filter();
        filter.before = lines;
        filter.after = lines;
        self
    }

    fn filter(&mut self) -> &mut v1::Grep {
        self.grep.get_or_insert_default()
    }
}

impl From<Budget> for v1::OutputBudget {
    fn from(budget: Budget) -> Self {
        let select = match (budget.head, budget.tail) {
            (Some(head), Some(tail)) => Some(Select::HeadTail(v1::HeadTailLines { head, tail })),
            (Some(lines), None) => Some(Select::Head(v1::HeadLines { lines })),
            (None, Some(lines)) => Some(Select::Tail(v1::TailLines { lines })),
            (None, None) => None,
        };
        Self {
            max_bytes: budget.max_bytes,
            select,
            grep: budget.grep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_says_on_the_wire_what_it_says_here() {
        let budget = Budget::new().grep_not("x").around(2).tail(3).max_bytes(9);
        let expected = v1::OutputBudget {
            max_bytes: Some(9),
            select: Some(Select::Tail(v1::TailLines { lines: 3 })),
            grep: Some(v1::Grep {
                pattern: "x".into(),
                before: 2,
                after: 2,
                mode: v1::GrepMode::NotMatching.into(),
            }),
        };
        assert_eq!(v1::OutputBudget::from(budget), expected);
        let all = v1::OutputBudget::from(Budget::new());
        assert_eq!(all, v1::OutputBudget::default());
    }
}
