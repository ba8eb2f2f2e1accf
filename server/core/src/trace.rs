//! The W3C trace context: in which trace somebody asks, and as which span. Text in, text out;
//! who records spans, and where, is nothing of this room.

use std::fmt;

use data_encoding::HEXLOWER;

/// Bytes of a `traceparent` of version 00: `00-` trace id `-` span id `-` flags.
const TRACEPARENT_BYTES: usize = 55;

/// Bytes of a `tracestate` at most, as the recommendation has it for what is passed on.
const MAX_TRACESTATE_BYTES: usize = 512;

/// The trace is recorded.
const SAMPLED: u8 = 0x01;

/// The flags that have a meaning: sampled, and that the trace id is random.
const KNOWN_FLAGS: u8 = 0x03;

/// Where somebody stands in a trace.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: String,
}

impl TraceContext {
    /// A context of these parts; nothing where an id is all zero. A state that may not be
    /// passed on is left out.
    #[must_use]
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], flags: u8, state: &str) -> Option<Self> {
        let valid = trace_id != [0; 16] && span_id != [0; 8];
        valid.then(|| Self {
            trace_id,
            span_id,
            flags: flags & KNOWN_FLAGS,
            state: passable(state).to_owned(),
        })
    }

    /// Reads the two headers; nothing where the first is not good, as if it were not there.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: &str) -> Option<Self> {
        let head = traceparent.get(..TRACEPARENT_BYTES)?;
        let rest = traceparent.get(TRACEPARENT_BYTES..)?;
        let mut parts = head.split('-');
        let version = parts.next()?;
        let ids = (parts.next()?, parts.next()?, parts.next()?);
        let known = match version {
            "00" => rest.is_empty(),
            // A later version may have more to say, and forbids this one.
            "ff" => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        if !known || parts.next().is_some() {
            return None;
        }
        let [_version] = hex::<1>(version)?;
        let [flags] = hex::<1>(ids.2)?;
        Self::new(hex(ids.0)?, hex(ids.1)?, flags, tracestate)
    }

    /// Whether whoever asked records the trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The span.
    #[must_use]
    pub const fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// The trace's id as records and logs have it: 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        HEXLOWER.encode(&self.trace_id)
    }

    /// The span's id: 16 lower-case hex digits.
    #[must_use]
    pub fn span_id_text(&self) -> String {
        HEXLOWER.encode(&self.span_id)
    }

    /// The header, and the variable, of this name.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let (trace, span) = (self.trace_id_text(), self.span_id_text());
        format!("00-{trace}-{span}-{:02x}", self.flags)
    }

    /// What tracing systems have to say to each other; may be empty.
    #[must_use]
    pub fn tracestate(&self) -> &str {
        &self.state
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

/// Lower-case hex digits of `N` bytes, exactly.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The state, if it may be passed on: short, and printable.
fn passable(state: &str) -> &str {
    let state = state.trim();
    let printable = state.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match printable && state.len() <= MAX_TRACESTATE_BYTES {
        true => state,
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written_again() {
        let context = TraceContext::parse(GOOD, " a=1,b=2 ").unwrap();
        assert_eq!(context.traceparent(), GOOD);
        assert_eq!(context.tracestate(), "a=1,b=2");
        assert_eq!(context.trace_id_text(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id_text(), "b7ad6b7169203331");
        assert!(context.is_sampled());
        let unsampled = TraceContext::parse(&GOOD.replace("-01", "-00"), "").unwrap();
        assert!(!unsampled.is_sampled());
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for later in [
            GOOD.replacen("00", "cc", 1),
            GOOD.replacen("00", "01", 1) + "-more",
        ] {
            let context = TraceContext::parse(&later, "").unwrap();
            assert_eq!(context.traceparent(), GOOD, "{later}");
        }
        let flags = GOOD.replace("-01", "-ff");
        assert_eq!(TraceContext::parse(&flags, "").unwrap().flags(), 0x03);
    }

    #[test]
    fn what_is_not_good_counts_as_missing() {
        let zero_trace = GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_span = GOOD.replace("b7ad6b7169203331", &"0".repeat(16));
        let bad = [
            String::new(),
            zero_trace,
            zero_span,
            GOOD.to_uppercase(),
            GOOD.replacen("00", "ff", 1),
            format!("{GOOD}-more"),
            format!("{GOOD}0"),
            GOOD.replace("-01", "-0x"),
            GOOD.replacen("00-", "0a7-", 1),
            GOOD.replace("-b7", "é7"),
            GOOD[..54].to_owned(),
        ];
        for bad in bad {
            assert_eq!(TraceContext::parse(&bad, ""), None, "{bad}");
        }
    }

    #[test]
    fn a_state_that_may_not_be_passed_on_is_left_out() {
        for state in ["a=1\nb=2", "ä=1", &"a".repeat(513)] {
            assert_eq!(TraceContext::parse(GOOD, state).unwrap().tracestate(), "");
        }
    }
}
