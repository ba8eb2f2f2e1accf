//! Why a file could not be put or gotten.

use std::fmt;

use crate::error::Error;
use crate::outcome::Outcome;
use crate::result::RunResult;

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Put,
    Get,
}

/// A file could not be put or gotten. Nothing was changed, on either side.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FileError {
    /// The file in the session.
    pub path: String,
    /// Why, for programs.
    pub reason: FileErrorReason,
    /// Why, for people.
    pub message: String,
    /// What the script that reads or writes it said, if it came that far.
    pub result: Option<Box<RunResult>>,
}

/// Why a file could not be put or gotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileErrorReason {
    /// There is no such file, or no directory to put it in.
    NotFound,
    /// It is a directory, or something else that is no regular file.
    NotRegular,
    /// It may not be read.
    NotReadable,
    /// Its directory may not be written to.
    NotWritable,
    /// Reading it failed.
    ReadFailed,
    /// Writing failed, for example because the disk is full.
    WriteFailed,
    /// Another number of bytes arrived than were sent.
    SizeMismatch,
    /// Other bytes arrived than were sent.
    HashMismatch,
    /// Too many symbolic links.
    LinkLoop,
    /// It changed while it was read: what arrived is no version of it. Try again.
    Changed,
    /// The server hid a secret that is in it, so what arrived is not the file.
    Redacted,
    /// Not all of it arrived.
    Incomplete,
    /// It is larger than what is held in memory; get it into a file.
    TooLarge,
    /// The transfer reached its time limit.
    Timeout,
    /// Something else; the message says what.
    TransferFailed,
}

impl FileErrorReason {
    /// Its name, the same in every client: `FILE_NOT_FOUND`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "FILE_NOT_FOUND",
            Self::NotRegular => "FILE_NOT_REGULAR",
            Self::NotReadable => "FILE_NOT_READABLE",
            Self::NotWritable => "FILE_NOT_WRITABLE",
            Self::ReadFailed => "FILE_READ_FAILED",
            Self::WriteFailed => "FILE_WRITE_FAILED",
            Self::SizeMismatch => "FILE_SIZE_MISMATCH",
            Self::HashMismatch => "FILE_HASH_MISMATCH",
            Self::LinkLoop => "FILE_LINK_LOOP",
            Self::Changed => "FILE_CHANGED",
            Self::Redacted => "FILE_REDACTED",
            Self::Incomplete => "FILE_INCOMPLETE",
            Self::TooLarge => "FILE_TOO_LARGE",
            Self::Timeout => "FILE_TIMEOUT",
            Self::TransferFailed => "FILE_TRANSFER_FAILED",
        }
    }

    /// By a script's exit code; `put.sh` and `get.sh` explain them.
    fn of_code(what: Transfer, code: i32) -> Self {
        match (code, what) {
            (65, _) => Self::NotRegular,
            (66, _) => Self::NotFound,
            (67, Transfer::Put) => Self::NotWritable,
            (67, Transfer::Get) => Self::NotReadable,
            (68, _) => Self::SizeMismatch,
            (69, _) => Self::HashMismatch,
            (70, Transfer::Get) => Self::ReadFailed,
            (70, Transfer::Put) | (71, _) => Self::WriteFailed,
            (72, _) => Self::LinkLoop,
            _ => Self::TransferFailed,
        }
    }
}

impl FileError {
    pub(crate) fn new(
        what: Transfer,
        path: &str,
        reason: FileErrorReason,
        why: impl fmt::Display,
    ) -> Self {
        let verb = match what {
            Transfer::Put => "put",
            Transfer::Get => "get",
        };
        Self {
            path: path.to_owned(),
            reason,
            message: format!("{verb} {path:?}: {why}"),
            result: None,
        }
    }

    /// With what the script said.
    pub(crate) fn with(mut self, result: &RunResult) -> Self {
        self.result = Some(Box::new(result.clone()));
        self
    }

    pub(crate) fn of_script(what: Transfer, path: &str, result: &RunResult) -> Self {
        let (reason, why) = if result.timed_out() {
            let why = "its time limit was reached".to_owned();
            (FileErrorReason::Timeout, why)
        } else {
            let reason = match result.finished.outcome {
                Outcome::Exited { code, .. } => FileErrorReason::of_code(what, code),
                _ => FileErrorReason::TransferFailed,
            };
            (reason, last_words(result))
        };
        Self::new(what, path, reason, why).with(result)
    }
}

/// The script's own words, and those of the program that failed in it.
fn last_words(result: &RunResult) -> String {
    let said = result.stderr_text();
    let mut lines = said.lines().rev().filter(|line| !line.is_empty());
    let Some(last) = lines.next() else {
        return format!("{:?}, {:?}", result.finished.outcome, result.finished.cause);
    };
    let own = last
        .split_once(": ")
        .filter(|_| last.starts_with("execgate-"));
    let own = own.map_or(last, |(_, words)| words);
    match lines.next() {
        Some(before) => format!("{own} ({before})"),
        None => own.to_owned(),
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FileError {}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::File(Box::new(error))
    }
}
