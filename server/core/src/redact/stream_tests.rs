//! Facts about streams: chunking, hold-back, idle flush, slices.

use proptest::prelude::*;

use super::*;

fn rules() -> RedactionRules {
    RedactionRules::builtin().with_values([
        ("DB", Secret::new("swordfish")),
        ("FISH", Secret::new("fishfinger")),
        ("BIN", Secret::new(vec![0xff, 0, 0xfe, b'\n', 1])),
        ("LONG", Secret::new("0123456789abcdef".repeat(300))),
    ])
}

fn redact(rules: &RedactionRules, chunks: &[&[u8]]) -> Vec<u8> {
    let mut redactor = Redactor::new(rules);
    let mut out = Vec::new();
    for chunk in chunks {
        redactor.push(chunk, &mut out);
        assert!(redactor.held() <= HOLD_BACK_MAX);
    }
    redactor.finish(&mut out);
    out
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[test]
fn clean_lines_leave_at_once() {
    let mut redactor = Redactor::new(&RedactionRules::builtin());
    let mut with_values =
        Redactor::new(&RedactionRules::builtin().with_values([("FISH", Secret::new("swordfish"))]));
    for line in [
        "Compiling a v1\n",
        "the passwords\n",
        "token: 5\n",
        "s\n",
        "10%",
        "\r20%",
        "$ ",
    ] {
        let mut out = Vec::new();
        redactor.push(line.as_bytes(), &mut out);
        assert_eq!(
            (String::from_utf8(out).unwrap().as_str(), redactor.held()),
            (line, 0)
        );
        // A value may go on behind the line's end: for that it waits, but not for long.
        let mut out = Vec::new();
        with_values.push(line.as_bytes(), &mut out);
        with_values.flush_idle(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }
}

#[test]
fn clean_chunks_are_not_copied() {
    let mut redactor = Redactor::new(&rules());
    let input = Bytes::from(b"nothing secret here, a token of love\n".to_vec());
    let mut out = Vec::new();
    redactor.push_bytes(input.clone(), &mut out);
    assert_eq!((out[0].as_ptr(), &out), (input.as_ptr(), &vec![input]));
}

#[test]
fn prompt_comes_out_at_idle_and_its_answer_stays_hidden() {
    let mut redactor = Redactor::new(&RedactionRules::builtin());
    let mut out = Vec::new();
    redactor.push(b"Password: ", &mut out);
    redactor.flush_idle(&mut out);
    redactor.flush_idle(&mut out);
    assert_eq!(
        (out.as_slice(), redactor.held()),
        (b"Password: ".as_slice(), 0)
    );
    redactor.push(b"hunter2hunter\n", &mut out);
    assert_eq!(out, b"Password: [REDACTED:named-secret]\n");
}

#[test]
fn idle_flush_keeps_the_beginning_of_a_value_and_a_certain_token() {
    let mut redactor = Redactor::new(&rules());
    let mut out = Vec::new();
    redactor.push(b"the swordfi", &mut out);
    redactor.flush_idle(&mut out);
    assert_eq!((out.as_slice(), redactor.held()), (b"the ".as_slice(), 7));
    redactor.push(
        b"ght ghp_a8Kd0Xz3Qm7Rt2Vb9Lc4a8Kd0Xz3Qm7Rt2Vb9Lc4",
        &mut out,
    );
    redactor.flush_idle(&mut out);
    assert_eq!(out, b"the swordfight ");
    redactor.push(b"xx", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"the swordfight [REDACTED:github-token]");
    assert_eq!((redactor.redactions(), redactor.held()), (1, 0));
}

#[test]
fn value_inside_an_undecided_name_is_not_flushed() {
    let mut redactor = Redactor::new(&rules());
    let mut out = Vec::new();
    redactor.push(b"secret: swordfish", &mut out);
    redactor.flush_idle(&mut out);
    assert!(
        !contains(&out, b"sword"),
        "{:?}",
        String::from_utf8_lossy(&out)
    );
    redactor.finish(&mut out);
    assert_eq!(out, b"secret: [REDACTED:DB]");
}

#[test]
fn token_begun_before_a_flush_loses_its_rest() {
    let mut redactor = Redactor::new(&RedactionRules::builtin());
    let mut out = Vec::new();
    redactor.push(b"ghp_a8Kd0X", &mut out);
    redactor.flush_idle(&mut out);
    redactor.push(b"z3Qm7Rt2Vb9Lc4a8Kd0Xz3Qm7Rt2Vb9Lc4 end", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"ghp_a8Kd0X[REDACTED:github-token] end");
}

#[test]
fn hold_back_is_bounded_whatever_comes() {
    for hostile in [
        "password",
        "eyJ",
        "-eyJ",
        "://",
        "a:",
        "ghp_",
        "-----BEGIN ",
        "Bearer ",
        "swordfis",
    ] {
        let mut redactor = Redactor::new(&rules());
        let mut out = Vec::new();
        for _ in 0..6000 {
            redactor.push(hostile.as_bytes(), &mut out);
            assert!(redactor.held() <= HOLD_BACK_MAX, "{hostile}");
        }
    }
}

/// What secrets are made of, and what stands around them.
const WORDS: &[&[u8]] = &[
    b"swordfish",
    b"swordfis",
    b"fishfinger",
    b"fishfing",
    b"\xff\0\xfe\n\x01",
    b"\xff\0",
    b"ghp_",
    b"a8Kd0Xz3Qm7Rt2Vb9Lc4",
    b"AKIAQ7XZ2MPLW5NTRB3D",
    b"sk-",
    b"sk-or-v1-",
    b"eyJhbGciOiJIUzI1NiJ9.",
    b"PASSWORD",
    b"api_key",
    b"token",
    b"://",
    b"Authorization",
    b"Bearer ",
    b" -u ",
    b"login ",
    b"--password ",
    b"<password>",
    b"</",
    b":5432:",
    b"Private-Lines: 3",
    b"-----BEGIN PRIVATE KEY-----",
    b"-----END PRIVATE KEY-----",
    b"-----",
    b"\n",
    b"\r\n",
    b"\\",
    b"\"",
    b"'",
    b"=",
    b": ",
    b":",
    b"@",
    b"/",
    b" ",
    b".",
    b"hunter2",
    b"_KEY",
];

/// Text in which secrets, their parts and their surroundings are dense.
fn dense() -> impl Strategy<Value = Vec<u8>> {
    let long = |length: usize| b"a8Kd0Xz3".iter().copied().cycle().take(length).collect();
    let word = prop_oneof![
        30 => proptest::sample::select(WORDS).prop_map(<[u8]>::to_vec),
        3 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => (0..1500usize).prop_map(long),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

fn split<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.push(text.len());
    cuts.sort_unstable();
    let mut at = 0;
    cuts.iter()
        .map(|cut| &text[std::mem::replace(&mut at, *cut)..*cut])
        .collect()
}

const VALUES: [&[u8]; 3] = [b"swordfish", b"fishfinger", b"\xff\0\xfe\n\x01"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_chunking_gives_the_same_bytes(
        text in dense(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let rules = rules();
        let whole = redact(&rules, &[&text]);
        for value in VALUES {
            prop_assert!(!contains(&whole, value));
        }
        let chunks = split(&text, &cuts);
        prop_assert_eq!(&redact(&rules, &chunks), &whole);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        prop_assert_eq!(&redact(&rules, &bytes), &whole);

        let mut shared = Vec::new();
        let mut redactor = Redactor::new(&rules);
        for chunk in chunks {
            redactor.push_bytes(Bytes::copy_from_slice(chunk), &mut shared);
        }
        let mut last = Vec::new();
        redactor.finish(&mut last);
        prop_assert_eq!([shared.concat(), last].concat(), whole);
    }

    #[test]
    fn flushing_never_lets_a_value_out_and_loses_nothing(
        text in dense(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
        flushes in any::<u32>(),
    ) {
        for rules in [rules(), RedactionRules::none().with_values([
            ("DB", Secret::new("swordfish")),
            ("FISH", Secret::new("fishfinger")),
            ("BIN", Secret::new(VALUES[2])),
        ])] {
            let mut redactor = Redactor::new(&rules);
            let mut out = Vec::new();
            for (index, chunk) in split(&text, &cuts).into_iter().enumerate() {
                redactor.push(chunk, &mut out);
                if flushes & (1 << index) != 0 {
                    redactor.flush_idle(&mut out);
                }
            }
            redactor.finish(&mut out);
            prop_assert_eq!(redactor.held(), 0);
            for value in VALUES {
                prop_assert!(!contains(&out, value));
            }
            if redactor.redactions() == 0 {
                prop_assert_eq!(&out, &text);
            }
        }
    }

    #[test]
    fn without_rules_everything_passes(text in dense(), cuts in proptest::collection::vec(any::<usize>(), 0..4)) {
        prop_assert_eq!(redact(&RedactionRules::none(), &split(&text, &cuts)), text);
    }
}

fn tagged() -> RedactionRules {
    rules().with_key(crate::audit::HashKey::new([3; 32]))
}

#[test]
fn equal_secrets_have_equal_tags_and_others_have_others() {
    let rules = tagged();
    let tag = |text: &str| {
        let out = redact_text(&rules, text);
        let at = out.rfind('#').unwrap();
        (out[..at].to_owned(), out[at + 1..at + 5].to_owned())
    };
    let token = "ghp_a8Kd0Xz3Qm7Rt2Vb9Lc4a8Kd0Xz3Qm7Rt2Vb9Lc4";
    let alone = tag(token);
    assert_eq!(alone.0, "[REDACTED:github-token");
    assert_eq!(tag(&format!("key is {token}, so")).1, alone.1);
    assert_ne!(tag(&token.replace('K', "L")).1, alone.1);
    let plain = tag("swordfish");
    assert_eq!(plain.0, "[REDACTED:DB");
    // base64 of it.
    assert_eq!(tag("c3dvcmRmaXNo"), plain);
    let other = RedactionRules::builtin().with_key(crate::audit::HashKey::new([4; 32]));
    assert!(!redact_text(&other, token).contains(&alone.1));
}

#[test]
fn tags_are_of_the_whole_secret_however_long_and_however_it_came() {
    let rules = tagged();
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(90);
    let key = |end: &str| format!("-----BEGIN RSA PRIVATE KEY-----\n{body}{end}\nafter\n");
    let text = key("-----END RSA PRIVATE KEY-----");
    let token = format!("sk-ant-api03-{}\n", "a8Kd0Xz3Qm".repeat(300));
    for text in [text.as_str(), token.as_str()] {
        let whole = redact(&rules, &[text.as_bytes()]);
        assert!(whole.len() < 60, "{}", String::from_utf8_lossy(&whole));
        for size in [1, 63, 64, 65, 1000] {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(redact(&rules, &chunks), whole, "chunks of {size}");
        }
    }
    let cut = key("");
    assert_ne!(
        redact(&rules, &[cut.as_bytes()]),
        redact(&rules, &[cut.replace("MIIE", "MIIF").as_bytes()])
    );
}

#[test]
fn what_was_hidden_once_stays_as_it_is() {
    let rules = tagged();
    for text in [
        "password=hunter2hunter2x9 next",
        "Authorization: Bearer a8Kd0Xz3Qm7Rt2Vb9Lc4\n",
        "https://ann:s3cr3t-9x@example.org/",
        "swordfish c3dvcmRmaXNo \"password\": \"a8Kd0Xz3Qm7\"",
        "curl -u ann:a8Kd0Xz3Qm7 x",
    ] {
        let once = redact_text(&rules, text);
        assert_ne!(once, text);
        assert_eq!(redact_text(&rules, &once), once);
    }
}

#[test]
fn what_was_hidden_is_counted_by_name() {
    let mut redactor = Redactor::new(&tagged());
    let mut out = Vec::new();
    redactor.push(b"swordfish swordfish\npassword=a8Kd0Xz3Qm7\n", &mut out);
    redactor.finish(&mut out);
    let counted: Vec<_> = redactor.counts().iter().collect();
    assert_eq!(counted, [("DB", 2), ("named-secret", 1)]);
}

#[test]
fn rules_can_grow_within_a_stream() {
    let mut redactor = Redactor::new(&RedactionRules::builtin());
    let mut out = Vec::new();
    redactor.push(b"swordfish password=", &mut out);
    redactor.set_rules(&rules());
    redactor.push(b"a8Kd0Xz3Qm7 sword", &mut out);
    redactor.push(b"fish\n", &mut out);
    redactor.finish(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "swordfish password=[REDACTED:named-secret] [REDACTED:DB]\n"
    );
}
