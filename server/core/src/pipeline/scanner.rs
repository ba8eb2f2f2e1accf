//! Finds the markers of the framing in one stream of bytes, however it is cut up.
//!
//! All that is no marker of a known token passes through as slices of what came in,
//! byte for byte. Only the beginning of what may become a marker is held back.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::framing::{ENVIRONMENT_SIGN, RECORD_SEPARATOR, START_SIGN, Token};

/// Longest marker, in bytes: a Linux path (4096) and the fixed parts, generously. A
/// longer candidate is output that happens to start like a marker.
const MAX_MARKER_BYTES: usize = 8 * 1024;

/// Longest environment, in bytes: twice what one string of a process's environment may be
/// on Linux (128 KiB).
const MAX_ENVIRONMENT_BYTES: usize = 256 * 1024;

/// What a stream holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Output.
    Data(Bytes),
    /// The start marker of the awaited token: the shell has read the command.
    Start,
    /// The end marker of the awaited token.
    End(Marker),
    /// The environment that was asked for with the awaited token.
    Environment(Bytes),
}

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marker {
    /// The command begins.
    Start,
    /// This stream is complete; the status is on the other.
    Plain,
    /// What `export -p` printed.
    Environment(Bytes),
    /// This stream is complete, and so ended the command.
    Status {
        /// The shell's `$?`, or a word of the framing.
        status: String,
        /// The shell's working directory.
        cwd: String,
    },
}

/// The scanner of one stream.
#[derive(Debug)]
pub(crate) struct Scanner {
    start: Finder<'static>,
    awaited: Option<Token>,
    /// The token before, whose marker may come twice: a trailer is sent again after an
    /// interrupt.
    previous: Option<Token>,
    held: BytesMut,
}

enum Candidate {
    Known {
        marker: Marker,
        awaited: bool,
        length: usize,
    },
    Unfinished,
    Output,
}

impl Scanner {
    pub(crate) fn new(marker_start: &[u8]) -> Self {
        Self {
            start: Finder::new(marker_start).into_owned(),
            awaited: None,
            previous: None,
            held: BytesMut::new(),
        }
    }

    /// Awaits the marker of `token` from now on.
    pub(crate) fn await_token(&mut self, token: Token) {
        let before = self.awaited.replace(token);
        if before.is_some() {
            self.previous = before;
        }
    }

    /// Takes the next bytes and hands on what they hold.
    pub(crate) fn push(&mut self, input: Bytes, pieces: &mut Vec<Piece>) {
        let mut rest = if self.held.is_empty() {
            input
        } else {
            self.held.extend_from_slice(&input);
            self.held.split().freeze()
        };
        while !rest.is_empty() {
            let Some(at) = self.start.find(&rest) else {
                let keep = self.partial_start(&rest);
                self.held
                    .extend_from_slice(&rest.split_off(rest.len() - keep));
                push_data(rest, pieces);
                return;
            };
            push_data(rest.split_to(at), pieces);
            match self.candidate(&rest) {
                Candidate::Known {
                    marker,
                    awaited,
                    length,
                } => {
                    drop(rest.split_to(length));
                    match marker {
                        Marker::Start if awaited => pieces.push(Piece::Start),
                        Marker::Environment(text) if awaited => {
                            self.previous = self.awaited.take();
                            pieces.push(Piece::Environment(text));
                        }
                        marker if awaited => {
                            self.previous = self.awaited.take();
                            pieces.push(Piece::End(marker));
                        }
                        _ => {}
                    }
                }
                Candidate::Unfinished => {
                    self.held.extend_from_slice(&rest);
                    return;
                }
                Candidate::Output => push_data(rest.split_to(1), pieces),
            }
        }
    }

    /// Hands out what was held back, when no more can come.
    pub(crate) fn finish(&mut self, pieces: &mut Vec<Piece>) {
        self.previous = self.awaited.take();
        push_data(self.held.split().freeze(), pieces);
    }

    /// How many bytes at the end of `bytes` are the beginning of a marker's start.
    fn partial_start(&self, bytes: &[u8]) -> usize {
        let start = self.start.needle();
        let window = bytes.len().min(start.len().saturating_sub(1));
        let tail = bytes.get(bytes.len() - window..).unwrap_or_default();
        memchr::memchr_iter(RECORD_SEPARATOR, tail)
            .map(|at| tail.get(at..).unwrap_or_default())
            .find(|suffix| start.starts_with(suffix))
            .map_or(0, <[u8]>::len)
    }

    /// What stands at the beginning of `bytes`, which begin with a marker's start.
    fn candidate(&self, bytes: &[u8]) -> Candidate {
        let after_start = bytes.get(self.start.needle().len()..).unwrap_or_default();
        let token = |known: &Option<Token>| {
            let known = known.as_ref()?.as_bytes();
            let seen = after_start.get(..known.len().min(after_start.len()))?;
            known.starts_with(seen).then_some(seen.len() == known.len())
        };
        let (awaited, whole) = match (token(&self.awaited), token(&self.previous)) {
            (Some(whole), _) => (true, whole),
            (None, Some(whole)) => (false, whole),
            (None, None) => return Candidate::Output,
        };
        if !whole {
            return Candidate::Unfinished;
        }
        let (token, body) = after_start.split_at(Token::CHARS.min(after_start.len()));
        let head = bytes.len() - body.len();
        match body.split_first() {
            None => Candidate::Unfinished,
            Some((&RECORD_SEPARATOR, _)) => Candidate::Known {
                marker: Marker::Plain,
                awaited,
                length: head + 1,
            },
            Some((&START_SIGN, [])) => Candidate::Unfinished,
            Some((&START_SIGN, [RECORD_SEPARATOR, ..])) => Candidate::Known {
                marker: Marker::Start,
                awaited,
                length: head + 2,
            },
            Some((b' ', body)) => match status_marker(body, token) {
                Some((marker, length)) => Candidate::Known {
                    marker,
                    awaited,
                    length: head + 1 + length,
                },
                None if bytes.len() > MAX_MARKER_BYTES => Candidate::Output,
                None => Candidate::Unfinished,
            },
            Some((&ENVIRONMENT_SIGN, body)) => match until_token(body, token) {
                Some((text, length)) => Candidate::Known {
                    marker: Marker::Environment(Bytes::copy_from_slice(text)),
                    awaited,
                    length: head + 1 + length,
                },
                None if bytes.len() > MAX_ENVIRONMENT_BYTES => Candidate::Output,
                None => Candidate::Unfinished,
            },
            Some(_) => Candidate::Output,
        }
    }
}

/// What stands before `RS token RS`, and how long it is with that; nothing where it is
/// not whole yet.
fn until_token<'a>(body: &'a [u8], token: &[u8]) -> Option<(&'a [u8], usize)> {
    let mut end = Vec::with_capacity(token.len() + 2);
    end.push(RECORD_SEPARATOR);
    end.extend_from_slice(token);
    end.push(RECORD_SEPARATOR);
    let at = memchr::memmem::find(body, &end)?;
    Some((body.get(..at)?, at + end.len()))
}

/// Reads `status SP cwd RS token RS`; nothing where it is not whole yet.
fn status_marker(body: &[u8], token: &[u8]) -> Option<(Marker, usize)> {
    let (text, length) = until_token(body, token)?;
    let text = String::from_utf8_lossy(text);
    let (status, cwd) = text.split_once(' ').unwrap_or((&text, ""));
    let marker = Marker::Status {
        status: status.to_owned(),
        cwd: cwd.to_owned(),
    };
    Some((marker, length))
}

fn push_data(bytes: Bytes, pieces: &mut Vec<Piece>) {
    if !bytes.is_empty() {
        pieces.push(Piece::Data(bytes));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: &[u8] = b"\x1exg:nonce:";

    fn token(byte: u8) -> Token {
        Token::new([byte; 16])
    }

    fn marker(token: &Token) -> Vec<u8> {
        [
            START,
            token.as_bytes(),
            b" 3 /a\nb\x1e",
            token.as_bytes(),
            b"\x1e",
        ]
        .concat()
    }

    /// The data joined, and where in it the ends stand.
    fn scan(chunks: &[&[u8]]) -> (Vec<u8>, Vec<(usize, Marker)>) {
        let mut scanner = Scanner::new(START);
        scanner.await_token(token(1));
        let mut pieces = Vec::new();
        for chunk in chunks {
            scanner.push(Bytes::copy_from_slice(chunk), &mut pieces);
        }
        scanner.finish(&mut pieces);
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Data(bytes) => data.extend_from_slice(&bytes),
                Piece::Start => ends.push((data.len(), Marker::Start)),
                Piece::End(marker) => ends.push((data.len(), marker)),
                Piece::Environment(text) => {
                    ends.push((data.len(), Marker::Environment(text)));
                }
            }
        }
        (data, ends)
    }

    fn ended() -> Marker {
        Marker::Status {
            status: "3".into(),
            cwd: "/a\nb".into(),
        }
    }

    #[test]
    fn a_marker_ends_the_stream_and_is_not_output() {
        let input = [b"out".as_slice(), &marker(&token(1)), b"later"].concat();
        assert_eq!(scan(&[&input]), (b"outlater".to_vec(), vec![(3, ended())]));
    }

    #[test]
    fn a_start_marker_says_that_the_command_begins() {
        let start = [START, token(1).as_bytes(), b">\x1e"].concat();
        let input = [b"before", start.as_slice(), b"out", &marker(&token(1))].concat();
        let found = vec![(6, Marker::Start), (9, ended())];
        assert_eq!(scan(&[&input]), (b"beforeout".to_vec(), found));
    }

    #[test]
    fn a_second_marker_of_the_same_token_is_dropped() {
        let input = [marker(&token(1)), marker(&token(1))].concat();
        assert_eq!(scan(&[&input]), (vec![], vec![(0, ended())]));
    }

    #[test]
    fn a_marker_with_an_unknown_token_is_output() {
        let forged = marker(&token(2));
        assert_eq!(scan(&[&forged]), (forged, vec![]));
    }

    #[test]
    fn a_plain_marker_says_only_that_the_stream_is_complete() {
        let input = [b"e", START, token(1).as_bytes(), b"\x1e"].concat();
        assert_eq!(scan(&[&input]), (b"e".to_vec(), vec![(1, Marker::Plain)]));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            mut parts in prop::collection::vec(prop_oneof![
                Just(START.to_vec()), Just(b"\x1e".to_vec()), Just(marker(&token(2))),
                Just(b"\x1exg:non".to_vec()), prop::collection::vec(any::<u8>(), 0..20)
            ], 0..6),
            cuts in prop::collection::vec(0usize..400, 0..8),
        ) {
            let output: Vec<u8> = parts.concat();
            parts.push(marker(&token(1)));
            let input = parts.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect();
            prop_assert_eq!(scan(&chunks), (output.clone(), vec![(output.len(), ended())]));
        }
    }
}
