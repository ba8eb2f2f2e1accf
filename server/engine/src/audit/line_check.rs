//! The check itself, fed line by line: the chain, the tree, the heads, and what a line is
//! that does not fit.

use std::collections::BTreeMap;

use execgate_core::audit::{
    AuditBody, AuditRecord, ChainFault, ChainState, NoteVerifier, ResumePoint, TreeHead,
    decode_line,
};

use super::verify::{Defect, DefectKind, Verification, VerifyRequest};

/// A head that the tree has to have, and where it comes from.
#[derive(Clone, Debug)]
struct Expected {
    head: TreeHead,
    source: &'static str,
}

/// A check that is fed line by line.
#[derive(Debug)]
pub(super) struct LineCheck {
    from: u64,
    to: u64,
    chain: ChainState,
    /// The tree, as long as nothing of it is missing.
    tree: Option<ResumePoint>,
    begun: bool,
    keys: Vec<NoteVerifier>,
    keys_given: bool,
    /// Heads, by size.
    expected: BTreeMap<u64, Vec<Expected>>,
    /// Whether the end of the log was reached.
    ended: bool,
    fitting: u64,
    report: Verification,
    /// The records that the first head which does not fit leaves open, and what to say of
    /// them if the chain names none.
    suspect: Option<(u64, Defect)>,
    /// A line that does not fit: what it is, is seen by what comes after it.
    misfit: Option<u64>,
}

impl LineCheck {
    /// A check that begins at `start`, with these keys.
    pub(super) fn new(
        request: &VerifyRequest,
        keys: Vec<NoteVerifier>,
        start: ResumePoint,
    ) -> Self {
        let mut check = Self {
            from: request.from,
            to: request.to,
            chain: start.chain(),
            fitting: start.frontier.size(),
            tree: Some(start),
            begun: false,
            keys_given: !keys.is_empty(),
            keys,
            expected: BTreeMap::new(),
            ended: false,
            report: Verification::default(),
            suspect: None,
            misfit: None,
        };
        for note in &request.known_heads {
            check.expect(note, "a head that was kept elsewhere");
        }
        check
    }

    pub(super) fn expect(&mut self, note: &str, source: &'static str) {
        let opened: Vec<_> = self.keys.iter().map(|key| key.open_head(note)).collect();
        if let Some(head) = opened.iter().find_map(|head| head.as_ref().ok()) {
            let expected = Expected {
                head: *head,
                source,
            };
            self.expected.entry(head.size).or_default().push(expected);
            return;
        }
        let claimed = note.lines().nth(1).and_then(|size| size.parse().ok());
        let problem = opened.into_iter().find_map(Result::err);
        let problem = problem.map_or_else(|| "no key is known".to_owned(), |e| e.to_string());
        self.fail(
            claimed.unwrap_or_default(),
            DefectKind::BadSignature,
            format!("{source} is not signed by the key: {problem}"),
        );
    }

    /// The last sequence that was read.
    pub(super) const fn position(&self) -> u64 {
        self.chain.sequence
    }

    /// Whether there are keys that heads have to be signed by.
    pub(super) const fn has_keys(&self) -> bool {
        self.keys_given
    }

    /// Whether it is still to be seen what a line is that did not fit.
    pub(super) const fn has_misfit(&self) -> bool {
        self.misfit.is_some()
    }

    /// Whether a head covers records that have not been read.
    pub(super) fn is_covered_beyond(&self) -> bool {
        let next = self.chain.sequence.saturating_add(1);
        self.expected.range(next..).next().is_some()
    }

    /// Says that a crash left this much of a record.
    pub(super) const fn torn(&mut self, bytes: u64) {
        self.report.torn_bytes = bytes;
    }

    /// Whether another line would say anything new.
    pub(super) fn wants_more(&self) -> bool {
        let first_found = self.report.defect.as_ref();
        let chain_broken = first_found.is_some_and(|defect| {
            defect.kind != DefectKind::BadSignature || defect.sequence <= self.chain.sequence
        });
        !chain_broken && (self.to == 0 || self.chain.sequence < self.to)
    }

    /// Keeps the defect of the lowest record.
    pub(super) fn fail(&mut self, sequence: u64, kind: DefectKind, detail: String) {
        let known = self.report.defect.as_ref();
        if known.is_none_or(|known| sequence < known.sequence) {
            self.report.defect = Some(Defect {
                sequence,
                kind,
                detail,
            });
        }
    }

    /// Takes the next line, without its line feed.
    pub(super) fn line(&mut self, line: &[u8]) {
        let expected = self.chain.sequence.saturating_add(1);
        if !self.begun && self.from > expected {
            self.skip(line);
            return;
        }
        self.begun = true;
        match self.chain.verify_line(line) {
            Ok(verified) => {
                let hash = verified.hash;
                match verified.record() {
                    Ok(record) => self.observe(&record),
                    Err(fault) => {
                        self.fail(expected, DefectKind::Unreadable, fault.to_string());
                    }
                }
                self.count(expected);
                if let Some(tree) = &mut self.tree {
                    tree.push(hash);
                }
                self.check_heads(expected);
            }
            Err(error) => self.diagnose(line, expected, error.fault),
        }
    }

    /// Passes a record over that is before those to be checked.
    fn skip(&mut self, line: &[u8]) {
        self.tree = None;
        self.chain.sequence = self.chain.sequence.saturating_add(1);
        if let Ok(line) = decode_line(line) {
            self.chain = ChainState {
                sequence: line.sequence,
                hash: line.hash,
            };
        }
    }

    const fn count(&mut self, sequence: u64) {
        if self.report.first == 0 {
            self.report.first = sequence;
        }
        self.report.last = sequence;
        self.report.checked = self.report.checked.saturating_add(1);
    }

    /// Says what a line is that does not fit.
    fn diagnose(&mut self, line: &[u8], expected: u64, fault: ChainFault) {
        let detail = fault.to_string();
        match (fault, decode_line(line)) {
            (ChainFault::WrongSequence { found, .. }, _) if found < expected => {
                self.fail(
                    found,
                    DefectKind::Inserted,
                    format!(
                        "another record {found} follows record {}",
                        expected.saturating_sub(1)
                    ),
                );
            }
            (ChainFault::WrongSequence { .. }, _) => {
                self.fail(expected, DefectKind::Missing, detail);
                self.misfit = Some(expected);
            }
            // Its own hash is right, and it names another record before it than the one
            // that is there: that one was changed, and its hash made to fit.
            (ChainFault::WrongPrevious, Ok(_)) => {
                let before = expected.saturating_sub(1).max(1);
                let detail = format!("record {expected} was written after another record {before}");
                self.fail(before, DefectKind::Changed, detail);
            }
            (ChainFault::Malformed, _) => {
                self.fail(expected, DefectKind::Unreadable, detail);
            }
            (ChainFault::HashMismatch | ChainFault::WrongPrevious, _) => {
                self.fail(expected, DefectKind::Changed, detail);
            }
        }
    }

    /// A line behind one that did not fit: if it is the one that was missing, nothing is
    /// missing, but out of order.
    pub(super) fn after_misfit(&mut self, line: &[u8]) {
        let Some(missing) = self.misfit else { return };
        if decode_line(line).is_ok_and(|line| line.sequence == missing) {
            if let Some(defect) = &mut self.report.defect
                && defect.sequence == missing
            {
                defect.kind = DefectKind::Reordered;
                defect.detail = format!("record {missing} stands behind later ones");
            }
            self.misfit = None;
        }
    }

    /// Learns the keys that the log names, unless they were given.
    fn observe(&mut self, record: &AuditRecord) {
        let AuditBody::ServerStarted(started) = &record.body else {
            return;
        };
        let Ok(key) = NoteVerifier::parse(&started.verifier_key) else {
            return;
        };
        if self.keys.contains(&key) {
            return;
        }
        if self.keys_given {
            let detail = format!("from here on another key signs: {key}");
            self.fail(record.sequence, DefectKind::BadSignature, detail);
        } else {
            self.keys.push(key);
        }
    }

    fn check_heads(&mut self, size: u64) {
        let (Some(tree), Some(expected)) = (&self.tree, self.expected.remove(&size)) else {
            return;
        };
        let root = tree.frontier.root();
        for Expected { head, source } in expected {
            if head.root == root {
                self.fitting = size;
                self.report.heads = self.report.heads.saturating_add(1);
            } else if self.suspect.is_none() {
                let first = self.fitting.saturating_add(1);
                let defect = Defect {
                    sequence: first,
                    kind: DefectKind::Changed,
                    detail: format!(
                        "records {first} to {size} are not those that {source} was signed for"
                    ),
                };
                self.suspect = Some((size, defect));
            }
        }
    }

    /// Says that there are no more lines.
    pub(super) const fn end(&mut self) {
        self.ended = true;
    }

    /// What came of it.
    pub(super) fn finish(mut self) -> Verification {
        let last = self.chain.sequence;
        if self.ended {
            let beyond = self.expected.range(last.saturating_add(1)..).next_back();
            if let Some((size, heads)) = beyond {
                let source = heads.first().map_or("a head", |expected| expected.source);
                let detail =
                    format!("the log ends with record {last}; {source} is of record {size}");
                self.fail(last.saturating_add(1), DefectKind::Truncated, detail);
            }
        }
        if let Some((size, suspect)) = self.suspect.take() {
            let named = self.report.defect.as_ref();
            // The chain says it more exactly, where it says anything about these records.
            let exact = suspect.sequence..=size;
            if named.is_none_or(|named| !exact.contains(&named.sequence)) {
                self.fail(suspect.sequence, suspect.kind, suspect.detail);
            }
        }
        self.report.keys = self.keys;
        self.report
    }
}
