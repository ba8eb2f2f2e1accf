//! Files in and out of a session.
//!
//! Each transfer is one execution of a small script beside the session's shell
//! (`files/put.sh`, `files/get.sh`), so it is judged, recorded and redacted as any
//! command is, works while another one runs, and leaves no state behind.

pub(crate) mod error;
pub(crate) mod get;
pub(crate) mod put;
mod source;
mod target;

use std::time::Duration;

use crate::command::{Command, OnDisconnect};
use crate::error::Error;
use crate::result::RunResult;

pub use source::Source;

/// The shell that runs the scripts; any POSIX shell will do.
const SHELL: &str = "/bin/sh";

/// Bytes of a file that are held at a time: enough to make calls and writes few.
const PIECE_BYTES: usize = 1024 * 1024;

/// A script as it is sent: without the comments, which audit records need not repeat.
fn script(text: &str) -> String {
    let lines = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A script with its name and its arguments. It is cancelled when its caller goes away:
/// nobody else could finish a transfer.
fn command(text: &str, words: Vec<String>, timeout: Option<Duration>) -> Command {
    let argv = [SHELL.to_owned(), "-c".to_owned(), script(text)];
    let command = Command::argv(argv.into_iter().chain(words)).on_disconnect(OnDisconnect::Cancel);
    match timeout {
        Some(timeout) => command.timeout(timeout),
        None => command,
    }
}

/// What a script reports of itself: the `N` words of its last line, after its name.
fn report<'a, const N: usize>(name: &str, said: &'a str) -> Result<[&'a str; N], Error> {
    let last = said.trim_end_matches('\n').rsplit('\n').next();
    let words = last.and_then(|line| line.strip_prefix(name)).unwrap_or("");
    let words: Vec<&str> = words.split_whitespace().collect();
    words.try_into().map_err(|_| Error::Protocol {
        what: "a file transfer ended without its report",
    })
}

/// Permissions as a script reports them.
fn mode(word: &str) -> Option<u32> {
    u32::from_str_radix(word, 8).ok()
}

/// A byte count as a script reports it.
fn size(word: &str) -> Result<u64, Error> {
    word.parse().map_err(|_| Error::Protocol {
        what: "a file transfer reported a size that is no number",
    })
}

/// The digits of a hash.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that was put into a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileWritten {
    /// The file in the session.
    pub path: String,
    /// How many bytes it has.
    pub size: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its permissions, if the target can tell.
    pub mode: Option<u32>,
    /// Whether its SHA-256 was checked there; else the target has no `sha256sum`, and
    /// only its size was.
    pub verified: bool,
}

/// A file that was gotten out of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileRead {
    /// The file in the session.
    pub path: String,
    /// How many bytes arrived.
    pub size: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its permissions, if the target can tell.
    pub mode: Option<u32>,
    /// Whether the SHA-256 is that of the file; else the target has no `sha256sum` and
    /// only the size was compared, or bytes were redacted.
    pub verified: bool,
    /// How many places the server hid; more than 0 only with
    /// [`Get::redacted_ok`](get::Get::redacted_ok).
    pub redactions: u64,
}

/// The error for a script that failed; none if it did not.
fn failed(what: error::Transfer, path: &str, result: &RunResult) -> Result<(), Error> {
    if result.success() {
        return Ok(());
    }
    Err(error::FileError::of_script(what, path, result).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_sent_without_comments() {
        for text in [put::SCRIPT, get::SCRIPT] {
            let sent = script(text);
            assert!(sent.starts_with("PATH=/usr/bin"), "{sent}");
            assert!(!sent.lines().any(|line| line.trim_start().starts_with('#')));
            assert!(sent.len() < text.len());
        }
    }

    #[test]
    fn report_is_the_last_line_and_nothing_else() {
        let said = "cat: noise\nexecgate-get 12 644 -\n";
        assert_eq!(
            report::<3>("execgate-get ", said).unwrap(),
            ["12", "644", "-"]
        );
        for other in ["", "execgate-get 12 644", "execgate-get 1 2 -\nmore"] {
            assert!(report::<3>("execgate-get ", other).is_err(), "{other:?}");
        }
    }
}
