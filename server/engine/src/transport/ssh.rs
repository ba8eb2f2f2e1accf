//! The SSH transport: processes of another machine, each on a channel.
//!
//! ```text
//! Ssh ──► Pool (a principal and a host) ──► Connection ──► channel ──► loader ──► program
//!              └─ control connections: signals, looks, pipes for input
//! SshTransport: one session's connections, marker and programs
//! ```
//!
//! Without a terminal a channel is a socket pair on the other side, as a local session's
//! input is, and stderr comes as extended data. With one, the shell reads its commands from
//! a named pipe, so that what is typed never becomes a command. The remote process outlives
//! its channel: what is dropped here is ended by a program beside it.

mod channel;
mod connection;
mod login;
mod openssh;
mod pool;
mod process;
mod settings;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use execgate_core::ids::Principal;
use execgate_core::outcome::ObservedBy;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::remote::{
    self, Beside, Clock, Environment, MARKER_NAME, Orders, Preface, Standing, Survey,
};
use super::{
    EndedProcess, Leftovers, NamedInput, Process, Program, ProgramStdin, ProgramStreams, Transport,
    TransportError,
};
use crate::isolation::{ControlKind, Isolation};
use crate::random;
use crate::target::{DEFAULT_PATH, Place, SshTarget, Target};
use channel::NotBegun;
pub use openssh::OpenSshConfig;
use pool::{Connections, Pool};
use process::{Shape, into_process};
pub use settings::{
    Credential, DEFAULT_CONNECT_TIMEOUT, DEFAULT_KEEPALIVE, DEFAULT_PORT, Host, Jump,
    KEEPALIVE_MISSES, Password, SshSettings, Trust, UnknownHost,
};

/// Programs that may still run after their connection broke that are remembered, at most.
const MOST_LOST: usize = 64;

/// The connections to machines reached through SSH.
#[derive(Debug)]
pub(crate) struct Ssh {
    settings: Arc<SshSettings>,
    pools: Mutex<HashMap<(Principal, String), Arc<Pool>>>,
}

impl Ssh {
    pub(crate) fn new(settings: SshSettings) -> Self {
        Self {
            settings: Arc::new(settings),
            pools: Mutex::new(HashMap::new()),
        }
    }

    /// Reaches a target: connected, logged in, and asked where its sessions begin.
    pub(crate) async fn reach(
        &self,
        principal: &Principal,
        target: &SshTarget,
    ) -> Result<Place, TransportError> {
        let pool = self.pool(principal, target).await?;
        let control: Arc<dyn Beside> = Arc::new(Control::new(&pool, Vec::new()));
        let survey = remote::survey(control.as_ref()).await?;
        if survey.lacks("/proc") {
            return Err(TransportError::Unusable {
                target: pool.target.clone(),
                reason: "it has no /proc, by which signals and ends find processes".to_owned(),
            });
        }
        let marker = HEXLOWER.encode(&random::bytes::<16>()?);
        let home = survey.home.clone();
        let isolation = isolation(&pool, control.as_ref(), &survey).await?;
        Ok(Place {
            name: pool.target.clone(),
            env: environment(&survey),
            home,
            start: None,
            isolation,
            secrets: pool.host.secrets(),
            observer: ObservedBy::Sshd,
            transport: Arc::new(SshTransport(Arc::new(Link {
                pool,
                control,
                own: Connections::default(),
                marker,
                survey,
                programs: Mutex::new(HashMap::new()),
                lost: Mutex::new(Vec::new()),
                next: AtomicU64::new(1),
            }))),
        })
    }

    async fn pool(
        &self,
        principal: &Principal,
        target: &SshTarget,
    ) -> Result<Arc<Pool>, TransportError> {
        let settings = Arc::clone(&self.settings);
        match target {
            SshTarget::Profile(name) => {
                let host = self.host(name).await?;
                let key = (principal.clone(), name.clone());
                let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
                // What a name of OpenSSH's stands for may have changed.
                if let Some(pool) = pools.get(&key).filter(|pool| *pool.host == host) {
                    return Ok(Arc::clone(pool));
                }
                let target = format!("ssh:{name}");
                let pool = Arc::new(Pool::new(target, Arc::new(host), settings));
                pools.insert(key, Arc::clone(&pool));
                Ok(pool)
            }
            SshTarget::Inline(host) if settings.inline.is_some() => {
                // Connections that were made with a caller's own words are not shared.
                let target = format!("ssh:{}", host.host);
                Ok(Arc::new(Pool::new(target, Arc::clone(host), settings)))
            }
            SshTarget::Inline(host) => Err(TransportError::NotAllowed {
                target: format!("ssh:{}", host.host),
                reason: "the server takes host profiles only".to_owned(),
            }),
        }
    }
}

impl Ssh {
    /// The host of this name: a profile, or one that OpenSSH's configuration describes.
    async fn host(&self, name: &str) -> Result<Host, TransportError> {
        if let Some(host) = self.settings.hosts.get(name) {
            return Ok(host.clone());
        }
        let reason = match &self.settings.openssh {
            Some(config) if config.allows(name) => {
                return config.resolve(name, connection::MAX_JUMPS).await;
            }
            Some(_) => {
                "it is no host profile, and none of the names that the operator lets be looked up \
                 in OpenSSH's configuration"
            }
            None => {
                "the server has no such host profile, and looks no name up in OpenSSH's \
                 configuration"
            }
        };
        Err(TransportError::NoSuchTarget {
            target: format!("ssh:{name}"),
            reason: reason.to_owned(),
        })
    }
}

/// What is promised there, less what it has no programs for, and what its profile's wrapper
/// was seen to keep programs from.
async fn isolation(
    pool: &Arc<Pool>,
    control: &dyn Beside,
    survey: &Survey,
) -> Result<Isolation, TransportError> {
    let mut isolation = Target::remote_isolation();
    if survey.lacks("grep") || survey.lacks("tr") {
        let kill = isolation.controls.iter_mut();
        for control in kill.filter(|control| control.kind == ControlKind::Kill) {
            control.mechanism = "parentage alone".into();
            control.detail = "the target lacks grep or tr".into();
        }
    }
    if let Some(program) = pool.host.wrapper.first() {
        let wrapped = Control::new(pool, pool.host.wrapper.clone());
        let raised = remote::try_wrapper(control, &wrapped, &survey.home, program).await?;
        isolation.raise(raised);
    }
    Ok(isolation)
}

/// What sessions there find in their environment: the target's, never the server's.
fn environment(survey: &Survey) -> BTreeMap<String, String> {
    let path = match survey.path.as_str() {
        "" => DEFAULT_PATH,
        path => path,
    };
    [
        ("PATH", path),
        ("USER", &survey.user),
        ("LOGNAME", &survey.user),
        ("LANG", &survey.lang),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Another machine, for one session.
#[derive(Debug)]
struct SshTransport(Arc<Link>);

/// What a session's programs there share.
pub(super) struct Link {
    pool: Arc<Pool>,
    control: Arc<dyn Beside>,
    own: Connections,
    /// By this value the session's processes are known.
    marker: String,
    survey: Survey,
    /// The programs that run, by a number of their own.
    programs: Mutex<HashMap<u64, Running>>,
    /// Those that may still run although their connection broke.
    lost: Mutex<Vec<i32>>,
    next: AtomicU64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("target", &self.pool.target)
            .finish_non_exhaustive()
    }
}

/// A program of a session.
#[derive(Debug, Clone, Copy)]
struct Running {
    pid: i32,
    is_shell: bool,
}

impl Link {
    fn lock_programs(&self) -> MutexGuard<'_, HashMap<u64, Running>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_lost(&self) -> MutexGuard<'_, Vec<i32>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program's connection broke.
    pub(super) fn note_lost(&self, pid: i32) {
        let mut lost = self.lock_lost();
        lost.truncate(MOST_LOST - 1);
        lost.insert(0, pid);
    }

    /// Ends what a broken connection left running, so that nothing runs twice.
    async fn end_lost(&self) -> Result<(), TransportError> {
        let lost = self.lock_lost().clone();
        if lost.is_empty() {
            return Ok(());
        }
        remote::forget(self.control.as_ref(), &self.marker(), &lost).await?;
        self.lock_lost().retain(|pid| !lost.contains(pid));
        Ok(())
    }

    /// The variable that the session's processes carry.
    fn marker(&self) -> String {
        format!("{MARKER_NAME}={}", self.marker)
    }

    fn enter(&self, running: Running) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock_programs().insert(id, running);
        id
    }
}

impl SshTransport {
    async fn spawn_program(&self, program: &Program) -> Result<Process, TransportError> {
        let link = &self.0;
        let is_shell = program.stdin == ProgramStdin::Private;
        if is_shell {
            link.end_lost().await?;
        }
        let nonce = HEXLOWER.encode(&random::bytes::<16>()?);
        // In a terminal the commands come by a way of their own.
        let commands = match program.streams {
            ProgramStreams::Terminal(_) => Some(self.open_input().await?),
            ProgramStreams::Separate => None,
        };
        let pipe = commands.as_ref().map(|input| input.path.as_str());
        let orders = Orders::program(program, nonce, &link.marker, pipe);
        let channel = link.own.channel(&link.pool).await?;
        let terminal = match program.streams {
            ProgramStreams::Terminal(size) => Some(size),
            ProgramStreams::Separate => None,
        };
        let wrapped = (Environment::Clean, link.pool.host.wrapper.as_slice());
        let begun = start(&link.pool, channel, &orders, wrapped, terminal).await?;
        match begun.preface {
            Preface::Failed(kind) => Err(remote::launch_error(program, kind)),
            Preface::Started(pid) => {
                let shape = Shape {
                    stdin: program.stdin,
                    commands,
                    terminal: terminal.is_some(),
                };
                let id = link.enter(Running { pid, is_shell });
                Ok(into_process(
                    begun,
                    shape,
                    pid,
                    Some((Arc::clone(link), id)),
                ))
            }
        }
    }
}

impl Transport for SshTransport {
    fn spawn<'a>(&'a self, program: &'a Program) -> BoxFuture<'a, Result<Process, TransportError>> {
        self.spawn_program(program).boxed()
    }

    fn open_input(&self) -> BoxFuture<'_, Result<NamedInput, TransportError>> {
        remote::open_input(&self.0.control, &self.0.survey.inputs).boxed()
    }

    fn close(&self, leftovers: Leftovers) -> BoxFuture<'_, Vec<EndedProcess>> {
        async move {
            let link = &self.0;
            let running: Vec<Running> = link.lock_programs().values().copied().collect();
            let programs: Vec<i32> = running.iter().map(|program| program.pid).collect();
            let is_shell = |pid| running.iter().any(|p| p.pid == pid && p.is_shell);
            let marker = link.marker();
            let closed = remote::close(link.control.as_ref(), &marker, &programs, leftovers).await;
            if let Some(standing) = link.control.standing() {
                standing.end().await;
            }
            link.pool.keep(link.own.take().await);
            match closed {
                // Nobody asked for the shell, and nobody needs to hear of its end.
                Ok(mut ended) => {
                    ended.retain(|process| !is_shell(process.pid));
                    ended
                }
                Err(error) => {
                    // What runs there now is out of reach: that much can be said.
                    tracing::warn!(target = %link.pool.target, %error, "session not cleaned up");
                    if leftovers == Leftovers::Kill {
                        remote::close_later(Arc::clone(&link.control), marker);
                    }
                    Vec::new()
                }
            }
        }
        .boxed()
    }
}

/// Starts a loader on a channel and gives it its orders.
async fn start(
    pool: &Pool,
    channel: russh::Channel<russh::client::Msg>,
    orders: &Orders,
    (environment, wrapper): (Environment, &[String]),
    terminal: Option<super::WindowSize>,
) -> Result<channel::Begun, TransportError> {
    let unreachable = |reason: String| TransportError::Unreachable {
        target: pool.target.clone(),
        reason,
    };
    if let Some(size) = terminal {
        process::request_terminal(&channel, size)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
    }
    channel
        .exec(true, remote::loader(orders, environment, wrapper))
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    channel::begin(channel, orders)
        .await
        .map_err(|not| match not {
            NotBegun::Broken => unreachable("the connection broke".to_owned()),
            NotBegun::Refused(reason) => TransportError::Unusable {
                target: pool.target.clone(),
                reason,
            },
        })
}

/// Programs beside sessions, on the control connections.
#[derive(Debug)]
struct Control {
    pool: Arc<Pool>,
    /// What runs them; nothing, but to try what the profile's wrapper is worth.
    wrapper: Vec<String>,
    clock: Clock,
    standing: Standing,
}

impl Control {
    fn new(pool: &Arc<Pool>, wrapper: Vec<String>) -> Self {
        Self {
            pool: Arc::clone(pool),
            wrapper,
            clock: Clock::default(),
            standing: Standing::default(),
        }
    }
}

impl Beside for Control {
    fn start<'a>(
        &'a self,
        script: &'a str,
        environment: Environment,
    ) -> BoxFuture<'a, Result<Process, TransportError>> {
        async move {
            let nonce = HEXLOWER.encode(&random::bytes::<16>()?);
            let orders = Orders::script(script, nonce);
            let channel = self.pool.control_channel().await?;
            let way = (environment, self.wrapper.as_slice());
            let begun = start(&self.pool, channel, &orders, way, None).await?;
            let Preface::Started(pid) = begun.preface else {
                return Err(TransportError::Unusable {
                    target: self.pool.target.clone(),
                    reason: "its shell did not follow orders".to_owned(),
                });
            };
            let shape = Shape {
                stdin: ProgramStdin::Pipe,
                commands: None,
                terminal: false,
            };
            Ok(into_process(begun, shape, pid, None))
        }
        .boxed()
    }

    fn clock(&self) -> Option<&Clock> {
        Some(&self.clock)
    }

    fn standing(&self) -> Option<&Standing> {
        Some(&self.standing)
    }

    fn target(&self) -> &str {
        &self.pool.target
    }
}
