//! The secrets that the operator keeps for sessions: a request names one, its value goes
//! into the environment of a shell or of one command, and nobody is told it.
//!
//! A value is only ever in an environment: never among the words of a command, never in a
//! record or an answer. It is hidden from the output of every session, whether that uses
//! it or not.

use std::collections::BTreeMap;

use execgate_core::redact::Secret;

use crate::error::Error;
use crate::pattern::is_listed;
use crate::target::Target;

/// A request for a secret, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretReference {
    /// The operator's name for it.
    pub name: String,
    /// The variable that receives it.
    pub variable: String,
}

/// A secret and where it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSecret {
    /// The value; no NUL.
    pub value: Secret,
    /// Targets whose sessions may have it: `local`, `ssh:PROFILE`, `docker:PROFILE`,
    /// `ssh-inline`; a final `*` stands for anything.
    pub targets: Vec<String>,
}

/// The operator's secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedSecrets(BTreeMap<String, NamedSecret>);

/// Variables whose values are secrets.
pub(crate) type SecretVariables = Vec<(String, Secret)>;

impl NamedSecrets {
    /// The secrets by their names.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = (String, NamedSecret)>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// All of them, for the redactor.
    pub fn values(&self) -> impl Iterator<Item = (String, Secret)> + '_ {
        let secrets = self.0.iter();
        secrets.map(|(name, secret)| (name.clone(), secret.value.clone()))
    }

    /// What the references stand for in a session on `target`.
    ///
    /// # Errors
    /// Where there is no such secret, or not there; the error does not tell which.
    pub(crate) fn resolve(
        &self,
        references: &[SecretReference],
        target: &Target,
    ) -> Result<SecretVariables, Error> {
        let label = target.label();
        references
            .iter()
            .map(|reference| {
                let secret = self.0.get(&reference.name);
                match secret.filter(|secret| is_listed(&secret.targets, &label)) {
                    Some(secret) => Ok((reference.variable.clone(), secret.value.clone())),
                    None => Err(Error::SecretNotFound {
                        secret: reference.name.clone(),
                    }),
                }
            })
            .collect()
    }
}

/// The names that a record tells.
pub(crate) fn secret_names(references: &[SecretReference]) -> Vec<String> {
    references
        .iter()
        .map(|reference| reference.name.clone())
        .collect()
}

/// The variables as a process gets them.
pub(crate) fn exposed(secrets: &SecretVariables) -> impl Iterator<Item = (String, String)> + '_ {
    secrets.iter().map(|(name, secret)| {
        let value = String::from_utf8_lossy(secret.expose()).into_owned();
        (name.clone(), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::SshTarget;

    #[test]
    fn a_secret_is_had_only_by_name_and_where_it_is_for() {
        let secrets = NamedSecrets::new([(
            "deploy".to_owned(),
            NamedSecret {
                value: Secret::new("s3cr3t-value"),
                targets: vec!["local".to_owned(), "ssh:build*".to_owned()],
            },
        )]);
        let reference = |name: &str| {
            [SecretReference {
                name: name.to_owned(),
                variable: "KEY".to_owned(),
            }]
        };
        let ssh = |profile: &str| Target::Ssh(SshTarget::Profile(profile.to_owned()));
        let expected = vec![("KEY".to_owned(), Secret::new("s3cr3t-value"))];
        for target in [Target::Local, ssh("build-1")] {
            let found = secrets.resolve(&reference("deploy"), &target).unwrap();
            assert_eq!(found, expected);
        }
        let refused = [
            secrets.resolve(&reference("deploy"), &ssh("other")),
            secrets.resolve(&reference("nothing"), &Target::Local),
        ]
        .map(|refused| match refused.unwrap_err() {
            Error::SecretNotFound { .. } => "unknown, or not here",
            _ => "something else",
        });
        assert_eq!(refused, ["unknown, or not here"; 2]);
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}
