//! Counts the bytes that are looked at, in tests only: a redactor must not look at a byte
//! more often than a bound says, whatever comes. Times would say the same less surely.

#[cfg(test)]
thread_local! {
    static LOOKED_AT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// So many bytes are looked at.
#[cfg(not(test))]
#[inline]
pub(super) fn add(_bytes: usize) {}

/// So many bytes are looked at.
#[cfg(test)]
pub(super) fn add(bytes: usize) {
    LOOKED_AT.with(|count| count.set(count.get() + bytes as u64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{
        Alphabet, HOLD_BACK_MAX, RedactionRules, Redactor, Secret, TokenRule, assigned_secrets,
    };

    /// How often a byte may be looked at when a stream comes in large pieces: a run at each
    /// anchor, and anchors every few bytes.
    const MOST_LOOKS: u64 = 1500;

    const BYTES: usize = 48 * 1024;

    fn work_of(rules: &RedactionRules, text: &[u8], chunk: usize) -> u64 {
        LOOKED_AT.with(|count| count.set(0));
        let mut redactor = Redactor::new(rules);
        let mut out = Vec::new();
        for chunk in text.chunks(chunk) {
            redactor.push(chunk, &mut out);
            assert!(redactor.held() <= HOLD_BACK_MAX);
            out.clear();
        }
        redactor.finish(&mut out);
        LOOKED_AT.with(std::cell::Cell::get)
    }

    fn rules() -> RedactionRules {
        RedactionRules::builtin()
            .with_values([
                ("A", Secret::new("aaaaaaaa")),
                ("LONG", Secret::new("ab".repeat(1500))),
            ])
            .with_tokens([TokenRule {
                name: "own".to_owned(),
                prefix: "aaa".to_owned(),
                alphabet: Alphabet::Base64Url,
                min_length: 1500,
            }])
    }

    /// Pieces that anchors, runs and prefixes are made of.
    const PIECES: &[&str] = &[
        "-eyJ",
        "a",
        "ab",
        "password",
        "password=",
        "token_",
        "--token ",
        "://",
        "://u:",
        "authorization: ",
        "bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "cookie:",
        "cookie: a=b;",
        " sk-",
        "8Q~",
        ":AA",
        "login a ",
        ":5432:a:",
        "-u a:",
        "<password>",
        "\"password\": {\"value\": \"",
        "\\",
        "\"",
        "\x1b[",
        "\x1b[1m",
        "\n",
        "\r\n ",
        "$2b$",
        "[REDACTED:",
    ];

    #[test]
    fn no_byte_is_looked_at_too_often() {
        let rules = rules();
        for piece in PIECES {
            for filler in ["", "x", "-", "a1B2c3D4e5", " "] {
                let text = format!("{piece}{filler}").into_bytes();
                let text: Vec<u8> = text.into_iter().cycle().take(BYTES).collect();
                for chunk in [64 * 1024, 5000] {
                    let work = work_of(&rules, &text, chunk);
                    let most = MOST_LOOKS * text.len() as u64;
                    assert!(work <= most, "{piece:?} {filler:?}: {work} for {BYTES}");
                }
            }
        }
    }

    #[test]
    fn work_grows_with_the_text_and_not_with_its_square() {
        let rules = rules();
        let mut state = 7_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or(0)
        };
        for _ in 0..40 {
            let some: Vec<&str> = (0..6).map(|_| PIECES[random() % PIECES.len()]).collect();
            let text = some.concat().into_bytes();
            let text: Vec<u8> = text.into_iter().cycle().take(BYTES).collect();
            let half = work_of(&rules, &text[..BYTES / 2], BYTES).max(BYTES as u64);
            let whole = work_of(&rules, &text, BYTES);
            assert!(whole <= 3 * half, "{some:?}: {half}, then {whole}");
        }
    }

    #[test]
    fn assignments_are_found_in_one_pass() {
        let script = "TOKEN=".repeat(20_000);
        assert!(assigned_secrets(&script).len() <= 32);
    }
}
