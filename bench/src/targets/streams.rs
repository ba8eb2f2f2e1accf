//! The targets for streams.

use super::Aim::AtLeast;
use super::{Target, megabytes, percent, ratio};
use crate::plan::Plan;
use crate::report::Report;
use crate::{docker, ssh, streaming};

pub(super) fn local(report: &Report, plan: Plan) -> Vec<Target> {
    let local = streaming::table(plan);
    let ways = ["TCP", "Unix socket"];
    let redacted = ways.map(|way| report.median(&local, &format!("execgate Exec, {way}")));
    let part = ways.map(|way| {
        let row = format!("execgate Exec, {way}, nothing redacted");
        ratio(report, &local, &row, &format!("floor Exec, {way}"))
    });
    let python = ratio(report, &local, streaming::PYTHON, streaming::GRPCIO);
    let alone = ratio(report, &local, streaming::PYTHON_MEMORY, streaming::GRPCIO);
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
            "streaming, Python client, from execgate, of grpcio alone",
            AtLeast(0.6),
            percent,
            &[python],
        ),
        Target::of(
            "streaming, Python client, from memory, of grpcio alone",
            AtLeast(0.6),
            percent,
            &[alone],
        ),
    ]
}

pub(super) fn elsewhere(report: &Report, plan: Plan) -> Vec<Target> {
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
