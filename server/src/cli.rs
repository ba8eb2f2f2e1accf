//! The command line. Flags and their variables become [`Overrides`]; what they
//! mean together is the configuration's business.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, ConfigError, HumanDuration, ListenAddress, Overrides, PolicyName};
use crate::logging::LogFormat;
use crate::redact::Report;
use crate::telemetry::{Telemetry, TelemetryError};

/// Safe, stateful shell sessions for agents, over gRPC.
#[derive(Debug, Parser)]
#[command(name = "execgate", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve sessions until told to stop.
    Serve(ServeArguments),
    /// Ask a server whether it serves; exit code 0 says that it does
    Health(HealthArguments),
    /// Check, export or identify an audit log, without its server
    Audit(AuditArguments),
    /// Make, list and revoke API keys
    Key(KeyArguments),
    /// Try a policy on the command line
    Policy(PolicyArguments),
    /// Pass stdin to stdout with secrets hidden, by a server's configuration. Exit code 0:
    /// done; 1: reading or writing failed; 2: the configuration is no good; 3: with
    /// --check, something was hidden
    Redact(RedactArguments),
}

/// The arguments of `execgate audit`.
#[derive(Debug, Args)]
pub struct AuditArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with an audit log without its server.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check a log; exit code 0: it is as it was written, 1: it is not, 2: it cannot be read
    Verify {
        /// The log's directory, or the data directory that it is in
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Key that its heads have to be signed by, as `execgate audit key` prints it; may
        /// be given more than once. Without one, the keys that the log itself names count
        #[arg(long, value_name = "KEY")]
        key: Vec<String>,
        /// A file with a signed head that was kept elsewhere; the log must contain it
        #[arg(long, value_name = "FILE")]
        head: Vec<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the key that verifies a server's heads; makes it if there is none yet
    Key(Place),
    /// Print a log's records; they are not checked for more than their own hashes
    Export {
        /// The log's directory, or the data directory that it is in
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// In which form
        #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
        format: ExportFormat,
    },
}

/// A form of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object per line, as the record was hashed, with its hash
    Jsonl,
    /// Events of the Open Cybersecurity Schema Framework, one per line
    Ocsf,
}

/// What server is meant: the same words start one and find it again.
#[derive(Debug, Args)]
pub struct Place {
    /// Address to listen on, `127.0.0.1:PORT` or `unix:PATH`; may be given more
    /// than once, or as a list with commas
    #[arg(
        long,
        env = "EXECGATE_LISTEN",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    pub listen: Vec<ListenAddress>,

    /// Directory for the token, keys and audit log
    /// [default: $XDG_STATE_HOME/execgate or ~/.local/state/execgate]
    #[arg(long, env = "EXECGATE_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,

    /// Configuration file (TOML)
    #[arg(long, env = "EXECGATE_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// The arguments of `execgate serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Where it is.
    #[command(flatten)]
    pub place: Place,

    /// Policy that judges every command
    #[arg(long, env = "EXECGATE_POLICY", value_name = "NAME")]
    pub policy: Option<PolicyName>,

    /// Let other machines call without TLS: whoever is in between reads and changes everything,
    /// tokens and keys included
    #[arg(long)]
    pub insecure_plaintext_listeners: bool,

    /// Print the effective configuration, secrets hidden, and exit
    #[arg(long)]
    pub print_config: bool,

    /// What to log, like `info,execgate_engine=debug` [default: info]
    #[arg(long, env = "EXECGATE_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How log lines look [default: text]
    #[arg(long, env = "EXECGATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The arguments of `execgate health`.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// Where it is.
    #[command(flatten)]
    pub place: Place,

    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "3s")]
    pub timeout: HumanDuration,
}

/// The arguments of `execgate key`.
#[derive(Debug, Args)]
pub struct KeyArguments {
    /// Whose keys.
    #[command(flatten)]
    pub place: Place,

    /// What to do with them.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What can be done with API keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it, this once
    Create {
        /// The principal that it makes of its bearer: 1 to 64 of `[A-Za-z0-9._@-]`
        #[arg(value_name = "NAME")]
        name: String,
        /// How long it is good, like `30d`; for ever, if it is not said
        #[arg(long, value_name = "TIME")]
        expires: Option<HumanDuration>,
    },
    /// Print the keys: id, principal, when made, until when good
    List,
    /// End a key
    Revoke {
        /// Its id, as `list` has it
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// The arguments of `execgate policy`.
#[derive(Debug, Args)]
pub struct PolicyArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What can be tried.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Judge a command; exit code 0: allowed, 1: denied, 2: bad policy or usage
    Check {
        /// A policy file, or `guard`, `strict` or `open`
        #[arg(value_name = "FILE")]
        policy: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        /// Judge for a POSIX shell instead of bash
        #[arg(long)]
        posix: bool,
        /// One word is a script, several are a program and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        line: Vec<String>,
    },
    /// Run a policy's own examples; exit code 0: all hold, 2: bad policy
    Test {
        /// A policy file, or `guard`, `strict` or `open`
        #[arg(value_name = "FILE")]
        policy: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// The arguments of `execgate redact`.
#[derive(Debug, Args)]
pub struct RedactArguments {
    /// Configuration file (TOML) of the server whose rules are meant
    #[arg(long, env = "EXECGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Say on stderr how much of what was hidden
    #[arg(long)]
    pub report: bool,

    /// The report as JSON
    #[arg(long, requires = "report")]
    pub json: bool,

    /// End with exit code 3 if anything was hidden
    #[arg(long)]
    pub check: bool,
}

/// What is left to do when the arguments have been dealt with.
#[derive(Debug)]
pub enum Task {
    /// Serve with this configuration; logging and what else is told have been started.
    Serve(Box<Config>, Box<Telemetry>),
    /// Ask the server that has this configuration how it is.
    Health {
        /// What it was started with.
        config: Box<Config>,
        /// How long to wait for its answer.
        timeout: Duration,
    },
    /// Do something with an audit log.
    Audit(AuditCommand),
    /// Print the key of this server's audit log.
    AuditKey(Box<Config>),
    /// Make, list or revoke API keys.
    Key {
        /// Of the server with this configuration.
        config: Box<Config>,
        /// What.
        command: KeyCommand,
    },
    /// Try a policy.
    Policy(PolicyCommand),
    /// Pass stdin to stdout.
    Redact {
        /// Whose rules.
        config: Box<Config>,
        /// What to say afterwards.
        report: Report,
        /// Whether secrets are a failure.
        check: bool,
    },
    /// Nothing: the answer has been printed.
    Done,
}

/// Why the server did not start. The process ends with code 2.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is no good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nothing can be told.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The answer cannot be printed.
    #[error("print the configuration: {0}")]
    Print(#[source] io::Error),
}

impl Cli {
    /// Loads the configuration, and prints it or starts logging.
    pub fn prepare(self) -> Result<Task, StartError> {
        let arguments = match self.command {
            Command::Serve(arguments) => arguments,
            Command::Policy(arguments) => return Ok(Task::Policy(arguments.command)),
            Command::Audit(arguments) => return arguments.prepare(),
            Command::Health(arguments) => {
                return Ok(Task::Health {
                    config: Box::new(arguments.place.config(Overrides::default())?),
                    timeout: arguments.timeout.get(),
                });
            }
            Command::Key(arguments) => {
                return Ok(Task::Key {
                    config: Box::new(arguments.place.config(Overrides::default())?),
                    command: arguments.command,
                });
            }
            Command::Redact(arguments) => return arguments.prepare(),
        };
        let overrides = Overrides {
            policy: arguments.policy,
            log: arguments.log,
            log_format: arguments.log_format,
            insecure_plaintext_listeners: arguments.insecure_plaintext_listeners,
            ..Overrides::default()
        };
        let config = arguments.place.config(overrides)?;
        if arguments.print_config {
            let text = config.to_toml()?;
            io::stdout()
                .write_all(text.as_bytes())
                .map_err(StartError::Print)?;
            return Ok(Task::Done);
        }
        let telemetry = Telemetry::start(&config.telemetry, config.redaction_names())?;
        Ok(Task::Serve(Box::new(config), Box::new(telemetry)))
    }
}

impl AuditArguments {
    fn prepare(self) -> Result<Task, StartError> {
        Ok(match self.command {
            AuditCommand::Key(place) => {
                Task::AuditKey(Box::new(place.config(Overrides::default())?))
            }
            command => Task::Audit(command),
        })
    }
}

impl RedactArguments {
    fn prepare(self) -> Result<Task, StartError> {
        let overrides = Overrides::default();
        let variables = |name: &str| env::var_os(name);
        let config = Config::load(self.config.as_deref(), overrides, &variables)?;
        Ok(Task::Redact {
            config: Box::new(config),
            report: match (self.report, self.json) {
                (false, _) => Report::None,
                (true, false) => Report::Text,
                (true, true) => Report::Json,
            },
            check: self.check,
        })
    }
}

impl Place {
    /// The configuration that these words and `overrides` stand for.
    fn config(self, overrides: Overrides) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            listen: self.listen,
            data_dir: self.data_dir,
            ..overrides
        };
        Config::load(self.config.as_deref(), overrides, &|name| env::var_os(name))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<ServeArguments, clap::Error> {
        let line = ["execgate", "serve"].iter().chain(arguments);
        Cli::try_parse_from(line).map(|cli| match cli.command {
            Command::Serve(arguments) => arguments,
            Command::Health(_)
            | Command::Key(_)
            | Command::Policy(_)
            | Command::Redact(_)
            | Command::Audit(_) => {
                unreachable!("the line says serve")
            }
        })
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn several_addresses_may_be_given() {
        let line = [
            "--listen",
            "127.0.0.1:1",
            "--listen",
            "unix:/run/x,127.0.0.1:2",
        ];
        let given: Vec<_> = parse(&line)
            .unwrap()
            .place
            .listen
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(given, ["127.0.0.1:1", "unix:/run/x", "127.0.0.1:2"]);
    }

    #[test]
    fn an_address_others_can_reach_is_refused() {
        let open = [
            "--listen",
            "0.0.0.0:7443",
            "--data-dir",
            "/d",
            "--print-config",
        ];
        let prepare = |arguments: &[&str]| {
            let command = Command::Serve(parse(arguments).unwrap());
            Cli { command }.prepare()
        };
        let error = prepare(&open).unwrap_err().to_string();
        assert!(error.contains("not a loopback address"), "{error}");
        let said = [open.as_slice(), &["--insecure-plaintext-listeners"]].concat();
        assert!(matches!(prepare(&said), Ok(Task::Done)));
    }

    #[test]
    fn a_configuration_that_is_missing_is_named() {
        let arguments = parse(&["--config", "/no/such.toml"]).unwrap();
        let error = Cli {
            command: Command::Serve(arguments),
        }
        .prepare()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "read /no/such.toml: No such file or directory (os error 2)"
        );
    }
}
