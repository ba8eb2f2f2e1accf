//! The `execgate` binary: thin. The launcher comes before everything else,
//! because it must not start threads or read configuration.

use std::env::args_os;
use std::fmt::Display;
use std::io::{stdin, stdout};
use std::process::ExitCode;

use clap::Parser;
use execgate_engine::launcher;
use execgate_server::cli::{Cli, Command, Task};
use execgate_server::config::Config;
use execgate_server::redact::{self, Report};
use execgate_server::serve::serve;
use execgate_server::{audit_check, health, init, key, policy_check};

/// Exit code for a configuration that is no good, as clap has for arguments.
const EXIT_USAGE: u8 = 2;
/// Exit code of `execgate redact --check` where something was hidden.
const EXIT_FOUND: u8 = 3;

fn main() -> ExitCode {
    if args_os()
        .nth(1)
        .is_some_and(|name| name == launcher::ARGUMENT)
    {
        return match launcher::main() {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        };
    }
    let cli = Cli::parse();
    if matches!(cli.command, Command::Serve(_)) && init::is_wanted() {
        return init::run();
    }
    match cli.prepare() {
        Ok(Task::Done) => ExitCode::SUCCESS,
        Ok(Task::Audit(command)) => audit_check::run(&command),
        Ok(Task::AuditKey(config)) => audit_check::print_key(&config),
        Ok(Task::Serve(config, telemetry)) => {
            let served = serve(*config, &telemetry);
            telemetry.close();
            code(served)
        }
        Ok(Task::Key { config, command }) => code(key::run(&config, &command)),
        Ok(Task::Policy(command)) => policy_check::run(&command),
        Ok(Task::Health { config, timeout }) => {
            code(health::check(&config.listen, config.tls.as_ref(), timeout))
        }
        Ok(Task::Redact {
            config,
            report,
            check,
        }) => redacted(&config, report, check),
        Err(error) => {
            eprintln!("execgate: failed to {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn redacted(config: &Config, report: Report, check: bool) -> ExitCode {
    match redact::filter(config, &mut stdin().lock(), &mut stdout().lock()) {
        Ok(filtered) => {
            eprint!("{}", filtered.report(report));
            match check && filtered.found_secrets() {
                true => ExitCode::from(EXIT_FOUND),
                false => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            eprintln!("execgate: failed to redact: {error}");
            ExitCode::FAILURE
        }
    }
}

fn code<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("execgate: failed to {error}");
            ExitCode::FAILURE
        }
    }
}
