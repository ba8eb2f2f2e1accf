//! What all services share: the engine, the operator's settings that requests are
//! measured against, and the two translations that need the engine's rules (what may be
//! shown of a text, and of a denial). No state of its own.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use execgate_core::budget::OutputBudget;
use execgate_core::ids::Principal;
use execgate_core::policy::{Decision, Denial, Judgement, PolicyStack, ProgramFate};
use execgate_core::redact::redact_text;
use execgate_core::shell::ShellKind;
use execgate_engine::isolation::{ControlKind, ControlLevel};
use execgate_engine::session::Session;
use execgate_engine::target::Target;
use execgate_engine::{Engine, Error};

use super::refusal::{DeniedCommand, Refusal};

/// The longest time limit of a command: a day is longer than any build.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most bytes of a command in an answer; the audit log has all of it.
const MAX_SHOWN_COMMAND_BYTES: usize = 4096;
/// Most bytes of a process's command line in an answer.
const MAX_SHOWN_PROCESS_BYTES: usize = 1024;

/// What the operator's configuration says about sessions.
#[derive(Debug, Clone)]
pub(crate) struct SessionDefaults {
    /// Time limit of commands that name none.
    pub(crate) timeout: Duration,
    /// Idle time of sessions that name none.
    pub(crate) idle_ttl: Duration,
    /// The longest lifetime; nothing for no bound.
    pub(crate) max_lifetime: Option<Duration>,
    /// What Run returns when nobody says.
    pub(crate) budget: OutputBudget,
    /// Silence after which a stream carries a KeepAlive.
    pub(crate) keep_alive: Duration,
    /// What every session must have, enforced.
    pub(crate) require: Vec<ControlKind>,
}

impl SessionDefaults {
    /// The longest idle time that a session can have.
    pub(crate) fn max_idle_ttl(&self) -> Duration {
        self.max_lifetime.unwrap_or(MAX_TIMEOUT).max(self.idle_ttl)
    }
}

/// What the services work with.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) engine: Arc<Engine>,
    pub(crate) defaults: SessionDefaults,
    /// Bytes of a request.
    pub(crate) max_request_bytes: usize,
    /// The shells of this machine, best first.
    pub(crate) shells: Vec<ShellKind>,
}

impl Edge {
    /// How texts of this session, or of none, are shown.
    pub(crate) fn shown<'a>(&'a self, session: Option<&'a Session>) -> Shown<'a> {
        Shown {
            edge: self,
            session,
        }
    }

    /// A process's command line as a caller may see it.
    pub(crate) fn shown_process(command: &str, session: &Session) -> String {
        shorten(session.redact(command), MAX_SHOWN_PROCESS_BYTES)
    }

    /// A command, already redacted, as far as answers carry it.
    pub(crate) fn shown_command(command: &str) -> String {
        shorten(command.to_owned(), MAX_SHOWN_COMMAND_BYTES)
    }

    /// The policies that judge a session's commands, or those of a local one of this
    /// principal where there is none, the operator's first.
    pub(crate) fn policy_of(
        &self,
        session: Option<&Session>,
        principal: &Principal,
    ) -> PolicyStack {
        match session {
            Some(session) => session.policy(),
            None => self.engine.policy().stack(&Target::Local, principal, None),
        }
    }

    /// Whether the kernel, too, keeps the session (one like any other, where there is none)
    /// from a program that is denied here.
    pub(crate) fn enforcement(
        &self,
        judgement: &Judgement,
        policy: &PolicyStack,
        session: Option<&Session>,
    ) -> ControlLevel {
        let isolation = session.map_or(self.engine.isolation(), |session| &session.isolation);
        let denied = judgement.commands.iter();
        let denied = denied.filter(|command| command.decision == Decision::Deny);
        let withheld = denied
            .filter_map(|command| command.program.as_deref())
            .any(|program| policy.program(program) == ProgramFate::Denied);
        let rows = isolation.controls.iter();
        let row = rows.filter(|row| row.kind == ControlKind::ProgramExecution);
        match withheld {
            true => row
                .map(|row| row.level)
                .next()
                .unwrap_or(ControlLevel::Advisory),
            false => ControlLevel::Advisory,
        }
    }

    /// A denial with all that its caller may know.
    pub(crate) fn denied(
        &self,
        denial: Denial,
        policy: &PolicyStack,
        session: Option<&Session>,
    ) -> Refusal {
        Refusal::Denied(Box::new(DeniedCommand {
            excerpt: self.shown(session).redact(&denial.excerpt),
            policy_hash: HEXLOWER.encode(&policy.content_hash()),
            denial,
        }))
    }

    /// What the engine says about a command of this session.
    pub(crate) fn refused(&self, error: Arc<Error>, session: &Session) -> Refusal {
        match &*error {
            Error::PolicyDenied(denial) => {
                let policy = session.policy();
                self.denied(denial.as_ref().clone(), &policy, Some(session))
            }
            _ => Refusal::Engine(error),
        }
    }
}

/// How texts are shown: as their session hides secrets, or the operator where there is none.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    edge: &'a Edge,
    session: Option<&'a Session>,
}

impl Shown<'_> {
    /// A text as a caller may see it.
    pub(crate) fn redact(self, text: &str) -> String {
        match self.session {
            Some(session) => session.redact(text),
            None => redact_text(&self.edge.engine.settings().redaction, text),
        }
    }
}

/// At most so many bytes, cut between characters.
fn shorten(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}
