//! What the engine tells of its work, beside its records: facts that are counted and timed,
//! and the spans of commands. Who listens, and what becomes of it, is the embedder's affair
//! ([`Telemetry`]); where nobody does, [`Silent`] costs next to nothing.

mod fact;
mod trace;

use std::fmt;

use execgate_core::trace::TraceContext;
use tracing::Span;

pub use fact::{Change, Fact, SessionEnd, Stage, TargetKind, cause_word, outcome_word};
pub(crate) use trace::{CommandTrace, SessionTrace, StageTimer, Subject};

/// Who is told what happens.
pub trait Telemetry: fmt::Debug + Send + Sync + 'static {
    /// Something happened that is counted or timed. Called where commands run: never waits.
    fn note(&self, fact: &Fact<'_>);

    /// Puts a span where it belongs; answers the context of what happens within it: the
    /// span's own, or the asker's where no span is recorded.
    fn place(&self, span: &Span, placement: &Placement<'_>) -> Option<TraceContext>;
}

/// Where a span belongs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placement<'a> {
    /// Who asked for what the span tells of.
    pub asked: Option<&'a TraceContext>,
    /// Where its session was created.
    pub session: Option<&'a TraceContext>,
    /// The command, redacted, which a span shows only where the operator wants it.
    pub command: Option<&'a str>,
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Telemetry for Silent {
    fn note(&self, _fact: &Fact<'_>) {}

    fn place(&self, _span: &Span, placement: &Placement<'_>) -> Option<TraceContext> {
        placement.asked.cloned()
    }
}
