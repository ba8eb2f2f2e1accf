//! From a configuration to a server that serves, and back to nothing in good order.
//!
//! ```text
//! data dir, token, audit log, sockets ─► engine (tries its isolation) ─► SERVING
//! SERVING ── SIGHUP ─► the policy is read again
//! SERVING ── SIGTERM, SIGINT ─► DRAINING (`drain`) ─► audit log closed ─► exit
//! ```

mod drain;
mod listeners;
mod local_user;
mod notify;
mod settings;
mod signals;

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use execgate_core::audit::{
    AuditBody, Micros, NewRecord, SYSTEM_PRINCIPAL, ServerStarted, ServerStopped,
};
use execgate_core::budget::BudgetError;
use execgate_core::policy::PolicyError;
use execgate_engine::Engine;
use execgate_engine::audit::{
    AuditError, AuditStore, Durability, HeadExport, IndexMode, LogRetention, SegmentLog,
    SegmentLogOptions, SyncMode,
};
use execgate_engine::isolation::{ControlKind, ControlLevel};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::listeners::Listeners;
use self::settings::Settings;
pub(crate) use self::settings::redaction_rules;
use self::signals::{Asked, Signals};
use crate::config::{Config, ConfigError, ListenAddress};
use crate::data_dir::{DataDir, DataDirError};
use crate::grpc::{self, Gate, GrpcError, Health};
use crate::identity::api_keys::KEYS_FILE_NAME;
use crate::identity::{Grants, Identity, JwtError};
use crate::telemetry::Telemetry;
use crate::tls::{Tls, TlsError};
use crate::token::{TOKEN_FILE_NAME, Token};

/// Cores up to which one thread serves everything: handing work between two threads cost
/// 40 % of a round trip on two cores, measured.
const ONE_THREAD_CORES: usize = 2;
/// How long threads that still block may take.
const RUNTIME_LIMIT: Duration = Duration::from_secs(1);

/// Why the server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory is no good.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The audit log is no good.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The configuration is no good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy is no good.
    #[error("load the policy {file}: {source}")]
    Policy {
        /// Where it stands.
        file: String,
        /// What is wrong with it.
        source: PolicyError,
    },
    /// The default budget is no good.
    #[error("use limits.output_budget_bytes: {source}")]
    Budget {
        /// What is wrong with it.
        source: BudgetError,
    },
    /// A system call failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted.
        operation: String,
        /// What the system said.
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error("listen on {address}: {problem}")]
    Listen {
        /// The address.
        address: String,
        /// What is in the way.
        problem: String,
    },
    /// Sessions have no user to run as.
    #[error("find the user of sessions: {problem}")]
    User {
        /// What is in the way.
        problem: String,
    },
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] execgate_engine::Error),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No issuer's tokens can be checked.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// The gRPC server does not start, or ended.
    #[error(transparent)]
    Grpc(#[from] GrpcError),
}

/// Serves until a signal says stop.
///
/// # Errors
/// Where the server cannot start, or its listeners fail.
pub fn serve(config: Config, telemetry: &Telemetry) -> Result<(), ServeError> {
    let dir = DataDir::prepare(&config.data_dir)?;
    let token = Token::load_or_create(&dir)?;
    // Locks the data directory: from here on this is the only server that uses it.
    let options = log_options(&config, &dir)?;
    let verifier_key = options
        .signer
        .as_ref()
        .map(|key| key.verifier().to_string());
    let log = Arc::new(SegmentLog::open(&dir.audit(), options, now())?);
    log.tell(telemetry.told());
    let listeners = Listeners::bind(&config.listen)?;
    let settings = Settings::of(&config, &dir, telemetry.told())?;
    let door = Door::of(&config, token, &dir)?;
    let runtime = runtime().map_err(failed("start the runtime"))?;
    let served = runtime.block_on(run(
        &config,
        settings,
        door,
        listeners,
        (log, verifier_key.unwrap_or_default()),
        telemetry,
    ));
    runtime.shutdown_timeout(RUNTIME_LIMIT);
    served
}

/// How callers come in, and who they may be.
struct Door {
    tls: Option<Arc<Tls>>,
    identity: Identity,
    grants: Grants,
}

impl Door {
    fn of(config: &Config, token: Token, dir: &DataDir) -> Result<Self, ServeError> {
        let tls = config.tls.as_ref().map(|tls| Tls::load(tls.settings()));
        let keys = dir.path().join(KEYS_FILE_NAME);
        let granted = config.principals.iter();
        let granted = granted.map(|(name, keys)| (name.clone(), keys.grant()));
        if config.tls.is_none() && config.listen.iter().any(ListenAddress::is_remote) {
            tracing::warn!("other machines may call in plaintext: that can be read and changed");
        }
        Ok(Self {
            tls: tls.transpose()?.map(Arc::new),
            identity: Identity::new(token, keys, config.identity.jwt_settings())?,
            grants: Grants::new(granted),
        })
    }
}

async fn run(
    config: &Config,
    settings: Settings,
    door: Door,
    listeners: Listeners,
    (log, verifier_key): (Arc<SegmentLog>, String),
    telemetry: &Telemetry,
) -> Result<(), ServeError> {
    let mut signals = Signals::new().map_err(failed("wait for signals"))?;
    let store: Arc<dyn AuditStore> = Arc::clone(&log) as Arc<dyn AuditStore>;
    record_start(config, &store, verifier_key).await?;
    let token_file = config.data_dir.join(TOKEN_FILE_NAME);
    let engine = Engine::start(settings.engine, Arc::clone(&store), token_file).await?;
    let engine = Arc::new(engine);
    warn_of_gaps(&engine);
    let edge = grpc::Edge {
        engine: Arc::clone(&engine),
        defaults: settings.defaults,
        max_request_bytes: settings.max_request_bytes,
        shells: settings.shells,
    };
    let health = Health::new();
    health.serving().await;
    let (stop, stopped) = oneshot::channel::<()>();
    announce(&listeners, config, telemetry);
    let sockets = listeners.sockets();
    let connections = listeners.accept(door.tls, &config.connections);
    let connections = connections.map_err(failed("listen"))?;
    let failures = config.connections.failed_authentications_per_minute;
    let gate = Gate::new(door.identity, door.grants, Arc::clone(&store), failures);
    let (limits, served_health) = (config.connections.clone(), health.clone());
    let told = telemetry.told();
    let mut server = tokio::spawn(async move {
        let (edge, gate) = (Arc::new(edge), Arc::new(gate));
        let stopped = async { stopped.await.unwrap_or_default() };
        let health = (served_health, told);
        grpc::serve(edge, gate, health, &limits, connections, stopped).await
    });
    notify::ready();
    let living = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { notify::show_life(&engine).await }
    });
    let Some(reason) = until_stopped(config, &engine, &mut server, &mut signals).await? else {
        return Ok(());
    };
    tracing::info!(signal = reason, "draining");
    let ending = (stop, &mut server);
    drain::drain(&config.drain, &engine, &health, ending, &mut signals).await;
    server.abort();
    living.abort();
    sockets.remove();
    let stopped = ServerStopped {
        reason: reason.to_owned(),
    };
    let stopped = record(AuditBody::ServerStopped(stopped));
    store.append(stopped, Durability::Synced).await?;
    log.close().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn record_start(
    config: &Config,
    store: &Arc<dyn AuditStore>,
    verifier_key: String,
) -> Result<(), ServeError> {
    let started = ServerStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_hash: config.digest()?,
        verifier_key,
    };
    let started = record(AuditBody::ServerStarted(started));
    store.append(started, Durability::Synced).await?;
    Ok(())
}

/// Serves until a signal says stop; which one, or none where the listeners ended.
async fn until_stopped(
    config: &Config,
    engine: &Engine,
    server: &mut JoinHandle<Result<(), GrpcError>>,
    signals: &mut Signals,
) -> Result<Option<&'static str>, ServeError> {
    loop {
        tokio::select! {
            asked = signals.asked() => match asked {
                Asked::Stop(reason) => return Ok(Some(reason)),
                Asked::Reload => {
                    notify::reloading();
                    reload(config, engine).await?;
                    notify::ready();
                }
            },
            ended = &mut *server => {
                ended.unwrap_or(Ok(()))?;
                return Ok(None);
            }
        }
    }
}

/// Reads the policies again. Where one is bad that is told of, and all are left alone.
async fn reload(config: &Config, engine: &Engine) -> Result<(), ServeError> {
    let read = settings::policies(config).map_err(|error| error.to_string());
    let said = read.clone();
    engine.reload_policies(read).await?;
    match said {
        Ok(policies) => {
            let hash = HEXLOWER.encode(&policies.operator.content_hash());
            let profiles = policies.profiles.len();
            tracing::info!(
                policy = policies.operator.name(),
                hash,
                profiles,
                "policies read again"
            );
        }
        Err(error) => tracing::error!(error, "the old policies stay in force"),
    }
    Ok(())
}

/// The lines that say where the server is; tests and scripts read them.
///
/// `metrics tcp ADDRESS` where Prometheus is served, `listening tcp ADDRESS` and `listening
/// unix PATH`, one for each listener, then one line for people.
fn announce(listeners: &Listeners, config: &Config, telemetry: &Telemetry) {
    let addresses = listeners.addresses();
    let mut text = String::new();
    if let Some(address) = telemetry.prometheus() {
        text.push_str(&format!("metrics tcp {address}\n"));
        tracing::info!(%address, "metrics for Prometheus");
    }
    for address in &addresses {
        text.push_str(&match address.strip_prefix("unix:") {
            Some(path) => format!("listening unix {path}\n"),
            None => format!("listening tcp {address}\n"),
        });
        tracing::info!(%address, "listening");
    }
    let token = config.data_dir.join(TOKEN_FILE_NAME);
    let all = addresses.join(" and ");
    text.push_str(&format!(
        "execgate ready on {all}; token in {}\n",
        token.display()
    ));
    let mut stdout = io::stdout();
    // Nobody has to read it.
    let _unread = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Says where a session could reach the server or gain privileges; what else a fence does not
/// do is in its report.
fn warn_of_gaps(engine: &Engine) {
    for control in &engine.isolation().controls {
        let matters = matches!(control.kind, ControlKind::Gate | ControlKind::Privilege);
        if matters && control.level >= ControlLevel::Advisory {
            tracing::warn!(
                control = control.kind.name(),
                mechanism = %control.mechanism,
                detail = %control.detail,
                "sessions are not kept from this: the forbidden action worked when it was tried"
            );
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, usize::from);
    let mut builder = match cores > ONE_THREAD_CORES {
        true => Builder::new_multi_thread(),
        false => Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

fn log_options(config: &Config, dir: &DataDir) -> Result<SegmentLogOptions, ServeError> {
    let audit = &config.audit;
    let signer = dir.audit_signer(audit.key_file.as_deref())?;
    Ok(SegmentLogOptions {
        sync: match audit.sync {
            true => SyncMode::Durable,
            false => SyncMode::Never,
        },
        segment_bytes: audit.segment_bytes,
        signer: Some(Arc::new(signer)),
        previous_keys: audit.previous_keys()?,
        export: HeadExport {
            file: audit.head_file.clone(),
            command: audit.head_command.clone(),
        },
        retention: LogRetention {
            max_age: audit.max_age.limit(),
            max_bytes: (audit.max_bytes > 0).then_some(audit.max_bytes),
        },
        index: IndexMode::default(),
    })
}

fn record(body: AuditBody) -> NewRecord {
    NewRecord {
        time: now(),
        principal: SYSTEM_PRINCIPAL.to_owned(),
        session_id: None,
        execution_id: None,
        trace_id: None,
        auth: None,
        body,
    }
}

fn now() -> Micros {
    Micros::from(SystemTime::now())
}

fn failed(operation: &str) -> impl FnOnce(io::Error) -> ServeError {
    let operation = operation.to_owned();
    move |source| ServeError::Io { operation, source }
}
