//! `execgate audit`: a log and its key, without the server that writes it. Reads, and
//! prints; changes nothing, but for the key that is made where there is none.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use execgate_core::audit::NoteVerifier;
use execgate_core::audit::ocsf;
use execgate_engine::audit::{
    AuditRecord, Defect, Verification, VerifyRequest, records, verify_directory,
};
use serde_json::{Value, json};

use crate::cli::{AuditCommand, ExportFormat};
use crate::config::Config;
use crate::data_dir::{AUDIT_NAME, DataDir, DataDirError};

/// Exit code for a log that is not as it was written.
const EXIT_DEFECT: u8 = 1;
/// Exit code for what cannot be read, and for arguments that are no good.
const EXIT_UNREADABLE: u8 = 2;

/// Does it, and says what came of it.
#[must_use]
pub fn run(command: &AuditCommand) -> ExitCode {
    let done = match command {
        AuditCommand::Verify {
            dir,
            key,
            head,
            json,
        } => verify(&log_dir(dir), key, head, *json),
        AuditCommand::Export { dir, format } => export(&log_dir(dir), *format),
        // It needs a configuration, and is asked for apart.
        AuditCommand::Key(_) => Ok(ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("execgate: failed to {error}");
        ExitCode::from(EXIT_UNREADABLE)
    })
}

/// Prints the key that verifies the heads of a server with this configuration.
#[must_use]
pub fn print_key(config: &Config) -> ExitCode {
    let key = DataDir::prepare(&config.data_dir)
        .and_then(|dir| dir.audit_signer(config.audit.key_file.as_deref()));
    match key {
        Ok(key) => {
            println!("{}", key.verifier());
            ExitCode::SUCCESS
        }
        Err::<_, DataDirError>(error) => {
            eprintln!("execgate: failed to {error}");
            ExitCode::from(EXIT_UNREADABLE)
        }
    }
}

/// The log in a data directory, or the directory itself.
fn log_dir(dir: &Path) -> PathBuf {
    let inner = dir.join(AUDIT_NAME);
    match inner.is_dir() {
        true => inner,
        false => dir.to_owned(),
    }
}

fn verify(
    dir: &Path,
    keys: &[String],
    heads: &[PathBuf],
    as_json: bool,
) -> Result<ExitCode, String> {
    let keys = keys
        .iter()
        .map(|key| NoteVerifier::parse(key).map_err(|error| format!("use the key {key}: {error}")));
    let heads = heads.iter().map(|path| {
        std::fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))
    });
    let request = VerifyRequest {
        keys: keys.collect::<Result<_, _>>()?,
        known_heads: heads.collect::<Result<_, _>>()?,
        ..VerifyRequest::default()
    };
    let found = verify_directory(dir, &request).map_err(|error| error.to_string())?;
    let text = match as_json {
        true => format!("{}\n", as_value(&found)),
        false => as_text(&found, request.keys.is_empty()),
    };
    print!("{text}");
    Ok(match found.defect {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::from(EXIT_DEFECT),
    })
}

fn as_value(found: &Verification) -> Value {
    let defect = found.defect.as_ref().map(|defect| {
        json!({
            "sequence": defect.sequence,
            "kind": defect.kind.as_str(),
            "detail": defect.detail,
        })
    });
    json!({
        "valid": found.defect.is_none(),
        "checked_records": found.checked,
        "first_sequence": found.first,
        "last_sequence": found.last,
        "checked_heads": found.heads,
        "torn_bytes": found.torn_bytes,
        "keys": found.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "defect": defect,
    })
}

fn as_text(found: &Verification, trusts_the_log: bool) -> String {
    let mut text = format!(
        "records {} to {}: {} checked, against {} signed heads\n",
        found.first, found.last, found.checked, found.heads
    );
    if found.torn_bytes > 0 {
        let bytes = found.torn_bytes;
        text.push_str(&format!(
            "{bytes} bytes of an unfinished record at the end, as a crash leaves them\n"
        ));
    }
    if trusts_the_log {
        text.push_str("the key is the one that the log itself names; give --key to be sure\n");
    }
    match &found.defect {
        None => text.push_str("valid\n"),
        Some(Defect {
            sequence,
            kind,
            detail,
        }) => text.push_str(&format!("record {sequence}: {}: {detail}\n", kind.as_str())),
    }
    text
}

fn export(dir: &Path, format: ExportFormat) -> Result<ExitCode, String> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let line = |record: &AuditRecord| match format {
        ExportFormat::Jsonl => jsonl(record),
        ExportFormat::Ocsf => ocsf::event(record).to_string(),
    };
    records(dir, |record| {
        if written.is_ok() {
            written = writeln!(out, "{}", line(&record));
        }
    })
    .map_err(|error| error.to_string())?;
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(format!("write the records: {error}")),
    }
}

/// A record as it was hashed, and its hash.
pub(crate) fn jsonl(record: &AuditRecord) -> String {
    format!(
        "{{\"hash\":\"{}\",\"record\":{}}}",
        record.hash, record.payload
    )
}
