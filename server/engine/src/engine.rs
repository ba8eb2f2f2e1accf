//! The engine: what the server can do, in calls that know nothing of the wire.

use std::collections::BTreeMap;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use execgate_core::audit::{
    AuditBody, Digest, HashKey, HostKeyMismatch, Micros, NewRecord, PolicyReloaded,
    SYSTEM_PRINCIPAL, SessionCreated,
};
use execgate_core::ids::{ExecutionId, Principal, SessionId};
use execgate_core::outcome::{LaunchFailureKind, ObservedBy};
use execgate_core::policy::PolicyStack;
use execgate_core::redact::{RedactionRules, secret_variables};
use execgate_core::shell::ShellKind;
use tokio::sync::watch;

use crate::audit::{AuditStore, Durability};
use crate::authority::{Owner, Steward};
use crate::checkpoint::{CheckpointSettings, Checkpoints, Workspace, WorkspaceParts, retention};
use crate::directory::{LeftBehind, SessionDirectory};
use crate::error::Error;
use crate::execution::{Execution, Retention};
use crate::fence::Fences;
use crate::intervention::CLOSE_SESSION;
use crate::isolation::Isolation;
use crate::launcher::leftovers;
use crate::local::LocalSettings;
use crate::policy::{OperatorPolicy, Policies};
use crate::quotas::{Ledger, QuotaTable, Quotas, ServerLimits};
use crate::random;
use crate::secrets::{NamedSecrets, SecretVariables, exposed, secret_names};
use crate::session::{
    Actor, CloseReason, Context, Recorder, Session, SessionParts, SessionRedaction,
    SessionSettings, Shell, ShellSpec, WantedShell,
};
use crate::target::{Place, SshTarget, Target};
use crate::telemetry::{SessionTrace, Telemetry};
use crate::transport::docker::{Docker, DockerSettings};
use crate::transport::ssh::{Ssh, SshSettings};
use crate::transport::{EndedProcess, Transport, TransportError};

/// How long a shutdown waits for sessions to close.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(15);

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineSettings {
    /// How local sessions are run.
    pub local: LocalSettings,
    /// Which machines are reached through SSH, and how.
    pub ssh: SshSettings,
    /// Which containers sessions may be in, and what they are like.
    pub docker: DockerSettings,
    /// The operator's policies at the start.
    pub policies: Policies,
    /// What is redacted in every session.
    pub redaction: RedactionRules,
    /// What sessions may have in their environment without being told it.
    pub secrets: NamedSecrets,
    /// Key of the hashes of unredacted texts in the audit log.
    pub hash_key: HashKey,
    /// How much all principals may have at once.
    pub limits: ServerLimits,
    /// How much each of them may have.
    pub quotas: QuotaTable,
    /// Longest command, in bytes.
    pub max_command_bytes: usize,
    /// Where checkpoints are kept, and how many.
    pub checkpoints: CheckpointSettings,
    /// What is kept of executions, and where.
    pub retention: Retention,
    /// Who is told what happens, beside the audit log.
    pub telemetry: Arc<dyn Telemetry>,
}

/// The engine. Cheap to share.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: EngineSettings,
    pub(crate) audit: Arc<dyn AuditStore>,
    policy: Arc<OperatorPolicy>,
    directory: Arc<SessionDirectory>,
    /// What principals have.
    pub(crate) ledger: Arc<Ledger>,
    /// How a local session that asks for nothing is kept apart.
    isolation: Isolation,
    /// What local sessions are kept behind.
    fences: Fences,
    /// The connections to machines reached through SSH.
    ssh: Ssh,
    /// The Docker engine, once a session has asked for it.
    docker: Docker,
    pub(crate) checkpoints: Arc<Checkpoints>,
    phase: watch::Sender<Phase>,
}

/// How far an engine is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Nothing new begins.
    Draining,
    /// All sessions are closed, or given up.
    Over,
}

impl Engine {
    /// An engine that records in `audit`. Tries at once, with `probe_file` (a file of the
    /// data directory), what its sessions will be able to reach.
    ///
    /// # Errors
    /// Where no process can be started on this machine.
    pub async fn start(
        mut settings: EngineSettings,
        audit: Arc<dyn AuditStore>,
        probe_file: PathBuf,
    ) -> Result<Self, Error> {
        end_leftovers(settings.local.mark.clone()).await;
        // Whoever is given one may print it anywhere.
        settings.redaction = settings.redaction.with_values(settings.secrets.values());
        let ssh = Ssh::new(settings.ssh.clone());
        let fences = Fences::new(settings.local.clone(), probe_file);
        let policy = PolicyStack::new(settings.policies.operator.clone());
        let (_probed, isolation) = fences.transport(None, &policy, None).await?;
        let ledger = Ledger::new(settings.limits, settings.quotas.clone());
        let directory = Arc::new(SessionDirectory::new(
            Arc::clone(&ledger),
            settings.retention.limits().keep_for,
        ));
        for lost in audit.lost_sessions() {
            // A record that was written under other rules names no session of today's.
            if let Ok(id) = SessionId::parse(&lost.session_id) {
                directory.remember_lost(Principal::new(lost.principal), id, lost.reason);
            }
        }
        let docker = Docker::new(settings.docker.clone());
        let checkpoints = Arc::new(Checkpoints::open(settings.checkpoints.clone())?);
        retention::watch(&checkpoints, &audit);
        let policy = Arc::new(OperatorPolicy::new(settings.policies.clone()));
        Ok(Self {
            checkpoints,
            settings,
            policy,
            audit,
            directory,
            ledger,
            isolation,
            fences,
            ssh,
            docker,
            phase: watch::Sender::new(Phase::Serving),
        })
    }

    /// Opens a session on the target that its settings name.
    ///
    /// # Errors
    /// Where the id is taken, there are too many sessions, the target cannot be reached,
    /// there is no such shell, it cannot start, or the audit log takes no record.
    pub async fn create_session(
        &self,
        principal: &Owner,
        id: Option<SessionId>,
        settings: SessionSettings,
    ) -> Result<Arc<Session>, Error> {
        let id = self.admit(id)?;
        if let Some(first) = self.repeated(principal, &id, &settings)? {
            return Ok(first);
        }
        principal.grant().check_session(&settings)?;
        let secrets = self
            .settings
            .secrets
            .resolve(&settings.secrets, &settings.target)?;
        let place = self.directory.reserve(principal, &id)?;
        let creation = SessionTrace::begin(&self.settings.telemetry, &id, &settings);
        let recorder = Recorder::new(
            Arc::clone(&self.audit),
            Principal::clone(principal),
            id.clone(),
            settings.origin.clone(),
        );
        let own = settings.policy.as_ref();
        let policy = self.policy.stack(&settings.target, principal, own);
        let target = self.reach(principal, &recorder, &settings, &policy).await?;
        if let Some(weak) = target.isolation.missing(&settings.fence.require) {
            return Err(Error::FenceUnavailable(Box::new(weak.clone())));
        }
        let redaction = self.redaction_of(&target, &settings);
        let workspace = self
            .workspace(
                principal,
                (&id, &recorder),
                (&target, &redaction),
                &settings,
            )
            .await?;
        let (shell, spec, cwd) = self
            .start_shell(&target, &settings, &secrets, &redaction)
            .await?;
        self.record_creation(&recorder, &target, &spec, (&policy, &settings))
            .await?;
        let (session, mailbox) = Session::new(SessionParts {
            id,
            principal: Principal::clone(principal),
            settings,
            shell: spec.kind,
            shell_program: spec.program.clone(),
            cwd,
            target: target.name,
            isolation: target.isolation,
            trace: creation.created(),
            observer: target.observer,
            operator: Arc::clone(&self.policy),
            redaction,
            workspace,
            retention: *self.settings.retention.limits(),
        });
        let session = Arc::new(session);
        let context = self.context(&session, target.transport, spec, recorder);
        place.fill(Arc::clone(&session));
        tokio::spawn(Actor::new(context, mailbox, shell).run());
        Ok(session)
    }

    /// What the task of a new session works with.
    fn context(
        &self,
        session: &Arc<Session>,
        transport: Arc<dyn Transport>,
        spec: ShellSpec,
        recorder: Recorder,
    ) -> Context {
        let directory = Arc::clone(&self.directory);
        Context {
            session: Arc::clone(session),
            transport,
            spec,
            recorder,
            hash_key: self.settings.hash_key.clone(),
            telemetry: Arc::clone(&self.settings.telemetry),
            ended: Box::new(move |session, reason| directory.ended(session, reason)),
        }
    }

    /// The files of a new session that checkpoints are to cover, brought to where it is to
    /// begin.
    async fn workspace(
        &self,
        principal: &Principal,
        (id, recorder): (&SessionId, &Recorder),
        (target, redaction): (&Place, &Arc<SessionRedaction>),
        settings: &SessionSettings,
    ) -> Result<Option<Arc<Workspace>>, Error> {
        let Some(directory) = settings.workspace.clone() else {
            return Ok(None);
        };
        let parts = WorkspaceParts {
            directory,
            mode: settings.checkpoints,
            principal: principal.clone(),
            session: id.clone(),
            target: target.name.clone(),
            transport: Arc::clone(&target.transport),
            recorder: recorder.clone(),
            redaction: Arc::clone(redaction),
        };
        let workspace = Arc::new(Workspace::new(&self.checkpoints, parts));
        if let Some(checkpoint) = &settings.from_checkpoint {
            self.begin_from(principal, &workspace, checkpoint).await?;
        }
        Ok(Some(workspace))
    }

    /// The id of a session that may begin.
    fn admit(&self, id: Option<SessionId>) -> Result<SessionId, Error> {
        if self.is_draining() {
            return Err(Error::ShuttingDown);
        }
        match id {
            Some(id) => Ok(id),
            None => Ok(SessionId::from_random(random::bytes()?)),
        }
    }

    /// What an earlier request of this kind made: a retry is answered with it, as long as it
    /// lives.
    fn repeated(
        &self,
        principal: &Principal,
        id: &SessionId,
        settings: &SessionSettings,
    ) -> Result<Option<Arc<Session>>, Error> {
        match self.directory.get(principal, id) {
            Err(_none) => Ok(None),
            Ok(session) if session.settings.repeats(settings) => Ok(Some(session)),
            Ok(_another) => Err(Error::SessionIdTaken {
                session: id.clone(),
            }),
        }
    }

    /// Reaches the target of a session.
    async fn reach(
        &self,
        principal: &Principal,
        recorder: &Recorder,
        settings: &SessionSettings,
        policy: &PolicyStack,
    ) -> Result<Place, Error> {
        match (&settings.target, &settings.fence.profile) {
            (Target::Local, _) => self.reach_local(settings, policy).await,
            // Profiles are for what this machine's kernel does.
            (Target::Ssh(_) | Target::Docker(_), Some(profile)) => Err(Error::UnknownFence {
                profile: profile.clone(),
            }),
            (Target::Ssh(target), None) => self.reach_ssh(principal, recorder, target).await,
            (Target::Docker(target), None) => {
                Ok(self.docker.reach(target, &settings.shell).await?)
            }
        }
    }

    async fn reach_local(
        &self,
        settings: &SessionSettings,
        policy: &PolicyStack,
    ) -> Result<Place, Error> {
        let local = &self.settings.local;
        let (profile, shell) = (settings.fence.profile.as_deref(), settings.shell.name());
        let (transport, isolation) = self.fences.transport(profile, policy, shell).await?;
        Ok(Place {
            transport: Arc::new(transport),
            name: "local".to_owned(),
            home: local.home.clone(),
            start: None,
            env: local.environment(),
            isolation,
            secrets: Vec::new(),
            observer: ObservedBy::Kernel,
        })
    }

    async fn reach_ssh(
        &self,
        principal: &Principal,
        recorder: &Recorder,
        target: &SshTarget,
    ) -> Result<Place, Error> {
        let reached = self.ssh.reach(principal, target).await;
        if let Err(TransportError::HostKeyMismatch {
            target,
            expected,
            got,
        }) = &reached
        {
            let record = HostKeyMismatch {
                target: target.clone(),
                expected: expected.clone(),
                got: got.clone(),
            };
            let record = AuditBody::HostKeyMismatch(record);
            recorder.record(None, record, Durability::Synced).await?;
        }
        Ok(reached?)
    }

    async fn record_creation(
        &self,
        recorder: &Recorder,
        target: &Place,
        spec: &ShellSpec,
        (policy, settings): (&PolicyStack, &SessionSettings),
    ) -> Result<(), Error> {
        let isolation = &target.isolation.controls;
        let created = SessionCreated {
            target: target.name.clone(),
            shell: spec.program.clone(),
            policy_hash: Digest(policy.content_hash()),
            isolation: isolation
                .iter()
                .map(|c| format!("{}={:?}", c.kind.name(), c.level))
                .collect(),
            secrets: secret_names(&settings.secrets),
        };
        recorder
            .record(None, AuditBody::SessionCreated(created), Durability::Synced)
            .await?;
        Ok(())
    }

    /// What is hidden in a new session: what the operator says, what opened its target, and
    /// what its own request names.
    fn redaction_of(&self, target: &Place, settings: &SessionSettings) -> Arc<SessionRedaction> {
        let rules = target.redaction(&self.settings.redaction);
        let redaction = SessionRedaction::new(settings.redaction.added_to(&rules));
        redaction.learn(secret_variables(&settings.env));
        redaction
    }

    /// Starts the shell asked for, or the first that is there, or none.
    async fn start_shell(
        &self,
        target: &Place,
        settings: &SessionSettings,
        secrets: &SecretVariables,
        redaction: &Arc<SessionRedaction>,
    ) -> Result<(Option<Shell>, ShellSpec, String), Error> {
        let start = target.start.as_deref().unwrap_or(&target.home);
        let given = settings.cwd.as_deref().or(settings.workspace.as_deref());
        let cwd = given.unwrap_or(start);
        let mut own = settings.env.clone();
        own.extend(exposed(secrets));
        let wanted = match &settings.shell {
            WantedShell::Nothing => {
                let spec = self.shell_spec(target, settings, (&own, redaction), None);
                return Ok((None, spec, cwd.to_owned()));
            }
            // Where busybox has no name of its own for its shell, it still has the shell.
            WantedShell::Named(program) if program == "ash" => ["ash", ShellKind::Ash.program()]
                .map(|program| (ShellKind::Ash, program.to_owned()))
                .into(),
            WantedShell::Named(program) => vec![(shell_kind(program)?, program.clone())],
            WantedShell::Best => ShellKind::PREFERENCE
                .map(|kind| (kind, kind.program().to_owned()))
                .into(),
        };
        for (kind, program) in wanted {
            let spec = self.shell_spec(target, settings, (&own, redaction), Some((kind, program)));
            match Shell::start(target.transport.as_ref(), &spec, cwd).await {
                Err(Error::Transport(TransportError::Launch {
                    kind: LaunchFailureKind::NotFound,
                    ..
                })) => {}
                started => return started.map(|(shell, cwd)| (Some(shell), spec, cwd)),
            }
        }
        let reason = match &settings.shell {
            WantedShell::Named(program) => format!("{program} is not on the session's PATH"),
            WantedShell::Best | WantedShell::Nothing => {
                "neither bash, sh, dash nor busybox is on the session's PATH".to_owned()
            }
        };
        Err(Error::NoShell { reason })
    }

    fn shell_spec(
        &self,
        target: &Place,
        settings: &SessionSettings,
        (own, redaction): (&BTreeMap<String, String>, &Arc<SessionRedaction>),
        shell: Option<(ShellKind, String)>,
    ) -> ShellSpec {
        let (kind, program) = shell.unzip();
        let program = program.unwrap_or_default();
        ShellSpec {
            kind,
            env: target.environment(own, settings.terminal.is_some(), &program),
            program,
            terminal: settings.terminal,
            redaction: Arc::clone(redaction),
        }
    }

    /// The principal's session, alive, or over and still kept.
    ///
    /// # Errors
    /// Where there is none, or it is no longer kept.
    pub fn find_session(
        &self,
        principal: &Principal,
        id: &SessionId,
    ) -> Result<Arc<Session>, Error> {
        self.directory.find(principal, id)
    }

    /// The principal's session, which is alive.
    ///
    /// # Errors
    /// Where there is none, or it is over.
    pub fn session(&self, principal: &Principal, id: &SessionId) -> Result<Arc<Session>, Error> {
        self.directory.get(principal, id)
    }

    /// The principal's sessions, or everybody's, oldest first; those that are over while
    /// they are kept.
    #[must_use]
    pub fn sessions(&self, principal: Option<&Principal>) -> Vec<Arc<Session>> {
        self.directory.list(principal)
    }

    /// What is known of a session of the principal that an earlier server left without
    /// closing it.
    #[must_use]
    pub fn left_behind(&self, principal: &Principal, id: &SessionId) -> Option<LeftBehind> {
        let mut all = self.all_left_behind(Some(principal));
        let place = all.iter().position(|left| left.id == *id)?;
        Some(all.swap_remove(place))
    }

    /// All of them, or everybody's, by their ids.
    #[must_use]
    pub fn all_left_behind(&self, principal: Option<&Principal>) -> Vec<LeftBehind> {
        self.directory.left_behind(principal)
    }

    /// Ends a session; answers what was ended with it. One that is over answers the same
    /// again.
    ///
    /// # Errors
    /// Where there is none, or it is no longer kept.
    pub async fn close_session(
        &self,
        principal: &Steward,
        id: &SessionId,
    ) -> Result<(Arc<Session>, Vec<EndedProcess>), Error> {
        let session = self.directory.find(principal, id)?;
        self.intervene(principal, (id, None), (CLOSE_SESSION, ""))
            .await?;
        let closed = session.close(CloseReason::Owner).await;
        // Somebody else may have been first.
        let mut ended = match (closed, session.end()) {
            (Ok(ended), _) => ended,
            (Err(_over), Some(_)) => session.ended_processes().unwrap_or_default(),
            (Err(error), None) => return Err(error),
        };
        for process in &mut ended {
            process.command = session.redact(&process.command);
        }
        Ok((session, ended))
    }

    /// One execution.
    ///
    /// # Errors
    /// Where there is none, or it or its session is no longer kept.
    pub fn execution(
        &self,
        principal: &Principal,
        session: &SessionId,
        id: &ExecutionId,
    ) -> Result<Arc<Execution>, Error> {
        let session = self.directory.find(principal, session)?;
        session.executions().find(id)
    }

    /// The executions of a session that are kept, oldest first.
    ///
    /// # Errors
    /// Where there is no such session, or it is no longer kept.
    pub fn executions(
        &self,
        principal: &Principal,
        session: &SessionId,
    ) -> Result<Vec<Arc<Execution>>, Error> {
        Ok(self.directory.find(principal, session)?.executions().all())
    }

    /// What keeps local sessions from the gate, as tried at start.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// The operator's policies.
    #[must_use]
    pub fn policy(&self) -> &OperatorPolicy {
        &self.policy
    }

    /// Puts other policies of the operator in force, or says why there are none; either is
    /// recorded, one record for each policy. Sessions are judged by them from their next
    /// command on.
    ///
    /// # Errors
    /// Where the audit log takes no record: then the old policies stay.
    pub async fn reload_policies(&self, read: Result<Policies, String>) -> Result<(), Error> {
        let (policies, error) = match read {
            Ok(policies) => (policies, String::new()),
            Err(error) => (self.policy.current(), error),
        };
        let profiles = policies.profiles.iter();
        let profiles = profiles.map(|(profile, policy)| (profile.to_string(), policy));
        let principals = policies.principals.iter();
        let principals = principals
            .filter_map(|(name, policy)| Some((format!("principal:{name}"), policy.as_ref()?)));
        let narrowing = profiles.chain(principals);
        for (profile, policy) in iter::once((String::new(), &policies.operator)).chain(narrowing) {
            let record = AuditBody::PolicyReloaded(PolicyReloaded {
                policy: policy.name().to_owned(),
                policy_hash: Digest(policy.content_hash()),
                profile,
                error: error.clone(),
            });
            let record = NewRecord {
                time: Micros::from(SystemTime::now()),
                principal: SYSTEM_PRINCIPAL.to_owned(),
                session_id: None,
                execution_id: None,
                trace_id: None,
                auth: None,
                body: record,
            };
            self.audit.append(record, Durability::Synced).await?;
        }
        self.policy.replace(policies);
        Ok(())
    }

    /// What the engine was made of.
    #[must_use]
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &Arc<dyn AuditStore> {
        &self.audit
    }

    /// What a principal may have at once.
    #[must_use]
    pub fn quotas(&self, principal: &Principal) -> Quotas {
        self.settings.quotas.of(principal)
    }

    /// Answers as soon as it can; where what every call needs is stuck, so is this.
    pub fn is_responsive(&self) {
        drop(self.directory.all());
    }

    /// Whether nothing new begins.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    /// Begins no more sessions and executions. What runs goes on.
    pub fn begin_drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Waits until no execution runs or waits for its turn.
    pub async fn until_idle(&self) {
        self.ledger.until_idle().await;
    }

    /// Waits until all sessions have been closed, or given up.
    pub async fn until_over(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as this engine.
        let _gone = phase.wait_for(|phase| *phase == Phase::Over).await;
    }

    /// Begins nothing more and closes all sessions.
    pub async fn shutdown(&self) {
        self.begin_drain();
        let sessions = self.directory.all();
        let closing = sessions
            .iter()
            .map(|session| session.close(CloseReason::Shutdown));
        let all = futures::future::join_all(closing);
        if tokio::time::timeout(SHUTDOWN_LIMIT, all).await.is_err() {
            tracing::warn!(limit = ?SHUTDOWN_LIMIT, "sessions did not close in time");
        }
        self.give_up();
    }

    /// Ends what follows this engine, whether or not all sessions are closed.
    pub fn give_up(&self) {
        self.phase.send_replace(Phase::Over);
    }
}

/// Ends what an earlier server's local sessions have left: its launchers do that, unless they
/// were killed too.
async fn end_leftovers(mark: String) {
    let ended = tokio::task::spawn_blocking(move || leftovers::end(&mark)).await;
    if let Ok(processes @ 1..) = ended {
        tracing::warn!(
            processes,
            "ended what sessions of an earlier server had left"
        );
    }
}

fn shell_kind(program: &str) -> Result<ShellKind, Error> {
    ShellKind::from_program(program).ok_or_else(|| Error::InvalidField {
        field: "shell",
        reason: format!("{program} is none of bash, dash, sh, ash, busybox"),
    })
}
