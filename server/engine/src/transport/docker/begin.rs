//! A program in a container, begun by a loader: its orders go in through its own stdin, and
//! one line comes back that says its process number or why there is none.

use bytes::{Bytes, BytesMut};
use execgate_core::outcome::LaunchFailureKind;
use tokio::io::AsyncWriteExt;

use super::Inside;
use super::exec::{self, Exec, Request};
use crate::transport::remote::{Environment, MAX_NOISE_BYTES, Orders, Preface, loader};
use crate::transport::{TransportError, WindowSize};

/// The shell of loaders.
const SHELL: &str = "/bin/sh";

/// What a terminal's line discipline would do to orders, off; the loader turns it on
/// again. The line says that it is so.
const QUIET_TERMINAL: &str = "stty raw -echo 2>/dev/null && echo quiet && ";

/// What a quiet terminal says.
const QUIET: &[u8] = b"quiet\n";

/// A program that has begun.
pub(super) struct Begun {
    pub(super) exec: Exec,
    pub(super) pid: i32,
}

/// Starts a loader, gives it its orders and waits for its answer.
pub(super) async fn begin(
    inside: &Inside,
    orders: &Orders,
    environment: Environment,
    terminal: Option<WindowSize>,
) -> Result<Result<Begun, LaunchFailureKind>, TransportError> {
    let start = match terminal {
        None => loader(orders, environment, &[]),
        Some(_) => format!("{QUIET_TERMINAL}{}", loader(orders, environment, &[])),
    };
    let request = Request {
        argv: vec![SHELL.to_owned(), "-c".to_owned(), start],
        terminal,
        env: Vec::new(),
        cwd: None,
    };
    let mut exec = exec::start(inside, request).await?;
    if let Some(size) = terminal {
        if !is_quiet(&mut exec).await {
            return Ok(Err(LaunchFailureKind::Other));
        }
        exec.hold.resize(inside, size).await?;
    }
    // Where it cannot be written, the loader has ended, and said why.
    let _gone = exec.stdin.write_all(&orders.text).await;
    let mut seen = BytesMut::new();
    loop {
        let Some(bytes) = exec.stdout.next().await else {
            return Err(silent(inside, &seen));
        };
        seen.extend_from_slice(&bytes);
        if let Some((preface, end)) = orders.answer(&seen) {
            let rest = seen.split_off(end).freeze();
            return Ok(match preface {
                Preface::Started(pid) => {
                    exec.stdout.put_back(rest);
                    Ok(Begun { exec, pid })
                }
                Preface::Failed(kind) => Err(kind),
            });
        }
        if seen.len() > MAX_NOISE_BYTES {
            return Err(silent(inside, &seen));
        }
    }
}

/// Waits until a terminal passes orders on unchanged.
async fn is_quiet(exec: &mut Exec) -> bool {
    let mut seen = BytesMut::new();
    while seen.len() < QUIET.len() {
        let Some(bytes) = exec.stdout.next().await else {
            return false;
        };
        seen.extend_from_slice(&bytes);
    }
    match seen.strip_prefix(QUIET) {
        Some(rest) => {
            exec.stdout.put_back(Bytes::copy_from_slice(rest));
            true
        }
        None => false,
    }
}

fn silent(inside: &Inside, said: &[u8]) -> TransportError {
    let said = String::from_utf8_lossy(said);
    TransportError::Unusable {
        target: inside.name.to_string(),
        reason: match said.trim() {
            "" => format!("{SHELL} or env in it does not start a program"),
            said => format!("it says: {}", said.chars().take(200).collect::<String>()),
        },
    }
}
