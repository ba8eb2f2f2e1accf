//! Who may do what: the operator's grants to principals, and callers as types that the
//! engine's calls ask for. Nothing here knows how a caller was recognised.
//!
//! ```text
//! Owner    acts on its own things     create, run, write, checkpoint, restore
//!   └► Steward  ends a principal's    close, signal, delete: the owner, or an operator
//!        └► Principal  sees them      the owner, an observer, an operator
//! ```
//! Each passes for the one below it. Only a [`Caller`] makes the upper two, after it has looked
//! at the role: a call that forgets to ask does not compile.

use std::ops::Deref;
use std::sync::Arc;

use execgate_core::audit::Origin;
use execgate_core::ids::Principal;

use crate::error::Error;
use crate::fence::DEFAULT_PROFILE;
use crate::pattern::is_listed;
use crate::session::SessionSettings;
use crate::target::Target;

/// What a principal is to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Role {
    /// It may do nothing at all.
    Nobody,
    /// It works in its own sessions.
    #[default]
    Agent,
    /// It sees everybody's things and changes none.
    Observer,
    /// It works in its own sessions, sees everybody's things, and may end them.
    Operator,
}

impl Role {
    /// As configurations and answers name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Agent => "agent",
            Self::Observer => "observer",
            Self::Operator => "operator",
        }
    }
}

/// What a principal may do. Patterns are texts, with a `*` at the end for whatever follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it is to the gate.
    pub role: Role,
    /// Where it may have sessions: `local`, `ssh:PROFILE`, `docker:PROFILE`, and `ssh-inline`
    /// for hosts that it describes itself.
    pub targets: Vec<String>,
    /// Names of the fence profiles that its sessions on this machine may be behind.
    pub fences: Vec<String>,
    /// Names of the operator's secrets that its sessions may have.
    pub secrets: Vec<String>,
}

impl Default for Grant {
    /// An agent, everywhere.
    fn default() -> Self {
        Self {
            role: Role::default(),
            targets: vec!["*".to_owned()],
            fences: vec!["*".to_owned()],
            secrets: vec!["*".to_owned()],
        }
    }
}

impl Grant {
    /// Whether it may have such a session.
    ///
    /// # Errors
    /// Where its target, fence or a secret was not granted.
    pub(crate) fn check_session(&self, settings: &SessionSettings) -> Result<(), Error> {
        self.check_target(&settings.target)?;
        self.check_fence(settings)?;
        self.check_secrets(settings.secrets.iter().map(|secret| &secret.name))
    }

    /// Whether it may have sessions there.
    ///
    /// # Errors
    /// Where it may not.
    fn check_target(&self, target: &Target) -> Result<(), Error> {
        let name = target.label();
        match is_listed(&self.targets, &name) {
            true => Ok(()),
            false => Err(Error::TargetNotGranted { target: name }),
        }
    }

    /// Whether it may have a session behind this fence. One that it may not is answered as
    /// one that there is none of.
    fn check_fence(&self, settings: &SessionSettings) -> Result<(), Error> {
        let name = settings.fence.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
        match settings.target != Target::Local || is_listed(&self.fences, name) {
            true => Ok(()),
            false => Err(Error::UnknownFence {
                profile: name.to_owned(),
            }),
        }
    }

    /// Whether its sessions may have these secrets. One that they may not is answered as one
    /// that there is none of.
    ///
    /// # Errors
    /// Where there is one that they may not.
    pub(crate) fn check_secrets<'a>(
        &self,
        mut secrets: impl Iterator<Item = &'a String>,
    ) -> Result<(), Error> {
        match secrets.find(|name| !is_listed(&self.secrets, name)) {
            None => Ok(()),
            Some(name) => Err(Error::SecretNotFound {
                secret: name.clone(),
            }),
        }
    }
}

/// Values by who they are for: a principal's name, or a pattern of names. The most specific
/// one counts, alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByPrincipal<T>(Vec<(String, T)>);

impl<T> ByPrincipal<T> {
    /// These values, by name or pattern.
    pub fn new(values: impl IntoIterator<Item = (String, T)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// What is for this principal.
    #[must_use]
    pub fn of(&self, principal: &Principal) -> Option<&T> {
        let name = principal.as_str();
        let rank = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix).then_some((false, prefix.len())),
            None => (pattern == name).then_some((true, name.len())),
        };
        let fitting = self.0.iter();
        let fitting = fitting.filter_map(|(pattern, value)| Some((rank(pattern)?, value)));
        fitting
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, value)| value)
    }

    /// All of them, with their names or patterns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<T> Default for ByPrincipal<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Who calls, recognised, with what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    principal: Principal,
    grant: Arc<Grant>,
    origin: Origin,
}

impl Caller {
    /// This principal, which was granted that, in a request from there.
    #[must_use]
    pub const fn new(principal: Principal, grant: Arc<Grant>, origin: Origin) -> Self {
        Self {
            principal,
            grant,
            origin,
        }
    }

    /// Where the request came from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Who it is.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What it may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.grant.role
    }

    /// The caller as the owner of what it works with.
    ///
    /// # Errors
    /// Where its role does not let it change anything.
    pub fn owner(&self) -> Result<Owner, Error> {
        self.need(&[Role::Agent, Role::Operator])?;
        Ok(Owner {
            steward: Steward {
                of: self.principal.clone(),
                by: None,
            },
            grant: Arc::clone(&self.grant),
        })
    }

    /// The caller as somebody who may end what is this principal's.
    ///
    /// # Errors
    /// Where its role does not let it.
    pub fn steward(&self, of: &Principal) -> Result<Steward, Error> {
        if *of == self.principal {
            return Ok(self.owner()?.steward);
        }
        self.need(&[Role::Operator])?;
        Ok(Steward {
            of: of.clone(),
            by: Some((self.principal.clone(), self.origin.clone())),
        })
    }

    /// The caller as somebody who may see what is this principal's.
    ///
    /// # Errors
    /// Where its role does not let it.
    pub fn reader(&self, of: &Principal) -> Result<Principal, Error> {
        match *of == self.principal {
            true => self.need(&[Role::Agent, Role::Observer, Role::Operator])?,
            false => self.overseer()?,
        }
        Ok(of.clone())
    }

    /// Whether the caller may see everybody's things.
    ///
    /// # Errors
    /// Where its role does not let it.
    pub fn overseer(&self) -> Result<(), Error> {
        self.need(&[Role::Observer, Role::Operator])
    }

    fn need(&self, roles: &'static [Role]) -> Result<(), Error> {
        match roles.contains(&self.grant.role) {
            true => Ok(()),
            false => Err(Error::RoleRequired {
                role: self.grant.role,
                needed: roles,
            }),
        }
    }
}

/// A principal that acts on its own things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    steward: Steward,
    grant: Arc<Grant>,
}

impl Owner {
    /// What it may do.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl Deref for Owner {
    type Target = Steward;

    fn deref(&self) -> &Steward {
        &self.steward
    }
}

/// Somebody who may end what is a principal's; that principal, to whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steward {
    of: Principal,
    by: Option<(Principal, Origin)>,
}

impl Steward {
    /// Who acts and from where, where it is not the owner.
    pub(crate) fn operator(&self) -> Option<(&Principal, &Origin)> {
        self.by
            .as_ref()
            .map(|(operator, origin)| (operator, origin))
    }
}

impl Deref for Steward {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.of
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{DockerSource, DockerTarget, SshTarget};

    fn caller(role: Role) -> Caller {
        let grant = Grant {
            role,
            ..Grant::default()
        };
        Caller::new(Principal::new("me"), Arc::new(grant), Origin::default())
    }

    #[test]
    fn roles_say_what_may_be_done_with_own_things_and_others() {
        let (own, other) = (Principal::new("me"), Principal::new("other"));
        let rights = |role| {
            let caller = caller(role);
            [
                caller.owner().is_ok(),
                caller.steward(&own).is_ok(),
                caller.reader(&own).is_ok(),
                caller.steward(&other).is_ok(),
                caller.reader(&other).is_ok(),
                caller.overseer().is_ok(),
            ]
        };
        let table = [
            (Role::Nobody, [false; 6]),
            (Role::Agent, [true, true, true, false, false, false]),
            (Role::Observer, [false, false, true, false, true, true]),
            (Role::Operator, [true; 6]),
        ];
        for (role, expected) in table {
            assert_eq!(rights(role), expected, "{role:?}");
        }
    }

    #[test]
    fn only_who_acts_for_another_is_named() {
        let caller = caller(Role::Operator);
        let other = Principal::new("other");
        let own = caller.steward(caller.principal()).unwrap();
        assert_eq!(own.operator(), None);
        let steward = caller.steward(&other).unwrap();
        let operator = steward.operator().map(|(operator, _)| operator);
        assert_eq!((&*steward, operator), (&other, Some(caller.principal())));
    }

    #[test]
    fn the_most_specific_entry_counts_alone() {
        let entries = ["*", "dns:*", "dns:ci-*", "dns:ci-7"];
        let table = ByPrincipal::new(entries.map(|name| (name.to_owned(), name)));
        let found = |name: &str| table.of(&Principal::new(name)).copied();
        assert_eq!(found("local"), Some("*"));
        assert_eq!(found("dns:web"), Some("dns:*"));
        assert_eq!(found("dns:ci-8"), Some("dns:ci-*"));
        assert_eq!(found("dns:ci-7"), Some("dns:ci-7"));
        assert_eq!(ByPrincipal::<()>::default().of(&Principal::new("x")), None);
    }

    #[test]
    fn targets_and_secrets_are_granted_by_pattern() {
        let grant = Grant {
            role: Role::Agent,
            targets: vec!["ssh:build-*".to_owned(), "docker:default".to_owned()],
            fences: Vec::new(),
            secrets: vec!["ci-*".to_owned()],
        };
        let ssh = |name: &str| Target::Ssh(SshTarget::Profile(name.to_owned()));
        let docker = |profile: Option<&str>| {
            Target::Docker(DockerTarget {
                source: DockerSource::Image("i".to_owned()),
                user: None,
                profile: profile.map(str::to_owned),
            })
        };
        let table = [
            (Target::Local, Some("local")),
            (ssh("build-1"), None),
            (ssh("web"), Some("ssh:web")),
            (docker(None), None),
            (docker(Some("wide")), Some("docker:wide")),
        ];
        for (target, refused) in table {
            let found = match grant.check_target(&target) {
                Err(Error::TargetNotGranted { target }) => Some(target),
                _ => None,
            };
            assert_eq!(found.as_deref(), refused, "{target:?}");
        }
        let secrets = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            grant.check_secrets(names.iter()).is_ok()
        };
        assert!(secrets(&["ci-key", "ci-token"]));
        assert!(!secrets(&["ci-key", "prod"]));
    }
}
