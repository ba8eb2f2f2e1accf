//! What `scripts/instructions` counts the instructions of: the hot path, so many times.
//!
//! ```text
//! instructions command ROUNDS     two commands a round, as `one_command` has them
//! instructions pipeline ROUNDS    256 KiB of a log a round, through a running command
//! instructions redactor ROUNDS    the same through the redactor alone
//! ```

mod log_text;
mod one_command;

use std::env;
use std::hint::black_box;

use bytes::Bytes;
use execgate_core::pipeline::{Pipeline, Stream};
use execgate_core::redact::{RedactionRules, Redactor};

use log_text::{CHUNK_BYTES, log_text};
use one_command::{Fault, Gate};

/// Bytes of a round of output.
const ROUND_BYTES: usize = 256 * 1024;

fn main() -> Result<(), Fault> {
    let mut words = env::args().skip(1);
    let what = words.next().unwrap_or_default();
    let rounds: usize = match words.next() {
        Some(rounds) => rounds.parse()?,
        // What `cargo bench` starts it with.
        None => return Ok(()),
    };
    match what.as_str() {
        "command" => command(rounds),
        "pipeline" => pipeline(rounds),
        "redactor" => redactor(rounds),
        _ => Err("command, pipeline or redactor, and how many rounds".into()),
    }
}

fn command(rounds: usize) -> Result<(), Fault> {
    let mut gate = Gate::open();
    for _ in 0..rounds {
        black_box(gate.run("true", b"")?);
        black_box(gate.run("echo hello", b"hello\n")?);
    }
    Ok(())
}

fn pipeline(rounds: usize) -> Result<(), Fault> {
    let text = Bytes::from(log_text(ROUND_BYTES));
    let mut pipeline = Pipeline::direct(RedactionRules::builtin());
    for _ in 0..rounds {
        for at in (0..text.len()).step_by(CHUNK_BYTES) {
            let chunk = text.slice(at..text.len().min(at + CHUNK_BYTES));
            let mut events = Vec::new();
            pipeline.push(Stream::Stdout, chunk, &mut events);
            black_box(events);
        }
    }
    Ok(())
}

fn redactor(rounds: usize) -> Result<(), Fault> {
    let text = log_text(ROUND_BYTES);
    let mut redactor = Redactor::new(&RedactionRules::builtin());
    for _ in 0..rounds {
        for chunk in text.chunks(CHUNK_BYTES) {
            let mut out = Vec::new();
            redactor.push(chunk, &mut out);
            black_box(out);
        }
    }
    Ok(())
}
