//! The engine: what the server can do, in calls that know nothing of the wire.

mod opening;

use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use execgate_core::audit::{
    AuditBody, Digest, HashKey, Micros, NewRecord, PolicyReloaded, SYSTEM_PRINCIPAL,
};
use execgate_core::ids::{ExecutionId, Principal, SessionId};
use execgate_core::policy::PolicyStack;
use execgate_core::redact::RedactionRules;
use tokio::sync::watch;

use crate::audit::{AuditStore, Durability};
use crate::authority::Steward;
use crate::checkpoint::{CheckpointSettings, Checkpoints, retention};
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
use crate::secrets::NamedSecrets;
use crate::session::{CloseReason, Session};
use crate::telemetry::Telemetry;
use crate::transport::EndedProcess;
use crate::transport::docker::{Docker, DockerSettings};
use crate::transport::ssh::{Ssh, SshSettings};

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
