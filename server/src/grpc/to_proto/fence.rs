//! How sessions are kept apart, in the API's words.

use execgate_engine::local::{Control, ControlLevel, Isolation};
use execgate_proto::v1;
use v1::{Control as Kind, EnforcementLevel as Level};

/// The engine's controls that together keep sessions from the gate.
const GATE: [&str; 3] = ["data_dir", "server_memory", "signals"];

/// The report on local sessions.
pub(crate) fn fence(isolation: &Isolation) -> v1::FenceReport {
    let named = |name: &str| {
        isolation
            .controls
            .iter()
            .find(|control| control.name == name)
    };
    let controls = vec![
        row(
            Kind::ProgramExecution,
            Level::Advisory,
            "policy",
            "judged before it runs, not withheld by the kernel",
        ),
        unavailable(Kind::FileRead),
        unavailable(Kind::FileWrite),
        unavailable(Kind::Network),
        of(Kind::Privilege, named("privilege")),
        unavailable(Kind::Resources),
        of(Kind::Kill, named("kill")),
        row(
            Kind::StreamIntegrity,
            Level::Partial,
            "socketpair as the shell's input",
            "code of the session's own user can still trace its own shell",
        ),
        row(
            Kind::ExitIntegrity,
            Level::Advisory,
            "random token in every marker",
            "the shell itself reports how its commands end",
        ),
        gate(GATE.map(named)),
    ];
    v1::FenceReport {
        controls,
        profile: String::new(),
    }
}

fn row(control: Kind, level: Level, mechanism: &str, detail: &str) -> v1::ControlReport {
    v1::ControlReport {
        control: control.into(),
        level: level.into(),
        mechanism: mechanism.to_owned(),
        detail: detail.to_owned(),
    }
}

fn unavailable(control: Kind) -> v1::ControlReport {
    row(
        control,
        Level::Unavailable,
        "",
        "only what the session's user may do anyway",
    )
}

fn of(control: Kind, found: Option<&Control>) -> v1::ControlReport {
    match found {
        None => unavailable(control),
        Some(found) => row(control, level(found.level), found.mechanism, ""),
    }
}

fn gate(parts: [Option<&Control>; 3]) -> v1::ControlReport {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let open: Vec<_> = parts
        .iter()
        .filter(|part| part.level == ControlLevel::Advisory)
        .map(|p| p.name)
        .collect();
    let mechanisms: Vec<_> = parts
        .iter()
        .map(|part| format!("{}: {}", part.name, part.mechanism))
        .collect();
    let (level, detail) = match open.as_slice() {
        [] => (
            Level::Enforced,
            "token on TCP, peer check on the socket".to_owned(),
        ),
        open if open.len() == parts.len() => {
            (Level::Advisory, format!("open: {}", open.join(", ")))
        }
        open => (Level::Partial, format!("open: {}", open.join(", "))),
    };
    row(Kind::Gate, level, &mechanisms.join("; "), &detail)
}

fn level(level: ControlLevel) -> Level {
    match level {
        ControlLevel::Enforced => Level::Enforced,
        ControlLevel::Advisory => Level::Advisory,
    }
}
