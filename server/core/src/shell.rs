//! The shells a session can run, and how each is started for framing.

use serde::{Deserialize, Serialize};

/// A shell whose behaviour the framing knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShellKind {
    /// GNU bash.
    Bash,
    /// Debian's dash.
    Dash,
    /// The shell of busybox.
    Ash,
    /// Any other POSIX shell, called by the name `sh`.
    Sh,
}

impl ShellKind {
    /// The shells in the order in which a session without a wish gets one.
    pub const PREFERENCE: [Self; 4] = [Self::Bash, Self::Sh, Self::Dash, Self::Ash];

    /// The kind that a program of this name is, judged by its last path component.
    #[must_use]
    pub fn from_program(program: &str) -> Option<Self> {
        match program.rsplit('/').next().unwrap_or(program) {
            "bash" => Some(Self::Bash),
            "dash" => Some(Self::Dash),
            "ash" | "busybox" => Some(Self::Ash),
            "sh" => Some(Self::Sh),
            _ => None,
        }
    }

    /// The program to look for on PATH.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Dash => "dash",
            Self::Ash => "busybox",
            Self::Sh => "sh",
        }
    }

    /// The arguments after the name of a program of this kind.
    ///
    /// `-i` matters in all of them: SIGINT takes an interactive shell back to its
    /// input instead of ending it, and stops loops of builtins.
    #[must_use]
    pub fn arguments(self, program: &str) -> &'static [&'static str] {
        match self {
            // Without --noediting bash echoes its input; --norc and --noprofile keep
            // the user's start-up files from talking on the session's streams.
            Self::Bash => &["--noprofile", "--norc", "--noediting", "-i"],
            Self::Ash if program.ends_with("busybox") => &["sh", "-i"],
            Self::Dash | Self::Sh | Self::Ash => &["-i"],
        }
    }

    /// The name in results and audit records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Dash => "dash",
            Self::Ash => "ash",
            Self::Sh => "sh",
        }
    }
}
