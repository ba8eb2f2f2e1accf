//! Requests about executions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use execgate_core::audit::Origin;
use execgate_core::budget::OutputBudget;
use execgate_core::ids::{ExecutionId, SessionId};
use execgate_core::outcome::Channel;
use execgate_engine::execution::{
    Command, CommandLine, DEFAULT_GRACE, Overflow, Stdin as EngineStdin, TimeoutAction,
};
use execgate_proto::v1;
use v1::execution_spec::{Command as ProtoCommand, Stdin};

use super::budget::budget;
use super::fields::{self, duration, enumeration};
use super::read::channel;
use super::{Page, checkpoint, secrets, session_id};
use crate::grpc::edge::{Edge, MAX_TIMEOUT};
use crate::grpc::refusal::Refusal;
use crate::grpc::to_proto;

/// The longest grace period, as the API says.
const MAX_GRACE: Duration = Duration::from_secs(60);
/// Bytes of arguments of an argv execution at most.
pub(crate) const MAX_ARGV_BYTES: usize = 128 * 1024;
/// Bytes of standard input in one request at most: a piece that fits a message with room.
pub(crate) const MAX_STDIN_BYTES: usize = 1024 * 1024;

/// A command that is asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) session: SessionId,
    pub(crate) execution: Option<ExecutionId>,
    pub(crate) command: Command,
    /// What becomes of it when its caller goes.
    pub(crate) on_disconnect: OnDisconnect,
    /// Whether it is only judged.
    pub(crate) purpose: Purpose,
    /// The budget of a Run, where the request has one.
    pub(crate) budget: Option<OutputBudget>,
}

/// What becomes of a command when its caller goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDisconnect {
    /// It runs on.
    Detach,
    /// It is cancelled.
    Cancel,
}

/// Why a command is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be run.
    Run,
    /// To be judged.
    Validate,
}

/// An execution to follow, and from where on.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) session: SessionId,
    pub(crate) execution: ExecutionId,
    /// Per channel, the first byte wanted.
    pub(crate) offsets: Vec<(Channel, u64)>,
    /// Notices up to this number are known.
    pub(crate) notices_seen: u64,
}

/// Bytes for a running execution.
#[derive(Debug)]
pub(crate) struct WriteStdin {
    pub(crate) session: SessionId,
    pub(crate) execution: ExecutionId,
    /// Offset of the first byte; after the last accepted one where it is not said.
    pub(crate) offset: Option<u64>,
    pub(crate) data: Bytes,
    /// Whether the input ends with them.
    pub(crate) eof: bool,
}

/// What Exec is asked.
pub(crate) fn of_exec(request: v1::ExecRequest, edge: &Edge) -> Result<Ask, Refusal> {
    ask(
        v1::RunRequest {
            session_id: request.session_id,
            execution_id: request.execution_id,
            spec: request.spec,
            queue_if_busy: request.queue_if_busy,
            expected_generation: request.expected_generation,
            on_disconnect: request.on_disconnect,
            validate_only: request.validate_only,
            output_budget: None,
        },
        edge,
    )
}

/// What Run is asked.
pub(crate) fn of_run(request: v1::RunRequest, edge: &Edge) -> Result<Ask, Refusal> {
    let stdin = request.spec.as_ref().and_then(|spec| spec.stdin.as_ref());
    if let Some(Stdin::Open(_)) = stdin {
        let reason = "cannot be open in Run, whose caller only waits; use Exec";
        return Err(Refusal::field("spec.open", reason));
    }
    ask(request, edge)
}

/// What Exec and Run are asked alike.
fn ask(request: v1::RunRequest, edge: &Edge) -> Result<Ask, Refusal> {
    let id = fields::given(request.execution_id);
    let budget = request
        .output_budget
        .map(|b| budget("output_budget", b, &edge.defaults.budget));
    Ok(Ask {
        session: session_id(&request.session_id)?,
        execution: id.map(|id| fields::execution_id(&id)).transpose()?,
        command: Command {
            expected_generation: request.expected_generation,
            queue_if_busy: request.queue_if_busy,
            ..command(spec(request.spec)?, edge)?
        },
        on_disconnect: match enumeration("on_disconnect", request.on_disconnect)? {
            v1::OnDisconnect::Unspecified | v1::OnDisconnect::Detach => OnDisconnect::Detach,
            v1::OnDisconnect::Cancel => OnDisconnect::Cancel,
        },
        purpose: match request.validate_only {
            true => Purpose::Validate,
            false => Purpose::Run,
        },
        budget: budget.transpose()?,
    })
}

/// What Attach is asked.
pub(crate) fn attach(request: v1::AttachRequest) -> Result<Attach, Refusal> {
    let offsets = request.offsets.iter().enumerate().map(|(index, offset)| {
        let field = format!("offsets[{index}].channel");
        Ok::<_, Refusal>((channel(&field, offset.channel)?, offset.offset))
    });
    let offsets: Vec<_> = offsets.collect::<Result<_, _>>()?;
    for (index, (channel, _)) in offsets.iter().enumerate() {
        if offsets
            .iter()
            .take(index)
            .any(|(earlier, _)| earlier == channel)
        {
            return Err(Refusal::field(
                format!("offsets[{index}].channel"),
                "is there twice",
            ));
        }
    }
    Ok(Attach {
        session: session_id(&request.session_id)?,
        execution: fields::execution_id(&request.execution_id)?,
        offsets,
        notices_seen: request.notices_seen,
    })
}

/// A page of executions and the states it is filtered by.
pub(crate) fn executions_page(
    request: v1::ListExecutionsRequest,
) -> Result<(SessionId, Page, Vec<v1::ExecutionState>), Refusal> {
    let session = session_id(&request.session_id)?;
    let page = Page::parse(to_proto::EXECUTIONS, request.page_size, &request.page_token)?;
    let states = request
        .states
        .into_iter()
        .enumerate()
        .map(|(index, state)| {
            let field = format!("states[{index}]");
            match enumeration(&field, state)? {
                v1::ExecutionState::Unspecified => Err(Refusal::field(field, "is not set")),
                state => Ok(state),
            }
        });
    Ok((session, page, states.collect::<Result<_, _>>()?))
}

/// What EvaluatePolicy is asked about; the rest of the spec does not matter to a policy.
pub(crate) fn judged(
    spec: Option<v1::ExecutionSpec>,
    edge: &Edge,
) -> Result<(CommandLine, BTreeMap<String, String>), Refusal> {
    let spec = self::spec(spec)?;
    let env = spec.env.into_iter().collect();
    Ok((line(spec.command, edge)?, env))
}

fn line(command: Option<ProtoCommand>, edge: &Edge) -> Result<CommandLine, Refusal> {
    match command {
        None => Err(Refusal::field("spec.command", "is required")),
        Some(ProtoCommand::Script(text)) => script(text, edge).map(CommandLine::Script),
        Some(ProtoCommand::Argv(argv)) => arguments(argv).map(CommandLine::Argv),
    }
}

fn spec(spec: Option<v1::ExecutionSpec>) -> Result<v1::ExecutionSpec, Refusal> {
    spec.ok_or_else(|| Refusal::field("spec", "is required"))
}

fn command(spec: v1::ExecutionSpec, edge: &Edge) -> Result<Command, Refusal> {
    let line = line(spec.command, edge)?;
    let stdin = match spec.stdin {
        None | Some(Stdin::Closed(_)) => EngineStdin::Closed,
        Some(Stdin::Inline(inline)) => {
            EngineStdin::Inline(stdin_bytes("spec.inline.data", inline.data)?)
        }
        Some(Stdin::Open(_)) => EngineStdin::Open,
    };
    let timeout_action = match enumeration("spec.timeout_action", spec.timeout_action)? {
        v1::TimeoutAction::Unspecified | v1::TimeoutAction::Ladder => TimeoutAction::Ladder,
        v1::TimeoutAction::Kill => TimeoutAction::Kill,
        v1::TimeoutAction::Notify => TimeoutAction::Tell,
    };
    let overflow = match enumeration("spec.overflow", spec.overflow)? {
        v1::OverflowAction::Unspecified | v1::OverflowAction::Backpressure => {
            Overflow::Backpressure
        }
        v1::OverflowAction::Evict => Overflow::Evict,
    };
    let checkpoint = checkpoint::mode("spec.checkpoint", spec.checkpoint)?;
    let mut env = fields::environment("spec.env", spec.env)?;
    let secrets = secrets::references("spec.secrets", spec.secrets, &mut env)?;
    let grace = fields::duration_or_zero("spec.grace_period", spec.grace_period, MAX_GRACE)?;
    Ok(Command {
        line,
        stdin,
        timeout: duration("spec.timeout", spec.timeout, MAX_TIMEOUT)?,
        timeout_action,
        grace: grace.unwrap_or(DEFAULT_GRACE),
        env,
        secrets,
        cwd: fields::path("spec.cwd", spec.cwd)?,
        expected_generation: None,
        queue_if_busy: false,
        overflow,
        checkpoint,
        origin: Origin::default(),
    })
}

/// Bytes for a command's standard input.
fn stdin_bytes(field: &str, data: Bytes) -> Result<Bytes, Refusal> {
    if data.len() > MAX_STDIN_BYTES {
        let reason = format!("has {} bytes, at most {MAX_STDIN_BYTES}", data.len());
        return Err(Refusal::field(field, reason));
    }
    Ok(data)
}

/// What WriteStdin is asked.
pub(crate) fn write(request: v1::WriteStdinRequest) -> Result<WriteStdin, Refusal> {
    Ok(WriteStdin {
        session: session_id(&request.session_id)?,
        execution: fields::execution_id(&request.execution_id)?,
        offset: request.offset,
        data: stdin_bytes("data", request.data)?,
        eof: request.eof,
    })
}

/// The signal that is to be sent, by its number on Linux.
pub(crate) fn signal(number: i32) -> Result<i32, Refusal> {
    Ok(match enumeration("signal", number)? {
        v1::SignalKind::Unspecified => return Err(Refusal::field("signal", "is required")),
        v1::SignalKind::Hup => 1,
        v1::SignalKind::Int => 2,
        v1::SignalKind::Quit => 3,
        v1::SignalKind::Kill => 9,
        v1::SignalKind::Usr1 => 10,
        v1::SignalKind::Usr2 => 12,
        v1::SignalKind::Term => 15,
        v1::SignalKind::Cont => 18,
        v1::SignalKind::Tstp => 20,
    })
}

fn script(text: String, edge: &Edge) -> Result<String, Refusal> {
    let max = edge.engine.settings().max_command_bytes;
    if text.trim().is_empty() {
        return Err(Refusal::field("spec.script", "is empty"));
    }
    if text.len() > max {
        let reason = format!("has {} bytes, at most {max}", text.len());
        return Err(Refusal::field("spec.script", reason));
    }
    fields::no_nul("spec.script", &text)?;
    Ok(text)
}

fn arguments(argv: v1::Argv) -> Result<Vec<String>, Refusal> {
    let bytes: usize = argv
        .arguments
        .iter()
        .map(|argument| argument.len() + 1)
        .sum();
    if argv.arguments.first().is_none_or(String::is_empty) {
        return Err(Refusal::field("spec.argv.arguments", "names no program"));
    }
    if bytes > MAX_ARGV_BYTES {
        let reason = format!("has {bytes} bytes, at most {MAX_ARGV_BYTES}");
        return Err(Refusal::field("spec.argv.arguments", reason));
    }
    for (index, argument) in argv.arguments.iter().enumerate() {
        fields::no_nul(&format!("spec.argv.arguments[{index}]"), argument)?;
    }
    Ok(argv.arguments)
}
