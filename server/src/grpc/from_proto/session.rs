//! Requests about sessions.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use execgate_core::audit::Origin;
use execgate_core::ids::SessionId;
use execgate_engine::session::{
    OnShellExit, OnTransportLoss, SessionSettings, SessionUpdate, WantedShell,
};
use execgate_engine::target::Target;
use execgate_engine::transport::{Leftovers, WindowSize};
use execgate_proto::v1;
use v1::create_session_request::Target as ProtoTarget;

use super::budget::budget;
use super::fields::{self, duration, enumeration};
use super::{Page, checkpoint, fence, policy, secrets};
use crate::grpc::edge::{Edge, MAX_TIMEOUT};
use crate::grpc::refusal::Refusal;
use crate::grpc::to_proto;

/// Size of a terminal when nobody says.
const DEFAULT_ROWS: u16 = 24;
const DEFAULT_COLUMNS: u16 = 80;
/// The largest size in either direction, as the API says.
const MAX_CELLS: u32 = 10_000;
/// Bytes of a terminal's name at most, as the API says.
const MAX_TERM_BYTES: usize = 64;
/// Labels at most, and their bytes, as the API says.
const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY_BYTES: usize = 64;
const MAX_LABEL_VALUE_BYTES: usize = 256;

/// A session to be created.
#[derive(Debug)]
pub(crate) struct NewSession {
    /// The id that the client chose.
    pub(crate) id: Option<SessionId>,
    /// Everything else.
    pub(crate) settings: SessionSettings,
}

/// A listing of sessions.
#[derive(Debug)]
pub(crate) struct SessionsPage {
    /// Which part of it.
    pub(crate) page: Page,
    /// Labels that each must have.
    pub(crate) labels: BTreeMap<String, String>,
    /// States that each may be in; empty for any.
    pub(crate) states: Vec<v1::SessionState>,
}

/// A session as it is asked for.
pub(crate) fn new_session(
    request: v1::CreateSessionRequest,
    edge: &Edge,
) -> Result<NewSession, Refusal> {
    let target = target(request.target, edge)?;
    let files = checkpoint::files(
        request.workspace,
        request.from_checkpoint,
        request.checkpoints,
    )?;
    let fence = fence::demand(request.fence.unwrap_or_default(), &edge.defaults.require)?;
    let id = fields::given(request.session_id)
        .map(|id| fields::session_id(&id))
        .transpose()?;
    let mut env = fields::environment("env", request.env)?;
    let secrets = secrets::references("secrets", request.secrets, &mut env)?;
    let defaults = &edge.defaults;
    let lifetime = lifetime(request.max_lifetime, defaults.max_lifetime)?;
    let budget = request
        .output_budget
        .map(|b| budget("output_budget", b, &defaults.budget));
    let settings = SessionSettings {
        target,
        shell: wanted_shell(request.shell, request.terminal.is_some())?,
        cwd: fields::path("cwd", request.cwd)?
            .map(absolute)
            .transpose()?,
        terminal: request
            .terminal
            .map(|t| terminal(t, &mut env))
            .transpose()?,
        env,
        secrets,
        redaction: secrets::added_redaction(request.redaction.unwrap_or_default())?,
        policy: policy::session_policy(request.policy.unwrap_or_default())?,
        output_budget: budget
            .transpose()?
            .unwrap_or_else(|| defaults.budget.clone()),
        default_timeout: duration("default_timeout", request.default_timeout, MAX_TIMEOUT)?
            .unwrap_or(defaults.timeout),
        idle_ttl: duration("idle_ttl", request.idle_ttl, defaults.max_idle_ttl())?
            .unwrap_or(defaults.idle_ttl),
        max_lifetime: lifetime,
        on_shell_exit: match enumeration("on_shell_exit", request.on_shell_exit)? {
            v1::OnShellExit::Unspecified | v1::OnShellExit::Restart => OnShellExit::Restart,
            v1::OnShellExit::Lost => OnShellExit::Lose,
        },
        on_transport_loss: match enumeration("on_transport_loss", request.on_transport_loss)? {
            v1::OnTransportLoss::Unspecified | v1::OnTransportLoss::Lost => OnTransportLoss::Lose,
            v1::OnTransportLoss::Reconnect => OnTransportLoss::Reconnect,
        },
        leftovers: match request.keep_background {
            true => Leftovers::Keep,
            false => Leftovers::Kill,
        },
        fence,
        labels: labels("labels", request.labels)?,
        workspace: files.workspace,
        checkpoints: files.mode,
        from_checkpoint: files.from,
        origin: Origin::default(),
    };
    Ok(NewSession { id, settings })
}

/// What is to change in a session; what is absent stays.
pub(crate) fn session_update(
    request: v1::UpdateSessionRequest,
    edge: &Edge,
) -> Result<(SessionId, SessionUpdate), Refusal> {
    let id = fields::session_id(&request.session_id)?;
    let defaults = &edge.defaults;
    let labels = request.labels.map(|given| labels("labels", given.labels));
    let budget = request
        .output_budget
        .map(|given| budget("output_budget", given, &defaults.budget));
    let update = SessionUpdate {
        labels: labels.transpose()?,
        idle_ttl: duration("idle_ttl", request.idle_ttl, defaults.max_idle_ttl())?,
        default_timeout: duration("default_timeout", request.default_timeout, MAX_TIMEOUT)?,
        output_budget: budget.transpose()?,
    };
    Ok((id, update))
}

/// A page of sessions and what it is filtered by.
pub(crate) fn sessions_page(request: v1::ListSessionsRequest) -> Result<SessionsPage, Refusal> {
    let page = Page::parse(to_proto::SESSIONS, request.page_size, &request.page_token)?;
    let states = request
        .states
        .into_iter()
        .enumerate()
        .map(|(index, state)| {
            let field = format!("states[{index}]");
            match enumeration(&field, state)? {
                v1::SessionState::Unspecified => Err(Refusal::field(field, "is not set")),
                state => Ok(state),
            }
        });
    Ok(SessionsPage {
        page,
        labels: labels("labels", request.labels)?,
        states: states.collect::<Result<_, _>>()?,
    })
}

fn target(target: Option<ProtoTarget>, edge: &Edge) -> Result<Target, Refusal> {
    match target {
        None => Ok(Target::Local),
        Some(ProtoTarget::Local(local)) => {
            refuse_missing(&local.profile, "field local.profile")?;
            Ok(Target::Local)
        }
        Some(ProtoTarget::Ssh(ssh)) => super::ssh::target(ssh, edge).map(Target::Ssh),
        Some(ProtoTarget::Docker(docker)) => super::docker::target(docker).map(Target::Docker),
    }
}

/// Refuses a text that is set and means something that is not there yet.
fn refuse_missing(value: &str, what: &str) -> Result<(), Refusal> {
    match value {
        "" => Ok(()),
        _ => Err(Refusal::not_implemented(what)),
    }
}

fn absolute(cwd: String) -> Result<String, Refusal> {
    match cwd.starts_with('/') {
        true => Ok(cwd),
        false => Err(Refusal::field("cwd", "is not an absolute path")),
    }
}

fn lifetime(
    wanted: Option<prost_types::Duration>,
    operator: Option<Duration>,
) -> Result<Option<Duration>, Refusal> {
    let max = operator.unwrap_or(Duration::MAX);
    Ok(duration("max_lifetime", wanted, max)?.or(operator))
}

fn terminal(
    terminal: v1::Terminal,
    env: &mut BTreeMap<String, String>,
) -> Result<WindowSize, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    if terminal.term.len() > MAX_TERM_BYTES || !terminal.term.bytes().all(plain) {
        return Err(Refusal::field(
            "terminal.term",
            "is not 1 to 64 of [A-Za-z0-9._+-]",
        ));
    }
    if let Some(term) = fields::given(terminal.term) {
        env.entry("TERM".to_owned()).or_insert(term);
    }
    let size = terminal.size.unwrap_or_default();
    Ok(WindowSize {
        rows: cells("terminal.size.rows", size.rows, DEFAULT_ROWS)?,
        columns: cells("terminal.size.columns", size.columns, DEFAULT_COLUMNS)?,
    })
}

/// The size that a terminal is to have.
pub(crate) fn terminal_size(size: Option<v1::TerminalSize>) -> Result<WindowSize, Refusal> {
    let size = size.ok_or_else(|| Refusal::field("size", "is required"))?;
    Ok(WindowSize {
        rows: cells("size.rows", size.rows, DEFAULT_ROWS)?,
        columns: cells("size.columns", size.columns, DEFAULT_COLUMNS)?,
    })
}

fn cells(field: &str, number: u32, default: u16) -> Result<u16, Refusal> {
    match u16::try_from(number) {
        Ok(0) => Ok(default),
        Ok(cells) if number <= MAX_CELLS => Ok(cells),
        _ => Err(Refusal::field(
            field,
            format!("is {number}, at most {MAX_CELLS}"),
        )),
    }
}

pub(super) fn labels(
    field: &str,
    labels: HashMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    if labels.len() > MAX_LABELS {
        let reason = format!("has {} labels, at most {MAX_LABELS}", labels.len());
        return Err(Refusal::field(field, reason));
    }
    for (key, value) in &labels {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b);
        if key.is_empty() || key.len() > MAX_LABEL_KEY_BYTES || !key.bytes().all(plain) {
            return Err(Refusal::field(
                field,
                "holds a key that is not 1 to 64 of [a-z0-9._/-]",
            ));
        }
        if value.len() > MAX_LABEL_VALUE_BYTES {
            let reason = format!("has {} bytes, at most {MAX_LABEL_VALUE_BYTES}", value.len());
            return Err(Refusal::field(format!("{field}[{key}]"), reason));
        }
    }
    Ok(labels.into_iter().collect())
}

/// The shell asked for. What stands for none cannot be the name of one: it has no slash, and
/// is no shell that is known.
fn wanted_shell(text: String, terminal: bool) -> Result<WantedShell, Refusal> {
    match fields::path("shell", text)? {
        None => Ok(WantedShell::Best),
        Some(none) if none == "none" => match terminal {
            true => Err(Refusal::field(
                "terminal",
                "a session without a shell has none",
            )),
            false => Ok(WantedShell::Nothing),
        },
        Some(program) => Ok(WantedShell::Named(program)),
    }
}
