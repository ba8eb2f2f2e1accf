//! What isolation a session must have, measured against what there is.

use std::collections::HashSet;

use execgate_proto::v1;
use v1::EnforcementLevel as Level;

use super::fields::enumeration;
use crate::grpc::refusal::Refusal;

/// Refuses a demand that `report` does not meet.
pub(super) fn check(fence: v1::FenceRequirement, report: &v1::FenceReport) -> Result<(), Refusal> {
    if !fence.profile.is_empty() {
        return Err(Refusal::not_implemented("field fence.profile"));
    }
    let mut seen = HashSet::new();
    for (index, wanted) in fence.require.iter().enumerate() {
        let field = format!("fence.require[{index}].control");
        let control: v1::Control = enumeration(&field, wanted.control)?;
        if control == v1::Control::Unspecified {
            return Err(Refusal::field(field, "is required"));
        }
        if !seen.insert(control) {
            return Err(Refusal::field(field, "is there twice"));
        }
        let field = format!("fence.require[{index}].at_least");
        let wanted = match enumeration(&field, wanted.at_least)? {
            Level::Unspecified => Level::Enforced,
            level => level,
        };
        check_control(control, wanted, report)?;
    }
    Ok(())
}

fn check_control(
    control: v1::Control,
    wanted: Level,
    report: &v1::FenceReport,
) -> Result<(), Refusal> {
    let row = report.controls.iter().find(|row| row.control() == control);
    let level = row.map_or(Level::Unavailable, v1::ControlReport::level);
    // The levels are numbered from the strongest on.
    if level as i32 <= wanted as i32 {
        return Ok(());
    }
    let detail = row.map(|row| {
        format!("{} {}", row.mechanism, row.detail)
            .trim()
            .to_owned()
    });
    Err(Refusal::FenceUnavailable {
        control: control.as_str_name(),
        level: level.as_str_name(),
        detail: detail
            .filter(|detail| !detail.is_empty())
            .unwrap_or_else(|| "nothing does it".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(control: i32, at_least: Level) -> v1::FenceRequirement {
        let require = vec![v1::ControlRequirement {
            control,
            at_least: at_least.into(),
        }];
        v1::FenceRequirement {
            profile: String::new(),
            require,
        }
    }

    #[test]
    fn only_what_holds_can_be_demanded() {
        let gate = v1::ControlReport {
            control: v1::Control::Gate.into(),
            level: Level::Partial.into(),
            ..Default::default()
        };
        let report = v1::FenceReport {
            controls: vec![gate],
            profile: String::new(),
        };
        let check = |control: v1::Control, level| check(demand(control.into(), level), &report);
        assert!(check(v1::Control::Gate, Level::Partial).is_ok());
        assert!(check(v1::Control::Gate, Level::Advisory).is_ok());
        for (control, level) in [
            (v1::Control::Gate, Level::Unspecified),
            (v1::Control::Network, Level::Advisory),
        ] {
            let refused = check(control, level);
            assert!(
                matches!(refused, Err(Refusal::FenceUnavailable { .. })),
                "{refused:?}"
            );
        }
        let unknown = super::check(demand(99, Level::Enforced), &report);
        assert!(
            matches!(unknown, Err(Refusal::InvalidField { .. })),
            "{unknown:?}"
        );
    }
}
