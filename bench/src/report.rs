//! What was measured: samples by table and row, each row with the one that it is compared
//! with, what was left out and why, and what became of the targets.

mod machine;
mod plot;
mod print;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::Result;
use crate::targets::Target;
use machine::Machine;

/// What a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Seconds; less is better.
    Time,
    /// Commands a second; more is better.
    Rate,
    /// Bytes a second; more is better.
    Bandwidth,
    /// Bytes; less is better.
    Bytes,
    /// A number of things; less is better.
    Count,
    /// A part of one processor; less is better.
    Share,
}

/// Everything that was measured, in the order of the first samples.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    quick: bool,
    unix_time: u64,
    machine: Machine,
    tables: Vec<Table>,
    left_out: Vec<LeftOut>,
    targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
struct Table {
    name: String,
    rows: Vec<Row>,
}

/// Something that was not measured, or not to its end.
#[derive(Debug, Serialize)]
struct LeftOut {
    table: String,
    row: String,
    reason: String,
}

#[derive(Debug)]
struct Row {
    name: String,
    unit: Unit,
    /// The row of the same table that this one is compared with.
    versus: Option<String>,
    samples: Vec<f64>,
}

impl Report {
    /// An empty one, with the machine's facts.
    pub(crate) fn new(quick: bool, server: &Path) -> Self {
        let unix_time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self {
            quick,
            unix_time,
            machine: Machine::look(server),
            tables: Vec::new(),
            left_out: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, table: &str, row: &str, unit: Unit, value: f64) {
        let at = self.tables.iter().position(|known| known.name == table);
        let at = at.unwrap_or_else(|| {
            self.tables.push(Table {
                name: table.to_owned(),
                rows: Vec::new(),
            });
            self.tables.len() - 1
        });
        let Some(table) = self.tables.get_mut(at) else {
            return;
        };
        match table.rows.iter_mut().find(|known| known.name == row) {
            Some(known) => known.samples.push(value),
            None => table.rows.push(Row {
                name: row.to_owned(),
                unit,
                versus: None,
                samples: vec![value],
            }),
        }
    }

    /// Shows a row's ratio to another one of its table.
    pub(crate) fn compare(&mut self, table: &str, row: &str, versus: &str) {
        let tables = self.tables.iter_mut().find(|known| known.name == table);
        let rows = tables.map(|table| &mut table.rows);
        if let Some(row) = rows.and_then(|rows| rows.iter_mut().find(|known| known.name == row)) {
            row.versus = Some(versus.to_owned());
        }
    }

    /// Keeps, and says at once, why something is not measured.
    pub(crate) fn left_out(&mut self, table: &str, row: &str, reason: &str) {
        eprintln!("left out: {table}: {row}: {reason}");
        self.left_out.push(LeftOut {
            table: table.to_owned(),
            row: row.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// A row's median.
    pub(crate) fn median(&self, table: &str, row: &str) -> Option<f64> {
        Some(self.row(table, row)?.quantile(0.5))
    }

    /// A row's worst hundredth.
    pub(crate) fn worst(&self, table: &str, row: &str) -> Option<f64> {
        Some(self.row(table, row)?.tail())
    }

    fn row(&self, table: &str, row: &str) -> Option<&Row> {
        let table = self.tables.iter().find(|known| known.name == table)?;
        table.rows.iter().find(|known| known.name == row)
    }

    /// Ends it: what became of the targets, and of the machine.
    pub(crate) fn close(&mut self, targets: Vec<Target>) {
        self.targets = targets;
        self.machine.look_again();
    }

    /// Writes it below `folder` as JSON and as a picture; answers where.
    pub(crate) fn keep(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        fs::create_dir_all(folder)?;
        let data = folder.join(format!("{}.json", self.unix_time));
        fs::write(&data, serde_json::to_vec_pretty(self)?)?;
        let picture = folder.join(format!("{}.svg", self.unix_time));
        fs::write(&picture, plot::draw(self))?;
        Ok([data, picture])
    }
}

impl Row {
    /// The value that this part of the samples does not exceed.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1) as f64;
        sorted
            .get((last * part).round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// The bad end: the worst hundredth.
    fn tail(&self) -> f64 {
        match self.unit {
            Unit::Time | Unit::Bytes | Unit::Count | Unit::Share => self.quantile(0.99),
            Unit::Rate | Unit::Bandwidth => self.quantile(0.01),
        }
    }
}

impl Table {
    /// How many times worse a row is than the one that it is compared with, and which that is.
    fn ratio<'a>(&self, row: &'a Row) -> Option<(f64, &'a str)> {
        let versus = row.versus.as_deref()?;
        let other = self.rows.iter().find(|other| other.name == versus)?;
        let (own, other) = (row.quantile(0.5), other.quantile(0.5));
        Some(match row.unit {
            Unit::Time | Unit::Bytes | Unit::Count | Unit::Share => (own / other, versus),
            Unit::Rate | Unit::Bandwidth => (other / own, versus),
        })
    }
}

impl Unit {
    /// A value as it is shown, in the unit that [`Self::name`] says.
    fn shown(self, value: f64) -> f64 {
        match self {
            Self::Time => value * 1e6,
            Self::Rate | Self::Count => value,
            Self::Bandwidth => value / 1e6,
            Self::Bytes => value / 1024.0,
            Self::Share => value * 100.0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Time => "µs",
            Self::Rate => "1/s",
            Self::Bandwidth => "MB/s",
            Self::Bytes => "KiB",
            Self::Count => "",
            Self::Share => "%",
        }
    }
}

/// Samples by the thousand say no more than how they are spread.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Summary<'a> {
            name: &'a str,
            unit: Unit,
            versus: Option<&'a str>,
            samples: usize,
            least: f64,
            p10: f64,
            median: f64,
            p90: f64,
            p99: f64,
            most: f64,
        }
        Summary {
            name: &self.name,
            unit: self.unit,
            versus: self.versus.as_deref(),
            samples: self.samples.len(),
            least: self.quantile(0.0),
            p10: self.quantile(0.1),
            median: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            most: self.quantile(1.0),
        }
        .serialize(serializer)
    }
}
