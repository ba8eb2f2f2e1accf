//! What isolation a session must have. Whether it has it is known once its target is reached.

use execgate_engine::isolation::{ControlKind, ControlLevel, Demand};
use execgate_proto::v1;
use v1::EnforcementLevel as Level;

use super::fields::{enumeration, given};
use crate::grpc::refusal::Refusal;

/// What the caller demands, and what the operator demands of every session.
pub(super) fn demand(
    fence: v1::FenceRequirement,
    operator: &[ControlKind],
) -> Result<Demand, Refusal> {
    let mut require: Vec<_> = operator
        .iter()
        .map(|control| (*control, ControlLevel::Enforced))
        .collect();
    let mut seen = Vec::new();
    for (index, wanted) in fence.require.iter().enumerate() {
        let field = format!("fence.require[{index}].control");
        let Some(control) = kind(enumeration(&field, wanted.control)?) else {
            return Err(Refusal::field(field, "is required"));
        };
        if seen.contains(&control) {
            return Err(Refusal::field(field, "is there twice"));
        }
        seen.push(control);
        let field = format!("fence.require[{index}].at_least");
        let level = match enumeration(&field, wanted.at_least)? {
            Level::Unspecified | Level::Enforced => ControlLevel::Enforced,
            Level::Partial => ControlLevel::Partial,
            Level::Advisory => ControlLevel::Advisory,
            Level::Unavailable => ControlLevel::Unavailable,
        };
        require.push((control, level));
    }
    Ok(Demand {
        profile: given(fence.profile),
        require,
    })
}

fn kind(control: v1::Control) -> Option<ControlKind> {
    Some(match control {
        v1::Control::Unspecified => return None,
        v1::Control::ProgramExecution => ControlKind::ProgramExecution,
        v1::Control::FileRead => ControlKind::FileRead,
        v1::Control::FileWrite => ControlKind::FileWrite,
        v1::Control::Network => ControlKind::Network,
        v1::Control::Privilege => ControlKind::Privilege,
        v1::Control::Resources => ControlKind::Resources,
        v1::Control::Kill => ControlKind::Kill,
        v1::Control::StreamIntegrity => ControlKind::StreamIntegrity,
        v1::Control::ExitIntegrity => ControlKind::ExitIntegrity,
        v1::Control::Gate => ControlKind::Gate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demanded(control: i32, at_least: Level) -> v1::FenceRequirement {
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
    fn a_demand_is_enforced_where_it_does_not_say_and_adds_to_the_operators() {
        let gate = v1::Control::Gate.into();
        let plain = demand(demanded(gate, Level::Unspecified), &[ControlKind::Network]).unwrap();
        let expected = [
            (ControlKind::Network, ControlLevel::Enforced),
            (ControlKind::Gate, ControlLevel::Enforced),
        ];
        assert_eq!(plain.require, expected);
        let weaker = demand(demanded(gate, Level::Partial), &[]).unwrap();
        assert_eq!(weaker.require, [(ControlKind::Gate, ControlLevel::Partial)]);
    }

    #[test]
    fn what_is_no_control_is_refused() {
        let refused = |control| demand(demanded(control, Level::Enforced), &[]);
        for control in [0, 99] {
            let refused = refused(control);
            assert!(
                matches!(refused, Err(Refusal::InvalidField { .. })),
                "{refused:?}"
            );
        }
        let mut twice = demanded(v1::Control::Gate.into(), Level::Enforced);
        twice.require.extend(twice.require.clone());
        assert!(matches!(
            demand(twice, &[]),
            Err(Refusal::InvalidField { .. })
        ));
    }
}
