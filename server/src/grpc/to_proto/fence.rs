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

/// A report as records hold it: `gate=Enforced`, a word for each control.
pub(super) fn recorded(words: &[String]) -> v1::FenceReport {
    let row = |word: &String| {
        let (name, level) = word.split_once('=')?;
        let control = ControlKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)?;
        let level = [
            ControlLevel::Enforced,
            ControlLevel::Partial,
            ControlLevel::Advisory,
            ControlLevel::Unavailable,
        ]
        .into_iter()
        .find(|known| format!("{known:?}") == level)?;
        Some(v1::ControlReport {
            control: kind(control).into(),
            level: self::level(level).into(),
            ..v1::ControlReport::default()
        })
    };
    v1::FenceReport {
        controls: words.iter().filter_map(row).collect(),
        profile: String::new(),
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

pub(super) fn level(level: ControlLevel) -> v1::EnforcementLevel {
    match level {
        ControlLevel::Enforced => v1::EnforcementLevel::Enforced,
        ControlLevel::Partial => v1::EnforcementLevel::Partial,
        ControlLevel::Advisory => v1::EnforcementLevel::Advisory,
        ControlLevel::Unavailable => v1::EnforcementLevel::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_records_say_of_a_fence_is_read_back() {
        let words = ["gate=Enforced", "network=Unavailable", "data_dir=Enforced"];
        let report = recorded(&words.map(str::to_owned));
        let rows = report
            .controls
            .iter()
            .map(|row| (row.control(), row.level()));
        let expected = [
            (v1::Control::Gate, v1::EnforcementLevel::Enforced),
            (v1::Control::Network, v1::EnforcementLevel::Unavailable),
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
