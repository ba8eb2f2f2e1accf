//! The corpus: secrets as programs print them, and hard texts without any. Says how many
//! of the one are hidden and of the other damaged; fails when that gets worse than the
//! promise. All values are generated here; none was ever valid.

use execgate_core::redact::{RedactionRules, redact_text};

/// Share of the secrets that must be hidden, in percent.
const LEAST_HIDDEN: usize = 95;

/// Share of the clean texts that may be altered, in percent.
const MOST_ALTERED: usize = 2;

/// A generator of values: the same in every run.
struct Values(u64);

impl Values {
    fn next(&mut self) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        (0..length)
            .filter_map(|_| alphabet.chars().nth(self.next() % alphabet.len()))
            .collect()
    }
}

const HEX: &str = "0123456789abcdef";
const ALNUM: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LOWER: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
const CAPITALS: &str = "234567ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const URL: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// Tokens: what they start with, their alphabet and their length behind that.
const TOKENS: &[(&str, &str, usize)] = &[
    ("AKIA", CAPITALS, 16),
    ("ASIA", CAPITALS, 16),
    ("AIza", URL, 35),
    ("ya29.a0", URL, 160),
    ("GOCSPX-", URL, 28),
    ("LTAI5t", ALNUM, 18),
    ("dop_v1_", HEX, 64),
    ("HRKU-AA", URL, 58),
    ("nfp_", ALNUM, 36),
    ("sbp_", HEX, 40),
    ("pscale_tkn_", URL, 43),
    ("AVNS_", URL, 19),
    ("dapi", HEX, 32),
    ("tskey-auth-k", ALNUM, 36),
    ("hvs.CAES", URL, 86),
    ("dp.pt.", ALNUM, 43),
    ("pul-", HEX, 40),
    ("AGE-SECRET-KEY-1", CAPITALS, 58),
    ("ghp_", ALNUM, 36),
    ("gho_", ALNUM, 36),
    ("ghs_", ALNUM, 36),
    ("github_pat_", ALNUM, 82),
    ("glpat-", URL, 20),
    ("glrt-", URL, 20),
    ("ATBB", ALNUM, 32),
    ("ATATT3xFfGF0", URL, 180),
    ("sgp_", HEX, 40),
    ("CCIPAT_", ALNUM, 60),
    ("squ_", HEX, 40),
    ("xoxb-123456789012-", ALNUM, 36),
    ("xapp-1-A0", ALNUM, 60),
    ("https://hooks.slack.com/services/T0", ALNUM, 40),
    ("https://discord.com/api/webhooks/1", URL, 86),
    ("SG.", URL, 66),
    ("xkeysib-", HEX, 81),
    ("key-", HEX, 32),
    ("sk_live_", ALNUM, 24),
    ("rk_test_", ALNUM, 24),
    ("whsec_", ALNUM, 32),
    ("sq0csp-", URL, 43),
    ("shpat_", HEX, 32),
    ("rzp_live_", ALNUM, 14),
    ("sk-ant-api03-", URL, 95),
    ("sk-proj-", URL, 156),
    ("sk-", ALNUM, 48),
    ("sk-or-v1-", HEX, 64),
    ("gsk_", ALNUM, 52),
    ("xai-", ALNUM, 80),
    ("pplx-", ALNUM, 48),
    ("r8_", ALNUM, 37),
    ("hf_", ALNUM, 34),
    ("lsv2_pt_", HEX, 43),
    ("nvapi-", URL, 64),
    ("npm_", ALNUM, 36),
    ("pypi-AgEIcHlwaS5vcmc", URL, 160),
    ("rubygems_", HEX, 48),
    ("dckr_pat_", URL, 27),
    ("oy2", LOWER, 43),
    ("glsa_", ALNUM, 41),
    ("NRAK-", CAPITALS, 27),
    ("sntrys_", ALNUM, 90),
    ("dt0c01.", CAPITALS, 89),
    ("phx_", ALNUM, 43),
    ("ntn_", ALNUM, 46),
    ("figd_", URL, 40),
    ("lin_api_", ALNUM, 40),
    ("PMAK-", HEX, 59),
];

/// Where a token stands in output. `@` is the token.
const AROUND: &[&str] = &[
    "Logged in with @\n",
    "config = { \"value\": \"@\", \"region\": \"eu\" }\n",
    "+    - run: deploy --with @ --verbose\n",
];

/// What needs more than a token's prefix: `@` is a value of the alphabet and length.
const NAMED: &[(&str, &str, usize)] = &[
    ("DB_PASSWORD=@\n", LOWER, 12),
    ("export AWS_SECRET_ACCESS_KEY=@\n", ALNUM, 40),
    ("aws_secret_access_key = @\n", ALNUM, 40),
    ("aws_session_token = @\n", ALNUM, 200),
    ("{\"password\": \"@\", \"user\": \"app\"}\n", LOWER, 10),
    ("{\\\"client_secret\\\":\\\"@\\\"}\n", URL, 32),
    ("  password: @\n", ALNUM, 14),
    ("  api_key: '@'\n", HEX, 32),
    ("secret_key_base: @\n", HEX, 128),
    ("password = \"@\"\n", ALNUM, 16),
    ("[db]\npasswd=@\n", LOWER, 9),
    ("<password>@</password>\n", LOWER, 9),
    ("<add key=\"x\" apiKey=\"@\"/>\n", HEX, 24),
    ("machine example.org login bob password @\n", ALNUM, 14),
    ("db.example.org:5432:app:bob:@\n", ALNUM, 14),
    ("mysqldump --user app --password=@ app\n", ALNUM, 12),
    ("tool login --token @ --region eu\n", ALNUM, 20),
    ("tool --api-key '@'\n", HEX, 32),
    ("curl -u bob:@ https://example.org\n", ALNUM, 14),
    ("sshpass -p @ ssh bob@example.org\n", LOWER, 10),
    ("> Authorization: Bearer @\n", URL, 40),
    ("authorization: Basic @\n", ALNUM, 24),
    ("X-Api-Key: @\n", HEX, 32),
    ("PRIVATE-TOKEN: @\n", URL, 20),
    ("X-Auth-Token: @\n", HEX, 40),
    ("X-Vault-Token: @\n", URL, 40),
    ("postgres://app:@@db.example.org:5432/app\n", ALNUM, 16),
    ("redis://:@@cache.example.org:6379/0\n", ALNUM, 16),
    ("amqp://guest:@@mq.example.org//\n", LOWER, 12),
    ("remote: https://@@git.example.org/a/b.git\n", LOWER, 40),
    ("GET /v1/things?access_token=@&page=2\n", ALNUM, 40),
    ("GET /v1/things?api_key=@ HTTP/1.1\n", HEX, 32),
    ("//registry.example.org/:_authToken=@\n", HEX, 36),
    ("AccountName=a;AccountKey=@==;EndpointSuffix=x\n", ALNUM, 86),
    ("Endpoint=sb://a/;SharedAccessKey=@=\n", ALNUM, 43),
    ("ALTER USER app IDENTIFIED BY '@';\n", ALNUM, 14),
    ("environment:\n  - POSTGRES_PASSWORD=@\n", LOWER, 12),
    ("ENV[\"SECRET_TOKEN\"] = \"@\"\n", HEX, 30),
    ("bot 123456789:AA@\n", URL, 33),
    (
        "-----BEGIN OPENSSH PRIVATE KEY-----\n@\n-----END OPENSSH PRIVATE KEY-----\n",
        ALNUM,
        70,
    ),
    (
        "-----BEGIN PRIVATE KEY-----\\n@\\n-----END PRIVATE KEY-----\\n\n",
        ALNUM,
        64,
    ),
    (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n@\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----\n",
        ALNUM,
        64,
    ),
    ("-----BEGIN EC PRIVATE KEY-----\n@\n", ALNUM, 64),
    ("Private-Lines: 1\n@\nPrivate-MAC: 00\n", ALNUM, 64),
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.@\n",
        URL,
        43,
    ),
    ("DATABASE_URL=\"mysql://root:@@localhost/x\"\n", ALNUM, 12),
];

/// Clean texts in which `@` is a hash of this many hex digits.
const HASHES: &[(&str, usize)] = &[
    ("commit @\nAuthor: Ann <ann@example.org>\n", 40),
    ("index @..0000000 100644\n", 12),
    ("@  dist/app.tar.gz\n", 64),
    ("@  ./src/token.rs\n", 32),
    ("checksum = \"@\"\n", 64),
    (
        "name = \"secrecy\"\nversion = \"0.10.3\"\nchecksum = \"@\"\n",
        64,
    ),
    (
        "    resolved \"https://r.example.org/p/-/p-1.2.3.tgz#@\"\n",
        40,
    ),
    ("Digest: sha256:@\nStatus: Downloaded newer image\n", 64),
    ("FROM debian@sha256:@\n", 64),
    ("Removing intermediate container @\n", 12),
    ("github.com/a/b v0.0.0-20240102030405-@\n", 12),
    ("ETag: \"@\"\n", 32),
    ("trace_id=@ span_id=0 level=info\n", 32),
    ("Build ID: @\n", 40),
    ("/nix/store/@-hello-2.12\n", 32),
    ("key fingerprint = @\n", 40),
];

/// Clean texts as they are.
const CLEAN: &[&str] = &[
    "123e4567-e89b-12d3-a456-426614174000 created\n",
    "session 8f14e45f-ceea-467f-a0e6-3b3f0b0f3d5e closed\n",
    "\"integrity\": \"sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==\"\n",
    "h1:6w4gmZ0sVbzXTYqKxJ1JyTTPvNaTLPsVJ8xMuwKgd9w=\n",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==\n",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk0bWJ5c3RlcmlvdXNwdWJsaWNrZXkwMTIzNDU2Nzg ann@host\n",
    "256 SHA256:uNiVztksCsDhcc0u9e8BrrXV4WGv9Yb4vYwz9lWJm9E ann@host (ED25519)\n",
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2hhaW4gb2YgdHJ1c3QwCgYIKoZIzj0EAwIw\n-----END CERTIFICATE-----\n",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n",
    "fn login(user: &str, password: &str) -> Result<Token, Error> {\n",
    "    let token = self.next_token()?;\n",
    "    password = getpass.getpass(\"Password: \")\n",
    "    secret = os.environ[\"APP_SECRET\"]\n",
    "const token = process.env.GITHUB_TOKEN;\n",
    "  token: ${{ secrets.GITHUB_TOKEN }}\n",
    "      password: {{ .Values.db.password }}\n",
    "if (password !== confirmPassword) {\n",
    "self.password_hash = hash_password(password)\n",
    "type Token struct { Kind TokenKind; Text string }\n",
    "pub struct Secret(Zeroizing<Vec<u8>>);\n",
    "  return jwt.sign({ id: user.id }, config.secret, { expiresIn: '1h' });\n",
    "API_KEY=${API_KEY:?set it first}\n",
    "export TOKEN=$(cat /run/token)\n",
    "PASSWORD=<your password here>\n",
    "password = changeme\n",
    "token: string;\n",
    "secret: Option<String>,\n",
    "api_key: str | None = None\n",
    "Enter passphrase for key '/home/ann/.ssh/id_ed25519': \n",
    "ann@host's password: \n",
    "Permission denied (publickey,password).\n",
    "error: unexpected token `}`, expected `;`\n",
    "SyntaxError: Unexpected token < in JSON at position 0\n",
    "max_tokens: 4096\nprompt_tokens=1532 completion_tokens=87\n",
    "tokenizer.json: 100%|##########| 2.1M/2.1M [00:00<00:00, 9.1MB/s]\n",
    "passwd: password expiry information changed.\n",
    "root:x:0:0:root:/root:/bin/bash\n",
    "passwd:         files systemd\n",
    "NAME              TYPE     DATA   AGE\ndb-credentials    Opaque   2      5d12h\n",
    "secretName: wildcard-example-org-tls\n",
    "kubectl create secret generic db --from-file=password.txt\n",
    "    --password-stdin       Take the password from stdin\n",
    "  -p, --password string    Password\n",
    "  --token TOKEN   access token for the API\n",
    "Usage: tool login [--token-file PATH]\n",
    "https://example.org/docs/tokens#password-reset\n",
    "https://user@example.org/a?page=2&sort=token\n",
    "git@github.com:example/secret-santa.git\n",
    "docker run -u 1000:1000 -p 5432:5432 postgres:16\n",
    "127.0.0.1:5432:accepting connections\n",
    "tcp 0 0 0.0.0.0:5432 0.0.0.0:* LISTEN\n",
    "Last login: Mon Jan  5 12:00:01 2026 from 10.0.0.7\n",
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 user=ann\n",
    "Compiling secrecy v0.10.3\nCompiling tokio v1.48.0\n",
    "test auth::token_is_refreshed ... ok\n",
    "FAILED tests/test_password.py::test_reset_token - AssertionError\n",
    "-rw------- 1 ann ann 411 Jan  5 12:00 id_ed25519\n",
    "drwxr-xr-x 2 ann ann 4096 Jan  5 12:00 secrets\n",
    "2026-01-05T12:00:00.123456Z  INFO token refreshed expires_in=3600\n",
    "[12:00:01] GET /api/tokens 200 12ms 0a1b2c3d\n",
    "Authorization: required\n",
    "WWW-Authenticate: Bearer realm=\"example\"\n",
    "the bearer of this certificate is authorised\n",
    "!function(e,t){\"object\"==typeof exports?module.exports=t():e.token=t()}(this,function(){var n={password:1}});\n",
    "a.skip-link{position:absolute} .sk-circle-fade-dot{width:100%}\n",
    "sk-estonia sk_buff_head task-sk-1234\n",
    "class=\"hf_header npm_list key-value api-grid sdk-install\"\n",
    "key-value store, key-0123 and key-abcdef\n",
    "AKIA is a prefix; AIza is another; ghp_ too\n",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
    "sk-................................................\n",
    "std::collections::AArch64::AAnything::AAA\n",
    "diff --git a/auth/token.go b/auth/token.go\n@@ -1,4 +1,4 @@ func (t *Token) String() string {\n",
    "-\tif secret == nil {\n+\tif len(secret) == 0 {\n",
    "0000000 7f45 4c46 0201 0100 0000 0000 0000 0000\n",
    "sigs=3 &sigma=2 ?signal=TERM\n",
    "libssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f2b3c000000)\n",
    "x86_64-unknown-linux-gnu-gcc-14.2.0-20250110\n",
    "SSH_AUTH_SOCK=/tmp/ssh-XXXXXX/agent.1234\n",
    "credentials: same-origin\n",
    "credential.helper=store\n",
    "secret-tool - store and retrieve passwords\n",
    "PASSWORD(1)          User Commands          PASSWORD(1)\n",
    "[REDACTED:github-token] and password=[REDACTED:named-secret]\n",
    "password: ********\n",
    "\"private_key_id\": null, \"token_uri\": \"\"\n",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
    "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7\n",
];

fn secrets() -> Vec<(String, String)> {
    let mut values = Values(7);
    let mut cases = Vec::new();
    for (prefix, alphabet, length) in TOKENS {
        for around in AROUND {
            let value = values.of(alphabet, *length);
            let text = around.replace('@', &format!("{prefix}{value}"));
            cases.push((text, value));
        }
    }
    for (around, alphabet, length) in NAMED {
        let value = values.of(alphabet, *length);
        cases.push((around.replacen('@', &value, 1), value));
    }
    for row in include_str!("corpus/places.tsv").lines() {
        let mut fields = row.splitn(3, '\t');
        let alphabet = match fields.next() {
            Some("hex") => HEX,
            _ => ALNUM,
        };
        let length = fields.next().and_then(|length| length.parse().ok());
        let value = values.of(alphabet, length.unwrap_or_default());
        assert!(!value.is_empty(), "{row}");
        let around = fields.next().unwrap_or_default();
        cases.push((unescaped(around).replace('§', &value), value));
    }
    cases
}

/// A line of the corpus, with its line ends.
fn unescaped(line: &str) -> String {
    line.split("\\\\")
        .map(|part| part.replace("\\n", "\n"))
        .collect::<Vec<_>>()
        .join("\\")
}

fn clean() -> Vec<String> {
    let mut values = Values(11);
    let mut cases: Vec<String> = CLEAN.iter().map(|text| (*text).to_owned()).collect();
    cases.extend(include_str!("corpus/clean.txt").lines().map(unescaped));
    for (around, digits) in HASHES {
        let (head, tail) = around.rsplit_once('@').unwrap_or((around, ""));
        cases.push(format!("{head}{}{tail}", values.of(HEX, *digits)));
    }
    cases
}

#[test]
fn secrets_of_the_corpus_are_hidden() {
    let rules = RedactionRules::builtin();
    let cases = secrets();
    let shown: Vec<_> = cases
        .iter()
        .filter(|(text, value)| redact_text(&rules, text).contains(value.as_str()))
        .map(|(text, _)| text)
        .collect();
    let hidden = cases.len() - shown.len();
    println!(
        "{hidden} of {} secrets hidden; shown: {shown:#?}",
        cases.len()
    );
    assert!(hidden * 100 >= cases.len() * LEAST_HIDDEN, "{shown:#?}");
}

#[test]
fn clean_texts_of_the_corpus_stay() {
    let rules = RedactionRules::builtin();
    let cases = clean();
    let altered: Vec<_> = cases
        .iter()
        .map(|text| (text, redact_text(&rules, text)))
        .filter(|(text, out)| *text != out)
        .collect();
    println!(
        "{} of {} clean texts altered: {altered:#?}",
        altered.len(),
        cases.len()
    );
    assert!(
        altered.len() * 100 <= cases.len() * MOST_ALTERED,
        "{altered:#?}"
    );
}
