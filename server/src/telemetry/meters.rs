//! The instruments, and which of them a fact moves. One set of them feeds the collector and
//! Prometheus alike.
//!
//! Labels say what the code or the operator's configuration lists, never what a caller
//! chooses: no commands, paths, ids or names of sessions.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use execgate_core::audit::CommandKind;
use execgate_core::outcome::{Channel, Ending};
use execgate_core::redact::kinds;
use execgate_engine::telemetry::{Change, Fact, TargetKind, cause_word, outcome_word};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use super::instruments::{self as table, Instrument, Kind, SECONDS};
use super::queue::Drops;

/// What a label says where the true name is a caller's.
const OF_A_SESSION: &str = "session";

/// The instruments.
#[derive(Debug)]
pub(super) struct Meters {
    sessions_open: UpDownCounter<i64>,
    sessions_created: Counter<u64>,
    sessions_ended: Counter<u64>,
    executions: Counter<u64>,
    running: UpDownCounter<i64>,
    waiting: UpDownCounter<i64>,
    denied: Counter<u64>,
    stage: Histogram<f64>,
    output: Counter<u64>,
    redactions: Counter<u64>,
    audit_sync: Histogram<f64>,
    calls: Histogram<f64>,
    /// Names of redactions that are not a session's own.
    names: HashSet<String>,
}

impl Meters {
    /// Makes the instruments. `names` are those that the operator gave to secrets and rules.
    pub(super) fn new(meter: &Meter, drops: Arc<Drops>, names: HashSet<String>) -> Self {
        exported(meter, Arc::clone(&drops));
        dropped(meter, drops);
        let names = names.into_iter().chain(kinds().map(str::to_owned));
        Self {
            sessions_open: up_down(meter, &table::SESSIONS_OPEN),
            sessions_created: counter(meter, &table::SESSIONS_CREATED),
            sessions_ended: counter(meter, &table::SESSIONS_ENDED),
            executions: counter(meter, &table::EXECUTIONS),
            running: up_down(meter, &table::RUNNING),
            waiting: up_down(meter, &table::WAITING),
            denied: counter(meter, &table::DENIED),
            stage: histogram(meter, &table::STAGE),
            output: counter(meter, &table::OUTPUT),
            redactions: counter(meter, &table::REDACTIONS),
            audit_sync: histogram(meter, &table::AUDIT_SYNC),
            calls: histogram(meter, &table::CALLS),
            names: names.collect(),
        }
    }

    /// Moves what a fact is about.
    pub(super) fn note(&self, fact: &Fact<'_>) {
        match fact {
            Fact::SessionCreated { target } => {
                self.sessions_created.add(1, &[of_target(*target)]);
                self.sessions_open.add(1, &[of_target(*target)]);
            }
            Fact::SessionEnded { target, reason } => {
                let reason = KeyValue::new("reason", reason.as_str());
                self.sessions_ended.add(1, &[of_target(*target), reason]);
                self.sessions_open.add(-1, &[of_target(*target)]);
            }
            Fact::Denied { rule } => {
                let rule = rule.map_or_else(|| OF_A_SESSION.to_owned(), str::to_owned);
                self.denied.add(1, &[KeyValue::new("rule", rule)]);
            }
            Fact::Waiting(change) => self.waiting.add(step(*change), &[]),
            Fact::Running(change) => self.running.add(step(*change), &[]),
            Fact::Ended {
                target,
                kind,
                ending,
            } => self.ended(*target, *kind, ending),
            Fact::Took { stage, time } => {
                let stage = KeyValue::new("stage", stage.as_str());
                self.stage.record(time.as_secs_f64(), &[stage]);
            }
            Fact::AuditSynced { time } => self.audit_sync.record(time.as_secs_f64(), &[]),
        }
    }

    fn ended(&self, target: TargetKind, kind: CommandKind, ending: &Ending) {
        let kind = match kind {
            CommandKind::Script => "script",
            CommandKind::Argv => "argv",
        };
        let labels = [
            of_target(target),
            KeyValue::new("kind", kind),
            KeyValue::new("outcome", outcome_word(&ending.outcome)),
            KeyValue::new("cause", cause_word(ending.cause)),
        ];
        self.executions.add(1, &labels);
        for total in ending.totals.iter().filter(|total| total.bytes > 0) {
            let channel = KeyValue::new("channel", channel(total.channel));
            self.output.add(total.bytes, &[channel]);
            for (name, places) in total.redacted.iter() {
                let name = match self.names.contains(name) {
                    true => name.to_owned(),
                    false => OF_A_SESSION.to_owned(),
                };
                self.redactions.add(places, &[KeyValue::new("kind", name)]);
            }
        }
    }

    /// A call is over.
    pub(super) fn call(&self, method: &'static str, status: &'static str, time: Duration) {
        let labels = [
            KeyValue::new("rpc.method", method),
            KeyValue::new("rpc.response.status_code", status),
        ];
        self.calls.record(time.as_secs_f64(), &labels);
    }
}

fn step(change: Change) -> i64 {
    match change {
        Change::More => 1,
        Change::Less => -1,
    }
}

fn of_target(target: TargetKind) -> KeyValue {
    KeyValue::new("target", target.as_str())
}

const fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Stdout => "stdout",
        Channel::Stderr => "stderr",
        Channel::Terminal => "terminal",
        Channel::Background => "background",
    }
}

fn counter(meter: &Meter, instrument: &Instrument) -> Counter<u64> {
    debug_assert_eq!(instrument.kind, Kind::Counter, "{}", instrument.name);
    meter
        .u64_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .build()
}

fn up_down(meter: &Meter, instrument: &Instrument) -> UpDownCounter<i64> {
    debug_assert_eq!(instrument.kind, Kind::UpDown, "{}", instrument.name);
    meter
        .i64_up_down_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .build()
}

fn histogram(meter: &Meter, instrument: &Instrument) -> Histogram<f64> {
    debug_assert_eq!(instrument.kind, Kind::Histogram, "{}", instrument.name);
    meter
        .f64_histogram(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .with_boundaries(SECONDS.to_vec())
        .build()
}

fn exported(meter: &Meter, drops: Arc<Drops>) {
    let instrument = &table::SPANS_EXPORTED;
    meter
        .u64_observable_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .with_callback(move |seen| seen.observe(drops.exported.load(Ordering::Relaxed), &[]))
        .build();
}

fn dropped(meter: &Meter, drops: Arc<Drops>) {
    let instrument = &table::SPANS_DROPPED;
    meter
        .u64_observable_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .with_callback(move |seen| {
            for (reason, count) in [
                ("queue_full", &drops.queue_full),
                ("export_failed", &drops.export_failed),
            ] {
                let reason = KeyValue::new("reason", reason);
                seen.observe(count.load(Ordering::Relaxed), &[reason]);
            }
        })
        .build();
}
