//! Facts about the configuration as a whole.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::*;

fn variables(name: &str) -> Option<OsString> {
    match name {
        "HOME" => Some("/home/agent".into()),
        "API_KEY" => Some("k-123456".into()),
        _ => None,
    }
}

fn load(text: &str, overrides: Overrides) -> Result<Config, ConfigError> {
    let file = FileConfig::parse(Path::new("gate.toml"), text)?;
    Config::resolve(file, overrides, &variables)
}

fn check_error(text: &str, expected: &str) {
    let error = load(text, Overrides::default()).unwrap_err().to_string();
    assert_eq!(error, expected, "{text}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one text: the whole configuration")]
fn without_a_file_everything_has_a_default() {
    let config = Config::load(None, Overrides::default(), &variables).unwrap();
    let expected = r#"listen = ["unix:/home/agent/.local/state/execgate/execgate.sock", "127.0.0.1:7443"]
insecure_plaintext_listeners = false
data_dir = "/home/agent/.local/state/execgate"

[sessions]
max = 96
idle_ttl = "30m"
max_lifetime = "1day"
default_timeout = "30m"

[quotas]
sessions = 64
executions = 128
retained_bytes = 536870912
requests_per_second = 5000
requests_burst = 10000

[limits]
max_command_bytes = 1048576
output_budget_bytes = 100000
retained_output_bytes = 4194304

[executions]
max = 256
retained_total_bytes = 1073741824
spill_bytes = 268435456
spill_total_bytes = 2147483648
keep = 256
keep_for = "1day"
keep_alive = "10s"

[connections]
max = 384
max_per_peer = 256
max_streams = 1024
max_request_bytes = 4194304
max_header_bytes = 16384
handshake_timeout = "10s"
max_age = "1day"
max_age_grace = "1day"
keep_alive = "30s"
keep_alive_timeout = "20s"
max_pending_resets = 20
max_local_resets = 1024
failed_authentications_per_minute = 60

[drain]
grace = "5s"
deliver = "3s"

[checkpoints]
max_file_bytes = 33554432
max_files = 500000
keep = 200
keep_for = "30days"
max_bytes = 2147483648
max_total_bytes = 21474836480
ignore = []

[local]
env_allow = ["PATH", "HOME", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "USER"]

[docker.profiles]

[policy]
name = "guard"

[fence]
require = []

[fence.profiles]

[redaction]
enabled = true
secret = []
rule = []

[secrets]

[audit]
sync = true
segment_bytes = 16777216
max_age = "none"
max_bytes = 0
previous_keys = []
head_command = []

[ssh]
allow_inline = false
inline_trust = "strict"
known_hosts = []
config_hosts = []

[ssh.hosts]

[telemetry]
log = "info"
log_format = "text"
protocol = "grpc"
timeout = "10s"
traces = true
metrics = true
heads = true
service_name = "execgate"
sampler = "parentbased_traceidratio"
sampling_ratio = 1.0
queue_spans = 2048
batch_spans = 512
batch_delay = "5s"
metrics_interval = "1m"
flush_limit = "3s"
commands = "none"

[telemetry.resource]

[telemetry.headers]

[identity]

[principals]
"#;
    assert_eq!(config.to_toml().unwrap(), expected);
}

#[test]
fn what_is_printed_can_be_read_back() {
    let text = r#"
        listen = ["unix:/run/gate.sock"]
        data_dir = "/var/lib/execgate"
        sessions = { max = 3, idle_ttl = "90s", max_lifetime = "none" }
        limits = { max_command_bytes = 5 }
        local = { user = "nobody", env_allow = [] }
        policy = { name = "open", file = "/etc/policy" }
        audit = { sync = false, segment_bytes = 65536, max_age = "90days", max_bytes = 1000000, key_file = "/k", head_file = "/h", head_command = ["logger"] }
        telemetry = { endpoint = "http://[::1]:4317", prometheus = "127.0.0.1:9464", sampling_ratio = 0.5 }
        tls = { certificate = "/c.pem", key = "/k.pem", client_ca = "/ca.pem" }
        identity.jwt = { issuer = "i", audience = "a", jwks_file = "/j", algorithms = ["EdDSA"] }
    "#;
    let config = load(text, Overrides::default()).unwrap();
    let printed = config.to_toml().unwrap();
    assert_eq!(load(&printed, Overrides::default()).unwrap(), config);
}

#[test]
fn overrides_win_over_the_file() {
    let text = "listen = ['127.0.0.1:1']\ndata_dir = '/a'\npolicy = { file = '/etc/policy' }";
    let overrides = Overrides {
        listen: vec!["127.0.0.1:2".parse().unwrap()],
        data_dir: Some("/b".into()),
        policy: Some(PolicyName::Open),
        log: Some("debug".to_owned()),
        log_format: Some(crate::logging::LogFormat::Json),
        insecure_plaintext_listeners: false,
    };
    let expected = Config {
        listen: overrides.listen.clone(),
        data_dir: "/b".into(),
        policy: Policy {
            name: PolicyName::Open,
            file: None,
        },
        telemetry: Telemetry {
            log: "debug".to_owned(),
            log_format: crate::logging::LogFormat::Json,
            ..load("", Overrides::default()).unwrap().telemetry
        },
        ..load("", Overrides::default()).unwrap()
    };
    assert_eq!(load(text, overrides).unwrap(), expected);
}

#[test]
fn the_state_directory_is_taken_from_the_environment() {
    let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| OsString::from("/state"));
    let config = Config::load(None, Overrides::default(), &xdg).unwrap();
    assert_eq!(config.data_dir, Path::new("/state/execgate"));
    let error = Config::load(None, Overrides::default(), &|_| None).unwrap_err();
    assert!(matches!(error, ConfigError::NoHome), "{error}");
}

#[test]
fn errors_name_file_line_column_and_key() {
    check_error(
        "[sessions]\nmax = 3\nidel_ttl = '1s'\n",
        "read gate.toml, line 3, column 1, key `sessions.idel_ttl`: unknown field `idel_ttl`, \
         expected one of `max`, `idle_ttl`, `max_lifetime`, `default_timeout`",
    );
    check_error(
        "sessions.max = 'many'\n",
        "read gate.toml, line 1, column 16, key `sessions.max`: invalid type: string \"many\", \
         expected a nonzero u32",
    );
    check_error(
        "\nlisten = ['127.0.0.1:1', '0.0.0.0:1']\n",
        "use the configuration: `listen`: `0.0.0.0:1` is not a loopback address: without `[tls]` \
         the server listens on 127.0.0.1, [::1] or a Unix socket only",
    );
    check_error(
        "\nlisten = ['127.0.0.1:1', 'localhost:1']\n",
        "read gate.toml, line 2, column 10, key `listen[1]`: `localhost:1` is neither \
         `127.0.0.1:PORT` nor `unix:PATH`",
    );
    check_error(
        "[sessions]\nmax = = 3\n",
        "read gate.toml, line 2, column 7, key `max`: extra `=`, expected nothing",
    );
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    check_error(
        "sessions.max_lifetime = '10m'\n",
        "use the configuration: `sessions.idle_ttl`: 30m is longer than sessions.max_lifetime",
    );
    check_error(
        "limits.retained_output_bytes = 1000\n",
        "use the configuration: `limits.retained_output_bytes`: 1000 is less than 65536, one \
         event's output",
    );
    check_error(
        "quotas.retained_bytes = 1000\n",
        "use the configuration: `quotas.retained_bytes`: 1000 is less than \
         limits.retained_output_bytes",
    );
    check_error(
        "connections.max_request_bytes = 1000000000\n",
        "use the configuration: `connections.max_request_bytes`: 1000000000 is more than 67108864",
    );
    check_error(
        "checkpoints.ignore = ['[a']\n",
        "use the configuration: `checkpoints.ignore`: pattern 0 has an open `[`",
    );
    check_error(
        "executions.spill_bytes = 3000000000\n",
        "use the configuration: `executions.spill_bytes`: 3000000000 is more than \
         executions.spill_total_bytes",
    );
    check_error(
        "executions.keep = 100000\n",
        "use the configuration: `executions.keep`: 100000 is more than 65536",
    );
    check_error(
        "listen = ['127.0.0.1:1', '127.0.0.1:1']\n",
        "use the configuration: `listen`: `127.0.0.1:1` is there twice",
    );
    check_error(
        "[tls]\ncertificate = 'c'\nkey = 'k'\nclient_certificates = 'required'\n",
        "use the configuration: `tls.client_certificates`: required, but without `tls.client_ca` \
         none would be believed",
    );
    let jwt = |keys: &str| format!("[identity.jwt]\nissuer = 'i'\njwks_file = '/j'\n{keys}\n");
    check_error(
        &jwt("audience = ''\nalgorithms = ['EdDSA']"),
        "use the configuration: `identity.jwt`: `issuer` and `audience` cannot be empty: another \
         server's tokens would be taken",
    );
    check_error(
        &jwt("audience = 'a'\nalgorithms = ['EdDSA']\nprefix = ''"),
        "use the configuration: `identity.jwt`: `prefix` holds no colon, or is that of \
         certificates: a subject could be somebody else's name",
    );
}

#[test]
fn secrets_come_from_three_places_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, "f-123456\n").unwrap();
    let text = format!(
        "[[redaction.secret]]\nname = 'v'\nvalue = 'v-123456'\n\
         [[redaction.secret]]\nname = 'e'\nenv = 'API_KEY'\n\
         [[redaction.secret]]\nname = 'f'\nfile = '{}'\n",
        path.display()
    );
    let config = load(&text, Overrides::default()).unwrap();
    let values: Vec<_> = config
        .redaction
        .secret
        .iter()
        .map(|it| it.value.expose())
        .collect();
    assert_eq!(values, ["v-123456", "k-123456", "f-123456"]);
    let shown = format!("{config:?} {}", config.to_toml().unwrap());
    assert!(values.iter().all(|value| !shown.contains(value)), "{shown}");
    assert!(shown.contains("value = \"<secret>\""), "{shown}");
}

#[test]
fn a_secret_that_cannot_be_had_stops_the_server() {
    let secret = |keys: &str| format!("[[redaction.secret]]\nname = 'x'\n{keys}");
    check_error(
        &secret("env = 'NO_SUCH'"),
        "load the secret `x`: NO_SUCH is not set",
    );
    check_error(
        &secret("value = 'ab'"),
        "load the secret `x`: it has 2 bytes, and 6 to 65536 can be hidden",
    );
    check_error(
        &secret("env = 'A'\nvalue = 'hunter22'"),
        "read gate.toml, line 1, column 1, key `redaction.secret[0]`: secret `x` needs exactly \
         one of `value`, `env`, `file`",
    );
}

#[test]
fn named_secrets_are_loaded_and_never_shown() {
    let text = "[secrets.deploy]\nenv = 'API_KEY'\n\
                [secrets.sign]\nvalue = 'v-123456'\ntargets = ['ssh:build']\n";
    let config = load(text, Overrides::default()).unwrap();
    let loaded: Vec<_> = config
        .secrets
        .iter()
        .map(|(name, it)| (name.as_str(), it.value.expose(), it.targets.join(" ")))
        .collect();
    let expected = [
        ("deploy", "k-123456", "local ssh:* docker:*".to_owned()),
        ("sign", "v-123456", "ssh:build".to_owned()),
    ];
    assert_eq!(loaded, expected);
    let shown = format!("{config:?} {}", config.to_toml().unwrap());
    assert!(!shown.contains("-123456"), "{shown}");
    check_error(
        "[secrets.x]\nenv = 'A'\nvalue = 'hunter22'",
        "load the secret `x`: secret `x` needs exactly one of `value`, `env`, `file`",
    );
    check_error(
        "[secrets.'a b']\nvalue = 'hunter22'",
        "load the secret `a b`: its name is not 1 to 64 of [A-Za-z0-9_.-]",
    );
}

#[test]
fn rules_of_ones_own_are_read_and_printed() {
    let text = "[[redaction.rule]]\nname = 'acme'\nprefix = 'acme_'\nalphabet = 'alnum'\n";
    let config = load(text, Overrides::default()).unwrap();
    let printed = config.to_toml().unwrap();
    assert_eq!(load(&printed, Overrides::default()).unwrap(), config);
    assert!(printed.contains("min_length = 16"), "{printed}");
    check_error(
        "[[redaction.rule]]\nname = 'acme'\nprefix = 'a'\n",
        "read gate.toml, line 1, column 1, key `redaction.rule[0]`: rule `acme` is no good: its \
         prefix has 1 bytes, not 3 to 64",
    );
}
