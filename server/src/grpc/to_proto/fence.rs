//! How sessions are kept apart, in the API's words.

use execgate_engine::isolation::{Control, ControlKind, ControlLevel, Isolation};
use execgate_proto::v1;

/// The report on a session, or on those of a target.
pub(crate) fn fence(isolation: &Isolation) -> v1::FenceReport {
    v1::FenceReport {
        controls: isolation.controls.iter().map(control).collect(),
        profile: isolation.profile.clone(),
    }
}

/// One row of it.
pub(crate) fn control(control: &Control) -> v1::ControlReport {
    v1::ControlReport {
        control: kind(control.kind).into(),
        level: level(control.level).into(),
        mechanism: control.mechanism.clone().into_owned(),
        detail: control.detail.clone().into_owned(),
    }
}

fn kind(kind: ControlKind) -> v1::Control {
    match kind {
        ControlKind::ProgramExecution => v1::Control::ProgramExecution,
        ControlKind::FileRead => v1::Control::FileRead,
        ControlKind::FileWrite => v1::Control::FileWrite,
        ControlKind::Network => v1::Control::Network,
        ControlKind::Privilege => v1::Control::Privilege,
        ControlKind::Resources => v1::Control::Resources,
        ControlKind::Kill => v1::Control::Kill,
        ControlKind::StreamIntegrity => v1::Control::StreamIntegrity,
        ControlKind::ExitIntegrity => v1::Control::ExitIntegrity,
        ControlKind::Gate => v1::Control::Gate,
    }
}

fn level(level: ControlLevel) -> v1::EnforcementLevel {
    match level {
        ControlLevel::Enforced => v1::EnforcementLevel::Enforced,
        ControlLevel::Partial => v1::EnforcementLevel::Partial,
        ControlLevel::Advisory => v1::EnforcementLevel::Advisory,
        ControlLevel::Unavailable => v1::EnforcementLevel::Unavailable,
    }
}
