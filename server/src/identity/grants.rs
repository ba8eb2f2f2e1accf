//! What principals may do, as the configuration says: by name or pattern, the most specific
//! entry alone. Who is not named is an agent; the human at the machine is the operator.

use std::sync::Arc;

use execgate_core::ids::Principal;
use execgate_engine::authority::{ByPrincipal, Grant, Role};

use super::LOCAL_PRINCIPAL;

/// The operator's grants.
#[derive(Debug, Clone)]
pub struct Grants {
    named: ByPrincipal<Arc<Grant>>,
    /// Whoever is not named.
    others: Arc<Grant>,
}

impl Grants {
    /// These, by name or pattern.
    pub fn new(named: impl IntoIterator<Item = (String, Grant)>) -> Self {
        let local = Grant {
            role: Role::Operator,
            ..Grant::default()
        };
        let mut all: Vec<_> = named.into_iter().collect();
        if !all.iter().any(|(name, _)| name == LOCAL_PRINCIPAL) {
            all.push((LOCAL_PRINCIPAL.to_owned(), local));
        }
        let all = all.into_iter();
        Self {
            named: ByPrincipal::new(all.map(|(name, grant)| (name, Arc::new(grant)))),
            others: Arc::new(Grant::default()),
        }
    }

    /// What this principal may do.
    pub(crate) fn of(&self, principal: &Principal) -> Arc<Grant> {
        Arc::clone(self.named.of(principal).unwrap_or(&self.others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_human_is_the_operator_and_others_are_agents_unless_the_operator_says() {
        let role = |grants: &Grants, name: &str| grants.of(&Principal::new(name)).role;
        let nothing = Grants::new([]);
        assert_eq!(role(&nothing, "local"), Role::Operator);
        assert_eq!(role(&nothing, "dns:ci"), Role::Agent);
        let grant = |role| Grant {
            role,
            ..Grant::default()
        };
        let named = Grants::new([
            ("*".to_owned(), grant(Role::Nobody)),
            ("dns:ci".to_owned(), grant(Role::Observer)),
        ]);
        assert_eq!(role(&named, "local"), Role::Operator);
        assert_eq!(role(&named, "dns:ci"), Role::Observer);
        assert_eq!(role(&named, "jwt:x"), Role::Nobody);
        let own = Grants::new([("local".to_owned(), grant(Role::Agent))]);
        assert_eq!(role(&own, "local"), Role::Agent);
    }
}
