//! What this server can do and where its limits are.

use execgate_core::budget::MAX_MAX_BYTES;
use execgate_core::ids::Principal;
use execgate_engine::authority::{Caller, Role};
use execgate_engine::target::Target;
use execgate_proto::{MAX_MESSAGE_BYTES, v1};

use super::fence;
use super::session::shell_kind;
use super::time::duration;
use crate::grpc::edge::{Edge, MAX_TIMEOUT};
use crate::grpc::exec::MAX_CHUNK_BYTES;
use crate::grpc::from_proto::{MAX_ARGV_BYTES, MAX_ENV_BYTES, MAX_STDIN_BYTES};

/// Version of the API, as `capabilities.proto` defines it.
const API_VERSION: &str = "1.0";
/// Script executions that the engine lets wait in one session.
const QUEUED_EXECUTIONS: u32 = 64;
/// The optional features that are on, sorted.
const FEATURES: [&str; 8] = [
    "argv",
    "attach",
    "checkpoints",
    "evaluate_policy",
    "queue",
    "read_output",
    "signal",
    "stdin",
];

/// Everything that GetCapabilities answers.
pub(crate) fn capabilities(edge: &Edge, caller: &Caller) -> v1::GetCapabilitiesResponse {
    v1::GetCapabilitiesResponse {
        api_version: API_VERSION.to_owned(),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        transports: vec![local(edge), ssh(edge), docker(edge)],
        limits: Some(limits(edge, caller.principal())),
        features: FEATURES.map(str::to_owned).to_vec(),
        principal: caller.principal().to_string(),
        role: match caller.role() {
            // It gets no answer at all.
            Role::Nobody => v1::Role::Unspecified,
            Role::Agent => v1::Role::Agent,
            Role::Observer => v1::Role::Observer,
            Role::Operator => v1::Role::Operator,
        }
        .into(),
    }
}

fn local(edge: &Edge) -> v1::TransportCapabilities {
    v1::TransportCapabilities {
        kind: v1::TransportKind::Local.into(),
        available: !edge.shells.is_empty(),
        unavailable_reason: match edge.shells.is_empty() {
            true => "no shell was found on the PATH of sessions".to_owned(),
            false => String::new(),
        },
        terminal: true,
        argv: true,
        signals: true,
        usage: true,
        input_wanted: true,
        checkpoints: true,
        exit_signals: true,
        fence: Some(fence(edge.engine.isolation())),
        shells: edge
            .shells
            .iter()
            .map(|shell| shell_kind(*shell).into())
            .collect(),
        ..v1::TransportCapabilities::default()
    }
}

fn ssh(edge: &Edge) -> v1::TransportCapabilities {
    let settings = &edge.engine.settings().ssh;
    let openssh = settings.openssh.iter().flat_map(|config| &config.names);
    let available =
        !settings.hosts.is_empty() || settings.inline.is_some() || settings.openssh.is_some();
    v1::TransportCapabilities {
        kind: v1::TransportKind::Ssh.into(),
        available,
        unavailable_reason: match available {
            true => String::new(),
            false => "the operator has configured no host".to_owned(),
        },
        terminal: true,
        argv: true,
        signals: true,
        input_wanted: true,
        checkpoints: true,
        exit_signals: true,
        fence: Some(fence(&Target::remote_isolation())),
        profiles: settings.hosts.keys().chain(openssh).cloned().collect(),
        ..v1::TransportCapabilities::default()
    }
}

fn docker(edge: &Edge) -> v1::TransportCapabilities {
    let settings = &edge.engine.settings().docker;
    let missing = settings.host.missing();
    v1::TransportCapabilities {
        kind: v1::TransportKind::Docker.into(),
        available: missing.is_none(),
        unavailable_reason: missing.unwrap_or_default(),
        terminal: true,
        argv: true,
        signals: true,
        input_wanted: true,
        checkpoints: true,
        fence: Some(fence(&Target::remote_isolation())),
        profiles: settings.profile_names(),
        ..v1::TransportCapabilities::default()
    }
}

fn limits(edge: &Edge, principal: &Principal) -> v1::Limits {
    let engine = edge.engine.settings();
    let retained = engine.retention.limits();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let quotas = engine.quotas.of(principal);
    v1::Limits {
        max_request_bytes: edge.max_request_bytes as u64,
        max_response_bytes: MAX_MESSAGE_BYTES as u64,
        max_sessions: count(engine.limits.sessions),
        max_sessions_per_principal: count(quotas.sessions),
        max_script_bytes: engine.max_command_bytes as u64,
        max_argv_bytes: MAX_ARGV_BYTES as u64,
        max_env_bytes: MAX_ENV_BYTES as u64,
        max_stdin_bytes: MAX_STDIN_BYTES as u64,
        max_timeout: Some(duration(MAX_TIMEOUT)),
        default_timeout: Some(duration(edge.defaults.timeout)),
        max_idle_ttl: Some(duration(edge.defaults.max_idle_ttl())),
        max_lifetime: edge.defaults.max_lifetime.map(duration),
        max_chunk_bytes: MAX_CHUNK_BYTES as u64,
        retained_memory_bytes: retained.memory_bytes as u64,
        retained_disk_bytes: engine.retention.disk_bytes(),
        retained_executions: u32::try_from(retained.keep_count).unwrap_or(u32::MAX),
        retention: Some(duration(retained.keep_for)),
        max_budget_bytes: MAX_MAX_BYTES as u64,
        max_queued_executions: QUEUED_EXECUTIONS,
        keep_alive_interval: Some(duration(edge.defaults.keep_alive)),
        ..v1::Limits::default()
    }
}
