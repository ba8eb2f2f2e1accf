//! What a client made of an answer, as a whole that can be compared; and the whole that
//! a story expects, with the defaults of tests/scenarios/README.md filled in.

use std::collections::BTreeMap;
use std::fmt;

use execgate_client::{Channel, Event, Finished, Notice, ObservedBy, Outcome, RunResult};
use sha2::{Digest, Sha256};

use super::story::{ANY, Expect, ExpectedTotals, Given, Report, Text, at};

/// Most bytes of a channel in a failure's message: a screen.
const SHOWN_BYTES: usize = 2000;

/// A result, without times and ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) command: String,
    pub(crate) output: BTreeMap<&'static str, Shown>,
    pub(crate) outcome: String,
    pub(crate) cause: String,
    pub(crate) observed_by: String,
    pub(crate) timed_out: bool,
    pub(crate) truncated: bool,
    pub(crate) deduplicated: bool,
    pub(crate) cwd: String,
    pub(crate) generation: u64,
    pub(crate) notices: Vec<String>,
    pub(crate) totals: BTreeMap<&'static str, Totals>,
    pub(crate) budgets: BTreeMap<&'static str, Report>,
}

/// Bytes that can be read in a failure's message.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown(pub(crate) Vec<u8>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.0.get(..SHOWN_BYTES).unwrap_or(&self.0);
        write!(f, "\"{}\"", head.escape_ascii())?;
        if head.len() < self.0.len() {
            write!(f, " and {} bytes more", self.0.len() - head.len())?;
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    bytes: u64,
    lines: u64,
    redactions: u64,
    sha256: String,
}

/// What is known before a step.
pub(crate) struct Before<'a> {
    pub(crate) dir: &'a str,
    pub(crate) terminal: bool,
    pub(crate) cwd: &'a str,
    pub(crate) generation: u64,
}

impl Seen {
    pub(crate) fn of_result(result: &RunResult, terminal: bool) -> Self {
        let output = [
            ("stdout", &result.stdout),
            ("stderr", &result.stderr),
            ("terminal", &result.terminal),
        ];
        let mut seen = Self::of_end(&result.finished);
        seen.command.clone_from(&result.command);
        seen.timed_out = result.timed_out();
        seen.truncated = result.truncated;
        seen.deduplicated = result.deduplicated;
        seen.notices = result.notices.iter().map(notice).collect();
        for (name, bytes) in output {
            if channels(terminal).contains(&name) || !bytes.is_empty() {
                seen.output.insert(name, Shown(bytes.to_vec()));
            }
        }
        for report in &result.budgets {
            let report_seen = Report {
                total_bytes: report.total_bytes,
                total_lines: report.total_lines,
                kept_bytes: report.kept_bytes,
                kept_lines: report.kept_lines,
                omitted_bytes: report.omitted_bytes,
                matched_lines: report.matched_lines,
                truncated: report.truncated,
            };
            let name = match report.channel().as_str_name() {
                "CHANNEL_STDOUT" => "stdout",
                "CHANNEL_STDERR" => "stderr",
                "CHANNEL_TERMINAL" => "terminal",
                other => panic!("a budget of {other}"),
            };
            seen.budgets.insert(name, report_seen);
        }
        seen
    }

    /// A stream's events, joined as a caller would.
    pub(crate) fn of_events(events: &[Event], terminal: bool) -> Self {
        let [
            Event::Started(started),
            between @ ..,
            Event::Finished(finished),
        ] = events
        else {
            panic!("a stream goes from a start to an end: {events:?}")
        };
        let mut seen = Self::of_end(finished);
        seen.command.clone_from(&started.command);
        seen.deduplicated = started.deduplicated;
        for name in channels(terminal) {
            seen.output.insert(name, Shown::default());
        }
        for event in between {
            match event {
                Event::Output(output) => {
                    let bytes = seen.output.entry(name(output.channel)).or_default();
                    assert_eq!(
                        output.offset,
                        bytes.0.len() as u64,
                        "offsets join: {output:?}"
                    );
                    bytes.0.extend_from_slice(&output.data);
                }
                Event::Gap(_) => seen.truncated = true,
                Event::Notice(found) => seen.notices.push(notice(found)),
                other => panic!("in the middle of a stream: {other:?}"),
            }
        }
        seen
    }

    fn of_end(finished: &Finished) -> Self {
        let totals = finished.channels.iter().map(|totals| {
            let seen = Totals {
                bytes: totals.bytes,
                lines: totals.lines,
                redactions: totals.redactions,
                sha256: hex(&totals.sha256),
            };
            (name(totals.channel), seen)
        });
        let cause = plain(finished.cause.as_str_name(), "CAUSE_");
        Self {
            command: String::new(),
            output: BTreeMap::new(),
            outcome: match &finished.outcome {
                // The engine has no other word for a signal.
                Outcome::Exited {
                    possible_signal: Some(signal),
                    ..
                } if finished.observed_by == ObservedBy::Dockerd => format!("signaled {signal}"),
                told => outcome(told),
            },
            timed_out: cause == "TIMEOUT",
            cause,
            // Elsewhere they stand for the kernel, and tell what it told them.
            observed_by: match plain(finished.observed_by.as_str_name(), "OBSERVED_BY_") {
                remote if remote == "SSHD" || remote == "DOCKERD" => "KERNEL".to_owned(),
                observer => observer,
            },
            truncated: false,
            deduplicated: false,
            cwd: finished.cwd.clone(),
            generation: finished.generation,
            notices: Vec::new(),
            totals: totals.collect(),
            budgets: BTreeMap::new(),
        }
    }

    /// What a story expects in place of this; `ANY` takes over what was seen.
    pub(crate) fn expected(
        &self,
        expect: &Expect,
        before: &Before<'_>,
        given: Option<&Given>,
    ) -> Self {
        let dir = before.dir;
        let text = |expected: &str, seen: &str| {
            let any = expected == ANY && !seen.is_empty();
            if any {
                seen.to_owned()
            } else {
                tagged(&at(dir, expected), seen.as_bytes())
            }
        };
        let or = |expected: &Option<String>, seen: &str, default: &str| match expected {
            Some(expected) => text(expected, seen),
            None => default.to_owned(),
        };
        let (command, program) = match given {
            Some(Given::Script(script)) => (at(dir, script), false),
            Some(Given::Argv(words)) => (at(dir, &words.join(" ")), true),
            None => (String::new(), false),
        };
        let cause = or(&expect.cause, &self.cause, "EXITED");
        let mut expected = Self {
            command: or(&expect.command, &self.command, &command),
            output: BTreeMap::new(),
            outcome: expected_outcome(expect),
            timed_out: expect.timed_out.unwrap_or(cause == "TIMEOUT"),
            cause,
            observed_by: or(
                &expect.observed_by,
                &self.observed_by,
                if program { "KERNEL" } else { "SHELL" },
            ),
            truncated: expect.truncated,
            deduplicated: expect.deduplicated,
            cwd: or(&expect.cwd, &self.cwd, before.cwd),
            generation: expect.generation.unwrap_or(before.generation),
            notices: Vec::new(),
            totals: BTreeMap::new(),
            budgets: BTreeMap::new(),
        };
        for (i, notice) in expect.notices.iter().enumerate() {
            let seen = self.notices.get(i).map_or("", String::as_str);
            expected.notices.push(text(notice, seen));
        }
        for channel in channels(before.terminal) {
            self.expect_channel(&mut expected, expect, channel, dir);
        }
        expected
    }

    fn expect_channel(&self, into: &mut Self, expect: &Expect, channel: &'static str, dir: &str) {
        let wanted: &Text = match channel {
            "stdout" => &expect.stdout,
            "stderr" => &expect.stderr,
            _ => &expect.terminal,
        };
        let seen = self.output.get(channel).cloned().unwrap_or_default();
        let any = wanted.is_any() && !seen.0.is_empty();
        let bytes = if any {
            seen.0
        } else {
            match String::from_utf8(wanted.bytes(dir)) {
                Ok(text) => tagged(&text, &seen.0).into_bytes(),
                Err(bytes) => bytes.into_bytes(),
            }
        };
        let explicit = expect.totals.get(channel).cloned().unwrap_or_default();
        into.totals.insert(channel, totals(&bytes, explicit));
        if !self.budgets.is_empty() {
            let report = expect.budgets.get(channel).cloned();
            let report = report.unwrap_or_else(|| untouched(&bytes));
            into.budgets.insert(channel, report);
        }
        into.output.insert(channel, Shown(bytes));
    }
}

/// `wanted` with each `@tag@` replaced by the tag that `seen` has in its place: tags are
/// made with a server's own key.
fn tagged(wanted: &str, seen: &[u8]) -> String {
    let seen = String::from_utf8_lossy(seen);
    let tags = seen.split("[REDACTED:").skip(1).filter_map(|rest| {
        let (marker, _) = rest.split_once(']')?;
        let (_, tag) = marker.split_once('#')?;
        let digits = tag.len() == 4 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| tag.to_owned())
    });
    tags.fold(wanted.to_owned(), |text, tag| {
        text.replacen("@tag@", &tag, 1)
    })
}

/// The channels of a session, with or without a terminal.
fn channels(terminal: bool) -> &'static [&'static str] {
    if terminal {
        &["terminal"]
    } else {
        &["stdout", "stderr"]
    }
}

pub(crate) fn name(channel: Channel) -> &'static str {
    match channel {
        Channel::Stdout => "stdout",
        Channel::Stderr => "stderr",
        Channel::Terminal => "terminal",
        other => panic!("output on {other:?}"),
    }
}

pub(crate) fn topic(notice: &Notice) -> &'static str {
    use execgate_client::proto::notice::Kind;
    match &notice.kind {
        Some(Kind::TimeoutFired(_)) => "timeout_fired",
        Some(Kind::SignalSent(_)) => "signal_sent",
        Some(Kind::CheckpointMade(_)) => "checkpoint_made",
        Some(Kind::ShellRestarted(_)) => "shell_restarted",
        Some(Kind::InputWanted(_)) => "input_wanted",
        Some(Kind::ExecutionStopped(_)) => "execution_stopped",
        Some(Kind::ExecutionContinued(_)) => "execution_continued",
        Some(Kind::OutputThrottled(_)) => "output_throttled",
        None => "",
    }
}

fn notice(notice: &Notice) -> String {
    format!("{}: {}", topic(notice), notice.message)
}

/// An enum's name without its prefix.
pub(crate) fn plain(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited {
            code,
            possible_signal,
        } => format!("exited {code} {}", possible_signal.as_deref().unwrap_or("")),
        Outcome::Signaled { name, .. } => format!("signaled {name}"),
        Outcome::LaunchFailed { failure, .. } => {
            let failure = plain(failure.as_str_name(), "LAUNCH_FAILURE_");
            format!("launch failed {failure}")
        }
        Outcome::Lost { .. } => "lost".to_owned(),
        other => panic!("an outcome that no story knows: {other:?}"),
    }
}

fn expected_outcome(expect: &Expect) -> String {
    if let Some(signal) = &expect.signal {
        return format!("signaled {signal}");
    }
    if let Some(failure) = &expect.launch_failure {
        return format!("launch failed {failure}");
    }
    if expect.lost {
        return "lost".to_owned();
    }
    let code = expect.exit_code.unwrap_or(0);
    let signal = expect.possible_signal.as_deref().unwrap_or("");
    format!("exited {code} {signal}")
}

fn totals(bytes: &[u8], explicit: ExpectedTotals) -> Totals {
    Totals {
        bytes: explicit.bytes.unwrap_or(bytes.len() as u64),
        lines: explicit.lines.unwrap_or(lines(bytes)),
        redactions: explicit.redactions.unwrap_or(0),
        sha256: explicit
            .sha256
            .unwrap_or_else(|| hex(&Sha256::digest(bytes))),
    }
}

/// The report of a budget that left nothing out.
fn untouched(bytes: &[u8]) -> Report {
    Report {
        total_bytes: bytes.len() as u64,
        total_lines: lines(bytes),
        kept_bytes: bytes.len() as u64,
        kept_lines: lines(bytes),
        omitted_bytes: 0,
        matched_lines: lines(bytes),
        truncated: false,
    }
}

/// How many lines, also one that has no end.
fn lines(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().filter(|&&byte| byte == b'\n').count();
    let open = bytes.last().is_some_and(|&byte| byte != b'\n');
    ends as u64 + u64::from(open)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
