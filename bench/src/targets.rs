//! What became of the targets: computed from the report's rows alone. A target for several
//! ways of asking is met when the worst of them meets it; one of which a row is missing was
//! not measured.

mod commands;
mod sessions;
mod streams;

use std::fmt;

use serde::Serialize;

use crate::plan::Plan;
use crate::report::Report;

/// Judges all of them.
pub(crate) fn judge(report: &Report, plan: Plan) -> Vec<Target> {
    let mut all = commands::round_trips(report);
    all.extend(commands::peers(report));
    all.extend(commands::elsewhere(report));
    all.extend(streams::local(report, plan));
    all.extend(streams::elsewhere(report, plan));
    all.extend(sessions::had(report, plan));
    all.extend(commands::scripts(report));
    all.extend(commands::together(report));
    all.extend(sessions::grown(report, plan));
    all
}

/// A target and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    what: &'static str,
    aim: String,
    measured: Option<String>,
    /// The aim and what was measured, as numbers.
    limit: f64,
    value: Option<f64>,
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
        let (limit, sign) = match aim {
            Aim::AtMost(limit) => (limit, '≤'),
            Aim::AtLeast(limit) => (limit, '≥'),
        };
        let values: Option<Vec<f64>> = values.iter().copied().collect();
        // What is no number was not measured either.
        let values = values.filter(|all| all.iter().all(|value| value.is_finite()));
        let worst = values.and_then(|all| all.into_iter().reduce(|a, b| aim.worse(a, b)));
        Self {
            what,
            aim: format!("{sign} {}", written(limit)),
            measured: worst.map(written),
            limit,
            value: worst,
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

/// What is shown is rounded; what is judged is the number itself.
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

#[cfg(test)]
mod tests {
    use super::Verdict::{Met, NotMeasured, NotMet};
    use super::{Aim, Target, Verdict, times};

    fn verdict(aim: Aim, values: &[Option<f64>]) -> Verdict {
        Target::of("it", aim, times, values).verdict
    }

    #[test]
    fn the_worst_way_counts() {
        let at_most = |values: &[Option<f64>]| verdict(Aim::AtMost(1.5), values);
        assert_eq!(at_most(&[Some(1.5), Some(1.2)]), Met);
        assert_eq!(at_most(&[Some(1.2), Some(1.5004)]), NotMet);
        let at_least = |values: &[Option<f64>]| verdict(Aim::AtLeast(25.0), values);
        assert_eq!(at_least(&[Some(25.0), Some(30.0)]), Met);
        assert_eq!(at_least(&[Some(24.99), Some(30.0)]), NotMet);
    }

    #[test]
    fn what_misses_a_row_was_not_measured() {
        assert_eq!(verdict(Aim::AtMost(1.5), &[]), NotMeasured);
        assert_eq!(verdict(Aim::AtMost(1.5), &[Some(1.0), None]), NotMeasured);
        assert_eq!(verdict(Aim::AtMost(1.5), &[Some(f64::NAN)]), NotMeasured);
    }
}
