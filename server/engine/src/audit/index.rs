//! The query index: what of each record is asked for, and where the record stands. Derived
//! from the segments, in SQLite; whatever is wrong with it, it is made anew. It names
//! records and never speaks for them: what a query answers is read from the segments.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use execgate_core::audit::{AuditRecord, Digest};
use rusqlite::{Connection, params};

use super::cursor::Location;
use super::directory::FILE_MODE;

/// The index's file, beside the segments.
const INDEX_NAME: &str = "index.sqlite";
/// What is in the file; another number means that it is made anew.
const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE records (
        sequence INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        principal TEXT NOT NULL,
        session TEXT,
        execution TEXT,
        kind TEXT NOT NULL,
        cause TEXT,
        failed INTEGER NOT NULL,
        segment INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    );
    CREATE INDEX by_session ON records (session, sequence) WHERE session IS NOT NULL;
    CREATE INDEX by_execution ON records (execution, sequence) WHERE execution IS NOT NULL;
    CREATE INDEX by_principal ON records (principal, sequence);
    CREATE INDEX by_kind ON records (kind, sequence);
    CREATE INDEX by_cause ON records (cause, sequence) WHERE cause IS NOT NULL;
    CREATE TABLE commands (sequence INTEGER PRIMARY KEY, command TEXT NOT NULL);
    CREATE TABLE state (sequence INTEGER NOT NULL, hash TEXT NOT NULL);
    INSERT INTO state VALUES (0, '');
";

/// The index being written.
#[derive(Debug)]
pub(super) struct Index {
    connection: Connection,
}

/// Where the index ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexed {
    /// The last record in it.
    pub(super) sequence: u64,
    /// That record's hash.
    pub(super) hash: Digest,
}

/// The file of the index of the log in `dir`.
pub(super) fn index_path(dir: &Path) -> PathBuf {
    dir.join(INDEX_NAME)
}

/// Removes the index of the log in `dir`.
pub(super) fn remove(dir: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = dir.join(format!("{INDEX_NAME}{suffix}"));
        // Most of them are not there.
        let _absent = std::fs::remove_file(path);
    }
}

/// Makes the file, so that it is its owner's alone; SQLite makes its others like it.
fn private(path: &Path) {
    let made = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path);
    // What is in the way, SQLite says better.
    drop(made);
}

impl Index {
    /// Opens what is there, or makes it.
    pub(super) fn open(dir: &Path) -> rusqlite::Result<(Self, Indexed)> {
        private(&index_path(dir));
        let connection = Connection::open(index_path(dir))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a power cut takes is read again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            connection.execute_batch(&format!("BEGIN; {SCHEMA}; COMMIT;"))?;
            connection.pragma_update(None, "user_version", VERSION)?;
        } else if version != VERSION {
            return Err(rusqlite::Error::InvalidQuery);
        }
        let state = connection.query_row("SELECT sequence, hash FROM state", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
        let indexed = Indexed {
            sequence: u64::try_from(state.0).unwrap_or_default(),
            hash: Digest::from_hex(state.1.as_bytes()).unwrap_or_default(),
        };
        Ok((Self { connection }, indexed))
    }

    /// Adds these records, which are the next, in one step.
    pub(super) fn add(&mut self, records: &[(AuditRecord, Location)]) -> rusqlite::Result<()> {
        let Some((last, _)) = records.last() else {
            return Ok(());
        };
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            let mut command = transaction.prepare_cached("INSERT INTO commands VALUES (?1, ?2)")?;
            for (record, location) in records {
                let outcome = record.body.outcome();
                insert.execute(params![
                    number(record.sequence),
                    number(record.time.0),
                    record.principal,
                    record.session_id,
                    record.execution_id,
                    record.body.kind().as_str(),
                    outcome.map(|outcome| outcome.cause.as_str()),
                    outcome.is_some_and(|outcome| outcome.outcome.failed()),
                    number(location.segment),
                    number(location.offset),
                    number(location.bytes),
                ])?;
                if let Some(text) = record.body.command() {
                    command.execute(params![number(record.sequence), text])?;
                }
            }
        }
        transaction.execute(
            "UPDATE state SET sequence = ?1, hash = ?2",
            params![number(last.sequence), last.hash.to_string()],
        )?;
        transaction.commit()
    }

    /// Forgets the records before `first`.
    pub(super) fn forget(&mut self, first: u64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for table in ["records", "commands"] {
            let statement = format!("DELETE FROM {table} WHERE sequence < ?1");
            transaction.execute(&statement, params![number(first)])?;
        }
        transaction.commit()
    }
}

/// SQLite's numbers are signed; sequences, times and offsets are far from the difference.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
