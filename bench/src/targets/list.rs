//! The targets.

use super::Aim::{AtLeast, AtMost};
use super::{
    Target, kibibytes, many_times, megabytes, milliseconds, number, percent, ratio, times,
};
use crate::plan::Plan;
use crate::report::Report;
use crate::{at_once, audit, concurrency, docker, first_byte, growth, large, round_trip, sessions};
use crate::{ssh, streaming};

/// Growth that still counts as none: what the same step differs by from run to run.
const FLAT: f64 = 1.2;

/// Part of a processor that counts as none.
const IDLE: f64 = 0.01;

/// Idle sessions that the server must be able to have.
const MANY_SESSIONS: usize = 4_000;

/// Growth is asked for up to so many other sessions, and earlier commands.
const GROWN_SESSIONS: usize = 1_000;
const GROWN_COMMANDS: usize = 100_000;

/// The ways to ask for a command.
const WAYS: [&str; 4] = [
    "Run, TCP",
    "Run, Unix socket",
    "Exec, TCP",
    "Exec, Unix socket",
];

/// Judges all of them.
pub(crate) fn judge(report: &Report, plan: Plan) -> Vec<Target> {
    let mut all = round_trips(report);
    all.extend(peers(report));
    all.extend(elsewhere(report));
    all.extend(streams(report, plan));
    all.extend(streams_elsewhere(report, plan));
    all.extend(of_sessions(report, plan));
    all.extend(scripts(report));
    all.extend(together(report));
    all.extend(grown(report, plan));
    all
}

fn round_trips(report: &Report) -> Vec<Target> {
    let table = round_trip::TABLE;
    let median = |row: &str| report.median(table, row);
    let without = WAYS.map(|way| {
        let row = format!("execgate {way}, audit not synced");
        ratio(report, table, &row, &format!("floor {way}"))
    });
    let durable = WAYS.map(|way| {
        let floor = median(&format!("floor {way}"))?;
        let sync = median(round_trip::SYNC)?;
        Some(median(&format!("execgate {way}"))? / (1.5 * floor + 1.5 * sync))
    });
    let python = (|| {
        let limit = 1.5 * median(round_trip::PYTHON_EMPTY)? + median(round_trip::BARE)?;
        Some(median(round_trip::PYTHON)? / limit)
    })();
    vec![
        Target::of(
            "`true`, local, audit not synced, to the floor",
            AtMost(1.5),
            times,
            &without,
        ),
        Target::of(
            "`true`, local, defaults, to 1.5 floors + 1.5 fdatasync",
            AtMost(1.0),
            times,
            &durable,
        ),
        Target::of(
            "Python run(\"true\"), to 1.5 empty grpcio calls + the shell",
            AtMost(1.0),
            times,
            &[python],
        ),
    ]
}

fn peers(report: &Report) -> Vec<Target> {
    let faster = |what, table, peer, own, aim| {
        Target::of(
            what,
            AtLeast(aim),
            many_times,
            &[ratio(report, table, peer, own)],
        )
    };
    let local = round_trip::TABLE;
    vec![
        faster(
            "faster than execkit, local",
            local,
            round_trip::EXECKIT,
            round_trip::EXECGATE,
            25.0,
        ),
        faster(
            "faster than execkit, SSH",
            ssh::TABLE,
            ssh::EXECKIT,
            ssh::EXECGATE,
            10.0,
        ),
        faster(
            "faster than execkit, Docker",
            docker::TABLE,
            docker::EXECKIT,
            docker::EXECGATE,
            10.0,
        ),
        faster(
            "faster than SWE-ReX",
            local,
            round_trip::SWE_REX,
            round_trip::EXECGATE,
            200.0,
        ),
        faster(
            "faster than `docker exec` per command",
            docker::TABLE,
            docker::DOCKER_EXEC,
            docker::EXECGATE,
            100.0,
        ),
        faster(
            "faster than ssh per command with ControlMaster",
            ssh::TABLE,
            ssh::CONTROL,
            ssh::EXECGATE,
            20.0,
        ),
    ]
}

fn elsewhere(report: &Report) -> Vec<Target> {
    // The gate's own cost is what a local session takes above a bash without any server.
    let to_limit = |table, own, floors: &[&str], local, bare| {
        let median = |row| report.median(table, row);
        let floors: Option<Vec<f64>> = floors.iter().map(|row| median(row)).collect();
        let floor = floors?.into_iter().reduce(f64::min)?;
        Some(median(own)? / (2.0 * floor + median(local)? - median(bare)?))
    };
    let floors = [ssh::OPENSSH_HELD, ssh::RUSSH_HELD];
    let far = to_limit(ssh::TABLE, ssh::EXECGATE, &floors, ssh::LOCAL, ssh::BARE);
    let floors = [docker::HELD];
    let inside = to_limit(
        docker::TABLE,
        docker::EXECGATE,
        &floors,
        docker::LOCAL,
        docker::BARE,
    );
    vec![
        Target::of(
            "SSH, to 2 held channels + the gate's own cost",
            AtMost(1.0),
            times,
            &[far],
        ),
        Target::of(
            "Docker, to 2 attach streams + the gate's own cost",
            AtMost(1.0),
            times,
            &[inside],
        ),
    ]
}

fn streams(report: &Report, plan: Plan) -> Vec<Target> {
    let local = streaming::table(plan);
    let ways = ["TCP", "Unix socket"];
    let redacted = ways.map(|way| report.median(&local, &format!("execgate Exec, {way}")));
    let part = ways.map(|way| {
        let row = format!("execgate Exec, {way}, nothing redacted");
        ratio(report, &local, &row, &format!("floor Exec, {way}"))
    });
    let python = ratio(report, &local, streaming::PYTHON, streaming::GRPCIO);
    vec![
        Target::of(
            "streaming, local, redacted",
            AtLeast(250e6),
            megabytes,
            &redacted,
        ),
        Target::of(
            "streaming, local, nothing redacted, of the floor",
            AtLeast(0.6),
            percent,
            &part,
        ),
        Target::of(
            "streaming, Python client, of grpcio alone",
            AtLeast(0.6),
            percent,
            &[python],
        ),
    ]
}

fn streams_elsewhere(report: &Report, plan: Plan) -> Vec<Target> {
    let far = ssh::stream_table(plan);
    let inside = docker::stream_table(plan);
    let (plain_far, plain_inside) = (ssh::UNREDACTED_STREAM, docker::UNREDACTED_STREAM);
    let rows = [
        (
            "streaming, SSH, redacted, of russh alone",
            &far,
            ssh::EXECGATE,
            ssh::RUSSH,
            0.8,
        ),
        (
            "streaming, SSH, nothing redacted, of russh alone",
            &far,
            plain_far,
            ssh::RUSSH,
            0.8,
        ),
        (
            "streaming, SSH, redacted, of OpenSSH's client",
            &far,
            ssh::EXECGATE,
            ssh::OPENSSH,
            1.0,
        ),
        (
            "streaming, Docker, redacted, of bollard alone",
            &inside,
            docker::EXECGATE,
            docker::BOLLARD,
            0.8,
        ),
        (
            "streaming, Docker, nothing redacted, of bollard alone",
            &inside,
            plain_inside,
            docker::BOLLARD,
            0.8,
        ),
        (
            "streaming, Docker, redacted, of the `docker exec` client",
            &inside,
            docker::EXECGATE,
            docker::CLIENT,
            1.0,
        ),
    ];
    let judged = rows.map(|(what, table, row, other, least)| {
        let part = ratio(report, table, row, other);
        Target::of(what, AtLeast(least), percent, &[part])
    });
    judged.into()
}

fn of_sessions(report: &Report, plan: Plan) -> Vec<Target> {
    let table = sessions::TABLE;
    let both = ratio(report, table, sessions::BOTH, sessions::BASH);
    let close = report.median(table, sessions::CLOSE);
    let worst_close = report.worst(table, sessions::CLOSE);
    // One session alone is within what the process itself gives and takes.
    let many = plan.idle_sessions.iter().filter(|&&sessions| sessions > 1);
    let tables: Vec<String> = many
        .map(|&sessions| sessions::idle_table(sessions))
        .collect();
    let each = |row: &str| -> Vec<Option<f64>> {
        let values = tables.iter().map(|table| report.median(table, row));
        values.collect()
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

fn scripts(report: &Report) -> Vec<Target> {
    let hundred = large::table(100_000);
    let hundred = ratio(report, &hundred, large::EXECGATE, large::MEMFD);
    let million = report.median(&large::table(1_000_000), large::EXECGATE);
    let first = |row| ratio(report, first_byte::TABLE, row, first_byte::FLOOR);
    vec![
        Target::of(
            "a script of 100 KB, to sourcing it from a memfd",
            AtMost(2.0),
            times,
            &[hundred],
        ),
        Target::of("a script of 1 MB", AtMost(100e-3), milliseconds, &[million]),
        Target::of(
            "first output, defaults, to the floor",
            AtMost(1.5),
            times,
            &[first(first_byte::EXECGATE)],
        ),
        Target::of(
            "first output, audit not synced, to the floor",
            AtMost(1.5),
            times,
            &[first(first_byte::UNSYNCED)],
        ),
    ]
}

fn together(report: &Report) -> Vec<Target> {
    let (_, rate) = at_once::tables("", 64);
    let part = ratio(report, &rate, concurrency::EXECGATE, concurrency::FLOOR);
    let faster = ratio(report, &rate, concurrency::EXECGATE, concurrency::EXECKIT);
    let flushes = report.median(audit::FLUSHES, &audit::flushes_row(64));
    let fairness = |name: &str| {
        let worst = |row: &str| report.worst(concurrency::FAIRNESS, row);
        Some(worst(&concurrency::flooded(name))? / worst(name)?)
    };
    vec![
        Target::of(
            "64 sessions at once, commands/s of the floor's",
            AtLeast(0.7),
            percent,
            &[part],
        ),
        Target::of(
            "64 sessions at once, commands/s to execkit's",
            AtLeast(25.0),
            many_times,
            &[faster],
        ),
        Target::of(
            "flushes of the disk for each command at 64 sessions",
            AtMost(0.1),
            number,
            &[flushes],
        ),
        Target::of(
            "8 sessions beside one that floods, worst hundredth to without",
            AtMost(3.0),
            times,
            &[fairness(concurrency::EXECGATE)],
        ),
    ]
}

fn grown(report: &Report, plan: Plan) -> Vec<Target> {
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
