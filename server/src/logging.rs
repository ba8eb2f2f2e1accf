//! Where the server's own log lines go: standard error, as text or JSON.
//!
//! Raw commands and output never become log fields; that is for the audit log.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter makes no sense.
    #[error("read the log filter `{filter}`: {source}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// There is a log already.
    #[error("start logging: {source}")]
    Start {
        /// What tracing said.
        source: TryInitError,
    },
}

/// Starts logging for the whole process; `filter` is like `info,execgate=debug`.
pub fn start(filter: &str, format: LogFormat) -> Result<(), LoggingError> {
    let filter = parse_filter(filter)?;
    let lines = fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    };
    started.map_err(|source| LoggingError::Start { source })
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LoggingError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let error = parse_filter("execgate=loudly").unwrap_err().to_string();
        assert!(
            error.starts_with("read the log filter `execgate=loudly`: "),
            "{error}"
        );
        assert!(parse_filter("info,execgate_engine=debug").is_ok());
    }
}
