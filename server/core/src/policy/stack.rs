//! Layers of policy: whose they are, and what they say together. Each layer is judged by
//! itself; nothing here knows what a rule is.

use super::{Denial, Dialect, Judgement, Policy, Question, Verdict, rules};

/// Whose policy a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layer {
    /// The operator's, for everything.
    #[default]
    Operator,
    /// The operator's, for targets of one profile.
    Profile,
    /// The operator's, for one principal.
    Principal,
    /// What a session brought along.
    Session,
}

impl Layer {
    /// As answers name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Profile => "profile",
            Self::Principal => "principal",
            Self::Session => "session",
        }
    }
}

/// Layers of policy, the operator's first: all of them must allow. A layer can only
/// narrow what the ones before it allow.
#[derive(Debug, Clone)]
pub struct PolicyStack(Vec<(Layer, Policy)>);

impl PolicyStack {
    /// The operator's policy alone.
    #[must_use]
    pub fn new(operator: Policy) -> Self {
        Self(vec![(Layer::Operator, operator)])
    }

    /// These layers and one more below them.
    #[must_use]
    pub fn narrowed_by(&self, layer: Layer, policy: Policy) -> Self {
        Self(self.0.iter().cloned().chain([(layer, policy)]).collect())
    }

    /// The layers' policies, the operator's first.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter().map(|(_, policy)| policy)
    }

    /// SHA-256 over the layers' hashes, for audit records.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        rules::hash_of(self.policies().map(Policy::content_hash))
    }

    /// The layers' names, the operator's first, joined by `+`.
    #[must_use]
    pub fn name(&self) -> String {
        self.policies()
            .map(Policy::name)
            .collect::<Vec<_>>()
            .join("+")
    }

    /// Judges a script for bash, as a fresh session would.
    #[must_use]
    pub fn judge_script(&self, script: &str) -> Verdict {
        self.judge(&Question::script(Dialect::Bash, script)).verdict
    }

    /// Judges a question: the first denial, or else what the last layer that read it found.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Judgement {
        let mut found = Judgement::default();
        for &(layer, ref policy) in &self.0 {
            let judgement = policy.judge(question);
            match judgement.verdict {
                Verdict::Denied(denial) => {
                    let verdict = Verdict::Denied(Denial { layer, ..denial });
                    return Judgement {
                        verdict,
                        layer,
                        ..judgement
                    };
                }
                Verdict::Allowed(_) if policy.is_open() => {}
                Verdict::Allowed(_) => found = Judgement { layer, ..judgement },
            }
        }
        found
    }
}
