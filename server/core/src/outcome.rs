//! How an execution ended, said honestly: what was observed, by whom, and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::redact::RedactionCounts;

/// Shells and Docker report what died of signal `n` as exit code 128 + n.
pub const SHELL_SIGNAL_BASE: i32 = 128;

/// Highest signal number on Linux.
pub const MAX_SIGNAL: i32 = 64;

/// What was observed at the end of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command, or the shell on its behalf, ended with a code.
    ExitCode(i32),
    /// The process ended by a signal that was observed, not guessed from a code.
    Signal(i32),
    /// The command never ran.
    LaunchFailure {
        /// What stood in the way.
        kind: LaunchFailureKind,
        /// The system's error number; 0 where there is none.
        errno: i32,
    },
    /// Nobody can say how it ended.
    Lost {
        /// Why not, for people.
        reason: String,
    },
}

impl Outcome {
    /// The signal that an exit code of a shell may stand for: 128 + n means that a
    /// child died of signal n, or that somebody exited with that code.
    #[must_use]
    pub fn possible_signal(&self) -> Option<i32> {
        match self {
            Self::ExitCode(code) => {
                let signal = code - SHELL_SIGNAL_BASE;
                (1..=MAX_SIGNAL).contains(&signal).then_some(signal)
            }
            Self::Signal(_) | Self::LaunchFailure { .. } | Self::Lost { .. } => None,
        }
    }
}

/// What kept a command from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchFailureKind {
    /// No such program.
    NotFound,
    /// The program may not be executed.
    PermissionDenied,
    /// The file is no program.
    NotExecutable,
    /// The working directory asked for cannot be entered.
    WorkingDirectory,
    /// Arguments and environment are too long.
    TooLong,
    /// No processes, memory or descriptors are left.
    Resources,
    /// Anything else the system said.
    Other,
}

/// Who vouches for an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedBy {
    /// The kernel reported the process's end.
    Kernel,
    /// The session's shell reported it.
    Shell,
    /// The SSH server reported it.
    Sshd,
    /// The Docker daemon reported it.
    Dockerd,
    /// Nobody: the outcome is lost.
    Nobody,
}

impl ObservedBy {
    /// Whether it tells a signal `n` and an exit code 128 + n apart.
    #[must_use]
    pub fn tells_signals(self) -> bool {
        match self {
            Self::Kernel | Self::Sshd => true,
            Self::Shell | Self::Dockerd | Self::Nobody => false,
        }
    }
}

/// Why an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The command came to its end.
    Exited,
    /// The command ended its shell, by `exit`, `set -e` or a signal.
    ShellExited,
    /// Somebody asked for a signal that ended it.
    SignaledByRequest,
    /// The command's own time limit.
    Timeout,
    /// A client cancelled it.
    Cancelled,
    /// The session was closed while it ran.
    SessionClosed,
    /// The shell stopped answering and was replaced or given up.
    ShellBroken,
    /// The connection to its target broke.
    TransportLost,
    /// Its host or container stopped.
    TargetStopped,
    /// The kernel ran out of memory for it.
    Oom,
    /// It never ran: its program or its directory could not be had.
    LaunchFailed,
}

/// What an execution used, with all that it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Most resident memory of one process at one time, in bytes.
    pub max_resident_bytes: u64,
}

/// How an execution ended, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What was observed.
    pub outcome: Outcome,
    /// Who observed it.
    pub observed_by: ObservedBy,
    /// Why it ended.
    pub cause: Cause,
    /// Time from the command's start to its end.
    pub wall_time: Duration,
    /// The shell's working directory afterwards, where it is known.
    pub cwd: Option<String>,
    /// What came out, a row for each channel.
    pub totals: Vec<ChannelTotals>,
    /// What it used, where that is measured.
    pub usage: Option<Usage>,
}

/// One stream of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Standard output of the command.
    Stdout,
    /// Standard error of the command.
    Stderr,
    /// The one stream of a session with a terminal.
    Terminal,
    /// What arrives between executions: background jobs.
    Background,
}

impl Channel {
    /// The name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Terminal => "terminal",
            Self::Background => "background",
        }
    }
}

/// What one channel carried, after redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTotals {
    /// Which channel.
    pub channel: Channel,
    /// Bytes.
    pub bytes: u64,
    /// Line ends (LF); a last line without one counts too.
    pub lines: u64,
    /// Secrets hidden, by name.
    pub redacted: RedactionCounts,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
}

/// The name of a signal on Linux, such as `SIGTERM`; real-time signals are `SIGRTMIN+n`.
#[must_use]
pub fn signal_name(number: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let named = usize::try_from(number)
        .ok()
        .and_then(|n| NAMES.get(n.wrapping_sub(1)));
    match named {
        Some(name) => format!("SIG{name}"),
        None if number >= 34 => format!("SIGRTMIN+{}", number - 34),
        None => format!("SIG{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_above_128_may_be_a_signal_and_137_says_which() {
        assert_eq!(Outcome::ExitCode(137).possible_signal(), Some(9));
        assert_eq!(Outcome::ExitCode(128).possible_signal(), None);
        assert_eq!(Outcome::ExitCode(255).possible_signal(), None);
        assert_eq!(Outcome::Signal(9).possible_signal(), None);
    }

    #[test]
    fn signals_have_their_names() {
        assert_eq!(signal_name(1), "SIGHUP");
        assert_eq!(signal_name(15), "SIGTERM");
        assert_eq!(signal_name(31), "SIGSYS");
        assert_eq!(signal_name(0), "SIG0");
        assert_eq!(signal_name(35), "SIGRTMIN+1");
    }
}
