//! What really keeps a session apart, control by control, and what a caller may demand of
//! it. Nothing is enforced here; whoever does says how much it is worth.

use std::borrow::Cow;

/// One kind of thing that a session can be kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlKind {
    /// Running programs that the policy denies.
    ProgramExecution,
    /// Reading files outside what the profile allows.
    FileRead,
    /// Writing files outside what the profile allows.
    FileWrite,
    /// Using the network beyond what the profile allows.
    Network,
    /// Gaining privileges.
    Privilege,
    /// Using more of the machine than the profile allows.
    Resources,
    /// Leaving processes behind that nobody can find and end.
    Kill,
    /// Writing into the shell's input or another execution's output.
    StreamIntegrity,
    /// Reporting an outcome that is not the true one.
    ExitIntegrity,
    /// Reaching the gate itself: its sockets, token, keys, data and memory.
    Gate,
}

impl ControlKind {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::ProgramExecution,
        Self::FileRead,
        Self::FileWrite,
        Self::Network,
        Self::Privilege,
        Self::Resources,
        Self::Kill,
        Self::StreamIntegrity,
        Self::ExitIntegrity,
        Self::Gate,
    ];

    /// As logs and records name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProgramExecution => "program_execution",
            Self::FileRead => "file_read",
            Self::FileWrite => "file_write",
            Self::Network => "network",
            Self::Privilege => "privilege",
            Self::Resources => "resources",
            Self::Kill => "kill",
            Self::StreamIntegrity => "stream_integrity",
            Self::ExitIntegrity => "exit_integrity",
            Self::Gate => "gate",
        }
    }
}

/// What a control is worth, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlLevel {
    /// The kernel, sshd or dockerd refuses it, and that was tried or is theirs to say.
    Enforced,
    /// Refused in part; the detail says which part is open.
    Partial,
    /// Asked for, judged and recorded, but a determined command gets round it.
    Advisory,
    /// Nothing is done about it.
    Unavailable,
}

/// How one control stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// What is controlled.
    pub kind: ControlKind,
    /// What that is worth.
    pub level: ControlLevel,
    /// By what means; empty for none.
    pub mechanism: Cow<'static, str>,
    /// What is missing, or was found when it was tried.
    pub detail: Cow<'static, str>,
}

impl Control {
    /// One row of a report.
    pub(crate) fn new(
        kind: ControlKind,
        level: ControlLevel,
        mechanism: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            level,
            mechanism: mechanism.into(),
            detail: detail.into(),
        }
    }

    /// A row for what nothing is done about.
    pub(crate) fn nothing(kind: ControlKind) -> Self {
        let detail = "only what the session's user may do anyway";
        Self::new(kind, ControlLevel::Unavailable, "", detail)
    }
}

/// How all controls of a session stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The operator's profile; empty where there is none for the target.
    pub profile: String,
    /// One row for each control, in the order of [`ControlKind::ALL`].
    pub controls: Vec<Control>,
}

impl Isolation {
    /// A report with these rows; nothing is done about what none of them names.
    pub(crate) fn of(profile: String, rows: impl IntoIterator<Item = Control>) -> Self {
        let rows: Vec<Control> = rows.into_iter().collect();
        let row = |kind| {
            let found = rows.iter().find(|row| row.kind == kind);
            found.cloned().unwrap_or_else(|| Control::nothing(kind))
        };
        Self {
            profile,
            controls: ControlKind::ALL.map(row).to_vec(),
        }
    }

    /// Puts these rows in the place of those for the same controls.
    pub(crate) fn raise(&mut self, rows: impl IntoIterator<Item = Control>) {
        for row in rows {
            let old = self.controls.iter_mut();
            for control in old.filter(|control| control.kind == row.kind) {
                *control = row.clone();
            }
        }
    }

    /// The first control that is worth less than what is demanded.
    #[must_use]
    pub fn missing(&self, demand: &[(ControlKind, ControlLevel)]) -> Option<&Control> {
        demand.iter().find_map(|(kind, least)| {
            let row = self.controls.iter().find(|row| row.kind == *kind)?;
            (row.level > *least).then_some(row)
        })
    }
}

/// What isolation a session is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// The operator's profile; the target's default where there is none.
    pub profile: Option<String>,
    /// What must hold, and how much of it.
    pub require: Vec<(ControlKind, ControlLevel)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_every_control_and_a_demand_meets_the_first_that_is_too_weak() {
        let gate = Control::new(ControlKind::Gate, ControlLevel::Partial, "x", "y");
        let report = Isolation::of(String::new(), [gate.clone()]);
        let kinds: Vec<_> = report.controls.iter().map(|row| row.kind).collect();
        assert_eq!(kinds, ControlKind::ALL);
        let demand = |kind, level| report.missing(&[(kind, level)]).map(|row| row.kind);
        assert_eq!(demand(ControlKind::Gate, ControlLevel::Partial), None);
        assert_eq!(demand(ControlKind::Gate, ControlLevel::Advisory), None);
        let strong = demand(ControlKind::Gate, ControlLevel::Enforced);
        assert_eq!(strong, Some(ControlKind::Gate));
        let network = demand(ControlKind::Network, ControlLevel::Advisory);
        assert_eq!(network, Some(ControlKind::Network));
    }
}
