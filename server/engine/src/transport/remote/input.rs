//! Named pipes on the target: a relay makes one, waits until it is opened, and moves what
//! it is given into it.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use tokio::io::AsyncReadExt;

use super::beside::drop_program;
use super::quote::quote;
use super::{Beside, Environment};
use crate::random;
use crate::transport::{NamedInput, ProcessControl, TransportError};

/// Longest answer of a relay, in bytes: a path.
const MAX_ANSWER_BYTES: usize = 4096;

/// Makes a pipe under a name that nobody can guess, in the first of these directories that
/// lets it. Its directory can be entered and not listed; it goes with the relay.
pub(in crate::transport) async fn open_input(
    beside: &Arc<dyn Beside>,
    directories: &[String],
) -> Result<NamedInput, TransportError> {
    let unusable = |reason: &str| TransportError::Unusable {
        target: beside.target().to_owned(),
        reason: reason.to_owned(),
    };
    let name =
        HEXLOWER.encode(&random::bytes::<16>().map_err(|source| unusable(&source.to_string()))?);
    let mut candidates = String::new();
    for directory in directories {
        candidates += &format!(" {}", quote(&format!("{directory}/execgate-{name}")));
    }
    let script = format!(
        "command -v mkfifo >/dev/null 2>&1 || {{ echo no mkfifo; exit 0; }}\n\
         umask 077\nfor d in{candidates}; do\n\
         mkdir \"$d\" 2>/dev/null && mkfifo \"$d/in\" 2>/dev/null && chmod 300 \"$d\" && break\n\
         rmdir \"$d\" 2>/dev/null; d=\ndone\n\
         [ -n \"$d\" ] || {{ echo no directory; exit 0; }}\n\
         trap 'rm -f \"$d/in\"; chmod 700 \"$d\"; rmdir \"$d\"' EXIT\n\
         trap 'exit 0' TERM HUP\n\
         exec 3<&0\necho \"at $$ $d/in\"\ncat <&3 >\"$d/in\" &\nwait $!"
    );
    let mut process = beside.start(&script, Environment::Clean).await?;
    let mut answer = Vec::new();
    let mut byte = [0_u8];
    // What follows is nobody's: a relay says one line.
    while !answer.ends_with(b"\n") && answer.len() < MAX_ANSWER_BYTES {
        match process.stdout.read(&mut byte).await {
            Ok(1) => answer.extend_from_slice(&byte),
            _ => break,
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let place = answer.trim().strip_prefix("at ");
    let Some((pid, path)) = place.and_then(|place| place.split_once(' ')) else {
        return Err(unusable(match answer.trim() {
            "no mkfifo" => "commands with input need mkfifo, which it lacks",
            _ => "commands with input need a directory to write to, and there is none",
        }));
    };
    let writer = process
        .stdin
        .take()
        .ok_or_else(|| unusable("its relay has no input"))?;
    Ok(NamedInput {
        path: path.to_owned(),
        writer,
        keep: Box::new(Relay {
            beside: Arc::clone(beside),
            pid: pid.parse().ok(),
            control: Some(process.control),
        }),
    })
}

/// How long a relay whose command has ended may take to end by itself.
const RELAY_LIMIT: Duration = Duration::from_secs(1);

/// Ends with the command, and its name with it: by itself when its input ends, else
/// because nobody holds it any more.
struct Relay {
    beside: Arc<dyn Beside>,
    pid: Option<i32>,
    control: Option<Box<dyn ProcessControl>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            let (beside, pid) = (Arc::clone(&self.beside), self.pid);
            tokio::spawn(async move {
                let ends = tokio::time::timeout(RELAY_LIMIT, control.wait()).await;
                if let (Err(_elapsed), Some(pid)) = (ends, pid) {
                    // Where its host is out of reach, it ends with the connection's.
                    let _unreachable = drop_program(beside.as_ref(), pid).await;
                }
            });
        }
    }
}
