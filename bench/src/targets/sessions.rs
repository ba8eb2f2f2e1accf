//! The targets for sessions: to begin and to end one, to have many, and to have had much.

use super::Aim::AtMost;
use super::{Target, kibibytes, milliseconds, number, percent, ratio, times};
use crate::plan::Plan;
use crate::report::Report;
use crate::{growth, sessions};

/// Growth that still counts as none: what the same step differs by from run to run.
const FLAT: f64 = 1.2;

/// Part of a processor that counts as none.
const IDLE: f64 = 0.01;

/// Idle sessions that the server must be able to have.
const MANY_SESSIONS: usize = 4_000;

/// Growth is asked for up to so many other sessions, and earlier commands.
const GROWN_SESSIONS: usize = 1_000;
const GROWN_COMMANDS: usize = 100_000;

pub(super) fn had(report: &Report, plan: Plan) -> Vec<Target> {
    let table = sessions::TABLE;
    let both = ratio(report, table, sessions::BOTH, sessions::BASH);
    let close = report.median(table, sessions::CLOSE);
    let worst_close = report.worst(table, sessions::CLOSE);
    // One session alone is within what the process itself gives and takes; the steps that were
    // reached count.
    let many = plan.idle_sessions.iter().filter(|&&sessions| sessions > 1);
    let tables: Vec<String> = many
        .map(|&sessions| sessions::idle_table(sessions))
        .collect();
    let each = |row: &str| -> Vec<Option<f64>> {
        let values = tables.iter().map(|table| report.median(table, row));
        values.filter(Option::is_some).collect()
    };
    let most = sessions::idle_table(MANY_SESSIONS);
    let processor = report.median(&most, sessions::SERVER_PROCESSOR);
    vec![
        Target::of(
            "create + close, to a bash started, asked, ended",
            AtMost(3.0),
            times,
            &[both],
        ),
        Target::of("close, median", AtMost(10e-3), milliseconds, &[close]),
        Target::of(
            "close, worst hundredth",
            AtMost(10e-3),
            milliseconds,
            &[worst_close],
        ),
        Target::of(
            "an idle session, in the server",
            AtMost(32.0 * 1024.0),
            kibibytes,
            &each(sessions::SERVER_MEMORY),
        ),
        Target::of(
            "an idle session, threads of the server",
            AtMost(0.0),
            number,
            &each(sessions::SERVER_THREADS),
        ),
        Target::of(
            "an idle session, file descriptors of the server",
            AtMost(4.0),
            number,
            &each(sessions::SERVER_FILES),
        ),
        Target::of(
            "4 000 idle sessions live, processor time of the server",
            AtMost(IDLE),
            percent,
            &[processor],
        ),
    ]
}

pub(super) fn grown(report: &Report, plan: Plan) -> Vec<Target> {
    // Each to the young session that took turns with it, then the last to the first.
    let step = |table: &str, row: &str| ratio(report, table, row, &growth::control(row));
    let from_to = |table: &str, first: Option<String>, last: &str| {
        Some(step(table, last)? / step(table, &first?)?)
    };
    let first = plan
        .other_sessions
        .first()
        .map(|&others| growth::beside(others));
    let sessions = from_to(growth::SESSIONS, first, &growth::beside(GROWN_SESSIONS));
    let first = plan
        .earlier_commands
        .first()
        .map(|&earlier| growth::after(earlier));
    let commands = from_to(growth::COMMANDS, first, &growth::after(GROWN_COMMANDS));
    vec![
        Target::of(
            "growth of `true` from 1 to 1 000 other sessions",
            AtMost(FLAT),
            times,
            &[sessions],
        ),
        Target::of(
            "growth of `true` from 10 to 100 000 commands in a session",
            AtMost(FLAT),
            times,
            &[commands],
        ),
    ]
}
