//! Executions and their results.

use execgate_core::audit::CommandKind;
use execgate_core::budget::BudgetReport;
use execgate_core::outcome::Channel;
use execgate_engine::execution::{CollectedStream, ExecResult, Execution, RetainedRange};
use execgate_proto::v1;

use super::time::timestamp;
use super::{ExecutionView, channel, command_kind, notice};
use crate::grpc::edge::Edge;

/// An execution as it is now.
pub(crate) fn execution(view: &ExecutionView) -> v1::Execution {
    let execution = &view.execution;
    v1::Execution {
        session_id: execution.session.to_string(),
        execution_id: execution.id.to_string(),
        state: execution_state(view).into(),
        kind: command_kind(execution.kind).into(),
        command: Edge::shown_command(&execution.command),
        generation: view.session.snapshot().generation,
        create_time: Some(timestamp(execution.created)),
        start_time: execution.started().map(timestamp),
        finished: view.finished(),
        retained: execution.retained().iter().map(retained).collect(),
        stdin_offset: execution.stdin_offset(),
        stdin_open: execution.stdin_open(),
        input_wanted: execution.wants_input(),
        checkpoint_id: execution
            .checkpoint()
            .map(ToString::to_string)
            .unwrap_or_default(),
        ..v1::Execution::default()
    }
}

fn retained(range: &RetainedRange) -> v1::RetainedOutput {
    v1::RetainedOutput {
        channel: channel(range.channel).into(),
        first_offset: range.first_offset,
        end_offset: range.end_offset,
    }
}

/// Where an execution is in its life.
pub(crate) fn execution_state(view: &ExecutionView) -> v1::ExecutionState {
    state_of(&view.execution)
}

/// Where an execution is in its life.
pub(crate) fn state_of(execution: &Execution) -> v1::ExecutionState {
    match (execution.started(), execution.ending()) {
        (_, Some(_)) => v1::ExecutionState::Finished,
        (Some(_), None) if execution.is_stopped() => v1::ExecutionState::Stopped,
        (Some(_), None) => v1::ExecutionState::Running,
        (None, None) => v1::ExecutionState::Queued,
    }
}

/// A result in one message.
pub(crate) fn result(result: ExecResult, view: &ExecutionView) -> v1::ExecResult {
    let timed_out = result.timed_out();
    // A program beside the shell has pipes, also where the shell has a terminal.
    let terminal =
        view.session.settings.terminal.is_some() && view.execution.kind == CommandKind::Script;
    let notices = (1..)
        .zip(&result.notices)
        .map(|(number, n)| notice(n, number, &view.session));
    let notices = notices.collect();
    let truncated = result.stdout.report.truncated || result.stderr.report.truncated;
    let mut message = v1::ExecResult {
        session_id: view.session.id.to_string(),
        execution_id: view.execution.id.to_string(),
        command: Edge::shown_command(&view.execution.command),
        finished: view.finished(),
        truncated,
        timed_out,
        notices,
        deduplicated: view.deduplicated,
        generation: view.session.snapshot().generation,
        ..v1::ExecResult::default()
    };
    if terminal {
        message.budgets = vec![report(Channel::Terminal, &result.stdout.report)];
        message.terminal = result.stdout.bytes;
    } else {
        message.budgets = vec![
            report(Channel::Stdout, &result.stdout.report),
            report(Channel::Stderr, &result.stderr.report),
        ];
        message.stdout = result.stdout.bytes;
        message.stderr = result.stderr.bytes;
    }
    add_background(&mut message, &result.background);
    message
}

/// What background jobs wrote before is no output of the command: only its numbers are
/// given.
fn add_background(message: &mut v1::ExecResult, background: &CollectedStream) {
    if background.report.total_bytes > 0 {
        let mut row = report(Channel::Background, &background.report);
        (row.kept_bytes, row.kept_lines) = (0, 0);
        row.omitted_bytes = row.total_bytes;
        message.budgets.push(row);
    }
}

/// What a budget did.
pub(crate) fn report(of: Channel, report: &BudgetReport) -> v1::BudgetReport {
    v1::BudgetReport {
        channel: channel(of).into(),
        total_bytes: report.total_bytes,
        total_lines: report.total_lines,
        kept_bytes: report.kept_bytes,
        kept_lines: report.kept_lines,
        omitted_bytes: report.omitted_bytes,
        matched_lines: report.matched_lines,
        truncated: report.truncated,
    }
}
