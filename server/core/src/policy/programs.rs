//! What a policy says of a program whatever its arguments are. That much of it a kernel
//! can enforce as well: it sees which file is executed, and no command line.

use super::rules::{Compiled, DefaultEffect, Effect};
use super::{Policy, PolicyStack, args};

/// What becomes of every command of one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProgramFate {
    /// Nothing is said of it.
    Open,
    /// A rule allows some command of it by name.
    Named,
    /// No command of it may run.
    Denied,
}

/// How much of a policy's denials is about programs as such.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgramRules {
    /// Deny rules that name a program and no arguments.
    pub bare: usize,
    /// All deny rules.
    pub deny: usize,
    /// Whether what no rule names is denied.
    pub allow_list: bool,
}

impl ProgramRules {
    /// Whether any program is denied as such.
    #[must_use]
    pub fn denies_any(&self) -> bool {
        self.bare > 0 || self.allow_list
    }
}

impl Policy {
    fn fate(&self, program: &str) -> ProgramFate {
        if self.is_open() {
            return ProgramFate::Open;
        }
        let rules = &self.compiled.rules;
        let named = rules
            .rule
            .iter()
            .filter(|rule| args::matches(&rule.program, program));
        let mut fate = match rules.default {
            DefaultEffect::Allow => ProgramFate::Open,
            DefaultEffect::Deny => ProgramFate::Denied,
        };
        for rule in named {
            match rule.effect {
                Effect::Deny if Compiled::is_bare(rule) => return ProgramFate::Denied,
                Effect::Deny => {}
                Effect::Allow => fate = ProgramFate::Named,
            }
        }
        fate
    }
}

impl PolicyStack {
    /// What becomes of every command of a program: denied where one layer says so.
    #[must_use]
    pub fn program(&self, program: &str) -> ProgramFate {
        let fates = self.policies().map(|policy| policy.fate(program));
        fates.max().unwrap_or(ProgramFate::Open)
    }

    /// How much of what the layers deny is about programs as such.
    #[must_use]
    pub fn program_rules(&self) -> ProgramRules {
        let mut found = ProgramRules::default();
        for policy in self.policies().filter(|policy| !policy.is_open()) {
            let rules = &policy.compiled.rules;
            let deny = || rules.rule.iter().filter(|r| r.effect == Effect::Deny);
            found.deny += deny().count();
            found.bare += deny().filter(|rule| Compiled::is_bare(rule)).count();
            found.allow_list |= rules.default == DefaultEffect::Deny;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Layer;

    fn policy(text: &str) -> Policy {
        Policy::from_toml(text).unwrap()
    }

    const NO_RM: &str = "default = \"allow\"\n\
        [[rule]]\nid = \"no-rm\"\neffect = \"deny\"\nprogram = \"rm*\"\n\
        [[rule]]\nid = \"no-force\"\neffect = \"deny\"\nprogram = \"git\"\nargs = [\"--force\"]\n\
        [[rule]]\nid = \"box\"\neffect = \"allow\"\nprogram = \"busybox\"\n";
    const ONLY_LS: &str = "default = \"deny\"\n\
        [[rule]]\nid = \"ls\"\neffect = \"allow\"\nprogram = \"ls\"\nargs = [\"-l\"]\n";

    #[test]
    fn a_program_is_denied_as_such_where_no_argument_can_save_it() {
        let stack = PolicyStack::new(policy(NO_RM));
        let fates = ["rm", "rmdir", "git", "busybox", "ls"].map(|name| stack.program(name));
        use ProgramFate::{Denied, Named, Open};
        assert_eq!(fates, [Denied, Denied, Open, Named, Open]);
        let rules = ProgramRules {
            bare: 1,
            deny: 2,
            allow_list: false,
        };
        assert_eq!(stack.program_rules(), rules);
    }

    #[test]
    fn what_an_allow_list_does_not_name_is_denied_and_layers_only_narrow() {
        let stack = PolicyStack::new(policy(NO_RM)).narrowed_by(Layer::Session, policy(ONLY_LS));
        let fates = ["rm", "busybox", "ls"].map(|name| stack.program(name));
        assert_eq!(
            fates,
            [ProgramFate::Denied, ProgramFate::Denied, ProgramFate::Named]
        );
        assert!(stack.program_rules().allow_list);
    }

    #[test]
    fn an_open_policy_says_nothing() {
        let stack = PolicyStack::new(Policy::open());
        assert_eq!(stack.program("rm"), ProgramFate::Open);
        assert!(!stack.program_rules().denies_any());
    }
}
