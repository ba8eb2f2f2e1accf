//! How a command travels into a persistent shell, and how its end comes back.
//!
//! The shell reads its commands from a private channel; its own fds 1 and 2 are
//! /dev/null, so that prompts, echoes (`set -v`, `set -x`) and job notices are nobody's
//! output, and the session's streams sit on fds 8 and 9, which dash can still name.
//! A command is two lines:
//!
//! ```text
//! s_NAME "$?" TOKEN;\command eval 'the text' </dev/null >&8 2>&9 8>&- 9>&-
//! e_NAME "$?" TOKEN
//! ```
//!
//! bash 5.1 and later get short commands as a sourced here-string instead, `\command .
//! /dev/stdin <<<'the text'`: while an interactive bash evaluates, it announces jobs
//! (`[1] 123`) and complains of its missing terminal whenever a child dies of a signal,
//! on the command's stderr; while it sources a file it holds its tongue, and an interrupt
//! still takes it back to its input. Its stdin is then a drained pipe. A DEBUG trap does
//! not reach into the next command this way, unless `set -T`.
//!
//! The redirections belong to this one command, so that `exec >file` in it ends with
//! it and its children cannot reach 8 and 9. The second line, read only after the first
//! has run, calls a function that prints a marker with a fresh token on *both* streams:
//! what came before the marker is the command's, complete, on each. The function hands
//! the command's status on, so that `$?` persists. Nothing here forks.
//!
//! The end marker, on stdout and on stderr:
//!
//! ```text
//! RS xg:NONCE:TOKEN SP status SP cwd RS TOKEN RS        RS xg:NONCE:TOKEN RS
//! ```
//!
//! The first word of the line, `s_NAME`, prints `RS xg:NONCE:TOKEN > RS` on stdout:
//! output before it is a background job's, and a shell that ends without having printed
//! it never ran the command, whatever its exit code.
//!
//! A command with a standard input of its own gets it from a named pipe, opened around
//! both its start marker and its text: `{ s_NAME …; \\command eval '…' …; } </the/pipe`.
//! The start marker says then that the pipe has been opened.
//!
//! Between commands a line `v_NAME "$?" TOKEN` asks for the exported environment:
//!
//! ```text
//! RS xg:NONCE:TOKEN = what `export -p` prints RS TOKEN RS
//! ```
//!
//! A hostile command can break this (redefine `command`, disable `eval`); then no marker
//! comes, and the session reports a broken shell. It cannot forge the end of another
//! command, whose token does not exist yet.

use std::fmt::Write as _;

/// Separates the parts of a marker: ASCII record separator.
pub const RECORD_SEPARATOR: u8 = 0x1e;

/// Stands after the token in the marker of a command's start.
pub const START_SIGN: u8 = b'>';

/// Stands after the token in the marker of an environment.
pub const ENVIRONMENT_SIGN: u8 = b'=';

/// Longest script, in bytes, that goes to bash as a here-string: up to PIPE_BUF bash makes
/// a pipe of it, beyond it may need a temporary file, which is not always to be had.
const MAX_SOURCED_BYTES: usize = 4000;

/// Characters of the nonce in the names of its functions.
const NAME_CHARS: usize = 4;

/// Status of the first marker of a shell that takes sourced here-strings.
const STATUS_CAN_SOURCE: i32 = 1;

/// Status field of the marker where the working directory asked for cannot be entered.
pub const STATUS_NO_CWD: &str = "cwd";

/// A random word that marks one session's framing; in every marker and function name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

/// A random word that marks one command's end; unknown to the command while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(String);

fn word(random: &[u8]) -> String {
    data_encoding::BASE32_NOPAD
        .encode(random)
        .to_ascii_lowercase()
}

impl Nonce {
    /// A nonce from 64 random bits.
    #[must_use]
    pub fn new(random: [u8; 8]) -> Self {
        Self(word(&random))
    }

    /// What its functions are called after. Enough to meet no name of a script's, and short:
    /// the shell reads it again with each command.
    fn name(&self) -> &str {
        self.0.get(..NAME_CHARS).unwrap_or(&self.0)
    }
}

impl Token {
    /// Characters of a token.
    pub const CHARS: usize = 26;

    /// A token from 128 random bits.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(word(&random))
    }

    /// The token as it stands in the marker.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Where a command's streams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Standard output and error apart, over pipes; stdin is /dev/null.
    Separate,
    /// One stream over a terminal, which is stdin too.
    Terminal,
}

/// One command to frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The script, as the client sent it; no NUL.
    pub script: &'a str,
    /// Variables set for this command alone, exported. Names are valid identifiers.
    pub env: &'a [(String, String)],
    /// A working directory for this command alone.
    pub cwd: Option<&'a str>,
    /// Where the shell goes back to when `cwd` is given.
    pub cwd_before: Option<&'a str>,
    /// Path of a named pipe that is the command's standard input; /dev/null, or the
    /// terminal, where there is none.
    pub stdin: Option<&'a str>,
}

/// Writes what goes into one session's shell.
#[derive(Debug, Clone)]
pub struct Framing {
    nonce: Nonce,
    streams: Streams,
    sourcing: bool,
}

impl Framing {
    /// Framing for a session with this nonce.
    #[must_use]
    pub fn new(nonce: Nonce, streams: Streams) -> Self {
        Self {
            nonce,
            streams,
            sourcing: false,
        }
    }

    /// Takes note of what the shell can do, from the status of its first marker.
    pub fn learn(&mut self, ready_status: Option<i32>) {
        self.sourcing =
            self.streams == Streams::Separate && ready_status == Some(STATUS_CAN_SOURCE);
    }

    /// What every marker of this session starts with.
    #[must_use]
    pub fn marker_start(&self) -> Vec<u8> {
        let mut start = vec![RECORD_SEPARATOR];
        start.extend_from_slice(format!("xg:{}:", self.nonce.0).as_bytes());
        start
    }

    /// The shell's first lines: streams to fds 8 and 9, prompts and history off, the
    /// marker function, and one marker that says the shell is ready.
    ///
    /// Each line must be right for bash, dash and busybox alike: an error in a special
    /// builtin makes dash drop the rest.
    #[must_use]
    pub fn init(&self, ready: &Token) -> Vec<u8> {
        let nonce = &self.nonce.0;
        let name = self.nonce.name();
        let both = match self.streams {
            Streams::Separate => {
                format!("; \\command printf '\\036xg:{nonce}:%s\\036' \"$2\" >&9")
            }
            Streams::Terminal => String::new(),
        };
        let errors = match self.streams {
            Streams::Separate => "9>&2",
            Streams::Terminal => "9>&1",
        };
        // The marker's first byte stands in the source as an escape, so an echo of the
        // source is no marker. Status 127 may mean that `.` or `eval` itself has been disabled:
        // then no marker may say that the command ran. Under `set -e` the status is not handed
        // on: a non-zero return would end the shell.
        format!(
            "exec 8>&1 {errors} >/dev/null 2>/dev/null\n\
             PS1= PS2= PS4='+ '\n\
             [ -z \"${{BASH_VERSION-}}\" ] || {{ set +o history; set +H; unset HISTFILE; }}\n\
             {job_control}\
             e_{name}() {{ case $1 in 127) \\command . /dev/null && \\command eval : || return;; esac; \\command printf '\\036xg:{nonce}:%s %s %s\\036%s\\036' \
             \"$2\" \"$1\" \"${{PWD-}}\" \"$2\" >&8{both}; case $- in *e*) return 0;; esac; return \"$1\"; }}\n\
             s_{name}() {{ \\command printf '\\036xg:{nonce}:%s>\\036' \"$2\" >&8; \
             case $- in *e*) return 0;; esac; return \"$1\"; }}\n\
             v_{name}() {{ \\command printf '\\036xg:{nonce}:%s=' \"$2\" >&8; \\command export -p >&8; \
             \\command printf '\\036%s\\036' \"$2\" >&8; \
             case $- in *e*) return 0;; esac; return \"$1\"; }}\n\
             case \"${{BASH_VERSION-}}\" in 5.[1-9]*|[6-9].*) e_{name} {STATUS_CAN_SOURCE} {ready};; \
             *) e_{name} 0 {ready};; esac; :\n",
            ready = ready.0,
            job_control = match self.streams {
                Streams::Separate => "set +m\n",
                Streams::Terminal => "",
            },
        )
        .into_bytes()
    }

    /// One command: its text and, on a line of its own, its trailer.
    #[must_use]
    pub fn command(&self, framed: &Framed<'_>, token: &Token) -> Vec<u8> {
        let mut line = String::with_capacity(framed.script.len() + 200);
        if framed.stdin.is_none() {
            self.push_start(token, &mut line);
        }
        if let Some(cwd) = framed.cwd {
            line.push_str("if \\command cd -- ");
            quote(cwd, &mut line);
            line.push_str(" 2>/dev/null; then ");
        }
        if framed.stdin.is_some() {
            line.push_str("{ ");
            self.push_start(token, &mut line);
        }
        for (name, value) in framed.env {
            line.push_str(name);
            line.push('=');
            quote(value, &mut line);
            line.push(' ');
        }
        self.push_text(framed, &mut line);
        if let Some(stdin) = framed.stdin {
            line.push_str("; } <");
            quote(stdin, &mut line);
        }
        line.push('\n');
        line.push_str(&self.trailer(token));
        if framed.cwd.is_some() {
            if let Some(before) = framed.cwd_before {
                go_back(before, &mut line);
            }
            // The write goes to a String: it cannot fail.
            let _ = write!(
                line,
                "; else e_{} {STATUS_NO_CWD} {}; fi",
                self.nonce.name(),
                token.0
            );
        }
        line.push('\n');
        line.into_bytes()
    }

    fn push_start(&self, token: &Token, line: &mut String) {
        // The write goes to a String: it cannot fail.
        let _ = write!(line, "s_{} \"$?\" {};", self.nonce.name(), token.0);
    }

    /// The text, in the words of the shell, and where its streams go.
    fn push_text(&self, framed: &Framed<'_>, line: &mut String) {
        let script = framed.script;
        // A sourced text is read from fd 0, or from fd 6 where 0 is the command's.
        let sourced = self.sourcing && script.len() <= MAX_SOURCED_BYTES;
        line.push_str(match (sourced, framed.stdin) {
            (true, None) => "\\command . /dev/stdin <<<",
            (true, Some(_)) => "\\command . /dev/fd/6 6<<<",
            (false, _) => "\\command eval ",
        });
        quote(script, line);
        line.push_str(match (self.streams, sourced, framed.stdin) {
            (Streams::Separate, true, _) | (Streams::Separate, false, Some(_)) => {
                " >&8 2>&9 8>&- 9>&-"
            }
            (Streams::Separate, false, None) => " </dev/null >&8 2>&9 8>&- 9>&-",
            (Streams::Terminal, _, _) => " </dev/tty >&8 2>&8 8>&- 9>&-",
        });
    }

    /// Asks an idle shell for its exported environment.
    #[must_use]
    pub fn environment(&self, token: &Token) -> Vec<u8> {
        format!("v_{} \"$?\" {}\n", self.nonce.name(), token.0).into_bytes()
    }

    /// The trailer, to be sent again after an interrupt: dash and busybox drop what they
    /// have read, bash drops the line. A second marker with a known token is ignored on
    /// the way back.
    #[must_use]
    pub fn trailer_again(&self, token: &Token, cwd_before: Option<&str>) -> Vec<u8> {
        let mut line = self.trailer(token);
        if let Some(before) = cwd_before {
            go_back(before, &mut line);
        }
        line.push('\n');
        line.into_bytes()
    }

    fn trailer(&self, token: &Token) -> String {
        format!("e_{} \"$?\" {}", self.nonce.name(), token.0)
    }
}

/// Appends the way back to the directory before the command.
fn go_back(before: &str, line: &mut String) {
    line.push_str("; \\command cd -- ");
    quote(before, line);
    line.push_str(" 2>/dev/null");
}

/// Words as one line that a shell reads as these words.
#[must_use]
pub fn join(words: &[String]) -> String {
    let plain = |word: &str| {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
        !word.is_empty() && word.bytes().all(harmless)
    };
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        match plain(word) {
            true => line.push_str(word),
            false => quote(word, &mut line),
        }
    }
    line
}

/// Appends `text` as one single-quoted shell word.
fn quote(text: &str, out: &mut String) {
    out.push('\'');
    for (index, part) in text.split('\'').enumerate() {
        if index > 0 {
            out.push_str("'\\''");
        }
        out.push_str(part);
    }
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing() -> (Framing, Token) {
        (
            Framing::new(Nonce::new([0; 8]), Streams::Separate),
            Token::new([0; 16]),
        )
    }

    #[test]
    fn a_command_is_its_quoted_text_and_a_trailer() {
        let (framing, token) = framing();
        let framed = Framed {
            script: "echo 'a b'",
            env: &[],
            cwd: None,
            cwd_before: None,
            stdin: None,
        };
        assert_eq!(
            String::from_utf8(framing.command(&framed, &token)).unwrap(),
            "s_aaaa \"$?\" aaaaaaaaaaaaaaaaaaaaaaaaaa;\
             \\command eval 'echo '\\''a b'\\''' </dev/null >&8 2>&9 8>&- 9>&-\n\
             e_aaaa \"$?\" aaaaaaaaaaaaaaaaaaaaaaaaaa\n"
        );
    }

    #[test]
    fn variables_of_one_command_are_prefix_assignments() {
        let (framing, token) = framing();
        let env = [("A".to_owned(), "it's".to_owned())];
        let framed = Framed {
            script: "env",
            env: &env,
            cwd: None,
            cwd_before: None,
            stdin: None,
        };
        let text = String::from_utf8(framing.command(&framed, &token)).unwrap();
        assert!(
            text.contains(";A='it'\\''s' \\command eval 'env' <"),
            "{text}"
        );
    }

    #[test]
    fn a_stdin_is_opened_before_the_start_marker() {
        let (framing, token) = framing();
        let framed = Framed {
            script: "cat",
            env: &[],
            cwd: None,
            cwd_before: None,
            stdin: Some("/run/in"),
        };
        assert_eq!(
            String::from_utf8(framing.command(&framed, &token)).unwrap(),
            "{ s_aaaa \"$?\" aaaaaaaaaaaaaaaaaaaaaaaaaa;\
             \\command eval 'cat' >&8 2>&9 8>&- 9>&-; } <'/run/in'\n\
             e_aaaa \"$?\" aaaaaaaaaaaaaaaaaaaaaaaaaa\n"
        );
    }

    #[test]
    fn no_marker_stands_in_what_is_sent() {
        let (framing, token) = framing();
        let framed = Framed {
            script: "true",
            env: &[],
            cwd: Some("/"),
            cwd_before: None,
            stdin: None,
        };
        let mut sent = framing.init(&token);
        sent.extend(framing.command(&framed, &token));
        assert!(!sent.contains(&RECORD_SEPARATOR));
    }
}
