//! The tokens that say themselves what they are: a fixed prefix, and so and so many
//! bytes of one class behind it.
//!
//! The formats are facts, from the issuers' documentation of their keys and from the
//! programs they offer for secret scanning; the table is our own. A checksum, such as
//! GitHub's, is not asked for: a token with a wrong one is rather a typing error than a
//! text, and it costs nobody anything to hide it.

use super::look::{self, Answer, Class, End};

/// A token that starts with a fixed prefix.
pub(super) struct Token {
    kind: &'static str,
    pub(super) prefix: &'static str,
    class: Class,
    /// Fewest bytes behind the prefix.
    min: usize,
    /// Most bytes behind the prefix, if a longer run is something else.
    max: Option<usize>,
    /// What stands before its prefix.
    place: Place,
}

/// What may stand before a prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// No letter or digit before one that begins with such, and one before any other: a
    /// prefix that is the middle of a token needs the beginning.
    Fitting,
    /// Anything.
    Anywhere,
}

const fn token(kind: &'static str, prefix: &'static str, class: Class, min: usize) -> Token {
    Token {
        kind,
        prefix,
        class,
        min,
        max: None,
        place: Place::Fitting,
    }
}

const fn anywhere(kind: &'static str, prefix: &'static str, class: Class, min: usize) -> Token {
    Token {
        place: Place::Anywhere,
        ..token(kind, prefix, class, min)
    }
}

const fn fixed(kind: &'static str, prefix: &'static str, class: Class, length: usize) -> Token {
    Token {
        kind,
        prefix,
        class,
        min: length,
        max: Some(length),
        place: Place::Fitting,
    }
}

/// The kinds that are no token's, from the other shapes.
const OTHER_KINDS: [&str; 8] = [
    "authorization",
    "azure-secret",
    "bearer-token",
    "cookie",
    "jwt",
    "named-secret",
    "private-key",
    "url-password",
];

/// What the built-in rules call what they hide; no name of a secret, and none that a session
/// chose.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    TOKENS.iter().map(|token| token.kind).chain(OTHER_KINDS)
}

/// The table.
pub(super) const TOKENS: &[Token] = &[
    // Clouds and hosting.
    fixed("aws-key-id", "AKIA", Class::Capitals, 16),
    fixed("aws-key-id", "ASIA", Class::Capitals, 16),
    fixed("aws-key-id", "ABIA", Class::Capitals, 16),
    fixed("aws-key-id", "ACCA", Class::Capitals, 16),
    token("aws-bedrock-key", "ABSK", Class::Base64, 100),
    token("aws-signature", "X-Amz-Signature=", Class::Alnum, 60),
    token("azure-signature", "&sig=", Class::Escaped, 40),
    token("azure-signature", "?sig=", Class::Escaped, 40),
    fixed("google-key", "AIza", Class::Base64Url, 35),
    token("google-token", "ya29.", Class::Dotted, 30),
    token("google-token", "1//0", Class::Base64Url, 40),
    token("google-secret", "GOCSPX-", Class::Base64Url, 24),
    token("alibaba-key-id", "LTAI", Class::Alnum, 16),
    fixed("tencent-key-id", "AKID", Class::Alnum, 32),
    token("yandex-key", "AQVN", Class::Base64Url, 35),
    token("yandex-token", "t1.", Class::Dotted, 100),
    token("cloudflare-key", "v1.0-", Class::Base64Url, 100),
    token("azure-openai-key", "AzureAI-", Class::Base64Url, 40),
    token("digitalocean-token", "dop_v1_", Class::Alnum, 60),
    token("digitalocean-token", "doo_v1_", Class::Alnum, 60),
    token("digitalocean-token", "dor_v1_", Class::Alnum, 60),
    token("heroku-key", "HRKU-", Class::Base64Url, 36),
    token("fly-token", "fm2_", Class::Base64, 60),
    token("fly-token", "fm1r_", Class::Base64, 60),
    token("fly-token", "fm1a_", Class::Base64, 60),
    token("netlify-token", "nfp_", Class::Alnum, 36),
    token("render-key", "rnd_", Class::Alnum, 24),
    token("vercel-token", "vercel_blob_rw_", Class::Base64Url, 24),
    token("supabase-key", "sbp_", Class::Alnum, 40),
    token("supabase-key", "sb_secret_", Class::Base64Url, 24),
    token("planetscale-token", "pscale_tkn_", Class::Dotted, 32),
    token("planetscale-token", "pscale_pw_", Class::Dotted, 32),
    token("planetscale-token", "pscale_oauth_", Class::Dotted, 32),
    token("neon-key", "napi_", Class::Alnum, 48),
    token("mongodb-key", "mdb_sa_sk_", Class::Base64Url, 32),
    token("cockroach-key", "CCDB1_", Class::Base64Url, 32),
    token("aiven-password", "AVNS_", Class::Base64Url, 16),
    token("databricks-token", "dapi", Class::Alnum, 32),
    token("tailscale-key", "tskey-", Class::Base64Url, 20),
    // Secret stores and infrastructure.
    token("vault-token", "hvs.", Class::Base64Url, 24),
    token("vault-token", "hvb.", Class::Base64Url, 24),
    token("vault-token", "hvr.", Class::Base64Url, 24),
    token("terraform-token", ".atlasv1.", Class::Base64Url, 60),
    token("doppler-token", "dp.pt.", Class::Dotted, 40),
    token("doppler-token", "dp.ct.", Class::Alnum, 40),
    token("doppler-token", "dp.st.", Class::Dotted, 40),
    token("doppler-token", "dp.sa.", Class::Alnum, 40),
    token("doppler-token", "dp.scim.", Class::Alnum, 40),
    token("doppler-token", "dp.audit.", Class::Alnum, 40),
    token("onepassword-token", "ops_eyJ", Class::Base64, 100),
    token("pulumi-token", "pul-", Class::Alnum, 40),
    token("infracost-key", "ico-", Class::Alnum, 32),
    token("swarm-token", "SWMTKN-1-", Class::Base64Url, 60),
    token("teleport-token", "tele_", Class::Base64Url, 32),
    token("age-key", "AGE-SECRET-KEY-1", Class::Capitals, 50),
    token("prefect-key", "pnu_", Class::Alnum, 36),
    // Git hosts and CI.
    token("github-token", "ghp_", Class::Alnum, 36),
    token("github-token", "gho_", Class::Alnum, 36),
    token("github-token", "ghu_", Class::Alnum, 36),
    token("github-token", "ghs_", Class::Alnum, 36),
    token("github-token", "ghr_", Class::Alnum, 36),
    token("github-token", "github_pat_", Class::Base64Url, 36),
    token("gitlab-token", "glpat-", Class::Dotted, 20),
    token("gitlab-token", "gldt-", Class::Dotted, 20),
    token("gitlab-token", "glrt-", Class::Dotted, 20),
    token("gitlab-token", "glptt-", Class::Dotted, 20),
    token("gitlab-token", "glcbt-", Class::Dotted, 20),
    token("gitlab-token", "glft-", Class::Dotted, 20),
    token("gitlab-token", "glimt-", Class::Dotted, 20),
    token("gitlab-token", "glagent-", Class::Dotted, 20),
    token("gitlab-token", "gloas-", Class::Dotted, 20),
    token("gitlab-token", "glsoat-", Class::Dotted, 20),
    token("gitlab-token", "glffct-", Class::Dotted, 20),
    token("gitlab-token", "GR1348941", Class::Dotted, 20),
    token("bitbucket-token", "ATBB", Class::Base64, 28),
    token("bitbucket-token", "ATCTT3xFfG", Class::Base64, 28),
    token("atlassian-token", "ATATT3xFfGF0", Class::Base64, 60),
    token("sourcegraph-token", "sgp_", Class::Base64Url, 40),
    token("circleci-token", "CCIPAT_", Class::Base64Url, 40),
    token("circleci-token", "CCIPRJ_", Class::Base64Url, 40),
    token("buildkite-token", "bkua_", Class::Alnum, 40),
    token("sonar-token", "squ_", Class::Alnum, 40),
    token("sonar-token", "sqp_", Class::Alnum, 40),
    token("sonar-token", "sqa_", Class::Alnum, 40),
    // Chat and mail.
    token("slack-token", "xoxb-", Class::Base64Url, 20),
    token("slack-token", "xoxp-", Class::Base64Url, 20),
    token("slack-token", "xoxa-", Class::Base64Url, 20),
    token("slack-token", "xoxr-", Class::Base64Url, 20),
    token("slack-token", "xoxs-", Class::Base64Url, 20),
    token("slack-token", "xoxe-", Class::Base64Url, 20),
    token("slack-token", "xoxc-", Class::Base64Url, 20),
    token("slack-token", "xoxd-", Class::Base64Url, 20),
    token("slack-token", "xapp-", Class::Base64Url, 20),
    token("slack-token", "xoxe.xox", Class::Dotted, 20),
    token(
        "slack-webhook",
        "hooks.slack.com/services/",
        Class::Path,
        20,
    ),
    token(
        "slack-webhook",
        "hooks.slack.com/workflows/",
        Class::Path,
        20,
    ),
    token(
        "discord-webhook",
        "discord.com/api/webhooks/",
        Class::Path,
        60,
    ),
    token(
        "discord-webhook",
        "discordapp.com/api/webhooks/",
        Class::Path,
        60,
    ),
    token(
        "teams-webhook",
        ".webhook.office.com/webhookb2/",
        Class::Webhook,
        60,
    ),
    fixed("telegram-token", ":AA", Class::Base64Url, 33),
    token("sendgrid-key", "SG.", Class::Dotted, 60),
    token("brevo-key", "xkeysib-", Class::Base64Url, 64),
    token("brevo-key", "xsmtpsib-", Class::Base64Url, 64),
    fixed("mailgun-key", "key-", Class::Alnum, 32),
    fixed("twilio-key", "SK", Class::Hex, 32),
    token("resend-key", "re_", Class::Base64Url, 32),
    token("zoom-token", "zoom_", Class::Base64Url, 32),
    // Payment and commerce.
    token("stripe-key", "sk_live_", Class::Alnum, 16),
    token("stripe-key", "sk_test_", Class::Alnum, 16),
    token("stripe-key", "rk_live_", Class::Alnum, 16),
    token("stripe-key", "rk_test_", Class::Alnum, 16),
    token("stripe-webhook", "whsec_", Class::Base64, 24),
    token("square-token", "sq0atp-", Class::Base64Url, 22),
    token("square-token", "sq0csp-", Class::Base64Url, 22),
    token("square-token", "EAAA", Class::Base64Url, 56),
    token("shopify-token", "shpat_", Class::Alnum, 32),
    token("shopify-token", "shpca_", Class::Alnum, 32),
    token("shopify-token", "shppa_", Class::Alnum, 32),
    token("shopify-token", "shpss_", Class::Alnum, 32),
    token("razorpay-key", "rzp_live_", Class::Alnum, 14),
    token("razorpay-key", "rzp_test_", Class::Alnum, 14),
    token("flutterwave-key", "FLWSECK-", Class::Base64Url, 32),
    token("flutterwave-key", "FLWSECK_TEST-", Class::Base64Url, 32),
    token("plaid-token", "access-production-", Class::Base64Url, 36),
    token("plaid-token", "access-sandbox-", Class::Base64Url, 36),
    token("plaid-token", "access-development-", Class::Base64Url, 36),
    fixed("easypost-key", "EZAK", Class::Alnum, 54),
    fixed("easypost-key", "EZTK", Class::Alnum, 54),
    token(
        "braintree-token",
        "access_token$production$",
        Class::Hash,
        40,
    ),
    token("braintree-token", "access_token$sandbox$", Class::Hash, 40),
    token("adyen-key", "AQE", Class::Base64, 100),
    token("lob-key", "live_pub_", Class::Alnum, 31),
    token("paystack-key", "sk_paystack_", Class::Alnum, 32),
    token("shippo-token", "shippo_live_", Class::Alnum, 40),
    token("shippo-token", "shippo_test_", Class::Alnum, 40),
    token("duffel-token", "duffel_test_", Class::Base64Url, 43),
    token("duffel-token", "duffel_live_", Class::Base64Url, 43),
    // AI services.
    token("anthropic-key", "sk-ant-", Class::Base64Url, 24),
    token("openai-key", "sk-proj-", Class::Base64Url, 24),
    token("openai-key", "sk-svcacct-", Class::Base64Url, 24),
    token("openai-key", "sk-admin-", Class::Base64Url, 24),
    token("openai-key", "sk-None-", Class::Base64Url, 24),
    token("openrouter-key", "sk-or-v1-", Class::Alnum, 32),
    token("langfuse-key", "sk-lf-", Class::Base64Url, 36),
    token("openai-key", "sk-", Class::Alnum, 32),
    token("groq-key", "gsk_", Class::Alnum, 48),
    token("xai-key", "xai-", Class::Alnum, 60),
    token("perplexity-key", "pplx-", Class::Alnum, 40),
    token("replicate-token", "r8_", Class::Alnum, 36),
    token("huggingface-token", "hf_", Class::Alnum, 30),
    token("huggingface-token", "api_org_", Class::Alnum, 30),
    token("langsmith-key", "lsv2_pt_", Class::Base64Url, 32),
    token("langsmith-key", "lsv2_sk_", Class::Base64Url, 32),
    token("pinecone-key", "pcsk_", Class::Base64Url, 40),
    token("nvidia-key", "nvapi-", Class::Base64Url, 60),
    token("cerebras-key", "csk-", Class::Alnum, 40),
    token("together-key", "tgp_v1_", Class::Base64Url, 32),
    token("tavily-key", "tvly-", Class::Base64Url, 24),
    token("jina-key", "jina_", Class::Base64Url, 48),
    token("fireworks-key", "fw_", Class::Alnum, 22),
    token("elevenlabs-key", "sk_", Class::Hex, 48),
    token("voyage-key", "pa-", Class::Base64Url, 40),
    token("firecrawl-key", "fc-", Class::Hex, 32),
    token("e2b-key", "e2b_", Class::Hex, 40),
    token("wandb-key", "wandb_v1_", Class::Base64Url, 40),
    // Package registries.
    token("npm-token", "npm_", Class::Alnum, 36),
    token("pypi-token", "pypi-AgE", Class::Base64Url, 50),
    token("pypi-token", "pypi-AgN", Class::Base64Url, 50),
    token("crates-token", "cio", Class::Alnum, 32),
    token("rubygems-token", "rubygems_", Class::Alnum, 48),
    token("docker-token", "dckr_pat_", Class::Base64Url, 24),
    token("docker-token", "dckr_oat_", Class::Base64Url, 24),
    fixed("nuget-key", "oy2", Class::Alnum, 43),
    token("clojars-token", "CLOJARS_", Class::Alnum, 60),
    token("jfrog-key", "AKCp", Class::Alnum, 64),
    token("jfrog-token", "cmVmdGtu", Class::Alnum, 56),
    // Private keys and password hashes as they stand in configurations.
    token(
        "private-key",
        "LS0tLS1CRUdJTiBSU0EgUFJJVkFURS",
        Class::Base64,
        20,
    ),
    token("private-key", "LS0tLS1CRUdJTiBQUklWQVRF", Class::Base64, 20),
    token("private-key", "LS0tLS1CRUdJTiBFQyBQUklW", Class::Base64, 20),
    token("private-key", "LS0tLS1CRUdJTiBPUEVOU1NI", Class::Base64, 20),
    token(
        "private-key",
        "LS0tLS1CRUdJTiBFTkNSWVBURU",
        Class::Base64,
        20,
    ),
    anywhere("password-hash", "$6$", Class::Hash, 60),
    anywhere("password-hash", "$5$", Class::Hash, 43),
    anywhere("password-hash", "$y$", Class::Hash, 50),
    anywhere("password-hash", "$2a$", Class::Hash, 50),
    anywhere("password-hash", "$2b$", Class::Hash, 50),
    anywhere("password-hash", "$2y$", Class::Hash, 50),
    anywhere("password-hash", "$argon2id$", Class::Hash, 50),
    anywhere("password-hash", "$argon2i$", Class::Hash, 50),
    anywhere("password-hash", "$apr1$", Class::Hash, 28),
    // Monitoring, analytics and documents.
    token("grafana-token", "glsa_", Class::Base64Url, 32),
    token("grafana-token", "glc_", Class::Base64, 32),
    token("newrelic-key", "NRAK-", Class::Base64Url, 19),
    token("newrelic-key", "NRJS-", Class::Base64Url, 19),
    token("newrelic-key", "NRII-", Class::Base64Url, 19),
    token("sentry-token", "sntrys_", Class::Base64, 60),
    token("sentry-token", "sntryu_", Class::Base64, 60),
    token("dynatrace-token", "dt0c01.", Class::Dotted, 64),
    token("dynatrace-token", "dt0s01.", Class::Dotted, 64),
    token("dynatrace-token", "dt0s16.", Class::Dotted, 64),
    token("honeycomb-key", "hcaik_", Class::Alnum, 40),
    token("honeycomb-key", "hcxik_", Class::Alnum, 40),
    token("honeycomb-key", "hcamk_", Class::Alnum, 40),
    token("axiom-token", "xaat-", Class::Base64Url, 36),
    token("axiom-token", "xapt-", Class::Base64Url, 36),
    token("posthog-key", "phx_", Class::Alnum, 40),
    token("mapbox-token", "sk.eyJ", Class::Dotted, 60),
    fixed("launchdarkly-key", "sdk-", Class::Base64Url, 36),
    token("contentful-token", "CFPAT-", Class::Base64Url, 43),
    token("notion-token", "ntn_", Class::Alnum, 40),
    token("figma-token", "figd_", Class::Base64Url, 36),
    token("figma-token", "figo_", Class::Base64Url, 36),
    token("linear-key", "lin_api_", Class::Alnum, 32),
    token("linear-key", "lin_oauth_", Class::Alnum, 32),
    token("postman-key", "PMAK-", Class::Base64Url, 50),
    token("typeform-token", "tfp_", Class::Base64Url, 40),
    token("dropbox-token", "sl.", Class::Base64Url, 100),
    token("hubspot-token", "pat-na1-", Class::Base64Url, 36),
    token("hubspot-token", "pat-na2-", Class::Base64Url, 36),
    token("hubspot-token", "pat-eu1-", Class::Base64Url, 36),
    token("frameio-token", "fio-u-", Class::Base64Url, 60),
    token("readme-key", "rdme_", Class::Alnum, 60),
    token("adafruit-key", "aio_", Class::Alnum, 28),
    token("adobe-secret", "p8e-", Class::Alnum, 32),
];

/// What the tokens in manuals end with.
const EXAMPLE: &[u8] = b"EXAMPLE";

impl Token {
    /// What the token with its prefix at `start` is. `before` is the byte before that.
    pub(super) fn ask(&self, buffer: &[u8], start: usize, before: Option<u8>, end: End) -> Answer {
        let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let starts_word = self
            .prefix
            .starts_with(|first: char| first.is_ascii_alphanumeric());
        if self.place == Place::Fitting && in_word == starts_word {
            return Answer::No;
        }
        let rest = buffer.get(start..).unwrap_or_default();
        if !rest.starts_with(self.prefix.as_bytes()) {
            return Answer::No;
        }
        let run = look::run(buffer, start + self.prefix.len(), self.class, end);
        if self.max.is_some_and(|max| run.len() > max) {
            return Answer::No;
        }
        if run.open && run.len() < look::CERTAIN_AFTER {
            return Answer::More;
        }
        let value = look::window(buffer, run);
        if run.len() < self.min || !look::is_random(value) || value.ends_with(EXAMPLE) {
            return Answer::No;
        }
        let whole = look::Run { start, ..run };
        look::accept(whole, self.class, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{RedactionRules, redact_text};

    fn random(length: usize) -> String {
        "7A2CE5D3BF9AB4EC8D".chars().cycle().take(length).collect()
    }

    #[test]
    fn every_token_is_found_at_its_shortest_and_not_below() {
        let rules = RedactionRules::builtin();
        for token in TOKENS {
            let head = match token
                .prefix
                .starts_with(|c: char| c.is_ascii_alphanumeric())
            {
                true => "",
                false if token.place == Place::Anywhere => "",
                false => "8",
            };
            let text = format!("see {head}{}{} here", token.prefix, random(token.min));
            let expected = format!("see {head}[REDACTED:{}] here", token.kind);
            assert_eq!(redact_text(&rules, &text), expected);
            for clean in [
                format!("see {head}{}{} here", token.prefix, random(token.min - 1)),
                format!("see {head}{}{} here", token.prefix, "x".repeat(token.min)),
            ] {
                assert_eq!(redact_text(&rules, &clean), clean);
            }
        }
    }

    #[test]
    fn no_two_prefixes_differ_in_case_only() {
        let mut prefixes: Vec<String> = TOKENS
            .iter()
            .map(|token| token.prefix.to_ascii_lowercase())
            .collect();
        prefixes.sort();
        let all = prefixes.len();
        prefixes.dedup();
        assert_eq!(prefixes.len(), all);
    }
}
