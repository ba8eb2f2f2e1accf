//! Facts about what is a secret and what is not.

use super::*;

fn check(text: &str, expected: &str) {
    assert_eq!(redact_text(&RedactionRules::builtin(), text), expected);
}

fn clean(text: &str) {
    check(text, text);
}

/// A machine-made looking string of `length` letters and digits.
fn random(length: usize) -> String {
    "a8Kd0Xz3Qm7Rt2Vb9Lc4"
        .chars()
        .cycle()
        .take(length)
        .collect()
}

#[test]
fn tokens_are_replaced_whole() {
    for (prefix, length, kind) in [
        ("ghp_", 36, "github-token"),
        ("github_pat_", 82, "github-token"),
        ("glpat-", 20, "gitlab-token"),
        ("xoxb-", 50, "slack-token"),
        ("sk_live_", 24, "stripe-key"),
        ("sk-ant-api03-", 95, "anthropic-key"),
        ("sk-proj-", 100, "openai-key"),
        ("sk-", 48, "openai-key"),
        ("AIza", 35, "google-key"),
        ("npm_", 36, "npm-token"),
        ("pypi-AgEIcHlwaS5vcmc", 120, "pypi-token"),
    ] {
        let token = format!("{prefix}{}", random(length));
        check(
            &format!("x={token}, next"),
            &format!("x=[REDACTED:{kind}], next"),
        );
        check(&token, &format!("[REDACTED:{kind}]"));
        clean(&format!("x{token}"));
    }
    check("id AKIAQ7XZ2MPLW5NTRB3D.", "id [REDACTED:aws-key-id].");
    clean("AKIAQ7XZ2MPLW5NTRB3DEXTRA");
}

#[test]
fn longer_tokens_are_swallowed_to_their_end() {
    check(
        &format!("ghp_{} end", random(9000)),
        "[REDACTED:github-token] end",
    );
    check(
        &format!("API_TOKEN={}\nend", random(9000)),
        "API_TOKEN=[REDACTED:named-secret]\nend",
    );
}

#[test]
fn web_tokens_and_headers() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9";
    check(&format!("got {jwt}\n"), "got [REDACTED:jwt]\n");
    check(
        "Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n",
        "Authorization: Basic [REDACTED:authorization]\r\n",
    );
    check(
        &format!("-H 'Authorization: Bearer {}' https://x", random(30)),
        "-H 'Authorization: Bearer [REDACTED:authorization]' https://x",
    );
    check(
        &format!("bearer {}", random(30)),
        "bearer [REDACTED:bearer-token]",
    );
    check(
        &format!("X-Api-Key: {}\n", random(30)),
        "X-Api-Key: [REDACTED:named-secret]\n",
    );
    clean("the bearer of this letter is basically authorized");
}

#[test]
fn passwords_in_addresses() {
    check(
        "postgres://app:hunter2@db:5432/x",
        "postgres://app:[REDACTED:url-password]@db:5432/x",
    );
    check("https://u:p@ss@h/", "https://u:[REDACTED:url-password]@h/");
    check(
        &format!("git clone https://{}@github.com/a/b", random(24)),
        "git clone https://[REDACTED:url-password]@github.com/a/b",
    );
    clean("ssh://git@github.com/a/b https://h:80/@x http://u:$PASS@h http://[::1]:80/");
}

#[test]
fn named_values_lose_their_value_only() {
    check(
        "DB_PASSWORD=correcthorse\n",
        "DB_PASSWORD=[REDACTED:named-secret]\n",
    );
    check(
        "AWS_SECRET_ACCESS_KEY='a/b+c d'",
        "AWS_SECRET_ACCESS_KEY='[REDACTED:named-secret]'",
    );
    check(
        r#"{"password": "hunter2"}"#,
        r#"{"password": "[REDACTED:named-secret]"}"#,
    );
    check(
        r#"{\"password\":\"hunter2\"}"#,
        r#"{\"password\":\"[REDACTED:named-secret]\"}"#,
    );
    check(
        r#"{"secret":"a\"b1cd"}"#,
        r#"{"secret":"[REDACTED:named-secret]"}"#,
    );
    check(
        "api_key: 9f8e7d6c5b4a\n",
        "api_key: [REDACTED:named-secret]\n",
    );
    check(
        "client_secret = 's3cr3tvalue'",
        "client_secret = '[REDACTED:named-secret]'",
    );
    check("?token=abc123&x=1", "?token=[REDACTED:named-secret]&x=1");
}

#[test]
fn flags_elements_and_login_files_lose_their_value_only() {
    check(
        "x --db-password hunter22 --api-key 'k3yk3yabc' --token-file /tmp/x9x9x9x",
        "x --db-password [REDACTED:named-secret] --api-key '[REDACTED:named-secret]' \
         --token-file /tmp/x9x9x9x",
    );
    check(
        "<password>hunter2</password><apiKey>abcd</apiKey>",
        "<password>[REDACTED:named-secret]</password><apiKey>[REDACTED:named-secret]</apiKey>",
    );
    check(
        "machine h login me password s3cret\nmachine h\n  login you\n  password Word\n",
        "machine h login me password [REDACTED:password]\n\
         machine h\n  login you\n  password [REDACTED:password]\n",
    );
    check(
        "db.host:5432:app:me:pa:ss\n",
        "db.host:5432:app:me:[REDACTED:password]\n",
    );
    check(
        "curl -u 'me:hunter22x' h",
        "curl -u 'me:[REDACTED:password]' h",
    );
    check(
        "sshpass -phunter2 ssh h",
        "sshpass -p[REDACTED:password] ssh h",
    );
    check(
        "USER a IDENTIFIED BY 'b c de'",
        "USER a IDENTIFIED BY '[REDACTED:password]'",
    );
    clean("docker run -u 1000:1000 -p 5432:5432:5432 x; ls --password-store basic; Vec<Token>a\n");
    clean(
        "Last login Mon password expired; --token <token> --password -p non-secret data1234\n"
            .replace("data1234", "data")
            .as_str(),
    );
}

#[test]
fn putty_keys_go_as_a_block() {
    check(
        "Public-Lines: 1\nAAAAB3\nPrivate-Lines: 2\nAAABAQ/+x=\nBBBB==\nPrivate-MAC: 00ff\n",
        "Public-Lines: 1\nAAAAB3\n[REDACTED:private-key]\nPrivate-MAC: 00ff\n",
    );
    clean("Private-Lines: many\n");
}

#[test]
fn prose_code_and_placeholders_stay() {
    clean("Password: \n");
    clean("Enter the password for host:\n");
    clean("password = getpass.getpass()\n");
    clean("token = parser.next_token(input);\n");
    clean("fn login(password: &str, token: Option<String>)\n");
    clean("max_tokens: 4096, token_count=100000, tokens=1532\n");
    clean("PASSWORD=$PASSWORD TOKEN=${TOKEN} SECRET=<your-secret> password=****\n");
    clean("\"secret\": null, \"token\": \"string\", secretName: my-app-credentials-2\n");
    clean("if password == other.password:\n");
    clean(
        "let token = ed25519_dalek::SigningKey::from(&key); authorization: Option<Vec<String>>,\n",
    );
    clean(
        "The `Authorization:` headers, the pipe identified by `address`, `sshpass -p`, and so on\n",
    );
    clean("label.password = \"Enter your password\"\n");
    clean("4b825dc642cb6eb9a060e54bf8d69288fbee4904 sha256:e3b0c44298fc1c149afbf4c8996fb924\n");
    clean("use crate::token::Token; token::parse(x)\n");
    clean("tokenizer.json: 100%|####| 466k/466k\n");
    clean("ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
}

const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n\
    MIIEowIBAAKCAQEAu1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gun\n\
    VTLw7onLRnrq0/IzW7yWR7QkrmBL7jTKEn5u+qKhbwKfBstIs+bMY2Zkp18gnTxK\n\
    -----END RSA PRIVATE KEY-----";

#[test]
fn private_keys_go_as_a_block() {
    check(&format!("a\n{KEY}\nb\n"), "a\n[REDACTED:private-key]\nb\n");
    check(&KEY.replace('\n', "\r\n"), "[REDACTED:private-key]");
    let json = format!(
        "{{\"k\":\"{}\\n\"}}",
        KEY.replace('\n', "\\n").replace("4,E", "4E")
    );
    check(
        &json.replace("Proc-Type: 4ENCRYPTED\\n\\n", ""),
        "{\"k\":\"[REDACTED:private-key]\\n\"}",
    );
    let cut = KEY.get(..150).unwrap();
    check(
        &format!("{cut}\n$ ls -la\n"),
        "[REDACTED:private-key]\n$ ls -la\n",
    );
    clean("-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n");
    clean("grep -----BEGIN file");
}

#[test]
fn registered_values_are_named_and_merged() {
    let rules = RedactionRules::none().with_values([
        ("DB", Secret::new("swordfish\n")),
        ("OTHER", Secret::new("fishbone")),
        ("SHORT", Secret::new("abc")),
    ]);
    assert_eq!(redact_text(&rules, "a swordfish b"), "a [REDACTED:DB] b");
    assert_eq!(redact_text(&rules, "swordfishbone!"), "[REDACTED:DB]!");
    assert_eq!(
        redact_text(&rules, "swordfishswordfish"),
        "[REDACTED:DB][REDACTED:DB]"
    );
    assert_eq!(redact_text(&rules, "abc swordfis"), "abc swordfis");
    let more = rules.with_values([("NEW", Secret::new("xyzzy"))]);
    assert_eq!(
        redact_text(&more, "xyzzy fishbone"),
        "[REDACTED:NEW] [REDACTED:OTHER]"
    );
}

#[test]
fn value_reaching_out_of_a_token_is_hidden_whole() {
    let rules = RedactionRules::builtin().with_values([("V", Secret::new("22 and more"))]);
    assert_eq!(
        redact_text(&rules, "DB_PASSWORD=hunter22 and more."),
        "DB_PASSWORD=[REDACTED:named-secret]."
    );
}

#[test]
fn multi_line_value_is_found_as_a_terminal_prints_it() {
    let rules = RedactionRules::none().with_values([("K", Secret::new("line1\nline2\n"))]);
    assert_eq!(
        redact_text(&rules, "line1\r\nline2\r\n"),
        "[REDACTED:K]\r\n"
    );
}

#[test]
fn debug_shows_no_secret() {
    let rules = RedactionRules::none().with_values([("DB", Secret::new("swordfish"))]);
    let mut redactor = Redactor::new(&rules);
    redactor.push(b"swordfis", &mut Vec::new());
    let shown = format!("{:?} {rules:?} {redactor:?}", Secret::new("swordfish"));
    assert!(!shown.contains("sword"), "{shown}");
    assert!(shown.starts_with("<secret>"), "{shown}");
}
