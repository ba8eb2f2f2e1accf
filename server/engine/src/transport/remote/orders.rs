//! How a program is started where there is only a shell to start it: the loader, the
//! orders it reads, and the line with which it answers.

use execgate_core::outcome::LaunchFailureKind;

use super::quote::quote;
use super::{Environment, MARKER_NAME};
use crate::transport::{Program, ProgramStdin, TransportError};

/// PATH of programs beside a session, and of the loader.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Reads orders up to the line with the nonce and follows them. `read` takes byte by byte
/// from what cannot be sought, so that what follows is the program's.
const LOADER: &str = r#"__o=; while IFS= read -r __l; do [ "$__l" = "$1" ] && break; __o="$__o$__l
"; done; eval "$__o""#;

/// Longest answer that is looked for among what a login's start-up files print, in bytes.
pub(in crate::transport) const MAX_NOISE_BYTES: usize = 64 * 1024;

/// What a target is to run, and with which nonce its answer begins.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Orders {
    /// What is written to the loader's stdin first.
    pub(in crate::transport) text: Vec<u8>,
    nonce: String,
}

/// The command that starts a loader; for a shell to read, which it replaces. A wrapper runs
/// the loader and not the program, so that nothing of a session's environment (what the
/// dynamic linker loads, where programs are looked for) holds before the wrapper has.
pub(in crate::transport) fn loader(
    orders: &Orders,
    environment: Environment,
    wrapper: &[String],
) -> String {
    let clean = match environment {
        Environment::Clean => format!("env -i PATH={PATH} "),
        Environment::Login => String::new(),
    };
    let wrapper: String = wrapper.iter().map(|word| quote(word) + " ").collect();
    format!(
        "exec {clean}{wrapper}/bin/sh -c {} execgate {}",
        quote(LOADER),
        orders.nonce
    )
}

/// The loader's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Preface {
    /// It becomes the program, with this process number.
    Started(i32),
    /// There is nothing to become.
    Failed(LaunchFailureKind),
}

impl Orders {
    /// To become this program, as part of the session with this marker. Where `commands`
    /// names a pipe, the program reads it instead of the stream its orders came through.
    pub(in crate::transport) fn program(
        program: &Program,
        nonce: String,
        marker: &str,
        commands: Option<&str>,
    ) -> Self {
        let mut text = String::new();
        for (name, value) in &program.env {
            if is_name(name) {
                // A variable that this shell does not let go is left as it is.
                text += &format!("export {name}={}\n", quote(value));
            }
        }
        text += &format!("export {MARKER_NAME}={marker}\n");
        text += &format!("__say() {{ printf '%s %s\\n' {nonce} \"$1\"; }}\n");
        text += &format!(
            "cd -- {} 2>/dev/null || {{ __say cwd; exit 126; }}\n",
            quote(&program.cwd)
        );
        text += &format!("set -- {}", quote(&program.program));
        for argument in &program.arguments {
            text += &format!(" {}", quote(argument));
        }
        text.push('\n');
        text += LOOK_UP;
        text += match (commands, program.stdin) {
            (Some(_), _) => "stty sane 2>/dev/null || { __say other; exit 126; }\n",
            (None, ProgramStdin::Closed) => "exec </dev/null\n",
            (None, ProgramStdin::Private | ProgramStdin::Pipe) => "",
        };
        text += "__say \"$$\"\n";
        if let Some(path) = commands {
            text += &format!("exec <{} || exit 126\n", quote(path));
        }
        text += "exec \"$__f\" \"$@\"\n";
        Self::end(text, nonce)
    }

    /// To run this script.
    pub(in crate::transport) fn script(script: &str, nonce: String) -> Self {
        Self::end(
            format!("printf '%s %s\\n' {nonce} \"$$\"\n{script}\nexit 0\n"),
            nonce,
        )
    }

    fn end(mut text: String, nonce: String) -> Self {
        text += &nonce;
        text.push('\n');
        Self {
            text: text.into_bytes(),
            nonce,
        }
    }

    /// Looks for the answer at the beginning of a line; how many bytes it ends after.
    pub(in crate::transport) fn answer(&self, seen: &[u8]) -> Option<(Preface, usize)> {
        let mut start = 0;
        for line in seen.split_inclusive(|&byte| byte == b'\n') {
            start += line.len();
            let complete = line.strip_suffix(b"\n");
            let text = complete.and_then(|line| std::str::from_utf8(line).ok());
            // What start-up files print may lack a line end before it.
            let answer = text.and_then(|text| {
                let (_, answer) = text.split_once(self.nonce.as_str())?;
                preface(answer.trim())
            });
            if let Some(answer) = answer {
                return Some((answer, start));
            }
        }
        None
    }
}

/// The launch that failed, in the words of the caller's request.
pub(in crate::transport) fn launch_error(
    program: &Program,
    kind: LaunchFailureKind,
) -> TransportError {
    let (errno, message) = match kind {
        LaunchFailureKind::NotFound => (libc::ENOENT, "no such program".to_owned()),
        LaunchFailureKind::PermissionDenied => (libc::EACCES, "it may not be run".to_owned()),
        LaunchFailureKind::WorkingDirectory => {
            (libc::ENOENT, format!("{} cannot be entered", program.cwd))
        }
        _ => (
            0,
            "the target has no stty to set its terminal with".to_owned(),
        ),
    };
    TransportError::Launch {
        program: program.program.clone(),
        kind,
        errno,
        message,
    }
}

fn preface(answer: &str) -> Option<Preface> {
    Some(match answer {
        "cwd" => Preface::Failed(LaunchFailureKind::WorkingDirectory),
        "missing" => Preface::Failed(LaunchFailureKind::NotFound),
        "forbidden" => Preface::Failed(LaunchFailureKind::PermissionDenied),
        "other" => Preface::Failed(LaunchFailureKind::Other),
        pid => Preface::Started(pid.parse().ok()?),
    })
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Finds `$1` as a system call would, takes it off the words, leaves it in `__f`.
const LOOK_UP: &str = r#"__f=
__why=missing
case $1 in
*/*) set -- "$1" "$@" ;;
*)
    __n=$1
    __ifs=$IFS
    IFS=:
    set -f
    for __d in $PATH; do
        [ -f "${__d:-.}/$__n" ] || continue
        __f=${__d:-.}/$__n
        [ -x "$__f" ] && break
    done
    set +f
    IFS=$__ifs
    set -- "$__f" "$@"
    ;;
esac
__f=$1
shift 2
[ -e "$__f" ] && __why=forbidden
{ [ -f "$__f" ] && [ -x "$__f" ]; } || { __say "$__why"; exit 127; }
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ProgramStreams;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn nonce() -> String {
        "n0123".to_owned()
    }

    fn run(shell: &str, orders: &Orders, input: &[u8]) -> Vec<u8> {
        run_wrapped(shell, orders, &[], input)
    }

    fn run_wrapped(shell: &str, orders: &Orders, wrapper: &[String], input: &[u8]) -> Vec<u8> {
        let command = loader(orders, Environment::Clean, wrapper).replace("/bin/sh", shell);
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&orders.text).unwrap();
        stdin.write_all(input).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap().stdout
    }

    fn program(words: &[&str]) -> Program {
        Program {
            program: words[0].to_owned(),
            arguments: words[1..].iter().map(|&word| word.to_owned()).collect(),
            env: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("ODD".to_owned(), "a 'b'\n\"c\" $d".to_owned()),
            ],
            cwd: "/".to_owned(),
            stdin: ProgramStdin::Pipe,
            streams: ProgramStreams::Separate,
        }
    }

    #[test]
    fn a_program_gets_its_words_its_environment_and_the_rest_of_the_input() {
        let words = [
            "sh",
            "-c",
            "printf '%s|%s|' \"$ODD\" \"$1\"; cat",
            "x",
            "it's",
        ];
        for shell in ["/bin/dash", "/bin/bash", "/bin/busybox sh"] {
            let orders = Orders::program(&program(&words), nonce(), "m", None);
            let out = run(shell, &orders, b"left over");
            let (answer, end) = orders.answer(&out).unwrap();
            assert!(
                matches!(answer, Preface::Started(pid) if pid > 1),
                "{shell}"
            );
            assert_eq!(&out[end..], b"a 'b'\n\"c\" $d|it's|left over", "{shell}");
        }
    }

    #[test]
    fn a_wrapper_holds_before_anything_of_the_session_does() {
        let wrapper = [
            "/bin/sh",
            "-c",
            ": \"it's\"; [ -z \"$ODD\" ] && umask 77 && exec \"$@\"",
            "-",
        ];
        let wrapper = wrapper.map(str::to_owned);
        let orders = Orders::program(&program(&["sh", "-c", "umask; cat"]), nonce(), "m", None);
        let out = run_wrapped("/bin/sh", &orders, &wrapper, b"rest");
        let (_, end) = orders.answer(&out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out[end..]), "0077\nrest");
    }

    #[test]
    fn what_cannot_start_says_why() {
        let missing = program(&["no-such-program"]);
        let directory = program(&["/etc"]);
        let nowhere = Program {
            cwd: "/no/such".to_owned(),
            ..program(&["true"])
        };
        let answer = |program: &Program| {
            let orders = Orders::program(program, nonce(), "m", None);
            orders.answer(&run("/bin/sh", &orders, b"")).unwrap().0
        };
        assert_eq!(
            [&missing, &directory, &nowhere].map(answer),
            [
                LaunchFailureKind::NotFound,
                LaunchFailureKind::PermissionDenied,
                LaunchFailureKind::WorkingDirectory
            ]
            .map(Preface::Failed)
        );
    }

    #[test]
    fn an_answer_is_found_behind_what_a_login_prints() {
        let orders = Orders::script("", nonce());
        assert_eq!(
            orders.answer(b"welcome!\n$ n0123 42\nmore"),
            Some((Preface::Started(42), 20))
        );
        assert_eq!(orders.answer(b"welcome!\nn0123 4"), None);
    }
}
