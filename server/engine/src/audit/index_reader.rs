//! Asking the index: the most selective equality of a query drives it, the rest is looked
//! at. What no index leads to is looked for in windows, so that a page costs what a page
//! costs however long the log is.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params_from_iter};

use super::cursor::Location;
use super::index::{index_path, number, unsigned};
use super::query::{AuditQuery, Decision, PageStart};

/// Records looked at for one page where no index leads to those that are asked for.
const WINDOW: u64 = 65_536;

/// What a query found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The records, in the order asked for.
    pub(super) records: Vec<(u64, Location)>,
    /// How far was looked, if that was not to the end: the last sequence that was.
    pub(super) seen: Option<u64>,
}

/// The index being read.
#[derive(Debug)]
pub(super) struct IndexReader {
    connection: Connection,
}

/// One reading of the index: an equality that an index serves, or none.
struct Driver {
    column: Option<&'static str>,
    values: Vec<String>,
    /// Whether it leads to few records, so that all of them may be looked at.
    is_narrow: bool,
}

impl IndexReader {
    pub(super) fn open(dir: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(index_path(dir), flags)?;
        Ok(Self { connection })
    }

    /// Finds up to `limit` records for a query that is about records up to `last`.
    pub(super) fn find(
        &self,
        query: &AuditQuery,
        last: u64,
        limit: usize,
    ) -> rusqlite::Result<Found> {
        let driver = driver(query);
        let (mut low, mut high, newest_first) = match query.start {
            PageStart::OldestFirst { after_sequence } => (after_sequence, last, false),
            PageStart::NewestFirst { before_sequence } => {
                let before = before_sequence.map_or(last, |before| before.saturating_sub(1));
                (0, before.min(last), true)
            }
        };
        if !driver.is_narrow {
            match newest_first {
                false => high = high.min(low.saturating_add(WINDOW)),
                true => low = low.max(high.saturating_sub(WINDOW)),
            }
        }
        let mut records = Vec::new();
        for value in &driver.values {
            let (text, values) = statement(query, driver.column, value, (low, high, limit));
            let mut statement = self.connection.prepare_cached(&text)?;
            let rows = statement.query_map(params_from_iter(values), |row| {
                let location = Location {
                    segment: unsigned(row.get(1)?),
                    offset: unsigned(row.get(2)?),
                    bytes: unsigned(row.get(3)?),
                };
                Ok((unsigned(row.get(0)?), location))
            })?;
            for row in rows {
                records.push(row?);
            }
        }
        records.sort_unstable_by_key(|(sequence, _)| *sequence);
        if newest_first {
            records.reverse();
        }
        let full = records.len() >= limit;
        records.truncate(limit);
        let seen = match (full, newest_first) {
            (true, _) => records.last().map(|(sequence, _)| *sequence),
            (false, false) => (high < last).then_some(high),
            (false, true) => (low > 0).then_some(low.saturating_add(1)),
        };
        Ok(Found { records, seen })
    }

    /// First sequence in the index.
    pub(super) fn first(&self) -> rusqlite::Result<Option<u64>> {
        let first = self
            .connection
            .query_row("SELECT min(sequence) FROM records", [], |row| {
                row.get::<_, Option<i64>>(0)
            })
            .optional()?;
        Ok(first.flatten().map(unsigned))
    }
}

/// The most selective equality of a query.
fn driver(query: &AuditQuery) -> Driver {
    let by = |column, values, is_narrow| Driver {
        column: Some(column),
        values,
        is_narrow,
    };
    let residual =
        query.text.is_some() || query.since.is_some() || query.until.is_some() || query.failed_only;
    if let Some(execution) = &query.execution_id {
        by("execution", vec![execution.clone()], true)
    } else if !query.session_ids.is_empty() {
        let mut sessions = query.session_ids.clone();
        sessions.sort_unstable();
        sessions.dedup();
        by("session", sessions, true)
    } else if !query.causes.is_empty() {
        let causes = query.causes.iter().map(|cause| cause.as_str().to_owned());
        by("cause", distinct(causes), !residual)
    } else if let Some(kinds) = kinds(query) {
        by("kind", distinct(kinds.into_iter()), !residual)
    } else if let Some(principal) = &query.principal {
        by("principal", vec![principal.clone()], !residual)
    } else {
        Driver {
            column: None,
            values: vec![String::new()],
            is_narrow: !residual,
        }
    }
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// The kinds that a query can find; nothing for any.
fn kinds(query: &AuditQuery) -> Option<Vec<String>> {
    let decided = query.decision.map(|decision| match decision {
        Decision::Allowed => "execution_intent",
        Decision::Denied => "execution_denied",
    });
    let mut kinds: Vec<_> = query.kinds.iter().map(|kind| kind.as_str()).collect();
    match decided {
        Some(decided) if kinds.is_empty() => kinds.push(decided),
        Some(decided) => kinds.retain(|kind| *kind == decided),
        None if kinds.is_empty() => return None,
        None => {}
    }
    Some(kinds.into_iter().map(str::to_owned).collect())
}

/// The statement for one value of the driver, and what it is given.
fn statement(
    query: &AuditQuery,
    column: Option<&'static str>,
    value: &str,
    (low, high, limit): (u64, u64, usize),
) -> (String, Vec<Value>) {
    let mut clauses = Clauses::default();
    clauses.add("r.sequence > ?", number(low).into());
    clauses.add("r.sequence <= ?", number(high).into());
    if let Some(column) = column {
        clauses.add(&format!("r.{column} = ?"), value.to_owned().into());
    }
    clauses.add_equalities(query, column);
    clauses.add_ranges(query);
    let mut join = "";
    if let Some(text) = &query.text {
        join = "JOIN commands AS c ON c.sequence = r.sequence";
        clauses.add("instr(c.command, ?) > 0", text.clone().into());
    }
    let order = match query.start {
        PageStart::OldestFirst { .. } => "ASC",
        PageStart::NewestFirst { .. } => "DESC",
    };
    let text = format!(
        "SELECT r.sequence, r.segment, r.offset, r.bytes FROM records AS r {join} \
         WHERE {} ORDER BY r.sequence {order} LIMIT {limit}",
        clauses.texts.join(" AND ")
    );
    (text, clauses.given)
}

/// The conditions of a statement, and the values that they name.
#[derive(Default)]
struct Clauses {
    texts: Vec<String>,
    given: Vec<Value>,
}

impl Clauses {
    /// Adds a condition with one value, named by a question mark.
    fn add(&mut self, clause: &str, value: Value) {
        self.given.push(value);
        let place = format!("?{}", self.given.len());
        self.texts.push(clause.replace('?', &place));
    }

    /// Adds `column IN (...)`, given as one JSON list. The plus keeps SQLite from using an
    /// index for what is only to be looked at.
    fn add_any_of(&mut self, column: &str, values: impl Iterator<Item = String>) {
        let list: Vec<_> = values.map(|value| quoted(&value)).collect();
        let clause = format!("+r.{column} IN (SELECT value FROM json_each(?))");
        self.add(&clause, format!("[{}]", list.join(",")).into());
    }

    /// What has to be equal, but for what drives the query.
    fn add_equalities(&mut self, query: &AuditQuery, column: Option<&'static str>) {
        let others = |name| column != Some(name);
        if let Some(principal) = query.principal.as_ref().filter(|_| others("principal")) {
            self.add("+r.principal = ?", principal.clone().into());
        }
        if !query.session_ids.is_empty() && others("session") {
            self.add_any_of("session", query.session_ids.iter().cloned());
        }
        if !query.causes.is_empty() && others("cause") {
            let causes = query.causes.iter().map(|cause| cause.as_str().to_owned());
            self.add_any_of("cause", causes);
        }
        if let Some(kinds) = kinds(query).filter(|_| others("kind")) {
            self.add_any_of("kind", kinds.into_iter());
        }
    }

    fn add_ranges(&mut self, query: &AuditQuery) {
        if let Some(since) = query.since {
            self.add("r.time >= ?", number(since.0).into());
        }
        if let Some(until) = query.until {
            self.add("r.time < ?", number(until.0).into());
        }
        if query.failed_only {
            self.add("r.failed = ?", 1.into());
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
