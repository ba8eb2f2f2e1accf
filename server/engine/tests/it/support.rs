//! An engine on a temporary directory, and short ways to ask it for things.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use execgate_core::audit::{HashKey, Micros, Origin};
use execgate_core::budget::OutputBudget;
use execgate_core::ids::Principal;
use execgate_core::outcome::Outcome;
use execgate_core::policy::Policy;
use execgate_core::redact::{RedactionRules, Secret};
use execgate_engine::audit::{AuditQuery, AuditRecord, AuditStore, SegmentLog, SegmentLogOptions};
use execgate_engine::authority::{Caller, Owner};
use execgate_engine::checkpoint::{CheckpointMode, CheckpointSettings};
use execgate_engine::execution::{
    Command, CommandLine, DEFAULT_GRACE, ExecResult, Follower, Notice, Overflow, Retention,
    RetentionLimits, Stdin, TimeoutAction,
};
use execgate_engine::fence::FenceSettings;
use execgate_engine::isolation::Demand;
use execgate_engine::local::{LocalSettings, LocalUser};
use execgate_engine::quotas::{QuotaTable, ServerLimits};
use execgate_engine::secrets::{NamedSecret, NamedSecrets};
use execgate_engine::session::{
    AddedRedaction, OnShellExit, OnTransportLoss, Session, SessionSettings, WantedShell,
};
use execgate_engine::target::Target;
use execgate_engine::telemetry::{Silent, Telemetry};
use execgate_engine::transport::Leftovers;
use execgate_engine::transport::docker::DockerSettings;
use execgate_engine::transport::ssh::SshSettings;
use execgate_engine::{Engine, EngineSettings, Error};

/// Shells that every machine with the test packages has.
pub(crate) const SHELLS: [&str; 3] = ["bash", "dash", "busybox"];

/// The value of the secret `deploy`, which the gate keeps for local sessions.
pub(crate) const DEPLOY_SECRET: &str = "it's the $deploy key\\93";

pub(crate) struct Gate {
    pub(crate) engine: Arc<Engine>,
    pub(crate) audit: Arc<SegmentLog>,
    pub(crate) data: tempfile::TempDir,
    pub(crate) principal: Owner,
}

/// What this test's processes are known by; another's must not end them.
fn mark() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test{}x{number}", std::process::id())
}

/// Whether the sessions of these tests run as another user.
pub(crate) fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A principal as whoever works with its own.
pub(crate) fn owner(name: &str) -> Owner {
    let caller = Caller::new(Principal::new(name), Arc::default(), Origin::default());
    caller.owner().unwrap()
}

impl Gate {
    pub(crate) async fn open() -> Self {
        Self::with_policy(Policy::open()).await
    }

    pub(crate) async fn with_policy(policy: Policy) -> Self {
        Self::with_fence(policy, FenceSettings::default()).await
    }

    pub(crate) async fn with_fence(policy: Policy, fence: FenceSettings) -> Self {
        Self::telling(policy, fence, Arc::new(Silent)).await
    }

    pub(crate) async fn telling(
        policy: Policy,
        fence: FenceSettings,
        telemetry: Arc<dyn Telemetry>,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::on(data, policy, fence, telemetry).await
    }

    /// An engine on what an earlier one left in a directory.
    pub(crate) async fn on(
        data: tempfile::TempDir,
        policy: Policy,
        fence: FenceSettings,
        telemetry: Arc<dyn Telemetry>,
    ) -> Self {
        std::fs::set_permissions(data.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let token = data.path().join("token");
        std::fs::write(&token, "secret").unwrap();
        let audit = data.path().join("audit");
        let log =
            Arc::new(SegmentLog::open(&audit, SegmentLogOptions::default(), Micros(1)).unwrap());
        let store: Arc<dyn AuditStore> = Arc::<SegmentLog>::clone(&log);
        let user = LocalUser {
            name: "nobody".into(),
            uid: 65_534,
            gid: 65_534,
        };
        let settings = EngineSettings {
            local: LocalSettings {
                launcher: PathBuf::from(env!("CARGO_BIN_EXE_execgate-launcher")),
                user: is_root().then_some(user),
                home: "/tmp".into(),
                hidden: vec![data.path().to_owned()],
                mark: mark(),
                env: BTreeMap::new(),
                fence,
            },
            ssh: SshSettings::default(),
            docker: DockerSettings::default(),
            policies: policy.into(),
            redaction: RedactionRules::builtin(),
            secrets: NamedSecrets::new([(
                "deploy".to_owned(),
                NamedSecret {
                    value: Secret::new(DEPLOY_SECRET),
                    targets: vec!["local".to_owned()],
                },
            )]),
            hash_key: HashKey::new([7; 32]),
            limits: ServerLimits::default(),
            quotas: QuotaTable::default(),
            max_command_bytes: 1024 * 1024,
            checkpoints: CheckpointSettings {
                directory: data.path().join("checkpoints"),
                max_file_bytes: 1024 * 1024,
                max_files: 10_000,
                keep: 100,
                keep_for: Duration::from_secs(3600),
                max_bytes: 100 * 1024 * 1024,
                max_total_bytes: 100 * 1024 * 1024,
                ignore: Vec::new(),
            },
            retention: Retention::in_memory(RetentionLimits::default()),
            telemetry,
        };
        let engine = Engine::start(settings, store, token).await.unwrap();
        Self {
            engine: Arc::new(engine),
            audit: log,
            data,
            principal: owner("test"),
        }
    }

    pub(crate) async fn session(&self, settings: SessionSettings) -> Arc<Session> {
        self.engine
            .create_session(&self.principal, None, settings)
            .await
            .unwrap()
    }

    pub(crate) async fn shell(&self, shell: &str) -> Arc<Session> {
        self.session(SessionSettings {
            shell: WantedShell::Named(shell.into()),
            ..defaults()
        })
        .await
    }

    pub(crate) async fn start(&self, session: &Session, command: Command) -> Follower {
        self.try_start(session, command).await.unwrap()
    }

    pub(crate) async fn try_start(
        &self,
        session: &Session,
        command: Command,
    ) -> Result<Follower, Arc<Error>> {
        let accepted = self
            .engine
            .exec(&self.principal, &session.id, None, command)
            .await?;
        Ok(accepted.follower)
    }

    /// Runs a script to its end.
    pub(crate) async fn run(&self, session: &Session, script: &str) -> ExecResult {
        self.run_for(session, script, Duration::from_secs(60)).await
    }

    pub(crate) async fn run_for(
        &self,
        session: &Session,
        script: &str,
        limit: Duration,
    ) -> ExecResult {
        let command = Command {
            timeout: Some(limit),
            ..command(script)
        };
        let follower = self.start(session, command).await;
        let budget = OutputBudget::default();
        tokio::time::timeout(Duration::from_secs(30), follower.result(&budget))
            .await
            .unwrap_or_else(|_| panic!("no end of {script:?}"))
    }

    /// Everything that is recorded so far.
    pub(crate) async fn records(&self) -> Vec<AuditRecord> {
        let all = AuditQuery::default();
        self.audit.list(all).await.unwrap().records
    }

    pub(crate) async fn close(&self, session: &Session) {
        self.engine
            .close_session(&self.principal, &session.id)
            .await
            .unwrap();
    }
}

/// Follows an execution to its end.
pub(crate) async fn finish(follower: Follower) -> ExecResult {
    let budget = OutputBudget::default();
    let text = follower.execution().command.clone();
    tokio::time::timeout(Duration::from_secs(30), follower.result(&budget))
        .await
        .unwrap_or_else(|_| panic!("no end of {text:?}"))
}

pub(crate) fn defaults() -> SessionSettings {
    SessionSettings {
        target: Target::Local,
        shell: WantedShell::Best,
        cwd: None,
        env: BTreeMap::new(),
        secrets: Vec::new(),
        redaction: AddedRedaction::default(),
        terminal: None,
        policy: None,
        output_budget: OutputBudget::default(),
        default_timeout: Duration::from_secs(60),
        idle_ttl: Duration::from_secs(600),
        max_lifetime: None,
        on_shell_exit: OnShellExit::Restart,
        on_transport_loss: OnTransportLoss::Lose,
        leftovers: Leftovers::Kill,
        fence: Demand::default(),
        labels: BTreeMap::new(),
        workspace: None,
        checkpoints: CheckpointMode::Off,
        from_checkpoint: None,
        origin: Origin::default(),
    }
}

pub(crate) fn command(script: &str) -> Command {
    Command {
        line: CommandLine::Script(script.into()),
        stdin: Stdin::Closed,
        timeout: None,
        timeout_action: TimeoutAction::Ladder,
        grace: DEFAULT_GRACE,
        env: BTreeMap::new(),
        secrets: Vec::new(),
        cwd: None,
        expected_generation: None,
        queue_if_busy: false,
        overflow: Overflow::Backpressure,
        checkpoint: None,
        origin: Origin::default(),
    }
}

pub(crate) fn argv(words: &[&str]) -> Command {
    Command {
        line: CommandLine::Argv(words.iter().map(|&word| word.to_owned()).collect()),
        ..command("")
    }
}

/// The parts of a result that most tests look at.
pub(crate) fn seen(result: &ExecResult) -> (Outcome, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let outcome = result.ending.as_ref().unwrap().outcome.clone();
    (
        outcome,
        text(&result.stdout.bytes),
        text(&result.stderr.bytes),
    )
}

pub(crate) fn exited(code: i32, stdout: &str, stderr: &str) -> (Outcome, String, String) {
    (Outcome::ExitCode(code), stdout.into(), stderr.into())
}

pub(crate) fn restarted(result: &ExecResult) -> bool {
    result
        .notices
        .iter()
        .any(|notice| matches!(notice, Notice::ShellRestarted { .. }))
}
