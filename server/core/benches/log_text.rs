//! Output as programs print it: lines of a log, now and then a secret among them. The same
//! bytes in every run.

use std::fmt::Write as _;

/// Bytes that one read of a pipe gives at most.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// One line in so many carries a secret.
const SECRET_EVERY: u64 = 500;

/// At least so many bytes of whole lines.
pub(crate) fn log_text(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 200);
    let mut random: u64 = 1;
    let mut line: u64 = 0;
    while text.len() < bytes {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (worker, item, took) = (random >> 60, (random >> 33) % 10_000, (random >> 50) % 100);
        let micros = line * 417 % 1_000_000;
        // A write to a String cannot fail.
        let _ = writeln!(
            text,
            "2026-01-02T03:04:05.{micros:06}Z  INFO worker-{worker:02} request finished \
             path=/api/items/{item} status=200 in {took} ms"
        );
        if line.is_multiple_of(SECRET_EVERY) {
            let _ = writeln!(
                text,
                "2026-01-02T03:04:05.{micros:06}Z DEBUG retry with token=ghp_{random:036}"
            );
        }
        line += 1;
    }
    text.into_bytes()
}
