//! The output budget: what part of a finished stream goes into a unary result.
//!
//! Works on bytes that redaction has already left behind, and only chooses among
//! them: lines that match (`grep`), then lines by position (`select`), then a
//! bound in bytes. Whatever it leaves out is said in the text by a marker line and
//! in the report by numbers. It must not redact, decode or wait.

mod cut;
mod lines;

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

use self::lines::Lines;

/// Bytes kept of one stream when nobody asks for another bound: what an agent's
/// context can take without noticing.
pub const DEFAULT_MAX_BYTES: usize = 100_000;

/// The most bytes one stream may ask for: both streams together stay well within
/// one gRPC message.
pub const MAX_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Longest grep pattern in bytes: patterns are written by hand, megabytes of them
/// only cost memory.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// Most context lines on either side of a match: more than that is no context.
pub const MAX_CONTEXT_LINES: usize = 1000;

/// Most memory in bytes one compiled pattern may take: bounds `(a{1000}){1000}`.
const MAX_PATTERN_MEMORY: usize = 1024 * 1024;

/// A bound that a caller asked for and cannot have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct BudgetError {
    /// Path of the offending field, as in the API: `grep.pattern`, `max_bytes`.
    pub field: &'static str,
    /// What is wrong with it, for a person.
    pub reason: String,
}

/// Which lines are kept, by their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Select {
    /// All of them; if they exceed the bound in bytes, the middle goes.
    #[default]
    All,
    /// The first lines; if they exceed the bound in bytes, the end goes.
    Head {
        /// How many.
        lines: usize,
    },
    /// The last lines; if they exceed the bound in bytes, the beginning goes.
    Tail {
        /// How many.
        lines: usize,
    },
    /// The first and the last lines; if they exceed the bound in bytes, the middle goes.
    HeadTail {
        /// How many of the first.
        head: usize,
        /// How many of the last.
        tail: usize,
    },
}

/// Which of the lines a grep finds are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrepMode {
    /// Lines in which the pattern is found.
    #[default]
    Matching,
    /// Lines in which it is not found.
    NotMatching,
}

/// A validated line filter.
#[derive(Debug, Clone)]
pub struct Grep {
    regex: Regex,
    before: usize,
    after: usize,
    mode: GrepMode,
}

impl Grep {
    /// Compiles `pattern`, a regular expression over the bytes of one line without
    /// its line end, with `before` and `after` lines of context.
    ///
    /// # Errors
    /// When the pattern is too long, does not compile or compiles to too much, or
    /// the context is too large.
    pub fn new(
        pattern: &str,
        before: usize,
        after: usize,
        mode: GrepMode,
    ) -> Result<Self, BudgetError> {
        if pattern.len() > MAX_PATTERN_BYTES {
            let reason = format!("is {} bytes, at most {MAX_PATTERN_BYTES}", pattern.len());
            return Err(BudgetError {
                field: "grep.pattern",
                reason,
            });
        }
        for (field, lines) in [("grep.before", before), ("grep.after", after)] {
            if lines > MAX_CONTEXT_LINES {
                let reason = format!("is {lines} lines, at most {MAX_CONTEXT_LINES}");
                return Err(BudgetError { field, reason });
            }
        }
        let regex = RegexBuilder::new(pattern)
            .size_limit(MAX_PATTERN_MEMORY)
            .dfa_size_limit(MAX_PATTERN_MEMORY)
            .build()
            .map_err(|error| BudgetError {
                field: "grep.pattern",
                reason: error.to_string(),
            })?;
        Ok(Self {
            regex,
            before,
            after,
            mode,
        })
    }

    fn keeps(&self, line: &[u8]) -> bool {
        self.regex.is_match(line) == (self.mode == GrepMode::Matching)
    }
}

/// What is kept of one stream.
#[derive(Debug, Clone)]
pub struct OutputBudget {
    max_bytes: usize,
    select: Select,
    grep: Option<Grep>,
}

impl Default for OutputBudget {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            select: Select::All,
            grep: None,
        }
    }
}

/// What the budget did, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetReport {
    /// Bytes of the stream.
    pub total_bytes: u64,
    /// Lines of the stream; a last line without line end counts.
    pub total_lines: u64,
    /// Bytes of the stream that were kept; marker lines are not among them.
    pub kept_bytes: u64,
    /// Lines of which at least one byte was kept.
    pub kept_lines: u64,
    /// `total_bytes - kept_bytes`.
    pub omitted_bytes: u64,
    /// Lines that the grep found, without context; all lines when there is no grep.
    pub matched_lines: u64,
    /// Whether `select` or `max_bytes` left out anything that the grep had let through.
    pub truncated: bool,
}

/// The kept text and the account of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgeted {
    /// Kept bytes, with a marker line in place of each omitted range.
    pub bytes: Vec<u8>,
    /// What was kept and what was not.
    pub report: BudgetReport,
}

impl OutputBudget {
    /// A validated budget.
    ///
    /// # Errors
    /// When `max_bytes` is zero or too large, or `select` keeps nothing by construction.
    pub fn new(max_bytes: usize, select: Select, grep: Option<Grep>) -> Result<Self, BudgetError> {
        if max_bytes == 0 || max_bytes > MAX_MAX_BYTES {
            let reason = format!("is {max_bytes}, must be 1 to {MAX_MAX_BYTES}");
            return Err(BudgetError {
                field: "max_bytes",
                reason,
            });
        }
        let empty = match select {
            Select::All => None,
            Select::Head { lines: 0 } => Some("select.head.lines"),
            Select::Tail { lines: 0 } => Some("select.tail.lines"),
            Select::HeadTail { head: 0, tail: 0 } => Some("select.head_tail"),
            Select::Head { .. } | Select::Tail { .. } | Select::HeadTail { .. } => None,
        };
        if let Some(field) = empty {
            return Err(BudgetError {
                field,
                reason: "keeps no line at all".to_owned(),
            });
        }
        Ok(Self {
            max_bytes,
            select,
            grep,
        })
    }

    /// The bound in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Which lines are kept by position.
    #[must_use]
    pub fn select(&self) -> Select {
        self.select
    }

    /// Chooses what is kept of `stream`. Linear in its length.
    #[must_use]
    pub fn apply(&self, stream: &[u8]) -> Budgeted {
        let lines = Lines::of(stream);
        let found = lines.found_by(stream, self.grep.as_ref());
        let selected = lines::select(&found.kept, self.select);
        let ranges = lines.byte_ranges(&selected.lines);
        let cut = cut::to_bytes(stream, &ranges, self.max_bytes, self.select);
        let kept_bytes: usize = cut.ranges.iter().map(std::ops::Range::len).sum();
        let total = stream.len();
        let report = BudgetReport {
            total_bytes: total as u64,
            total_lines: lines.count() as u64,
            kept_bytes: kept_bytes as u64,
            kept_lines: lines.touched_by(&cut.ranges) as u64,
            omitted_bytes: total.saturating_sub(kept_bytes) as u64,
            matched_lines: found.matched as u64,
            truncated: selected.truncated || cut.truncated,
        };
        let bytes = cut::render(stream, &lines, &found.kept, &cut.ranges);
        Budgeted { bytes, report }
    }
}

#[cfg(test)]
mod tests;
