//! The table of what is measured: one line for each instrument, its unit, its labels and what
//! they can say. `docs/telemetry.md` has the same table, and a test that they agree.

/// What kind of number an instrument gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    UpDown,
    /// A distribution of seconds.
    Histogram,
}

/// One instrument.
#[derive(Debug)]
pub(super) struct Instrument {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: &'static str,
    /// Its labels; what they can say is bounded by the code or by the operator.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the documentation's table is made of it")
    )]
    pub(super) labels: &'static [&'static str],
    pub(super) description: &'static str,
}

/// Upper bounds of the buckets of all histograms, in seconds: from what a policy takes for a
/// short command to what a build takes.
pub(super) const SECONDS: [f64; 20] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
];

macro_rules! instruments {
    ($($constant:ident = $name:literal, $kind:ident, $unit:literal, [$($label:literal),*], $text:literal;)*) => {
        $(
            #[doc = $text]
            pub(super) const $constant: Instrument = Instrument {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                description: $text,
            };
        )*

        /// All of them, in the order of the documentation.
        #[cfg(test)]
        pub(super) const ALL: &[&Instrument] = &[$(&$constant),*];
    };
}

instruments! {
    SESSIONS_OPEN = "execgate.sessions.open", UpDown, "{session}", ["target"],
        "sessions that are open";
    SESSIONS_CREATED = "execgate.sessions.created", Counter, "{session}", ["target"],
        "sessions that were created";
    SESSIONS_ENDED = "execgate.sessions.ended", Counter, "{session}", ["target", "reason"],
        "sessions that are over";
    EXECUTIONS = "execgate.executions", Counter, "{execution}",
        ["target", "kind", "outcome", "cause"],
        "commands that are over";
    RUNNING = "execgate.executions.running", UpDown, "{execution}", [],
        "commands that run";
    WAITING = "execgate.executions.waiting", UpDown, "{execution}", [],
        "commands that wait in their session's queue";
    DENIED = "execgate.executions.denied", Counter, "{execution}", ["rule"],
        "commands that the policy denied";
    STAGE = "execgate.stage.duration", Histogram, "s", ["stage"],
        "where the time of commands goes";
    OUTPUT = "execgate.output", Counter, "By", ["channel"],
        "bytes that commands wrote, redacted";
    REDACTIONS = "execgate.redactions", Counter, "{place}", ["kind"],
        "places of output that were hidden";
    AUDIT_SYNC = "execgate.audit.sync.duration", Histogram, "s", [],
        "how long the audit log took to reach stable storage";
    CALLS = "rpc.server.call.duration", Histogram, "s",
        ["rpc.method", "rpc.response.status_code"],
        "calls, to the end of their streams";
    SPANS_EXPORTED = "execgate.telemetry.spans.exported", Counter, "{span}", [],
        "spans that the collector has taken";
    SPANS_DROPPED = "execgate.telemetry.spans.dropped", Counter, "{span}", ["reason"],
        "spans that nobody will see";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the documentation's table.
    fn line(instrument: &Instrument) -> String {
        let kind = match instrument.kind {
            Kind::Counter => "counter",
            Kind::UpDown => "up and down",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = instrument
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let Instrument {
            name,
            unit,
            description,
            ..
        } = instrument;
        format!(
            "| `{name}` | {kind} | `{unit}` | {} | {description} |",
            labels.join(", ")
        )
    }

    #[test]
    fn the_documentation_has_this_table() {
        let page = include_str!("../../../docs/telemetry.md");
        let (_, page) = page.split_once("## Metrics").unwrap();
        let rows = |row: &&str| row.starts_with("| `execgate.") || row.starts_with("| `rpc.");
        let documented: Vec<_> = page.lines().filter(rows).collect();
        let ours: Vec<_> = ALL.iter().map(|instrument| line(instrument)).collect();
        assert_eq!(documented, ours, "{}", ours.join("\n"));
    }
}
