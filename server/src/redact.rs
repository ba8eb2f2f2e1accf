//! `execgate redact`: stdin to stdout through the operator's rules, so that they can be
//! tried on any text before a session depends on them. The memory it takes does not grow
//! with the input.
//!
//! Markers carry no tag here: tags are made with a server's key, which stays in its data
//! directory.

use std::io::{self, ErrorKind, Read, Write};

use execgate_core::redact::{RedactionCounts, Redactor};
use serde::Serialize;

use crate::config::Config;
use crate::serve::redaction_rules;

/// Bytes of one read: as much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// What to say of what was hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Nothing.
    None,
    /// A line for each name.
    Text,
    /// One JSON object.
    Json,
}

/// What went through.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filtered {
    bytes_in: u64,
    bytes_out: u64,
    counts: RedactionCounts,
}

#[derive(Serialize)]
struct JsonReport<'a> {
    bytes_in: u64,
    bytes_out: u64,
    redactions: u64,
    redacted: std::collections::BTreeMap<&'a str, u64>,
}

impl Filtered {
    /// Whether anything was hidden.
    #[must_use]
    pub fn found_secrets(&self) -> bool {
        self.counts.total() > 0
    }

    /// The report, with its line end.
    #[must_use]
    pub fn report(&self, report: Report) -> String {
        let total = self.counts.total();
        match report {
            Report::None => String::new(),
            Report::Json => {
                let report = JsonReport {
                    bytes_in: self.bytes_in,
                    bytes_out: self.bytes_out,
                    redactions: total,
                    redacted: self.counts.iter().collect(),
                };
                // Names and numbers: there is nothing in it that JSON cannot say.
                serde_json::to_string(&report).unwrap_or_default() + "\n"
            }
            Report::Text => {
                let mut text = format!(
                    "{total} redacted; {} bytes in, {} bytes out\n",
                    self.bytes_in, self.bytes_out
                );
                for (name, count) in self.counts.iter() {
                    text += &format!("{count:>8}  {name}\n");
                }
                text
            }
        }
    }
}

/// Passes `input` to `output`. An output that nobody reads any more ends it early.
///
/// # Errors
/// Where the input cannot be read or the output not be written.
pub fn filter(
    config: &Config,
    input: &mut impl Read,
    output: &mut impl Write,
) -> io::Result<Filtered> {
    let secrets = config.secrets.iter().map(|(name, secret)| {
        let value = execgate_core::redact::Secret::new(secret.value.expose());
        (name.clone(), value)
    });
    let rules = redaction_rules(config).with_values(secrets);
    let mut redactor = Redactor::new(&rules);
    let mut filtered = Filtered::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut out = Vec::with_capacity(READ_BYTES);
    loop {
        let read = match input.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        filtered.bytes_in += read as u64;
        match read {
            0 => redactor.finish(&mut out),
            _ => redactor.push(buffer.get(..read).unwrap_or_default(), &mut out),
        }
        filtered.bytes_out += out.len() as u64;
        match output.write_all(&out).and_then(|()| output.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written?,
        }
        out.clear();
        if read == 0 {
            break;
        }
    }
    filtered.counts = redactor.counts().clone();
    Ok(filtered)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::config::{FileConfig, Overrides};

    fn config(text: &str) -> Config {
        let file = FileConfig::parse(Path::new("gate.toml"), text).unwrap();
        let home = |name: &str| (name == "HOME").then(|| OsString::from("/home/agent"));
        Config::resolve(file, Overrides::default(), &home).unwrap()
    }

    #[test]
    fn the_operators_rules_are_applied_and_counted() {
        let config = config(
            "[secrets.deploy]\nvalue = 'swordfish'\n\
             [[redaction.rule]]\nname = 'acme'\nprefix = 'acme_'\nmin_length = 4\n",
        );
        let text = b"swordfish acme_1234 swordfish \xff\0\n";
        let mut out = Vec::new();
        let filtered = filter(&config, &mut text.as_slice(), &mut out).unwrap();
        assert_eq!(
            out,
            b"[REDACTED:deploy] [REDACTED:acme] [REDACTED:deploy] \xff\0\n"
        );
        assert_eq!(
            filtered.report(Report::Json),
            "{\"bytes_in\":33,\"bytes_out\":55,\"redactions\":3,\
             \"redacted\":{\"acme\":1,\"deploy\":2}}\n"
        );
        assert_eq!(
            filtered.report(Report::Text),
            "3 redacted; 33 bytes in, 55 bytes out\n       1  acme\n       2  deploy\n"
        );
        assert!(filtered.found_secrets());
    }

    #[test]
    fn a_large_input_is_never_held() {
        /// Hands out the same line for ever, up to a number of bytes.
        struct Lines(usize);
        impl Read for Lines {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let bytes = buffer.len().min(self.0);
                let line = b"Compiling something v1.0.0 (/work)\n".iter().cycle();
                buffer
                    .iter_mut()
                    .zip(line)
                    .for_each(|(to, from)| *to = *from);
                self.0 -= bytes;
                Ok(bytes)
            }
        }
        /// Remembers the largest write.
        #[derive(Default)]
        struct Largest(usize, usize);
        impl Write for Largest {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.max(bytes.len());
                self.1 += bytes.len();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        const BYTES: usize = 20 * 1024 * 1024;
        let mut out = Largest::default();
        let filtered = filter(&config(""), &mut Lines(BYTES), &mut out).unwrap();
        assert_eq!((filtered.bytes_in, out.1), (BYTES as u64, BYTES));
        assert!(out.0 <= 2 * READ_BYTES, "{}", out.0);
    }
}
