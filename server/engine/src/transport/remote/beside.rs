//! Signals, looks and ends by programs beside the session.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{Beside, Environment};
use crate::transport::{
    EndedProcess, InputSource, InputWait, Inspection, Leftovers, ProcessEnd, SignalScope,
    TransportError,
};

/// Functions that the scripts here call.
pub(super) const PROCESSES: &str = include_str!("processes.sh");

/// How long a program beside the session may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a question may be on its way, where the target's clock is not known.
const MARGIN: Duration = Duration::from_secs(1);

/// Longest output of one, in bytes: a report of a thousand processes fits.
pub(super) const MAX_OUTPUT_BYTES: u64 = 1024 * 1024;

/// Runs a script to its end and answers what it said.
pub(super) async fn run(
    beside: &dyn Beside,
    script: &str,
    environment: Environment,
) -> Result<String, TransportError> {
    let running = async {
        let process = beside.start(script, environment).await?;
        let mut output = Vec::new();
        let read = process
            .stdout
            .take(MAX_OUTPUT_BYTES)
            .read_to_end(&mut output)
            .await;
        read.map_err(|error| failed(beside, &error.to_string()))?;
        match process.control.wait().await {
            ProcessEnd::Code(0) => Ok(String::from_utf8_lossy(&output).into_owned()),
            end => Err(failed(beside, &format!("a script there ended: {end:?}"))),
        }
    };
    match tokio::time::timeout(LIMIT, running).await {
        Ok(done) => done,
        Err(_elapsed) => Err(failed(beside, "it does not answer")),
    }
}

/// Answers a question that the functions of `processes.sh` can.
async fn ask(beside: &dyn Beside, question: &str) -> Result<String, TransportError> {
    let Some(standing) = beside.standing() else {
        let script = format!("{PROCESSES}\n{question}");
        return run(beside, &script, Environment::Clean).await;
    };
    match tokio::time::timeout(LIMIT, standing.ask(beside, question)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(failed(beside, "it does not answer")),
    }
}

pub(super) fn failed(beside: &dyn Beside, reason: &str) -> TransportError {
    TransportError::Unreachable {
        target: beside.target().to_owned(),
        reason: reason.to_owned(),
    }
}

/// Sends a signal; answers to how many processes or groups.
pub(in crate::transport) async fn signal(
    beside: &dyn Beside,
    pid: i32,
    scope: SignalScope,
    number: i32,
) -> Result<usize, TransportError> {
    let (scope, age) = match scope {
        SignalScope::Foreground => ("foreground", Duration::ZERO),
        SignalScope::ForegroundAgain => ("again", Duration::ZERO),
        SignalScope::StartedWithin(age) => ("young", age),
        SignalScope::Program => ("program", Duration::ZERO),
    };
    // Hundredths of a second, which Linux counts start times in.
    let oldest = match beside.clock().and_then(|clock| clock.before(age)) {
        Some(tick) => tick.to_string(),
        None => format!("-{}", (age + MARGIN).as_millis() / 10),
    };
    let script = format!("signal {pid} {scope} {number} {oldest}");
    let said = ask(beside, &script).await?;
    Ok(said.trim().parse().unwrap_or(0))
}

/// Looks at a program; `commands` is the pipe that its commands come from, where that has
/// a name.
pub(in crate::transport) async fn inspect(
    beside: &dyn Beside,
    pid: i32,
    commands: Option<&str>,
) -> Result<Inspection, TransportError> {
    let commands = super::quote::quote(commands.unwrap_or("none"));
    let script = format!("inspect {pid} {commands}");
    let said = ask(beside, &script).await?;
    seen(&said).ok_or_else(|| failed(beside, "the program is gone"))
}

fn seen(said: &str) -> Option<Inspection> {
    let mut words = said.split_whitespace();
    let (state, children, waits) = (words.next()?, words.next()?, words.next()?);
    Some(Inspection {
        stopped: matches!(state, "T" | "t"),
        sleeping: state == "S",
        children: children.parse().ok()?,
        unread_input: match waits {
            // Who waits for more has read all there was.
            "reading" => Some(0),
            // How much is unread is unknown; that it is not looking for it is not.
            "elsewhere" => Some(1),
            _ => None,
        },
    })
}

/// Whether a program, or what it started, waits for input.
pub(in crate::transport) async fn waits_for_input(
    beside: &dyn Beside,
    pid: i32,
    source: &InputSource,
) -> Result<Option<InputWait>, TransportError> {
    let source = match source {
        InputSource::Stdin => "stdin".to_owned(),
        InputSource::Terminal => "terminal".to_owned(),
        InputSource::Named(path) => super::quote::quote(path),
    };
    let said = ask(beside, &format!("awaits {pid} {source}")).await?;
    Ok(wait(&said))
}

fn wait(said: &str) -> Option<InputWait> {
    let mut words = said.split_whitespace();
    let observed = match words.next()? {
        "observed" => true,
        "inferred" => false,
        _ => return None,
    };
    let hidden = words.next() == Some("hidden");
    Some(InputWait { observed, hidden })
}

/// Ends what carries this marker or lives below these programs, or only the programs.
pub(in crate::transport) async fn close(
    beside: &dyn Beside,
    marker: &str,
    programs: &[i32],
    leftovers: Leftovers,
) -> Result<Vec<EndedProcess>, TransportError> {
    let programs: Vec<_> = programs.iter().map(ToString::to_string).collect();
    let programs = programs.join(" ");
    let script = match leftovers {
        Leftovers::Kill => format!("finish {marker} {programs}"),
        Leftovers::Keep => format!("leave {programs}"),
    };
    let said = ask(beside, &script).await?;
    Ok(report(&said))
}

/// Ends what is left of programs whose connection broke, where it carries this marker.
pub(in crate::transport) async fn forget(
    beside: &dyn Beside,
    marker: &str,
    programs: &[i32],
) -> Result<(), TransportError> {
    let programs: Vec<_> = programs.iter().map(ToString::to_string).collect();
    let script = format!("forget {marker} {}", programs.join(" "));
    ask(beside, &script).await.map(drop)
}

/// Ends one program and all below it.
pub(in crate::transport) async fn drop_program(
    beside: &dyn Beside,
    pid: i32,
) -> Result<(), TransportError> {
    let script = format!("drop {pid}");
    ask(beside, &script).await.map(drop)
}

/// The lines of a report, a process once, with the last signal it got.
fn report(said: &str) -> Vec<EndedProcess> {
    let mut ended: Vec<EndedProcess> = Vec::new();
    for line in said.lines() {
        let mut words = line.splitn(3, ' ');
        let numbers = (words.next(), words.next());
        let (Some(Ok(pid)), Some(Ok(signal))) = (
            numbers.0.map(str::parse::<i32>),
            numbers.1.map(str::parse::<i32>),
        ) else {
            continue;
        };
        match ended.iter_mut().find(|known| known.pid == pid) {
            Some(known) => known.signal = signal,
            None => ended.push(EndedProcess {
                pid,
                command: words.next().unwrap_or_default().trim().to_owned(),
                signal,
            }),
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_each_process_once_with_its_last_signal() {
        let said = "12 15 sleep 100 \n13 15 sh -c x\n12 9 sleep 100\nnoise\n";
        let process = |pid, command: &str, signal| EndedProcess {
            pid,
            command: command.to_owned(),
            signal,
        };
        assert_eq!(
            report(said),
            [process(12, "sleep 100", 9), process(13, "sh -c x", 15)]
        );
    }

    #[test]
    fn only_who_was_seen_waiting_waits() {
        let waits = |observed, hidden| Some(InputWait { observed, hidden });
        let told = ["observed hidden", "inferred shown", "no shown", ""].map(wait);
        assert_eq!(told, [waits(true, true), waits(false, false), None, None]);
    }

    #[test]
    fn who_waits_for_a_command_has_read_everything() {
        let look = |said| seen(said).map(|seen| (seen.stopped, seen.sleeping, seen.unread_input));
        assert_eq!(look("S 0 reading"), Some((false, true, Some(0))));
        assert_eq!(look("R 0 elsewhere"), Some((false, false, Some(1))));
        assert_eq!(look("T 2 unseen"), Some((true, false, None)));
        assert_eq!(look(""), None);
    }
}
