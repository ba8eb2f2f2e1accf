//! Runs one target on its seeds and on what becomes of them, without guidance.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::targets::Target;

/// How long a target goes on where nobody says: what a run of the tests can spare.
const SECONDS: u64 = 4;

/// Most bytes of an input.
const MAX_INPUT_BYTES: usize = 16 * 1024;

/// Time that no input may take: a thousand times what the slowest one does, since machines
/// that test are busy.
const TOO_LONG: Duration = Duration::from_secs(20);

/// Tries to make what was found smaller.
const SHRINKS: usize = 2000;

/// Bytes that have meant something to some parser.
const WORDS: &[&[u8]] = &[
    b"\x1e",
    b"\x1exg:",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\xa8",
    b"'",
    b"\"",
    b"`",
    b"$(",
    b")",
    b"\\",
    b"<<E\n",
    b"\nE\n",
    b"${",
    b"}",
    b"*",
    b"**/",
    b"!",
    b"/",
    b"..",
    b"[",
    b"]",
    b"{",
    b":",
    b",",
    b"=",
    b"-",
    b"password=",
    b"Bearer ",
    b"ghp_",
    b"AKIA",
    b"-----BEGIN RSA PRIVATE KEY-----",
    b"-----END",
    b"swordfish",
    b"18446744073709551615",
    b"-1",
    b"1e999",
    b"null",
    b"\x7f\xff\xff\xff",
    b"40000 ",
    b"100644 ",
    b"eval ",
    b"bash -c ",
    b"declare -x ",
    b"export ",
    b"[[rule]]\n",
    b"sudo ",
    b"\x78\x9c",
];

/// Numbers, the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    /// A part of `bytes`, mostly a short one.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let most = if self.below(4) == 0 { bytes.len() } else { 8 };
        let length = self.below(most + 1).min(bytes.len() - start);
        start..start + length
    }

    /// One of the seeds, with a few changes.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match self.below(20) {
            0 => self.bytes(300),
            _ => seeds[self.below(seeds.len())].clone(),
        };
        for _ in 0..=self.below(6) {
            let part = self.part(&input);
            match self.below(8) {
                0 => drop(input.drain(part)),
                1 => {
                    let copy = input[part.clone()].to_vec();
                    input.splice(part.start..part.start, copy);
                }
                2 => {
                    let bytes = self.bytes(4);
                    input.splice(part.start..part.start, bytes);
                }
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.part(other);
                    input.splice(part, other[from].iter().copied());
                }
                4 | 5 => {
                    let word = WORDS[self.below(WORDS.len())];
                    input.splice(part.start..part.start, word.iter().copied());
                }
                6 => {
                    if let Some(byte) = input.get_mut(part.start) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                _ => {
                    if let Some(byte) = input.get_mut(part.start) {
                        *byte = self.below(256) as u8;
                    }
                }
            }
        }
        input.truncate(MAX_INPUT_BYTES);
        input
    }
}

/// Where the seeds of a target are.
pub(crate) fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|above| above.join("fuzz/seeds"))
        .find(|seeds| seeds.is_dir())
        .unwrap()
        .join(target)
}

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs the seeds, and then changed ones until the time is over.
pub(crate) fn fuzz(name: &str, target: Target) {
    let mut files: Vec<PathBuf> = fs::read_dir(folder(name))
        .unwrap_or_else(|error| panic!("no seeds for {name}: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds for {name}");
    for seed in &seeds {
        attempt(name, target, seed);
    }
    let mut random = Random(number("EXECGATE_FUZZ_SEED", 20_261_122));
    let end = Instant::now() + Duration::from_secs(number("EXECGATE_FUZZ_SECONDS", SECONDS));
    let mut executions = 0_u64;
    while Instant::now() < end {
        attempt(name, target, &random.input(&seeds));
        executions += 1;
    }
    println!("{name}: {} seeds, {executions} inputs", seeds.len());
}

fn attempt(name: &str, target: Target, input: &[u8]) {
    let begun = Instant::now();
    let failed = fails(target, input);
    let took = begun.elapsed();
    let problem = match failed {
        true => "fails",
        false if took > TOO_LONG => "takes too long",
        false => return,
    };
    let small = if failed {
        shrunk(target, input)
    } else {
        input.to_vec()
    };
    let file = std::env::temp_dir().join(format!("execgate-fuzz-{name}-{}", std::process::id()));
    fs::write(&file, &small).unwrap();
    // Its message is the last one above.
    let _message = catch_unwind(AssertUnwindSafe(|| target(&small)));
    panic!(
        "{name} {problem} ({took:?}) with {} bytes, in {}: {:?}",
        small.len(),
        file.display(),
        String::from_utf8_lossy(&small)
    );
}

fn fails(target: Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| target(input))).is_err()
}

/// What still fails of an input, with less in it.
fn shrunk(target: Target, input: &[u8]) -> Vec<u8> {
    // Each try would say the same.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut small = input.to_vec();
    let mut random = Random(1);
    for _ in 0..SHRINKS {
        let part = random.part(&small);
        let mut less = small.clone();
        less.drain(part);
        if less.len() < small.len() && fails(target, &less) {
            small = less;
        }
    }
    std::panic::set_hook(hook);
    small
}
