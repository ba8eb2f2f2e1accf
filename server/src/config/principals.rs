//! `[principals.NAME]`: what callers may do, by the names that the gate knows them by.

use std::collections::BTreeMap;

use execgate_engine::authority::{Grant, Role};
use serde::{Deserialize, Serialize};

use super::{ConfigError, Policy, QuotaKeys};

/// What a principal may do. The most specific entry counts, alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalKeys {
    /// What it is to the gate.
    #[serde(default)]
    pub role: RoleWord,
    /// Where it may have sessions: `local`, `ssh:PROFILE`, `ssh-inline`, `docker:PROFILE`; a
    /// final `*` stands for anything.
    #[serde(default = "everything")]
    pub targets: Vec<String>,
    /// Names of the fence profiles that its local sessions may be behind; a final `*` stands
    /// for anything.
    #[serde(default = "everything")]
    pub fences: Vec<String>,
    /// Names of the secrets that its sessions may have; a final `*` stands for anything.
    #[serde(default = "everything")]
    pub secrets: Vec<String>,
    /// What it may have at once, where that is not what is for all (`[quotas]`).
    #[serde(default)]
    pub quotas: QuotaKeys,
    /// What narrows the operator's policy for it; SIGHUP reads it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// What a principal is to the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleWord {
    /// It is refused.
    Nobody,
    /// It works in its own sessions.
    #[default]
    Agent,
    /// It sees everybody's things and changes none.
    Observer,
    /// It works in its own sessions, sees everybody's things, and may end them.
    Operator,
}

impl PrincipalKeys {
    pub(super) fn validate(principals: &BTreeMap<String, Self>) -> Result<(), ConfigError> {
        let is_pattern = |name: &str| {
            let text = name.strip_suffix('*').unwrap_or(name);
            !name.is_empty() && !text.contains('*') && text.bytes().all(|b| b.is_ascii_graphic())
        };
        match principals.keys().find(|name| !is_pattern(name)) {
            None => Ok(()),
            Some(name) => Err(ConfigError::Value {
                key: "principals",
                problem: format!(
                    "{name:?} is no name of a principal, nor the beginning of one and `*`"
                ),
            }),
        }
    }

    /// The same for the gate.
    #[must_use]
    pub fn grant(&self) -> Grant {
        Grant {
            role: match self.role {
                RoleWord::Nobody => Role::Nobody,
                RoleWord::Agent => Role::Agent,
                RoleWord::Observer => Role::Observer,
                RoleWord::Operator => Role::Operator,
            },
            targets: self.targets.clone(),
            fences: self.fences.clone(),
            secrets: self.secrets.clone(),
        }
    }
}
