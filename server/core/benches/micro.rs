//! Micro-benchmarks of the core's rooms (`make bench-micro`): to see what a change in one of
//! them does, on a quiet machine. What commands cost in all, `bench/` measures; whether they
//! got dearer, `scripts/instructions` says on any machine.

mod log_text;
mod one_command;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use execgate_core::audit::{AuditBody, decode_line};
use execgate_core::budget::{Grep, GrepMode, OutputBudget, Select};
use execgate_core::pipeline::{Pipeline, Stream};
use execgate_core::policy::{Policy, PolicyStack};
use execgate_core::redact::{RedactionRules, Redactor, Secret, redact_text};

use log_text::{CHUNK_BYTES, log_text};
use one_command::{Fault, Gate};

/// Bytes of output that streams are measured with.
const STREAM_BYTES: usize = 1024 * 1024;

/// What agents ask for, from the short to the long.
const SCRIPTS: &[(&str, &str)] = &[
    ("true", "true"),
    (
        "git",
        "git status --short && git diff --stat HEAD~3 -- src tests",
    ),
    (
        "loop",
        "for f in $(find . -name '*.rs' -newer Cargo.toml | head -n 20); do \
         if grep -q 'unwrap()' \"$f\"; then echo \"$f: $(grep -c 'unwrap()' \"$f\")\"; fi; \
         done | sort -t: -k2 -rn > /tmp/found 2>&1",
    ),
];

fn main() -> Result<(), Fault> {
    let mut criterion = Criterion::default().configure_from_args();
    command(&mut criterion)?;
    framing(&mut criterion);
    policy(&mut criterion);
    pipeline(&mut criterion);
    redactor(&mut criterion);
    budget(&mut criterion)?;
    audit(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Everything that is done with one command.
fn command(criterion: &mut Criterion) -> Result<(), Fault> {
    let mut gate = Gate::open();
    gate.run("echo hello", b"hello\n")?;
    let mut group = criterion.benchmark_group("command");
    for (name, printed) in [("true", ""), ("echo hello", "hello\n")] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| gate.run(name, printed.as_bytes()).is_ok());
        });
    }
    // Through the shell's markers, the redactor and the budget, and into the record.
    let text = log_text(STREAM_BYTES);
    gate.run("cat log", &text)?;
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("cat log", |bencher| {
        bencher.iter(|| gate.run("cat log", &text).is_ok());
    });
    group.finish();
    Ok(())
}

fn framing(criterion: &mut Criterion) {
    let mut gate = Gate::open();
    let mut group = criterion.benchmark_group("framing");
    let long = format!(
        "cat <<'E' >notes\n{}E\n",
        "it's a line of text\n".repeat(5000)
    );
    let scripts = SCRIPTS.iter().copied();
    for (name, script) in scripts.chain([("100 KB", long.as_str())]) {
        let token = gate.next_token();
        group.throughput(Throughput::Bytes(script.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| gate.frame(black_box(script), &token));
        });
    }
    group.finish();
    criterion.bench_function("framing/answer", |bencher| {
        bencher.iter(|| {
            let token = gate.next_token();
            let answer = gate.answer(&token, b"hello\n");
            gate.read(&token, answer).is_ok()
        });
    });
}

fn policy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy");
    for (layer, policy) in [("guard", Policy::guard()), ("strict", Policy::strict())] {
        let policy = PolicyStack::new(policy);
        for (name, script) in SCRIPTS {
            group.throughput(Throughput::Bytes(script.len() as u64));
            group.bench_function(format!("{layer}/{name}"), |bencher| {
                bencher.iter(|| policy.judge_script(black_box(script)));
            });
        }
    }
    group.finish();
}

fn pipeline(criterion: &mut Criterion) {
    let text = Bytes::from(log_text(STREAM_BYTES));
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Bytes(text.len() as u64));
    for (name, rules) in [
        ("redacted", RedactionRules::builtin()),
        ("not redacted", RedactionRules::none()),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut pipeline = Pipeline::direct(rules.clone());
                let mut events = Vec::new();
                for at in (0..text.len()).step_by(CHUNK_BYTES) {
                    let chunk = text.slice(at..text.len().min(at + CHUNK_BYTES));
                    pipeline.push(Stream::Stdout, chunk, &mut events);
                }
                pipeline.abandon(&mut events);
                events
            });
        });
    }
    group.finish();
}

fn redactor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("redactor");
    let learned = (0..20).map(|number| {
        let secret = Secret::new(format!("correct-horse-battery-{number}"));
        (format!("SECRET_{number}"), secret)
    });
    let builtin = RedactionRules::builtin();
    let known = builtin.with_values(learned);
    let texts = [
        ("log", log_text(STREAM_BYTES)),
        ("zeros", vec![0; STREAM_BYTES]),
        ("one line", b"abcdefgh ".repeat(STREAM_BYTES / 9)),
    ];
    for (name, text) in &texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        for (kind, rules) in [("builtin", &builtin), ("20 values", &known)] {
            group.bench_function(format!("{name}/{kind}"), |bencher| {
                bencher.iter_batched(
                    || (Redactor::new(rules), Vec::with_capacity(text.len())),
                    |(mut redactor, mut out)| {
                        for chunk in text.chunks(CHUNK_BYTES) {
                            redactor.push(chunk, &mut out);
                        }
                        redactor.finish(&mut out);
                        out
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    for (name, script) in SCRIPTS {
        group.throughput(Throughput::Bytes(script.len() as u64));
        group.bench_function(format!("command/{name}"), |bencher| {
            bencher.iter(|| redact_text(&builtin, black_box(script)));
        });
    }
    group.finish();
}

fn budget(criterion: &mut Criterion) -> Result<(), Fault> {
    let text = log_text(STREAM_BYTES);
    let grep = Grep::new("worker-07", 2, 2, GrepMode::Matching)?;
    let tail = Select::Tail { lines: 100 };
    let mut group = criterion.benchmark_group("budget");
    group.throughput(Throughput::Bytes(text.len() as u64));
    for (name, budget) in [
        ("default", OutputBudget::default()),
        ("tail", OutputBudget::new(100_000, tail, None)?),
        ("grep", OutputBudget::new(100_000, Select::All, Some(grep))?),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| budget.apply(&text)));
    }
    group.finish();
    Ok(())
}

/// Records: made of what is known, encoded into the chain and the tree, read again.
fn audit(criterion: &mut Criterion) -> Result<(), Fault> {
    let mut gate = Gate::open();
    gate.run("echo hello", b"hello\n")?;
    let intent = AuditBody::ExecutionIntent(gate.admit("echo hello")?);
    let outcome = AuditBody::ExecutionOutcome(gate.outcome());
    let mut group = criterion.benchmark_group("audit");
    for (name, body) in [("intent", intent), ("outcome", outcome)] {
        let mut line = Vec::new();
        gate.record(body.clone(), &mut line)?;
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                line.clear();
                gate.record(body.clone(), &mut line).is_ok()
            });
        });
        group.bench_function(format!("read {name}"), |bencher| {
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            bencher.iter(|| decode_line(black_box(line)).is_ok_and(|line| line.record().is_ok()));
        });
    }
    group.finish();
    Ok(())
}
