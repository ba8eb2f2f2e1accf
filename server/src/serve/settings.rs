//! What the configuration means on this machine: the engine's settings and the edge's.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use execgate_core::audit::Digest;
use execgate_core::budget::{OutputBudget, Select};
use execgate_core::policy::Policy;
use execgate_core::redact::{RedactionRules, Secret};
use execgate_core::shell::ShellKind;
use execgate_engine::EngineSettings;
use execgate_engine::authority::ByPrincipal;
use execgate_engine::execution::{Retention, RetentionLimits};
use execgate_engine::local::LocalSettings;
use execgate_engine::policy::Policies;
use execgate_engine::quotas::ServerLimits;
use execgate_engine::secrets::{NamedSecret, NamedSecrets};
use execgate_engine::target::TargetProfile;
use execgate_engine::transport::docker::DockerSettings;
use rustix::fs::{Access, access};

use super::local_user::SessionUser;
use super::{ServeError, failed};
use crate::config::{Config, Policy as PolicyKey, PolicyName, TokenRuleEntry};
use crate::data_dir::DataDir;
use crate::grpc::SessionDefaults;
use crate::telemetry::Told;

/// Where programs are looked for if the server itself has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Variables that a session gets from its own user and terminal, never from the server.
const OF_THE_SESSION: [&str; 5] = ["HOME", "USER", "LOGNAME", "SHELL", "TERM"];
/// Variables that are the server's own affair, whatever the configuration allows: its
/// settings, where it sends telemetry and with which credentials, the trace it was started in,
/// and its service manager.
const OF_THE_SERVER: [&str; 6] = [
    "EXECGATE_",
    "OTEL_",
    "TRACEPARENT",
    "TRACESTATE",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
];

/// What the mark of this server's processes is made of, with its key.
const LOCAL_INSTANCE: &[u8] = b"local instance";
/// How much of it is used: what no two servers of a machine share by accident.
const LOCAL_MARK_BYTES: usize = 8;
/// What the mark of this server's containers is made of, with its key.
const DOCKER_INSTANCE: &[u8] = b"docker instance";

/// What a server is made of.
pub(super) struct Settings {
    pub(super) engine: EngineSettings,
    pub(super) defaults: SessionDefaults,
    pub(super) max_request_bytes: usize,
    pub(super) shells: Vec<ShellKind>,
}

impl Settings {
    /// Reads what the configuration names, and makes what sessions need.
    pub(super) fn of(
        config: &Config,
        dir: &DataDir,
        telemetry: Arc<Told>,
    ) -> Result<Self, ServeError> {
        let launcher = env::current_exe().map_err(failed("find this program"))?;
        let user = SessionUser::of(config.local.user.as_deref(), dir.path())?;
        let env = allowed_environment(&config.local.env_allow, env::vars_os());
        let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        let shells = shells(path);
        let engine = EngineSettings {
            local: LocalSettings {
                launcher,
                fence: config.fence.settings(&user.home),
                user: user.identity,
                home: user.home,
                hidden: vec![dir.path().to_owned()],
                mark: local_mark(dir)?,
                env,
            },
            ssh: config.ssh.settings(dir.learned_hosts()),
            docker: docker(config, dir)?,
            policies: policies(config)?,
            redaction: redaction_rules(config).with_key(dir.hash_key()?),
            secrets: named_secrets(config),
            hash_key: dir.hash_key()?,
            limits: ServerLimits {
                sessions: bytes(config.sessions.max.get().into()),
                executions: bytes(config.executions.max.get().into()),
                retained_bytes: config.executions.retained_total_bytes.get(),
            },
            quotas: config.quota_table(),
            max_command_bytes: bytes(config.limits.max_command_bytes.get()),
            checkpoints: config.checkpoints.settings(dir.checkpoints()),
            retention: retention(config, dir)?,
            telemetry,
        };
        let budget = bytes(config.limits.output_budget_bytes.get());
        let defaults = SessionDefaults {
            timeout: config.sessions.default_timeout.get(),
            idle_ttl: config.sessions.idle_ttl.get(),
            max_lifetime: config.sessions.max_lifetime.limit(),
            keep_alive: config.executions.keep_alive.get(),
            require: config.fence.required(),
            budget: OutputBudget::new(budget, Select::All, None)
                .map_err(|source| ServeError::Budget { source })?,
        };
        Ok(Self {
            engine,
            defaults,
            max_request_bytes: bytes(config.connections.max_request_bytes.get().into()),
            shells,
        })
    }
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// By what the processes of this data directory's sessions are known.
fn local_mark(dir: &DataDir) -> Result<String, ServeError> {
    let Digest(hash) = dir.hash_key()?.hash(LOCAL_INSTANCE);
    Ok(HEXLOWER.encode(hash.get(..LOCAL_MARK_BYTES).unwrap_or(&hash)))
}

/// The Docker engine that sessions may use; its containers are marked as this data
/// directory's.
fn docker(config: &Config, dir: &DataDir) -> Result<DockerSettings, ServeError> {
    let docker = &config.docker;
    let profiles = docker.profiles.iter();
    Ok(DockerSettings {
        host: docker.engine_host()?,
        instance: HEXLOWER.encode(&dir.hash_key()?.hash(DOCKER_INSTANCE).0),
        profiles: profiles
            .map(|(name, profile)| (name.clone(), profile.settings()))
            .collect(),
    })
}

/// What is kept of executions. What an earlier server left is removed.
fn retention(config: &Config, dir: &DataDir) -> Result<Retention, ServeError> {
    let limits = RetentionLimits {
        memory_bytes: bytes(config.limits.retained_output_bytes.get()),
        spill_bytes: config.executions.spill_bytes,
        spill_total_bytes: config.executions.spill_total_bytes,
        keep_count: bytes(config.executions.keep.get().into()),
        keep_for: config.executions.keep_for.get(),
    };
    let place = dir.retained();
    let operation = format!("prepare {} for retained output", place.display());
    Retention::spilling(limits, &place).map_err(failed(&operation))
}

/// The operator's policies, as they stand there now.
pub(super) fn policies(config: &Config) -> Result<Policies, ServeError> {
    let hosts = config.ssh.hosts.iter();
    let hosts = hosts.map(|(name, host)| (TargetProfile::Ssh(name.clone()), &host.policy));
    let containers = config.docker.profiles.iter();
    let containers =
        containers.map(|(name, profile)| (TargetProfile::Docker(name.clone()), &profile.policy));
    let narrowing = hosts.chain(containers);
    let narrowing = narrowing.filter_map(|(name, key)| Some((name, key.as_ref()?)));
    Ok(Policies {
        operator: policy(&config.policy)?,
        principals: principal_policies(config)?,
        profiles: narrowing
            .map(|(name, key)| Ok((name, policy(key)?)))
            .collect::<Result<_, ServeError>>()?,
    })
}

fn principal_policies(config: &Config) -> Result<ByPrincipal<Option<Policy>>, ServeError> {
    let named = config.principals.iter();
    let read = named.map(|(name, keys)| {
        let own = keys.policy.as_ref().map(policy).transpose()?;
        Ok((name.clone(), own))
    });
    Ok(ByPrincipal::new(
        read.collect::<Result<Vec<_>, ServeError>>()?,
    ))
}

fn policy(key: &PolicyKey) -> Result<Policy, ServeError> {
    let Some(file) = &key.file else {
        return Ok(match key.name {
            PolicyName::Guard => Policy::guard(),
            PolicyName::Strict => Policy::strict(),
            PolicyName::Open => Policy::open(),
        });
    };
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(failed(&format!("read the policy {name}")))?;
    Policy::from_toml(&text).map_err(|source| ServeError::Policy { file: name, source })
}

fn named_secrets(config: &Config) -> NamedSecrets {
    let secrets = config.secrets.iter();
    NamedSecrets::new(secrets.map(|(name, secret)| {
        let secret = NamedSecret {
            value: Secret::new(secret.value.expose()),
            targets: secret.targets.clone(),
        };
        (name.clone(), secret)
    }))
}

/// What the configuration has hidden. The engine adds the secrets that it hands out.
pub(crate) fn redaction_rules(config: &Config) -> RedactionRules {
    let rules = match config.redaction.enabled {
        true => RedactionRules::builtin(),
        false => RedactionRules::none(),
    };
    let rules = rules.with_tokens(config.redaction.rule.iter().map(TokenRuleEntry::rule));
    let secrets = config.redaction.secret.iter();
    let secrets = secrets.map(|secret| (secret.name.clone(), secret.value.expose()));
    // What opens other machines is never shown, on whatever way it came into an output.
    let secrets = secrets.chain(config.ssh.secrets());
    let headers = config.telemetry.headers.iter();
    let headers = headers.map(|(name, header)| (name.clone(), header.value.expose()));
    let secrets = secrets.chain(headers);
    rules.with_values(secrets.map(|(name, secret)| (name, Secret::new(secret))))
}

/// The part of the server's environment that sessions may see.
fn allowed_environment(
    allow: &[String],
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> BTreeMap<String, String> {
    let allowed = |name: &str| {
        !OF_THE_SESSION.contains(&name)
            && !OF_THE_SERVER.iter().any(|own| name.starts_with(own))
            && allow.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => pattern == name,
            })
    };
    // A session's environment is text; what is not stays outside.
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| allowed(name))
        .collect()
}

/// The shells on a search path, best first.
fn shells(path: &str) -> Vec<ShellKind> {
    let found = |program: &str| {
        let candidates = path.split(':').filter(|dir| Path::new(dir).is_absolute());
        candidates
            .map(|dir| PathBuf::from(dir).join(program))
            .any(|file| file.is_file() && access(&file, Access::EXEC_OK).is_ok())
    };
    ShellKind::PREFERENCE
        .into_iter()
        .filter(|kind| found(kind.program()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_variables_pass_and_never_those_of_the_session() {
        let own = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("HOME", "/root"),
            ("AWS_KEY", "x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "key=x"),
            ("EXECGATE_TOKEN", "x"),
            ("TRACEPARENT", "x"),
        ];
        let allow = ["PATH", "LC_*", "HOME", "OTEL_*", "EXECGATE_*", "TRACE*"].map(str::to_owned);
        let own = own
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let picked = allowed_environment(&allow, own);
        let expected = [("PATH", "/bin"), ("LC_ALL", "C")];
        assert_eq!(
            picked,
            BTreeMap::from(expected.map(|(n, v)| (n.to_owned(), v.to_owned())))
        );
    }

    #[test]
    fn shells_are_found_on_the_path_only() {
        assert_eq!(shells("/nowhere:relative"), []);
        assert!(!shells("/usr/bin:/bin").is_empty());
    }
}
