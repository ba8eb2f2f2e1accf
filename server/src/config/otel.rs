//! The variables of the OpenTelemetry specification, as far as they are ours: what they say
//! wins over `[telemetry]`. One that makes no sense is an error that names it; an empty one
//! says nothing, as the specification has it. Those for single signals (`…_TRACES_…`,
//! `…_METRICS_…`) are not read.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::duration::HumanDuration;
use super::secret::{SecretSource, SecretText};
use super::telemetry::{Header, Protocol, Ratio, Sampler, Telemetry};
use super::{ConfigError, Variables};

/// Where the specification has Prometheus listen.
const PROMETHEUS_HOST: &str = "localhost";
const PROMETHEUS_PORT: u16 = 9464;

/// Puts what the variables say over what the file says.
pub(super) fn apply(
    telemetry: &mut Telemetry,
    variables: Variables<'_>,
) -> Result<(), ConfigError> {
    let read = Read(variables);
    if let Some(endpoint) = read.text("OTEL_EXPORTER_OTLP_ENDPOINT")? {
        telemetry.endpoint = Some(endpoint);
    }
    if let Some(protocol) = read.text("OTEL_EXPORTER_OTLP_PROTOCOL")? {
        telemetry.protocol = match protocol.as_str() {
            "grpc" => Protocol::Grpc,
            other => {
                let problem = format!("`{other}` is not spoken here, only `grpc`");
                return Err(bad("OTEL_EXPORTER_OTLP_PROTOCOL", problem));
            }
        };
    }
    if let Some(file) = read.text("OTEL_EXPORTER_OTLP_CERTIFICATE")? {
        telemetry.ca_file = Some(file.into());
    }
    read.headers(telemetry)?;
    read.resource(telemetry)?;
    read.sampler(telemetry)?;
    for (name, place) in [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", &mut telemetry.timeout),
        ("OTEL_BSP_SCHEDULE_DELAY", &mut telemetry.batch_delay),
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            &mut telemetry.metrics_interval,
        ),
    ] {
        if let Some(time) = read.milliseconds(name)? {
            *place = time;
        }
    }
    for (name, place) in [
        ("OTEL_BSP_MAX_QUEUE_SIZE", &mut telemetry.queue_spans),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &mut telemetry.batch_spans),
    ] {
        if let Some(number) = read.parsed::<NonZeroU32>(name)? {
            *place = number;
        }
    }
    read.exporters(telemetry)
}

/// An error about the variable `name`.
fn bad(name: &'static str, problem: String) -> ConfigError {
    ConfigError::Value { key: name, problem }
}

struct Read<'a>(Variables<'a>);

impl Read<'_> {
    fn text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match (self.0)(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => match value.into_string() {
                Ok(text) => Ok(Some(text.trim().to_owned())),
                Err(_) => Err(bad(name, "is not UTF-8".to_owned())),
            },
        }
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let problem = format!("`{text}` is no number that fits");
        text.parse().map(Some).map_err(|_| bad(name, problem))
    }

    fn milliseconds(&self, name: &'static str) -> Result<Option<HumanDuration>, ConfigError> {
        let Some(number) = self.parsed::<u32>(name)? else {
            return Ok(None);
        };
        let time = HumanDuration::try_from(Duration::from_millis(number.into()));
        time.map(Some).map_err(|problem| bad(name, problem))
    }

    /// Pairs `key=value,…`, values percent-encoded.
    fn pairs(&self, name: &'static str) -> Result<Vec<(String, String)>, ConfigError> {
        let text = self.text(name)?.unwrap_or_default();
        let pairs = text
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let value = decoded(value.trim())?;
            (!key.trim().is_empty()).then(|| (key.trim().to_owned(), value))
        };
        // The pair may be a secret: it is not shown.
        let problem = || bad(name, "is no list of `key=value`".to_owned());
        pairs.map(|text| pair(text).ok_or_else(problem)).collect()
    }

    fn headers(&self, telemetry: &mut Telemetry) -> Result<(), ConfigError> {
        const NAME: &str = "OTEL_EXPORTER_OTLP_HEADERS";
        for (key, value) in self.pairs(NAME)? {
            let header = Header {
                source: SecretSource::Env(NAME.to_owned()),
                value: SecretText::from(value),
            };
            telemetry.headers.insert(key.to_lowercase(), header);
        }
        Ok(())
    }

    fn resource(&self, telemetry: &mut Telemetry) -> Result<(), ConfigError> {
        for (key, value) in self.pairs("OTEL_RESOURCE_ATTRIBUTES")? {
            match key.as_str() {
                "service.name" => telemetry.service_name = value,
                _ => drop(telemetry.resource.insert(key, value)),
            }
        }
        if let Some(name) = self.text("OTEL_SERVICE_NAME")? {
            telemetry.service_name = name;
        }
        Ok(())
    }

    fn sampler(&self, telemetry: &mut Telemetry) -> Result<(), ConfigError> {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        if let Some(name) = self.text(NAME)? {
            telemetry.sampler = match name.as_str() {
                "always_on" => Sampler::AlwaysOn,
                "always_off" => Sampler::AlwaysOff,
                "traceidratio" => Sampler::Traceidratio,
                "parentbased_always_on" => Sampler::ParentbasedAlwaysOn,
                "parentbased_always_off" => Sampler::ParentbasedAlwaysOff,
                "parentbased_traceidratio" => Sampler::ParentbasedTraceidratio,
                other => return Err(bad(NAME, format!("`{other}` is no sampler known here"))),
            };
        }
        if let Some(part) = self.parsed::<f64>("OTEL_TRACES_SAMPLER_ARG")? {
            let ratio = Ratio::try_from(part);
            telemetry.sampling_ratio =
                ratio.map_err(|problem| bad("OTEL_TRACES_SAMPLER_ARG", problem))?;
        }
        Ok(())
    }

    /// Which signals are sent at all.
    fn exporters(&self, telemetry: &mut Telemetry) -> Result<(), ConfigError> {
        if let Some(names) = self.text("OTEL_TRACES_EXPORTER")? {
            telemetry.traces = match names.as_str() {
                "otlp" => true,
                "none" => false,
                other => return Err(bad("OTEL_TRACES_EXPORTER", unknown(other))),
            };
        }
        if let Some(names) = self.text("OTEL_LOGS_EXPORTER")? {
            telemetry.heads = match names.as_str() {
                "otlp" => true,
                "none" => false,
                other => return Err(bad("OTEL_LOGS_EXPORTER", unknown(other))),
            };
        }
        if let Some(names) = self.text("OTEL_METRICS_EXPORTER")? {
            telemetry.metrics = false;
            for name in names.split(',').map(str::trim) {
                match name {
                    "otlp" => telemetry.metrics = true,
                    "prometheus" => self.prometheus(telemetry)?,
                    "none" => {}
                    other => return Err(bad("OTEL_METRICS_EXPORTER", unknown(other))),
                }
            }
        }
        if self
            .text("OTEL_SDK_DISABLED")?
            .is_some_and(|off| off.eq_ignore_ascii_case("true"))
        {
            (telemetry.traces, telemetry.metrics, telemetry.heads) = (false, false, false);
            telemetry.prometheus = None;
        }
        Ok(())
    }

    fn prometheus(&self, telemetry: &mut Telemetry) -> Result<(), ConfigError> {
        const HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";
        let host = self.text(HOST)?;
        let port = self.parsed::<u16>("OTEL_EXPORTER_PROMETHEUS_PORT")?;
        if telemetry.prometheus.is_some() && host.is_none() && port.is_none() {
            return Ok(());
        }
        let host = host.unwrap_or_else(|| PROMETHEUS_HOST.to_owned());
        let host = match host.as_str() {
            PROMETHEUS_HOST => "127.0.0.1",
            other => other,
        };
        let address: std::net::IpAddr = host.parse().map_err(|_| {
            bad(
                HOST,
                format!("`{host}` is neither an address nor `{PROMETHEUS_HOST}`"),
            )
        })?;
        telemetry.prometheus = Some((address, port.unwrap_or(PROMETHEUS_PORT)).into());
        Ok(())
    }
}

fn unknown(exporter: &str) -> String {
    format!("`{exporter}` is no exporter known here")
}

/// A percent-encoded text; nothing where it is none.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
