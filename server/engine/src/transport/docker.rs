//! The Docker transport: processes in a container, each an exec on a connection of its own.
//!
//! ```text
//! reach ─► container (made from an image, or entered) ─► DockerTransport
//!             │                                            └─ spawn ─► exec ─► Process
//!             └─ watch: the engine's events: execs that ended, the container's own end
//! ```
//!
//! A shell is one exec that is held: a command costs a write and a read on its connection,
//! no exec and no request. What the engine cannot do, signal an exec or look at one, is done
//! by a program beside it.

mod begin;
mod connection;
mod container;
mod control;
mod direct;
mod errors;
mod exec;
mod judge;
mod settings;
mod streams;
mod watch;

use std::sync::Arc;

use data_encoding::HEXLOWER;
use execgate_core::outcome::{LaunchFailureKind, ObservedBy};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::remote::{self, Beside, Clock, Environment, MARKER_NAME, Orders, Standing, Survey};
use super::{
    EndedProcess, Leftovers, NamedInput, Process, ProcessEnd, Program, ProgramStreams, Transport,
    TransportError,
};
use crate::random;
use crate::session::WantedShell;
use crate::target::{DockerSource, DockerTarget, Place};
use begin::begin;
use connection::Connection;
use container::{Found, Left, Owned, Recipe};
use control::{Role, Running};
use direct::Direct;
pub use settings::{
    DEFAULT_PROFILE, DockerHost, DockerProfile, DockerSettings, Pull, Risk, RootFiles,
};
use watch::{Watch, Watching};

/// The Docker engine that sessions may use.
#[derive(Debug)]
pub(crate) struct Docker {
    settings: DockerSettings,
    connection: Connection,
    left: Left,
}

impl Docker {
    pub(crate) fn new(settings: DockerSettings) -> Self {
        Self {
            settings,
            connection: Connection::default(),
            left: Left::default(),
        }
    }

    /// Reaches a target: looks at the container, or makes one.
    pub(crate) async fn reach(
        &self,
        target: &DockerTarget,
        shell: &WantedShell,
    ) -> Result<Place, TransportError> {
        let name = target.profile.as_deref();
        let Some(profile) = self.settings.profile(name) else {
            return Err(TransportError::NoSuchTarget {
                target: format!("docker:{}", name.unwrap_or(DEFAULT_PROFILE)),
                reason: "there is no such profile".to_owned(),
            });
        };
        let engine = self.connection.engine(&self.settings).await?;
        self.left.remove(engine).await;
        let bare = *shell == WantedShell::Nothing;
        match &target.source {
            DockerSource::Container(name) => {
                let found = container::enter(engine, &profile, target, name).await?;
                enter(engine, found, bare).await
            }
            DockerSource::Image(reference) => {
                let owner = (self.settings.instance.as_str(), &self.left);
                let recipe = Recipe::new(engine, owner, &profile, target, reference).await?;
                match recipe.make().await {
                    Ok(found) => enter(engine, found, bare).await,
                    Err(error) if bare && is_shell_missing(&error) => Ok(recipe.place()),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Whether a target is refused because it has no shell.
fn is_shell_missing(error: &TransportError) -> bool {
    let missing = LaunchFailureKind::NotFound;
    matches!(error, TransportError::Launch { kind, .. } if *kind == missing)
}

/// A session in a container; where that has no shell, and is to have none, its programs
/// only.
async fn enter(
    engine: &bollard::Docker,
    found: Found,
    bare: bool,
) -> Result<Place, TransportError> {
    let inside = Inside {
        watch: Arc::new(Watching::start(engine.clone(), found.id.clone())),
        engine: engine.clone(),
        id: found.id.as_str().into(),
        name: found.name.as_str().into(),
        user: found.user.clone(),
    };
    let helpers = Arc::new(Helpers {
        inside: inside.clone(),
        clock: Clock::default(),
        standing: Standing::default(),
    });
    let (transport, home): (Arc<dyn Transport>, _) = match remote::survey(helpers.as_ref()).await {
        Ok(survey) => {
            let home = survey.home.clone();
            let transport = DockerTransport {
                helpers,
                owned: found.owned,
                marker: nonce()?,
                survey,
                running: Arc::default(),
            };
            (Arc::new(transport), home)
        }
        Err(error) if bare && is_shell_missing(&error) => {
            (Arc::new(Direct::Entered(inside)), "/".to_owned())
        }
        Err(error) => return Err(error),
    };
    Ok(Place {
        transport,
        name: found.name,
        home: found.home.unwrap_or(home),
        start: found.start,
        env: found.env,
        isolation: found.isolation,
        observer: ObservedBy::Dockerd,
        secrets: Vec::new(),
    })
}

/// What nobody inside can guess.
fn nonce() -> Result<String, TransportError> {
    Ok(HEXLOWER.encode(&random::bytes::<16>()?))
}

/// A container, as its execs need it.
#[derive(Debug, Clone)]
struct Inside {
    engine: bollard::Docker,
    watch: Arc<Watching>,
    id: Arc<str>,
    /// What records call it.
    name: Arc<str>,
    user: Option<String>,
}

/// Programs beside a session, and the one of them that stays.
#[derive(Debug)]
struct Helpers {
    inside: Inside,
    clock: Clock,
    standing: Standing,
}

impl Beside for Helpers {
    fn start<'a>(
        &'a self,
        script: &'a str,
        environment: Environment,
    ) -> BoxFuture<'a, Result<Process, TransportError>> {
        async move {
            let orders = Orders::script(script, nonce()?);
            match begin(&self.inside, &orders, environment, None).await? {
                Ok(begun) => Ok(control::helper(begun)),
                // A script has nothing to look up.
                Err(_) => Err(TransportError::Unusable {
                    target: self.inside.name.to_string(),
                    reason: "its shell did not follow orders".to_owned(),
                }),
            }
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
        &self.inside.name
    }
}

/// A container, for one session.
#[derive(Debug)]
pub(crate) struct DockerTransport {
    helpers: Arc<Helpers>,
    owned: Owned,
    /// In the environment of everything that the session starts.
    marker: String,
    survey: Survey,
    /// The programs that were asked for and run.
    running: Arc<Running>,
}

impl DockerTransport {
    async fn spawn_program(&self, program: &Program) -> Result<Process, TransportError> {
        self.be_in_sight().await?;
        let terminal = match program.streams {
            ProgramStreams::Separate => None,
            ProgramStreams::Terminal(size) => Some(size),
        };
        // In a terminal the commands come by a way of their own.
        let commands = match terminal {
            Some(_) => Some(self.open_input().await?),
            None => None,
        };
        let pipe = commands.as_ref().map(|input| input.path.as_str());
        let orders = Orders::program(program, nonce()?, &self.marker, pipe);
        match begin(&self.helpers.inside, &orders, Environment::Clean, terminal).await? {
            Err(kind) => Err(remote::launch_error(program, kind)),
            Ok(begun) => Ok(control::into_process(
                begun,
                program.stdin,
                terminal.is_some(),
                commands,
                Arc::clone(&self.helpers),
                Arc::clone(&self.running),
            )),
        }
    }

    /// Finds the container again where the engine was out of sight, and ends what the lost
    /// shell has left, so that nothing of the session runs twice.
    async fn be_in_sight(&self) -> Result<(), TransportError> {
        let inside = &self.helpers.inside;
        let target = inside.name.to_string();
        let watch = inside.watch.now();
        if watch.is_paused() {
            return Err(TransportError::Unreachable {
                target,
                reason: "its container is paused".to_owned(),
            });
        }
        if watch.over() != Some(ProcessEnd::Unknown) {
            return Ok(());
        }
        match inside.watch.again().await {
            None => {
                let helpers = self.helpers.as_ref();
                helpers.standing.end().await;
                remote::close(helpers, &self.mark(), &[], Leftovers::Kill).await?;
                Ok(())
            }
            Some(ProcessEnd::Unknown) => Err(TransportError::Unreachable {
                target,
                reason: "the engine does not answer".to_owned(),
            }),
            Some(_) => Err(TransportError::Unusable {
                target,
                reason: "the container does not run any more".to_owned(),
            }),
        }
    }

    /// The variable of everything that the session starts.
    fn mark(&self) -> String {
        format!("{MARKER_NAME}={}", self.marker)
    }

    async fn end(&self, leftovers: Leftovers) -> Vec<EndedProcess> {
        let watch = self.helpers.inside.watch.now();
        let stopped = !matches!(watch.over(), None | Some(ProcessEnd::Unknown));
        if stopped || watch.is_paused() {
            if !stopped && !self.owned.is_made() {
                self.end_later(watch);
            }
            self.owned.remove().await;
            return Vec::new();
        }
        let marker = self.mark();
        let programs = self.running.programs();
        let pids: Vec<_> = programs.iter().map(|(pid, _)| *pid).collect();
        let helpers = self.helpers.as_ref();
        let closed = remote::close(helpers, &marker, &pids, leftovers).await;
        helpers.standing.end().await;
        let mut ended = closed.unwrap_or_else(|error| {
            let container = helpers.target();
            tracing::warn!(container, %error, "a session's processes were not ended");
            if leftovers == Leftovers::Kill && !self.owned.is_made() {
                self.end_when_in_sight(marker.clone());
            }
            Vec::new()
        });
        // The shell is the session itself, and not what it left behind.
        ended.retain(|ended| !programs.contains(&(ended.pid, Role::Shell)));
        self.owned.remove().await;
        ended
    }
}

impl DockerTransport {
    /// Ends what a paused container holds once it goes on.
    fn end_later(&self, watch: Arc<Watch>) {
        let (helpers, marker) = (Arc::clone(&self.helpers), self.mark());
        tokio::spawn(async move {
            watch.until_it_goes_on().await;
            if watch.over().is_none() {
                // Who unpauses and stops it at once has done the same.
                let _gone = remote::close(helpers.as_ref(), &marker, &[], Leftovers::Kill).await;
                helpers.standing.end().await;
            }
        });
    }
}

impl DockerTransport {
    /// Ends what is in a container once the engine answers again.
    fn end_when_in_sight(&self, marker: String) {
        let helpers = Arc::clone(&self.helpers);
        tokio::spawn(async move {
            let limit = Instant::now() + remote::LATER_LIMIT;
            while Instant::now() < limit {
                tokio::time::sleep(remote::LATER_PAUSE).await;
                match helpers.inside.watch.again().await {
                    Some(ProcessEnd::Unknown) => {}
                    // It has ended, and all in it.
                    Some(_) => return,
                    None => {
                        remote::close_later(helpers, marker);
                        return;
                    }
                }
            }
        });
    }
}

impl Transport for DockerTransport {
    fn spawn<'a>(&'a self, program: &'a Program) -> BoxFuture<'a, Result<Process, TransportError>> {
        self.spawn_program(program).boxed()
    }

    fn open_input(&self) -> BoxFuture<'_, Result<NamedInput, TransportError>> {
        let helpers: Arc<dyn Beside> = Arc::clone(&self.helpers) as _;
        async move { remote::open_input(&helpers, &self.survey.inputs).await }.boxed()
    }

    fn close(&self, leftovers: Leftovers) -> BoxFuture<'_, Vec<EndedProcess>> {
        self.end(leftovers).boxed()
    }
}
