//! What can be wrong with a configuration, said so that it can be put right.

use std::io;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("read {}, line {line}, column {column}, key `{key}`: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The key at that place, as far as it is known.
        key: String,
        /// What is wrong there.
        problem: String,
    },
    /// A value does not fit the others.
    #[error("use the configuration: `{key}`: {problem}")]
    Value {
        /// The key concerned.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A registered secret cannot be had.
    #[error("load the secret `{name}`: {problem}")]
    Secret {
        /// Its name.
        name: String,
        /// What is wrong; never its value.
        problem: String,
    },
    /// There is nowhere to keep data.
    #[error("find a data directory: neither XDG_STATE_HOME nor HOME is set; give --data-dir")]
    NoHome,
    /// It cannot be written as TOML.
    #[error("print the configuration: {source}")]
    Print {
        /// What the TOML writer said.
        source: toml::ser::Error,
    },
}
