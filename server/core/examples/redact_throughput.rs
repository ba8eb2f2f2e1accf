//! How fast redaction is on ordinary build logs, on one core:
//! `cargo run --release -p execgate-core --example redact_throughput`. Prints numbers and
//! judges nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use execgate_core::audit::HashKey;
use execgate_core::redact::{RedactionRules, Redactor, Secret};

/// Bytes of one chunk, as a busy pipe brings them.
const CHUNK: usize = 64 * 1024;

/// Bytes of the log that is repeated.
const LOG: usize = 8 * 1024 * 1024;

/// Time spent on each row.
const TIME: Duration = Duration::from_secs(2);

const LINES: &[&str] = &[
    "   Compiling serde_json v1.0.145\n",
    "   Compiling proc-macro2 v1.0.103 (/home/ann/.cargo/registry/src/index-6f17d22bba15001f)\n",
    "[ 34%] Building CXX object src/CMakeFiles/core.dir/parser/lexer.cpp.o\n",
    "g++ -O2 -g -fPIC -Wall -Wextra -I../include -DNDEBUG -c -o build/obj/a.o ../src/a.cc\n",
    "../src/net/http2.c:1042:17: warning: unused variable 'stream' [-Wunused-variable]\n",
    "npm warn deprecated inflight@1.0.6: This module is not supported, and leaks memory\n",
    "added 1042 packages, and audited 1043 packages in 31s\n",
    "2026-01-05T12:00:00.123456Z  INFO http: GET /api/v1/items 200 12ms request_id=0a1b2c3d4e5f\n",
    "tests/test_parser.py::test_unicode_escapes[case-17] PASSED                   [ 42%]\n",
    "Step 14/31 : RUN apt-get update && apt-get install -y --no-install-recommends git\n",
    " ---> 8f14e45fceea467f\n",
    "Get:42 https://deb.example.org/debian trixie/main amd64 libssl3t64 amd64 3.5.1-1 [2,436 kB]\n",
    "remote: Counting objects: 100% (1337/1337), done.\n",
    "ok  \tgithub.com/example/project/internal/auth\t0.412s\n",
    "error: unexpected token `}`, expected one of `,`, `.`, `;`, `?`, or an operator\n",
    "    Finished `release` profile [optimized] target(s) in 2m 31s\n",
];

fn log() -> Bytes {
    let mut log = Vec::with_capacity(LOG + 100);
    // Not one line after the other: a log has no period.
    let mut state = 1_usize;
    while log.len() < LOG {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let line = LINES.get((state >> 33) % LINES.len());
        log.extend_from_slice(line.copied().unwrap_or_default().as_bytes());
    }
    Bytes::from(log)
}

fn measure(name: &str, rules: &RedactionRules, log: &Bytes) {
    let mut bytes = 0_usize;
    let mut out = Vec::new();
    let start = Instant::now();
    while start.elapsed() < TIME {
        let mut redactor = Redactor::new(rules);
        for at in (0..log.len()).step_by(CHUNK) {
            redactor.push_bytes(log.slice(at..log.len().min(at + CHUNK)), &mut out);
            black_box(&out);
            out.clear();
        }
        bytes += log.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a number to be read")]
    let megabytes = bytes as f64 / 1e6;
    println!("{name:<44} {:>7.0} MB/s", megabytes / seconds);
}

fn main() {
    let log = log();
    let value = |at: usize| {
        (
            format!("s{at}"),
            Secret::new(format!("{at}Kd0Xz3Qm7Rt2Vb9Lc4/{at}")),
        )
    };
    let builtin = RedactionRules::builtin().with_key(HashKey::new([7; 32]));
    let some = builtin.with_values((0..10).map(value));
    let many = builtin.with_values((0..200).map(value));
    for (name, rules) in [
        ("no rules", &RedactionRules::none()),
        ("all built-in rules", &builtin),
        ("all built-in rules, 10 registered values", &some),
        ("all built-in rules, 200 registered values", &many),
    ] {
        measure(name, rules, &log);
    }
}
