//! What is hidden in one session: the operator's rules, what opened its target, and the
//! secrets that its own requests have named since. It only ever grows, up to a bound, and
//! what has left a stream stays as it left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_core::pipeline::Pipeline;
use execgate_core::redact::{
    RedactionRules, Secret, TokenRule, assigned_secrets, given_secrets, redact_text,
    secret_variables,
};

use crate::execution::Command;

/// Most values that a session learns. Beyond, it learns no more: what is known already
/// must not be pushed out by whoever can name values.
pub(crate) const MAX_LEARNED: usize = 256;

/// Most bytes of values that a session learns: each is searched for in some twenty forms.
pub(crate) const MAX_LEARNED_BYTES: usize = 32 * 1024;

/// What a session's request adds to what is hidden in it. It takes nothing away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddedRedaction {
    /// Values, under the names that their markers show.
    pub values: Vec<(String, Secret)>,
    /// Shapes of tokens.
    pub rules: Vec<TokenRule>,
}

impl AddedRedaction {
    /// `rules` and these.
    pub(crate) fn added_to(&self, rules: &RedactionRules) -> RedactionRules {
        rules
            .with_tokens(self.rules.iter().cloned())
            .with_values(self.values.iter().cloned())
    }
}

/// The rules of one session.
#[derive(Debug)]
pub(crate) struct SessionRedaction {
    state: Mutex<State>,
    /// Rises with every change, so that streams need no lock to see that there was none.
    version: AtomicU64,
}

#[derive(Debug)]
struct State {
    rules: RedactionRules,
    learned: usize,
    learned_bytes: usize,
}

impl SessionRedaction {
    /// A session that begins with these rules.
    pub(crate) fn new(rules: RedactionRules) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                rules,
                learned: 0,
                learned_bytes: 0,
            }),
            version: AtomicU64::new(0),
        })
    }

    /// The rules as they are now.
    pub(crate) fn rules(&self) -> RedactionRules {
        self.lock().rules.clone()
    }

    /// A text as it may be shown or recorded.
    pub(crate) fn redact(&self, text: &str) -> String {
        redact_text(&self.rules(), text)
    }

    /// Learns the secrets that a command is given, in its text or its environment.
    pub(crate) fn learn_from(&self, command: &Command) {
        let rules = self.rules();
        if rules.learns() {
            let text = command.line.text();
            let mut found = assigned_secrets(&text);
            found.extend(secret_variables(&command.env));
            found.extend(given_secrets(&rules, &text));
            self.learn(found);
        }
    }

    /// Learns values, as far as there is room.
    pub(crate) fn learn(&self, values: Vec<(String, Secret)>) {
        let mut state = self.lock();
        if !state.rules.learns() {
            return;
        }
        let mut new = Vec::new();
        for (name, secret) in values {
            let bytes = state.learned_bytes + secret.expose().len();
            if state.rules.knows(&secret) || new.iter().any(|(_, known)| *known == secret) {
                continue;
            }
            if state.learned < MAX_LEARNED && bytes <= MAX_LEARNED_BYTES {
                state.learned += 1;
                state.learned_bytes = bytes;
                new.push((name, secret));
            }
        }
        if !new.is_empty() {
            state.rules = state.rules.with_values(new);
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's view of its session's rules.
#[derive(Debug)]
pub(crate) struct FollowedRules {
    session: Arc<SessionRedaction>,
    seen: u64,
}

impl FollowedRules {
    /// For a pipeline that begins with the rules as they are now.
    pub(crate) fn new(session: &Arc<SessionRedaction>) -> (Self, RedactionRules) {
        let seen = session.version.load(Ordering::Acquire);
        let followed = Self {
            session: Arc::clone(session),
            seen,
        };
        (followed, session.rules())
    }

    /// Hands the pipeline what the session has learned since.
    pub(crate) fn refresh(&mut self, pipeline: &mut Pipeline) {
        let version = self.session.version.load(Ordering::Acquire);
        if version != self.seen {
            self.seen = version;
            pipeline.set_rules(self.session.rules());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(range: std::ops::Range<usize>) -> Vec<(String, Secret)> {
        range
            .map(|at| ("TOKEN".to_owned(), Secret::new(format!("value-{at:06}"))))
            .collect()
    }

    #[test]
    fn what_is_learned_is_bounded_and_never_forgotten() {
        let session = SessionRedaction::new(RedactionRules::builtin());
        session.learn(values(0..MAX_LEARNED));
        session.learn(values(0..MAX_LEARNED));
        session.learn(values(MAX_LEARNED..MAX_LEARNED + 9));
        assert_eq!(session.redact("a value-000000 b"), "a [REDACTED:TOKEN] b");
        let beyond = format!("a value-{MAX_LEARNED:06} b");
        assert_eq!(session.redact(&beyond), beyond);
    }

    #[test]
    fn nothing_is_learned_where_redaction_is_off() {
        let session = SessionRedaction::new(RedactionRules::none());
        session.learn(values(0..1));
        assert_eq!(session.redact("value-000000"), "value-000000");
    }
}
