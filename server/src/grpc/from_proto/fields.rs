//! Single fields: ids, texts, durations, environments, enums.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use execgate_core::ids::{ExecutionId, SessionId};
use prost_types::{Duration as ProtoDuration, Timestamp};

use crate::grpc::refusal::Refusal;

/// Variables in one request at most, as the API says.
const MAX_VARIABLES: usize = 1000;
/// Bytes of all names and values at most, as the API says.
pub(crate) const MAX_ENV_BYTES: usize = 256 * 1024;
/// Bytes of one variable at most, `NAME=VALUE` and its end: Linux's MAX_ARG_STRLEN.
const MAX_VARIABLE_BYTES: usize = 128 * 1024;
/// Bytes of a path at most: Linux's PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;

/// The session a request is about.
pub(crate) fn session_id(text: &str) -> Result<SessionId, Refusal> {
    SessionId::parse(text)
        .map_err(|error| Refusal::field("session_id", format!("is no id: {error}")))
}

/// The execution a request is about.
pub(crate) fn execution_id(text: &str) -> Result<ExecutionId, Refusal> {
    ExecutionId::parse(text)
        .map_err(|error| Refusal::field("execution_id", format!("is no id: {error}")))
}

/// Nothing where a text is empty.
pub(super) fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A path, or nothing.
pub(super) fn path(field: &str, text: String) -> Result<Option<String>, Refusal> {
    if text.len() > MAX_PATH_BYTES {
        let reason = format!("has {} bytes, at most {MAX_PATH_BYTES}", text.len());
        return Err(Refusal::field(field, reason));
    }
    no_nul(field, &text)?;
    Ok(given(text))
}

/// A text that can go to a system call.
pub(super) fn no_nul(field: &str, text: &str) -> Result<(), Refusal> {
    match text.contains('\0') {
        true => Err(Refusal::field(field, "holds a NUL byte")),
        false => Ok(()),
    }
}

/// A duration not above `max`; zero is one.
pub(super) fn duration_or_zero(
    field: &str,
    value: Option<ProtoDuration>,
    max: Duration,
) -> Result<Option<Duration>, Refusal> {
    match value {
        Some(zero) if zero.seconds == 0 && zero.nanos == 0 => Ok(Some(Duration::ZERO)),
        value => duration(field, value, max),
    }
}

/// A duration more than zero and not above `max`.
pub(super) fn duration(
    field: &str,
    value: Option<ProtoDuration>,
    max: Duration,
) -> Result<Option<Duration>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let reason = match Duration::try_from(value) {
        Err(_) => format!("is {}, and must be more than 0", text_of(&value)),
        Ok(duration) if duration.is_zero() => "is 0, and must be more".to_owned(),
        Ok(duration) if duration > max => {
            let max = humantime::format_duration(max);
            format!("is {}, at most {max}", text_of(&value))
        }
        Ok(duration) => return Ok(Some(duration)),
    };
    Err(Refusal::field(field, reason))
}

fn text_of(value: &ProtoDuration) -> String {
    format!("{}s", value.seconds)
}

/// A time after 1970.
pub(super) fn time(field: &str, value: Option<Timestamp>) -> Result<Option<SystemTime>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    match SystemTime::try_from(value) {
        Ok(time) if time >= SystemTime::UNIX_EPOCH => Ok(Some(time)),
        Ok(_) | Err(_) => Err(Refusal::field(field, "is no time after 1970")),
    }
}

/// Variables for a process.
pub(super) fn environment(
    field: &str,
    env: HashMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    if env.len() > MAX_VARIABLES {
        let reason = format!("has {} variables, at most {MAX_VARIABLES}", env.len());
        return Err(Refusal::field(field, reason));
    }
    let bytes: usize = env
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MAX_ENV_BYTES {
        return Err(Refusal::field(
            field,
            format!("has {bytes} bytes, at most {MAX_ENV_BYTES}"),
        ));
    }
    for (name, value) in &env {
        if !is_variable_name(name) {
            let reason = "holds a name that is not [A-Za-z_][A-Za-z0-9_]*";
            return Err(Refusal::field(field, reason));
        }
        let entry = format!("{field}[{name}]");
        no_nul(&entry, value)?;
        if name.len() + value.len() + 2 > MAX_VARIABLE_BYTES {
            let reason = format!("is longer than the {MAX_VARIABLE_BYTES} bytes Linux takes");
            return Err(Refusal::field(entry, reason));
        }
    }
    Ok(env.into_iter().collect())
}

pub(super) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A value of an enum, as far as this version knows it.
pub(super) fn enumeration<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E, Refusal> {
    E::try_from(number)
        .map_err(|_unknown| Refusal::field(field, format!("is {number}, which is no value of it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (String, String) {
        match result {
            Err(Refusal::InvalidField { field, reason }) => (field, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn durations_are_more_than_zero_and_bounded() {
        let day = Duration::from_secs(24 * 60 * 60);
        let check = |seconds, nanos| duration("t", Some(ProtoDuration { seconds, nanos }), day);
        assert_eq!(
            check(1, 500_000_000).unwrap(),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(problem(check(-5, 0)).1, "is -5s, and must be more than 0");
        assert_eq!(problem(check(0, 0)).1, "is 0, and must be more");
        assert_eq!(problem(check(i64::MAX, 0)).0, "t");
        assert_eq!(problem(check(86401, 0)).1, "is 86401s, at most 1day");
        assert_eq!(duration("t", None, day).unwrap(), None);
    }

    #[test]
    fn variables_have_names_that_shells_take() {
        let env = |name: &str, value: &str| {
            environment("env", HashMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert!(env("_A1", "x=y\n").is_ok());
        for name in ["", "1A", "A-B", "A=B", "Ä"] {
            assert_eq!(problem(env(name, "")).0, "env", "{name}");
        }
        assert_eq!(
            problem(env("A", "\0")),
            ("env[A]".to_owned(), "holds a NUL byte".to_owned())
        );
        assert_eq!(problem(env("A", &"x".repeat(128 * 1024))).0, "env[A]");
        assert_eq!(problem(env("A", &"x".repeat(300 * 1024))).0, "env");
    }
}
