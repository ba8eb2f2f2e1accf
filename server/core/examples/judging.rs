//! How long a judgement takes: the median for everyday scripts, and for hostile ones that go
//! to the limits. `cargo run --release -p execgate-core --example judging`.

use std::time::{Duration, Instant};

use execgate_core::policy::{MAX_CODE_BYTES, Policy};

/// Measurements of each script: enough for a steady median.
const RUNS: usize = 2000;
/// Measurements of the slow ones.
const HOSTILE_RUNS: usize = 20;

/// Two hundred bytes of everyday work.
const ORDINARY: &str = "cd /srv/app && git pull --rebase && for f in $(git diff --name-only HEAD~1 \
    -- '*.py'); do python3 -m py_compile \"$f\" || exit 1; done; make -j4 test 2>&1 | tail -n 40 \
    > /tmp/test.log; grep -c passed /tmp/test.log";

fn median(policy: &Policy, script: &str, runs: usize) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            let _verdict = policy.judge_script(script);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let middle = times.get(runs / 2).copied().unwrap_or_default();
    (middle, times.last().copied().unwrap_or_default())
}

fn main() {
    let guard = Policy::guard();
    let full = |piece: &str| piece.repeat((MAX_CODE_BYTES - 300) / piece.len());
    let data = format!("cat > f <<'E'\n{}E\n", "some text\n".repeat(50_000));
    let scripts = [
        ("ordinary", ORDINARY.to_owned(), RUNS),
        ("short", "ls -la".to_owned(), RUNS),
        ("500 KB of heredoc", data, HOSTILE_RUNS),
        ("16 KiB of commands", full("a;"), HOSTILE_RUNS),
        ("16 KiB of && ", format!("{}a", full("a&&")), HOSTILE_RUNS),
        ("16 KiB of env", full("env "), HOSTILE_RUNS),
        ("16 KiB of $(", full("$("), HOSTILE_RUNS),
        ("nested sh -c", full("sh -c 'sh -c \"a\"';"), HOSTILE_RUNS),
        (
            "a file run again and again",
            format!("echo 'a;a;a' > s\n{}", full(". ./s;")),
            HOSTILE_RUNS,
        ),
        ("pipes", format!("{}cat", full("cat|")), HOSTILE_RUNS),
        (
            "aliases of aliases",
            format!("alias a='b ' b='c ' c='a '\n{}", full("a b c\n")),
            HOSTILE_RUNS,
        ),
        ("code", full("python3 -c 'os.system(\"a\")';"), HOSTILE_RUNS),
    ];
    for (name, script, runs) in scripts {
        let (median, worst) = median(&guard, &script, runs);
        println!(
            "{name:30} {:>7} bytes  median {median:?}  worst {worst:?}",
            script.len()
        );
    }
}
