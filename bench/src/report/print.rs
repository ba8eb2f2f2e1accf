//! The report for people: the machine, the tables, what was left out, the targets.

use std::fmt;

use super::{Report, Row, Table, Unit};

/// The largest value that is shown with a digit behind the point.
const FINE: f64 = 1000.0;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine(f)?;
        for table in &self.tables {
            writeln!(f, "\n{table}")?;
        }
        if !self.left_out.is_empty() {
            writeln!(f, "\nleft out")?;
        }
        for left_out in &self.left_out {
            let reason = left_out.reason.lines().next().unwrap_or_default();
            writeln!(f, "  {}: {}: {reason}", left_out.table, left_out.row)?;
        }
        writeln!(f, "\ntargets")?;
        for target in &self.targets {
            writeln!(f, "{target}")?;
        }
        Ok(())
    }
}

impl Report {
    fn machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        let user = if machine.root { "root" } else { "no root" };
        let (cpu, cores, kernel) = (&machine.cpu, machine.cores, &machine.kernel);
        writeln!(f, "{cpu}, {cores} cores, {} MiB", machine.memory_mib)?;
        writeln!(f, "Linux {kernel}, bash {}, {user}", machine.bash)?;
        let sync = machine.fdatasync_us.unwrap_or(f64::NAN);
        let kind = &machine.file_system;
        writeln!(f, "{kind}, 200 bytes and fdatasync {sync:.0} µs (median)")?;
        let (start, end) = (&machine.load_at_start, &machine.load_at_end);
        writeln!(f, "load {start} at start, {end} at end")?;
        writeln!(f, "{}, checkout {}", machine.server, machine.commit)?;
        match self.quick {
            true => writeln!(f, "quick: a look, not a result"),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        let (median, worst, empty) = ("median", "worst 1 %", "");
        writeln!(f, "{name}")?;
        write!(
            f,
            "  {empty:<50}{median:>11}{worst:>11}{empty:>5}{:>7}",
            "n"
        )?;
        for row in &self.rows {
            writeln!(f)?;
            self.line(f, row)?;
        }
        Ok(())
    }
}

impl Table {
    fn line(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        let (name, unit, n) = (&row.name, row.unit, row.samples.len());
        let median = digits(unit, row.quantile(0.5));
        let worst = match n {
            1 => String::new(),
            _ => digits(unit, row.tail()),
        };
        let unit = unit.name();
        write!(f, "  {name:<50}{median:>11}{worst:>11}{unit:>5}{n:>7}")?;
        match self.ratio(row) {
            Some((ratio, versus)) => write!(f, "  {ratio:.2} × {versus}"),
            None => Ok(()),
        }
    }
}

/// A value as people read it.
pub(super) fn digits(unit: Unit, value: f64) -> String {
    match unit.shown(value) {
        value if unit == Unit::Count || unit == Unit::Share => format!("{value:.2}"),
        value if value.abs() < FINE => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}
