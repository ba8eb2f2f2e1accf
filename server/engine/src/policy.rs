//! The operator's policies, which can be replaced while sessions live: each command is
//! judged by those that hold when it comes.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use execgate_core::ids::Principal;
use execgate_core::policy::{Layer, Policy, PolicyStack};

use crate::authority::ByPrincipal;
use crate::target::{Target, TargetProfile};

/// What the operator says about commands.
#[derive(Debug, Clone)]
pub struct Policies {
    /// About every command.
    pub operator: Policy,
    /// What narrows that further on targets of a profile.
    pub profiles: BTreeMap<TargetProfile, Policy>,
    /// What narrows it for a principal, if anything.
    pub principals: ByPrincipal<Option<Policy>>,
}

impl From<Policy> for Policies {
    /// One policy for all targets.
    fn from(operator: Policy) -> Self {
        Self {
            operator,
            profiles: BTreeMap::new(),
            principals: ByPrincipal::default(),
        }
    }
}

/// The operator's policies, as they are now.
#[derive(Debug)]
pub struct OperatorPolicy(RwLock<Policies>);

impl OperatorPolicy {
    pub(crate) fn new(policies: Policies) -> Self {
        Self(RwLock::new(policies))
    }

    /// The policies that hold now.
    #[must_use]
    pub fn current(&self) -> Policies {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The policies that hold now for a principal's session there, which may narrow them by
    /// its own.
    #[must_use]
    pub fn stack(
        &self,
        target: &Target,
        principal: &Principal,
        own: Option<&Policy>,
    ) -> PolicyStack {
        let (operator, profile, principal) = {
            let now = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let profile = target.profile();
            let profile = profile.and_then(|name| now.profiles.get(&name).cloned());
            let principal = now.principals.of(principal).cloned().flatten();
            (PolicyStack::new(now.operator.clone()), profile, principal)
        };
        let layers = [
            (Layer::Profile, profile),
            (Layer::Principal, principal),
            (Layer::Session, own.cloned()),
        ];
        layers
            .into_iter()
            .filter_map(|(layer, policy)| Some((layer, policy?)))
            .fold(operator, |stack, (layer, policy)| {
                stack.narrowed_by(layer, policy)
            })
    }

    pub(crate) fn replace(&self, policies: Policies) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policies;
    }
}

#[cfg(test)]
mod tests {
    use execgate_core::policy::Verdict;

    use super::*;
    use crate::target::{DockerSource, DockerTarget, SshTarget};

    fn denying(program: &str) -> Policy {
        Policy::lists(&[], &[program.to_owned()]).unwrap()
    }

    #[test]
    fn a_profile_narrows_its_own_targets_and_no_others() {
        let docker = |profile: Option<&str>| {
            Target::Docker(DockerTarget {
                source: DockerSource::Image("i".to_owned()),
                user: None,
                profile: profile.map(str::to_owned),
            })
        };
        let ssh = |name: &str| Target::Ssh(SshTarget::Profile(name.to_owned()));
        let policies = OperatorPolicy::new(Policies {
            operator: denying("rm"),
            profiles: [
                (TargetProfile::Ssh("web".to_owned()), denying("systemctl")),
                (TargetProfile::Docker("default".to_owned()), denying("apt")),
            ]
            .into(),
            principals: ByPrincipal::new([("ci-*".to_owned(), Some(denying("curl")))]),
        });
        let anybody = Principal::new("me");
        let denied = |target: &Target, own: Option<&Policy>| {
            let stack = policies.stack(target, &anybody, own);
            ["rm", "systemctl", "apt", "curl"]
                .map(|script| !stack.judge_script(script).is_allowed())
        };
        let own = denying("curl");
        assert_eq!(
            denied(&Target::Local, Some(&own)),
            [true, false, false, true]
        );
        assert_eq!(denied(&ssh("web"), Some(&own)), [true, true, false, true]);
        assert_eq!(denied(&ssh("db"), None), [true, false, false, false]);
        assert_eq!(denied(&docker(None), None), [true, false, true, false]);
        assert_eq!(
            denied(&docker(Some("x")), None),
            [true, false, false, false]
        );
        let ci = policies.stack(&Target::Local, &Principal::new("ci-7"), None);
        let Verdict::Denied(denial) = ci.judge_script("curl") else {
            panic!("allowed")
        };
        assert_eq!(denial.layer, Layer::Principal);
    }
}
