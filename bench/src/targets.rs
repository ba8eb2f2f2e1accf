//! What became of the targets: computed from the report's rows alone. A target for several
//! ways of asking is met when the worst of them meets it; one of which a row is missing was
//! not measured.

mod list;

use std::fmt;

use serde::Serialize;

use crate::report::Report;

pub(crate) use list::judge;

/// A target and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    what: &'static str,
    aim: String,
    measured: Option<String>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Met,
    NotMet,
    NotMeasured,
}

/// What a measured number has to be.
#[derive(Debug, Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    /// The one that is further from the aim.
    fn worse(self, one: f64, other: f64) -> f64 {
        match self {
            Self::AtMost(_) => one.max(other),
            Self::AtLeast(_) => one.min(other),
        }
    }
}

/// How a number is written.
type Written = fn(f64) -> String;

impl Target {
    /// Judges the worst of some numbers; one that is missing is missed.
    fn of(what: &'static str, aim: Aim, written: Written, values: &[Option<f64>]) -> Self {
        let shown = match aim {
            Aim::AtMost(limit) => format!("≤ {}", written(limit)),
            Aim::AtLeast(limit) => format!("≥ {}", written(limit)),
        };
        let values: Option<Vec<f64>> = values.iter().copied().collect();
        // What is no number was not measured either.
        let values = values.filter(|all| all.iter().all(|value| value.is_finite()));
        let worst = values.and_then(|all| all.into_iter().reduce(|a, b| aim.worse(a, b)));
        Self {
            what,
            aim: shown,
            measured: worst.map(written),
            verdict: match worst {
                Some(worst) if aim.is_met(worst) => Verdict::Met,
                Some(_) => Verdict::NotMet,
                None => Verdict::NotMeasured,
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Met => "met",
            Verdict::NotMet => "NOT MET",
            Verdict::NotMeasured => "not measured",
        };
        let (what, aim) = (self.what, &self.aim);
        let measured = self.measured.as_deref().unwrap_or("–");
        write!(f, "  {what:<76}{aim:>12}{measured:>12}  {verdict}")
    }
}

/// How many times one row's median is another's.
fn ratio(report: &Report, table: &str, row: &str, versus: &str) -> Option<f64> {
    Some(report.median(table, row)? / report.median(table, versus)?)
}

/// Never rounded to the better: two digits behind the point are cut off or added to by the
/// judgement, which sees the number itself.
fn times(value: f64) -> String {
    format!("{value:.2} ×")
}

fn many_times(value: f64) -> String {
    format!("{value:.1} ×")
}

fn percent(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

fn megabytes(value: f64) -> String {
    format!("{:.0} MB/s", value / 1e6)
}

fn milliseconds(value: f64) -> String {
    format!("{:.2} ms", value * 1e3)
}

fn kibibytes(value: f64) -> String {
    format!("{:.1} KiB", value / 1024.0)
}

fn number(value: f64) -> String {
    format!("{value:.3}")
}
