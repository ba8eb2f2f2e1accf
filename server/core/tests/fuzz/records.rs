//! The audit log as it is read back: somebody else may have written into the directory.

use execgate_core::audit::{
    AuditBody, AuditKind, ChainState, Digest, Micros, NewRecord, NoteSigner, NoteVerifier,
    ResumePoint, SessionLost, TreeHead, Unfinished, decode_line, ocsf, verify,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Input;

/// Any line is a record or damaged; what is a record can be shown, and counted.
pub(crate) fn line(data: &[u8]) {
    assert!(decode_line(data).is_err() || data.len() > 64);
    // The same as what a forger writes: with a hash that is right.
    let Some(forged) = forged(data) else {
        return;
    };
    let Ok(line) = decode_line(&forged) else {
        return;
    };
    let Ok(record) = line.record() else {
        return;
    };
    assert_eq!(record.payload.as_bytes(), data);
    let event = ocsf::event(&record);
    assert!(event.is_object());
    let _kind: AuditKind = record.body.kind();
    let mut unfinished = Unfinished::default();
    unfinished.observe(&record);
    for record in unfinished.into_closing_records(Micros(1), 0) {
        let mut out = Vec::new();
        ChainState::default().append(&record, 0, &mut out).unwrap();
    }
    // What was read can be written, and is the same then.
    let new = NewRecord {
        time: record.time,
        principal: record.principal.clone(),
        session_id: record.session_id.clone(),
        execution_id: record.execution_id.clone(),
        trace_id: record.trace_id.clone(),
        auth: record.auth,
        body: record.body.clone(),
    };
    let mut out = Vec::new();
    let mut state = ChainState {
        sequence: record.sequence.saturating_sub(1),
        hash: record.previous_hash,
    };
    if state.append(&new, line.durable, &mut out).is_ok() {
        let written = decode_line(out.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!(written.record().unwrap().body, record.body);
    }
}

/// A line around a payload, with the hash that belongs to it.
fn forged(payload: &[u8]) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let previous = Digest::from_hex(value.get("previous_hash")?.as_str()?.as_bytes())?;
    let hash = Sha256::new()
        .chain_update(previous.0)
        .chain_update(payload)
        .finalize();
    let mut line = Digest(hash.into()).to_string().into_bytes();
    line.push(b' ');
    line.extend_from_slice(payload);
    Some(line)
}

/// Records of any text make a chain that holds, and no longer once one byte is another.
pub(crate) fn chain(data: &[u8]) {
    let mut input = Input(data);
    let (place, change) = (input.byte(), input.byte().max(1));
    let mut state = ChainState::default();
    let mut log = Vec::new();
    for number in 0..3_u8 {
        let text = String::from_utf8_lossy(input.bytes()).into_owned();
        let record = NewRecord {
            time: Micros(u64::from(number)),
            principal: text.clone(),
            session_id: Some(text.clone()),
            execution_id: None,
            trace_id: None,
            auth: None,
            body: AuditBody::SessionLost(SessionLost {
                reason: text,
                loss: None,
            }),
        };
        state.append(&record, 0, &mut log).unwrap();
    }
    let lines = |log: &[u8]| -> Vec<Vec<u8>> {
        let log = log.strip_suffix(b"\n").unwrap_or(log);
        log.split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let check = |log: &[u8]| {
        let lines = lines(log);
        verify(ChainState::default(), lines.iter().map(Vec::as_slice))
    };
    assert_eq!(check(&log), Ok(state));
    let at = usize::from(place) * (log.len() - 1) / 256;
    log[at] ^= change;
    assert_ne!(check(&log), Ok(state), "byte {at}");
}

/// Any text is a note, a key or nothing; what was signed opens, and nothing near it does.
pub(crate) fn note(data: &[u8]) {
    let mut input = Input(data);
    let (place, change) = (input.byte(), input.byte());
    let text = String::from_utf8_lossy(input.rest());
    let signer = NoteSigner::from_seed(&Zeroizing::new([7; 32]));
    let verifier = signer.verifier();
    let _none = (
        verifier.open_head(&text),
        ResumePoint::open(verifier, &text),
    );
    if let Ok(read) = NoteVerifier::parse(&text) {
        assert_eq!(NoteVerifier::parse(&read.to_string()), Ok(read));
    }
    let head = TreeHead {
        size: text.len() as u64,
        root: Digest(Sha256::digest(text.as_bytes()).into()),
    };
    assert_eq!(verifier.open_head(&signer.sign_head(&head)), Ok(head));
    // Whatever it says: a text that ends with a line end can be signed.
    let whole = format!("{text}\n");
    let signed = signer.sign(&whole);
    if let Ok(opened) = verifier.open(&signed) {
        assert_eq!(opened, whole);
    }
    let _resumed = ResumePoint::open(verifier, &signed);
    let mut changed = signed.clone().into_bytes();
    let at = usize::from(place) * (changed.len() - 1) / 256;
    changed[at] ^= change;
    if let Ok(changed) = String::from_utf8(changed)
        && changed != signed
        && let Ok(opened) = verifier.open(&changed)
    {
        assert_eq!(opened, whole, "byte {at} of {signed:?}");
    }
}
