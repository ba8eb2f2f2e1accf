//! `execgate key`: makes, lists and revokes API keys, in the data directory of a server,
//! which need not run. A running one takes notice at the next call.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::KeyCommand;
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::identity::api_keys::{self, ApiKeyError, KEYS_FILE_NAME};

/// Why a key is not made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The data directory is no good.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The keys are not.
    #[error(transparent)]
    Keys(#[from] ApiKeyError),
    /// The answer cannot be written.
    #[error("write the answer: {0}")]
    Write(#[from] io::Error),
}

/// Does it, and says so on stdout.
///
/// # Errors
/// Where it cannot be done.
pub fn run(config: &Config, command: &KeyCommand) -> Result<(), KeyError> {
    let dir = DataDir::prepare(&config.data_dir)?;
    let file = dir.path().join(KEYS_FILE_NAME);
    let mut out = io::stdout().lock();
    match command {
        KeyCommand::Create { name, expires } => {
            create(&mut out, file, name, expires.map(|it| it.get()))
        }
        KeyCommand::List => list(&mut out, file),
        KeyCommand::Revoke { id } => {
            let key = api_keys::revoke(&file, id)?;
            Ok(writeln!(out, "revoked {id}, a key of {}", key.owner)?)
        }
    }
}

fn create(
    out: &mut impl Write,
    file: PathBuf,
    name: &str,
    lifetime: Option<Duration>,
) -> Result<(), KeyError> {
    let (id, key) = api_keys::create(&file, name, lifetime, SystemTime::now())?;
    // The key alone on stdout, so that it can go straight into a file.
    eprintln!("execgate: key {id} of {name}; it is shown this once");
    Ok(writeln!(out, "{key}")?)
}

fn list(out: &mut impl Write, file: PathBuf) -> Result<(), KeyError> {
    let now = SystemTime::now();
    for (id, key) in api_keys::list(&file)? {
        let until = match key.expires {
            None => "never".to_owned(),
            Some(end) if key.is_expired(now) => format!("{} (expired)", date(end)),
            Some(end) => date(end),
        };
        writeln!(
            out,
            "{id}  {}  created {}  expires {until}",
            key.owner,
            date(key.created)
        )?;
    }
    Ok(())
}

fn date(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
