//! How a session begins: admitted, its target reached, its files and its shell ready, recorded;
//! only then can anybody find it. What fails on the way leaves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use execgate_core::audit::{AuditBody, Digest, HostKeyMismatch, SessionCreated};
use execgate_core::ids::{Principal, SessionId};
use execgate_core::outcome::{LaunchFailureKind, ObservedBy};
use execgate_core::policy::PolicyStack;
use execgate_core::redact::secret_variables;
use execgate_core::shell::ShellKind;

use super::Engine;
use crate::audit::Durability;
use crate::authority::Owner;
use crate::checkpoint::{Workspace, WorkspaceParts};
use crate::error::Error;
use crate::random;
use crate::secrets::{SecretVariables, exposed, secret_names};
use crate::session::{
    Actor, Context, Recorder, Session, SessionParts, SessionRedaction, SessionSettings, Shell,
    ShellSpec, WantedShell,
};
use crate::target::{Place, SshTarget, Target};
use crate::telemetry::SessionTrace;
use crate::transport::{Transport, TransportError};

impl Engine {
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
}

fn shell_kind(program: &str) -> Result<ShellKind, Error> {
    ShellKind::from_program(program).ok_or_else(|| Error::InvalidField {
        field: "shell",
        reason: format!("{program} is none of bash, dash, sh, ash, busybox"),
    })
}
