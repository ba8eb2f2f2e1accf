//! Short texts: ids, trace contexts, environments.

use execgate_core::environment;
use execgate_core::ids::{CheckpointId, ExecutionId, MAX_CHOSEN_ID_CHARS, SessionId};
use execgate_core::trace::TraceContext;

use super::Input;

/// An id is what it says it is, and nothing else is one.
pub(crate) fn ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let good = !text.is_empty()
        && text.len() <= MAX_CHOSEN_ID_CHARS
        && text
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'));
    let parsed = SessionId::parse(&text);
    assert_eq!(parsed.is_ok(), good, "{text:?}");
    assert_eq!(ExecutionId::parse(&text).is_ok(), good);
    assert_eq!(CheckpointId::parse(&text).is_ok(), good);
    if let Ok(id) = parsed {
        assert_eq!((id.as_str(), id.to_string().as_str()), (&*text, &*text));
    }
    if let Ok(random) = <[u8; 16]>::try_from(data) {
        let made = SessionId::from_random(random);
        assert_eq!(SessionId::parse(made.as_str()), Ok(made));
    }
}

/// A context that was read says the same again, and can be passed on as it is.
pub(crate) fn trace(data: &[u8]) {
    let mut input = Input(data);
    let parent = String::from_utf8_lossy(input.bytes()).into_owned();
    let state = String::from_utf8_lossy(input.rest()).into_owned();
    let Some(read) = TraceContext::parse(&parent, &state) else {
        return;
    };
    let again = TraceContext::parse(&read.traceparent(), read.tracestate());
    assert_eq!(again.as_ref(), Some(&read));
    assert!(
        read.tracestate()
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte))
    );
    assert!(state.contains(read.tracestate()));
    assert_eq!(read.trace_id_text().len(), 32);
}

/// Anything may be printed by `export -p` of a shell that was taken over; what a good one
/// prints is read back.
pub(crate) fn environment(data: &[u8]) {
    for (name, value) in environment::parse(data) {
        assert!(!name.is_empty() && name.len() <= data.len(), "{name:?}");
        assert!(value.len() <= data.len());
    }
    let value = String::from_utf8_lossy(data).replace('\0', "");
    // As dash and busybox print it.
    let quoted = value.replace('\'', "'\"'\"'");
    let printed = format!("export A='{quoted}'\nexport B='after'\n");
    let expected = [
        ("A".to_owned(), value),
        ("B".to_owned(), "after".to_owned()),
    ];
    assert_eq!(environment::parse(printed.as_bytes()), expected);
}
