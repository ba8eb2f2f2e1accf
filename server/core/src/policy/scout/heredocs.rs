//! Heredocs: their bodies stand where nothing else does, behind the next newline.

use super::frames::{Frame, Script};
use super::{Refusal, Scan, refusal};

/// A heredoc whose body is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    delimiter: Vec<u8>,
    expands: bool,
    tabs: bool,
    /// How many frames there were.
    depth: usize,
}

impl Scan<'_> {
    /// Notes a heredoc from its delimiter word.
    pub(super) fn note_heredoc(&mut self, start: usize, tabs: bool) -> Result<(), Refusal> {
        let raw = self.text.get(start..self.at).unwrap_or_default();
        let quoted = raw.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'\\'));
        let delimiter: Vec<u8> = raw
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'\'' | b'"' | b'\\'))
            .collect();
        let plain =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'!');
        if delimiter.is_empty() || !delimiter.iter().all(plain) {
            return Err(refusal(start, "an unusual heredoc delimiter"));
        }
        let depth = self.frames.len();
        self.pending.push(Pending {
            delimiter,
            expands: !quoted,
            tabs,
            depth,
        });
        Ok(())
    }

    /// At a newline: goes over the bodies of the heredocs that wait for it.
    pub(super) fn bodies(&mut self) -> Result<(), Refusal> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let depth = self.frames.len();
        if self.pending.iter().any(|heredoc| heredoc.depth != depth) {
            return Err(refusal(
                self.at,
                "a heredoc whose body stands in other brackets",
            ));
        }
        if self.frames.iter().any(Frame::is_backquoted) {
            return Err(refusal(self.at, "a heredoc within backquotes"));
        }
        let mut bodies = Vec::new();
        let mut at = self.at;
        for heredoc in std::mem::take(&mut self.pending) {
            let Some((end, resume)) = self.body(&heredoc, at) else {
                let what = "a heredoc without its end";
                return Err(Refusal {
                    at,
                    what,
                    unfinished: true,
                });
            };
            if heredoc.expands {
                bodies.push((at, end));
            } else {
                self.data += end - at;
            }
            at = resume;
        }
        self.enter(&bodies, at);
        Ok(())
    }

    /// Scans the expanded bodies one after the other, then goes on at `resume`.
    fn enter(&mut self, bodies: &[(usize, usize)], resume: usize) {
        let mut after = resume;
        for (start, end) in bodies.iter().rev() {
            self.frames.push(Frame::Heredoc {
                end: *end,
                resume: after,
            });
            after = *start;
        }
        self.at = after;
    }

    /// Where the body at `start` ends, and where the text goes on.
    fn body(&self, heredoc: &Pending, start: usize) -> Option<(usize, usize)> {
        let mut at = start;
        while at < self.text.len() {
            let rest = self.text.get(at..).unwrap_or_default();
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            let tabs = if heredoc.tabs {
                line.iter().take_while(|byte| **byte == b'\t').count()
            } else {
                0
            };
            if line.get(tabs..) == Some(heredoc.delimiter.as_slice()) {
                return Some((at, (at + length + 1).min(self.text.len())));
            }
            at += length + 1;
        }
        None
    }

    /// A body that is expanded.
    pub(super) fn heredoc(&mut self, end: usize, resume: usize) -> Result<(), Refusal> {
        if self.at > end {
            return Err(refusal(end, "a substitution that leaves its heredoc"));
        }
        match self.byte(0) {
            _ if self.at == end => {
                self.pop(0);
                self.at = resume;
            }
            Some(b'\\') => self.escaped()?,
            _ if self.expansion(true)? => {}
            _ => self.at += 1,
        }
        Ok(())
    }

    /// The script frame on top, to change it.
    pub(super) fn top(&mut self) -> Option<&mut Script> {
        match self.frames.last_mut() {
            Some(Frame::Script(script)) => Some(script),
            _ => None,
        }
    }
}
