//! What was measured: samples by table and row, printed as medians, tails and ratios to the
//! row that each is compared with, and kept as JSON.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::Result;

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
}

/// Everything that was measured, in the order of the first samples.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    quick: bool,
    unix_time: u64,
    machine: Machine,
    tables: Vec<Table>,
}

#[derive(Debug, Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    bash: String,
    load: String,
    root: bool,
}

#[derive(Debug, Serialize)]
struct Table {
    name: String,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    unit: Unit,
    samples: Vec<f64>,
}

impl Report {
    /// An empty one, with the machine's facts.
    pub(crate) fn new(quick: bool) -> Self {
        let unix_time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self {
            quick,
            unix_time,
            machine: Machine::look(),
            tables: Vec::new(),
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
                samples: vec![value],
            }),
        }
    }

    /// Writes it below `folder`; answers where.
    pub(crate) fn keep(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let file = folder.join(format!("{}.json", self.unix_time));
        fs::write(&file, serde_json::to_vec(self)?)?;
        Ok(file)
    }
}

impl Machine {
    fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or_default();
        let bash = Command::new("bash")
            .args(["-c", "echo $BASH_VERSION; id -u"])
            .output();
        let bash = bash.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let bash = bash.unwrap_or_default();
        Self {
            cpu: cpu.trim_start_matches([':', '\t', ' ']).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            bash: bash.lines().next().unwrap_or_default().to_owned(),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            root: bash.lines().nth(1) == Some("0"),
        }
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

    /// The bad end: the slowest hundredth.
    fn tail(&self) -> f64 {
        match self.unit {
            Unit::Time | Unit::Bytes => self.quantile(0.99),
            Unit::Rate | Unit::Bandwidth => self.quantile(0.01),
        }
    }
}

impl Table {
    /// The row that this one is compared with: the floor asked in the same way.
    fn floor(&self, row: &Row) -> Option<&Row> {
        let way = row.name.strip_prefix("execgate ");
        let find = |name: &str| self.rows.iter().find(|row| row.name == name);
        match way {
            Some(way) => find(&format!("floor {way}")).or_else(|| find("floor Run, Unix socket")),
            None if row.name.starts_with("execkit ") => {
                self.rows.iter().find(|row| row.name.starts_with("floor "))
            }
            None => None,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "µs",
            Self::Rate => "1/s",
            Self::Bandwidth => "MB/s",
            Self::Bytes => "KiB",
        })
    }
}

impl Unit {
    fn shown(self, value: f64) -> f64 {
        match self {
            Self::Time => value * 1e6,
            Self::Rate => value,
            Self::Bandwidth => value / 1e6,
            Self::Bytes => value / 1024.0,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            cpu,
            cores,
            kernel,
            bash,
            load,
            root,
        } = &self.machine;
        let user = if *root { "root" } else { "no root" };
        writeln!(
            f,
            "{cpu}, {cores} cores, Linux {kernel}, bash {bash}, {user}, load {load} at start"
        )?;
        if self.quick {
            writeln!(f, "quick: a look, not a result")?;
        }
        for table in &self.tables {
            writeln!(f, "\n{}", table.name)?;
            writeln!(
                f,
                "{:<36}{:>12}{:>12}{:>6}{:>8}{:>12}",
                "", "median", "worst 1 %", "", "n", "to floor"
            )?;
            for row in &table.rows {
                let (median, tail) = (row.quantile(0.5), row.tail());
                let (unit, n) = (row.unit, row.samples.len());
                let ratio = table.floor(row).map(|floor| match unit {
                    Unit::Time | Unit::Bytes => median / floor.quantile(0.5),
                    Unit::Rate | Unit::Bandwidth => floor.quantile(0.5) / median,
                });
                let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2} x"));
                let (median, tail) = (unit.shown(median), unit.shown(tail));
                let unit = unit.to_string();
                writeln!(
                    f,
                    "{:<36}{median:>12.1}{tail:>12.1}{unit:>6}{n:>8}{ratio:>12}",
                    row.name
                )?;
            }
        }
        Ok(())
    }
}
