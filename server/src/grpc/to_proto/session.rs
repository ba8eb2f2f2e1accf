//! Sessions.

use data_encoding::HEXLOWER;
use execgate_core::audit::SessionLoss;
use execgate_core::budget::{OutputBudget, Select};
use execgate_core::outcome::signal_name;
use execgate_core::shell::ShellKind;
use execgate_engine::LeftBehind;
use execgate_engine::checkpoint::CheckpointMode;
use execgate_engine::session::{
    CloseReason, OnShellExit, OnTransportLoss, Session, SessionDefaults, SessionSettings,
    SessionSnapshot, SessionState,
};
use execgate_engine::target::{DockerSource, SshTarget, Target};
use execgate_engine::transport::{EndedProcess, Job, Leftovers, WindowSize};
use execgate_proto::v1;
use v1::output_budget::Select as ProtoSelect;

use super::fence;
use super::time::{duration, timestamp};
use crate::grpc::edge::Edge;

/// TERM of a session with a terminal when nobody says.
const DEFAULT_TERM: &str = "xterm-256color";

/// A session as it is now.
pub(crate) fn session(session: &Session, executions: usize) -> v1::Session {
    let snapshot = session.snapshot();
    let running = match &snapshot.state {
        SessionState::Running(execution) => execution.to_string(),
        SessionState::Ready
        | SessionState::Reconnecting
        | SessionState::Closing
        | SessionState::Closed(_)
        | SessionState::Lost { .. } => String::new(),
    };
    let now = session.defaults();
    v1::Session {
        session_id: session.id.to_string(),
        target: Some(target(&session.settings.target)),
        shell: Some(v1::Shell {
            kind: session.shell.map_or(v1::ShellKind::None, shell_kind).into(),
            path: session.shell_program.clone(),
            version: String::new(),
        }),
        state: session_state(&snapshot.state).into(),
        end: end(&snapshot),
        generation: snapshot.generation,
        cwd: session.redact(&snapshot.cwd),
        create_time: Some(timestamp(session.created)),
        last_active_time: Some(timestamp(snapshot.last_active)),
        expire_time: Some(timestamp(session.expires())),
        running_execution_id: running,
        settings: Some(settings(&session.settings, &now)),
        labels: now.labels.into_iter().collect(),
        fence: Some(fence(&session.isolation)),
        terminal: snapshot
            .terminal
            .map(|size| terminal(size, &session.settings)),
        background_jobs: Vec::new(),
        background_bytes: session
            .background()
            .retained()
            .iter()
            .map(|range| range.end_offset)
            .sum(),
        policy_hash: HEXLOWER.encode(&session.policy().content_hash()),
        execution_count: executions as u64,
        principal: session.principal.to_string(),
    }
}

/// A session that an earlier server left: what is known of it.
pub(crate) fn left_behind(left: &LeftBehind) -> v1::Session {
    v1::Session {
        session_id: left.id.to_string(),
        state: v1::SessionState::Lost.into(),
        end: Some(v1::SessionEnd {
            reason: v1::SessionEndReason::ServerRestarted.into(),
            detail: left.reason.clone(),
            time: Some(timestamp(left.found)),
        }),
        principal: left.principal.to_string(),
        ..v1::Session::default()
    }
}

fn target(target: &Target) -> v1::session::Target {
    match target {
        Target::Local => v1::session::Target::Local(v1::LocalTarget::default()),
        Target::Ssh(SshTarget::Profile(profile)) => v1::session::Target::Ssh(v1::SshTarget {
            profile: profile.clone(),
            inline: None,
        }),
        // What the caller gave is never shown again.
        Target::Ssh(SshTarget::Inline(_)) => v1::session::Target::Ssh(v1::SshTarget::default()),
        Target::Docker(docker) => v1::session::Target::Docker(v1::DockerTarget {
            source: Some(match &docker.source {
                DockerSource::Container(name) => {
                    let name = name.clone();
                    v1::docker_target::Source::Container(v1::DockerContainer { name })
                }
                DockerSource::Image(reference) => {
                    let reference = reference.clone();
                    v1::docker_target::Source::Image(v1::DockerImage { reference })
                }
            }),
            user: docker.user.clone().unwrap_or_default(),
            profile: docker.profile.clone().unwrap_or_default(),
        }),
    }
}

/// Where a session is in its life.
pub(crate) fn session_state(state: &SessionState) -> v1::SessionState {
    match state {
        SessionState::Ready => v1::SessionState::Ready,
        SessionState::Running(_) => v1::SessionState::Running,
        SessionState::Closing => v1::SessionState::Closing,
        SessionState::Reconnecting => v1::SessionState::Starting,
        SessionState::Closed(_) => v1::SessionState::Closed,
        SessionState::Lost { .. } => v1::SessionState::Lost,
    }
}

fn end(snapshot: &SessionSnapshot) -> Option<v1::SessionEnd> {
    let (reason, detail) = match &snapshot.state {
        SessionState::Ready
        | SessionState::Running(_)
        | SessionState::Reconnecting
        | SessionState::Closing => return None,
        SessionState::Closed(reason) => (close_reason(*reason), reason.as_str()),
        SessionState::Lost { loss, reason } => (session_loss(*loss), reason.as_str()),
    };
    Some(v1::SessionEnd {
        reason: reason.into(),
        detail: detail.to_owned(),
        time: snapshot.ended.map(timestamp),
    })
}

fn close_reason(reason: CloseReason) -> v1::SessionEndReason {
    match reason {
        CloseReason::Owner => v1::SessionEndReason::Requested,
        CloseReason::Idle => v1::SessionEndReason::Idle,
        CloseReason::Lifetime => v1::SessionEndReason::MaxLifetime,
        CloseReason::Shutdown => v1::SessionEndReason::ServerStopping,
    }
}

/// Why a session was lost.
pub(super) fn session_loss(loss: SessionLoss) -> v1::SessionEndReason {
    match loss {
        SessionLoss::ShellExited => v1::SessionEndReason::ShellExited,
        SessionLoss::ShellBroken => v1::SessionEndReason::ShellBroken,
        SessionLoss::TransportLost => v1::SessionEndReason::TransportLost,
        SessionLoss::TargetStopped => v1::SessionEndReason::TargetStopped,
        SessionLoss::ServerRestarted => v1::SessionEndReason::ServerRestarted,
        SessionLoss::Unknown => v1::SessionEndReason::Unspecified,
    }
}

/// A process in the background of a session.
pub(crate) fn job(job: &Job, session: &Session) -> v1::BackgroundJob {
    v1::BackgroundJob {
        pid: u32::try_from(job.pid).unwrap_or_default(),
        command: Edge::shown_process(&job.command, session),
        // Once it has left the processes of its command, nobody knows whose it was.
        execution_id: String::new(),
    }
}

/// A process that ended with its session.
pub(crate) fn ended_process(process: &EndedProcess, session: &Session) -> v1::EndedProcess {
    v1::EndedProcess {
        pid: u32::try_from(process.pid).unwrap_or_default(),
        command: Edge::shown_process(&process.command, session),
        signal: signal_name(process.signal),
    }
}

/// A shell's kind in the API.
pub(super) fn shell_kind(kind: ShellKind) -> v1::ShellKind {
    match kind {
        ShellKind::Bash => v1::ShellKind::Bash,
        ShellKind::Dash => v1::ShellKind::Dash,
        ShellKind::Ash => v1::ShellKind::Ash,
        ShellKind::Sh => v1::ShellKind::Sh,
    }
}

fn terminal(size: WindowSize, settings: &SessionSettings) -> v1::Terminal {
    let term = settings
        .env
        .get("TERM")
        .map_or(DEFAULT_TERM, String::as_str);
    v1::Terminal {
        size: Some(terminal_size(size)),
        term: term.to_owned(),
    }
}

/// The size of a terminal.
pub(crate) fn terminal_size(size: WindowSize) -> v1::TerminalSize {
    v1::TerminalSize {
        rows: size.rows.into(),
        columns: size.columns.into(),
    }
}

fn settings(settings: &SessionSettings, now: &SessionDefaults) -> v1::SessionSettings {
    v1::SessionSettings {
        default_timeout: Some(duration(now.default_timeout)),
        idle_ttl: Some(duration(now.idle_ttl)),
        max_lifetime: settings.max_lifetime.map(duration),
        output_budget: Some(budget(&now.output_budget)),
        on_shell_exit: match settings.on_shell_exit {
            OnShellExit::Restart => v1::OnShellExit::Restart.into(),
            OnShellExit::Lose => v1::OnShellExit::Lost.into(),
        },
        on_transport_loss: match settings.on_transport_loss {
            OnTransportLoss::Lose => v1::OnTransportLoss::Lost.into(),
            OnTransportLoss::Reconnect => v1::OnTransportLoss::Reconnect.into(),
        },
        keep_background: settings.leftovers == Leftovers::Keep,
        workspace: settings.workspace.clone().unwrap_or_default(),
        checkpoints: checkpoint_mode(settings.checkpoints).into(),
        secrets: settings
            .secrets
            .iter()
            .map(|secret| v1::SecretReference {
                name: secret.name.clone(),
                variable: secret.variable.clone(),
            })
            .collect(),
    }
}

fn checkpoint_mode(mode: CheckpointMode) -> v1::CheckpointMode {
    match mode {
        CheckpointMode::Off => v1::CheckpointMode::Off,
        CheckpointMode::Auto => v1::CheckpointMode::Auto,
        CheckpointMode::Every => v1::CheckpointMode::Every,
    }
}

fn budget(budget: &OutputBudget) -> v1::OutputBudget {
    let select = match budget.select() {
        Select::All => ProtoSelect::All(v1::AllLines {}),
        Select::Head { lines } => ProtoSelect::Head(v1::HeadLines {
            lines: lines as u64,
        }),
        Select::Tail { lines } => ProtoSelect::Tail(v1::TailLines {
            lines: lines as u64,
        }),
        Select::HeadTail { head, tail } => ProtoSelect::HeadTail(v1::HeadTailLines {
            head: head as u64,
            tail: tail as u64,
        }),
    };
    v1::OutputBudget {
        max_bytes: Some(budget.max_bytes() as u64),
        select: Some(select),
        grep: None,
    }
}
