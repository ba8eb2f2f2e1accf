//! Facts about the variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::super::{Config, FileConfig, Overrides};
use super::*;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Telemetry, ConfigError> {
    let file = FileConfig::parse(Path::new("gate.toml"), text)?;
    let find = |name: &str| -> Option<OsString> {
        let home = [("HOME", "/home/agent")];
        let mut all = home.iter().chain(variables);
        all.find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).into())
    };
    Config::resolve(file, Overrides::default(), &find).map(|config| config.telemetry)
}

/// A file that says something.
const FILE: &str = r#"
        [telemetry]
        endpoint = "http://file:4317"
        service_name = "file"
        timeout = "1s"
        resource = { "team" = "file", "host.name" = "file" }
        [telemetry.headers.x-key]
        value = "file"
        [telemetry.headers.X-Other]
        value = "file"
    "#;

#[test]
fn variables_win_over_the_file_and_the_file_over_defaults() {
    let from_file = load(FILE, &[]).unwrap();
    assert_eq!(from_file.endpoint.as_deref(), Some("http://file:4317"));
    let telemetry = load(
        FILE,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://variable:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, New=c%3D"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_SERVICE_NAME", "variable"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=lesser,team=variable",
            ),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "600"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "60"),
            ("OTEL_BSP_SCHEDULE_DELAY", "7"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "9000"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ],
    )
    .unwrap();
    let headers: Vec<_> = telemetry
        .headers
        .iter()
        .map(|(name, header)| (name.as_str(), header.value.expose()))
        .collect();
    assert_eq!(
        headers,
        [("new", "c="), ("x-key", "a b"), ("x-other", "file")]
    );
    let milliseconds = |time| HumanDuration::try_from(Duration::from_millis(time)).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = Telemetry {
        endpoint: Some("https://variable:4317".to_owned()),
        timeout: milliseconds(2500),
        service_name: "variable".to_owned(),
        resource: BTreeMap::from([pair("host.name", "file"), pair("team", "variable")]),
        sampler: Sampler::ParentbasedTraceidratio,
        sampling_ratio: Ratio::try_from(0.25).unwrap(),
        queue_spans: NonZeroU32::new(600).unwrap(),
        batch_spans: NonZeroU32::new(60).unwrap(),
        batch_delay: milliseconds(7),
        metrics_interval: milliseconds(9000),
        ca_file: Some("/ca.pem".into()),
        headers: telemetry.headers.clone(),
        ..from_file
    };
    assert_eq!(telemetry, expected);
}

#[test]
fn signals_are_turned_off_by_their_names() {
    let off = |name, value| {
        let told = load("", &[(name, value)]).unwrap();
        (
            told.traces,
            told.metrics,
            told.prometheus.map(|a| a.to_string()),
        )
    };
    let address = Some("127.0.0.1:9464".to_owned());
    assert_eq!(off("OTEL_TRACES_EXPORTER", "none"), (false, true, None));
    assert_eq!(off("OTEL_METRICS_EXPORTER", "none"), (true, false, None));
    assert_eq!(
        off("OTEL_METRICS_EXPORTER", "prometheus"),
        (true, false, address.clone())
    );
    assert_eq!(
        off("OTEL_METRICS_EXPORTER", "otlp,prometheus"),
        (true, true, address)
    );
    assert_eq!(off("OTEL_SDK_DISABLED", "true"), (false, false, None));
    let heads = |name, value| load("", &[(name, value)]).unwrap().heads;
    assert!(heads("OTEL_LOGS_EXPORTER", "otlp"));
    assert!(!heads("OTEL_LOGS_EXPORTER", "none"));
    assert!(!heads("OTEL_SDK_DISABLED", "true"));
    assert_eq!(off("OTEL_SDK_DISABLED", ""), (true, true, None));
}

#[test]
fn a_variable_that_makes_no_sense_is_named_and_a_header_never_shown() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "very-secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=very-secret%zz"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_TRACES_SAMPLER", "mostly"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "console"),
    ] {
        let error = load("", &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert!(!error.contains("very-secret"), "{error}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_its_key() {
    for (text, key) in [
        ("endpoint = 'collector:4317'", "telemetry.endpoint"),
        ("log = 'execgate=loudly'", "telemetry.log"),
        ("batch_spans = 9999", "telemetry.batch_spans"),
        ("queue_spans = 9999999", "telemetry.queue_spans"),
        ("headers.'a b'.value = 'c'", "telemetry.headers"),
        ("sampling_ratio = -0.1", "telemetry.sampling_ratio"),
        ("headers.a = {}", "telemetry.headers.a"),
    ] {
        let error = load(&format!("[telemetry]\n{text}\n"), &[]).unwrap_err();
        assert!(error.to_string().contains(&format!("`{key}`")), "{error}");
    }
}
