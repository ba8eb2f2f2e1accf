//! The targets for commands: here and elsewhere, small and large, beside others' and many at
//! once.

use super::Aim::{AtLeast, AtMost};
use super::{Target, many_times, milliseconds, number, percent, ratio, times};
use crate::report::Report;
use crate::{at_once, audit, concurrency, docker, first_byte, large, round_trip, ssh};

/// The ways to ask for a command.
const WAYS: [&str; 4] = [
    "Run, TCP",
    "Run, Unix socket",
    "Exec, TCP",
    "Exec, Unix socket",
];

pub(super) fn round_trips(report: &Report) -> Vec<Target> {
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

pub(super) fn peers(report: &Report) -> Vec<Target> {
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

pub(super) fn elsewhere(report: &Report) -> Vec<Target> {
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

pub(super) fn scripts(report: &Report) -> Vec<Target> {
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

pub(super) fn together(report: &Report) -> Vec<Target> {
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
