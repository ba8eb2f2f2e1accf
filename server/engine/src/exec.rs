//! The way of one command into its session: limits, id, policy, then the session's task,
//! which records the intent before the shell sees a byte.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use execgate_core::audit::{AuditBody, Digest, ExecutionDenied, ExecutionIntent};
use execgate_core::ids::{ExecutionId, Principal, SessionId};
use execgate_core::policy::{Denial, Layer, SessionNames, Verdict};
use sha2::{Digest as _, Sha256};

use crate::authority::Owner;
use crate::engine::Engine;
use crate::error::Error;
use crate::execution::{Asked, Command, CommandLine, Execution, Follower};
use crate::quotas::{Hold, LimitHolder, LimitKind, LimitReached};
use crate::random;
use crate::secrets::{SecretVariables, secret_names};
use crate::session::{Message, Place, QUEUE_LIMIT, Recorder, Reserved, Session, StartRequest};
use crate::telemetry::{CommandTrace, Placement, Stage, Subject, TargetKind};

/// When to ask again where too many executions wait.
const QUEUE_RETRY: Duration = Duration::from_secs(1);

/// An execution that runs, or ran.
#[derive(Debug)]
pub struct Accepted {
    /// A reader that has been there since before the start: it misses nothing, and while
    /// it is held the command waits for it rather than losing output.
    pub follower: Follower,
    /// It had been asked for before under the same id.
    pub deduplicated: bool,
}

impl Engine {
    /// Starts a command in a session, or finds the one that was started under this id.
    ///
    /// # Errors
    /// Everything that stands between a request and its start: see [`Error`].
    pub async fn exec(
        &self,
        principal: &Owner,
        session: &SessionId,
        id: Option<ExecutionId>,
        command: Command,
    ) -> Result<Accepted, Arc<Error>> {
        let session = self.find_session(principal, session)?;
        self.check(&session, &command)?;
        let named = command.secrets.iter().map(|secret| &secret.name);
        principal.grant().check_secrets(named).map_err(Arc::new)?;
        let id = id.map_or_else(new_id, Ok)?;
        let payload = payload(&command);
        let known = session.executions().lookup(&id, payload);
        if let Some(known) = known {
            return attach(&session, id, known).await;
        }
        if let Some(over) = session.end() {
            return Err(over.into());
        }
        let hold = self.admit_execution(principal)?;
        let (secrets, redacted) = self.know_secrets(&session, &command)?;
        let trace = self.trace(&session, &id, &command, &redacted);
        let judged = match judge(&session, &command, &trace) {
            Ok(judged) => judged,
            Err(denied) => {
                let (denial, hash) = *denied;
                trace.denied(&denial.rule, denial.layer != Layer::Session);
                let denied = self.deny(&session, &id, &command, redacted, denial, hash);
                return Err(denied.await.into());
            }
        };
        let execution = Execution::new(
            id.clone(),
            session.id.clone(),
            Asked {
                command: redacted.clone(),
                kind: command.line.kind(),
                payload,
                overflow: command.overflow,
                origin: command.origin.clone(),
            },
            &self.settings.retention,
            Some(hold),
        );
        let reserved = session.executions().reserve(&execution, place(&command));
        let Reserved::New = reserved else {
            return attach(&session, id, reserved).await;
        };
        let follower = execution.follow();
        // Before anything else can be judged: what comes next may use these names.
        session.learn(&judged.defined);
        let command = (command, secrets, trace);
        let request =
            self.start_request(&session, Arc::clone(&execution), command, redacted, judged);
        if let Err(error) = session.send(Message::Start(Box::new(request))).await {
            session.executions().release(&id);
            return Err(error.into());
        }
        execution.until_started().await?;
        Ok(Accepted {
            follower,
            deduplicated: false,
        })
    }

    /// Room for another execution, unless nothing begins any more.
    fn admit_execution(&self, principal: &Principal) -> Result<Hold, Error> {
        let bytes = self.settings.retention.limits().memory_bytes as u64;
        let hold = self.ledger.admit(principal, bytes)?;
        // Asked after it is counted: whoever waits for the last one misses none.
        match self.is_draining() {
            true => Err(Error::ShuttingDown),
            false => Ok(hold),
        }
    }

    /// The secrets that a command names, and its text without those that it is given, which
    /// its session learns.
    fn know_secrets(
        &self,
        session: &Session,
        command: &Command,
    ) -> Result<(SecretVariables, String), Error> {
        let target = &session.settings.target;
        let secrets = self.settings.secrets.resolve(&command.secrets, target)?;
        session.redaction.learn_from(command);
        Ok((secrets, session.redact(&command.line.text())))
    }

    /// Begins the span of a command.
    fn trace(
        &self,
        session: &Session,
        id: &ExecutionId,
        command: &Command,
        redacted: &str,
    ) -> CommandTrace {
        let subject = Subject {
            session: &session.id,
            execution: id,
            target: TargetKind::from(&session.settings.target),
            kind: command.line.kind(),
            placement: Placement {
                asked: command.origin.trace.as_ref(),
                session: session.trace.as_ref(),
                command: Some(redacted),
            },
        };
        CommandTrace::begin(&self.settings.telemetry, &subject)
    }

    /// Whether the session could run it at all.
    fn check(&self, session: &Session, command: &Command) -> Result<(), Error> {
        match (&command.line, session.shell) {
            (CommandLine::Script(_), None) => Err(Error::Shellless {
                session: session.id.clone(),
            }),
            _ if session.workspace.is_none() && command.needs_workspace() => {
                Err(Error::WorkspaceRequired {
                    session: session.id.clone(),
                })
            }
            _ => self.check_size(command),
        }
    }

    fn check_size(&self, command: &Command) -> Result<(), Error> {
        let limit = self.settings.max_command_bytes;
        let (field, texts) = match &command.line {
            CommandLine::Script(script) => ("spec.script", std::slice::from_ref(script)),
            CommandLine::Argv(words) => ("spec.argv.arguments", words.as_slice()),
        };
        let refuse = |reason: String| Err(Error::InvalidField { field, reason });
        let bytes: usize = texts.iter().map(String::len).sum();
        match texts.first() {
            None => refuse("is empty".to_owned()),
            Some(first) if first.trim().is_empty() => refuse("is empty".to_owned()),
            Some(_) if bytes > limit => refuse(format!("has {bytes} bytes; the limit is {limit}")),
            Some(_) if texts.iter().any(|text| text.contains('\0')) => {
                refuse("holds a NUL byte, which cannot be run".to_owned())
            }
            Some(_) => Ok(()),
        }
    }

    /// Records a denial, durably, and makes the error of it.
    async fn deny(
        &self,
        session: &Session,
        id: &ExecutionId,
        command: &Command,
        redacted: String,
        mut denial: Denial,
        policy_hash: Digest,
    ) -> Error {
        // What the caller is shown of its own script passes the redactor like any text.
        for text in [&mut denial.excerpt, &mut denial.reason] {
            *text = session.redact(text);
        }
        let record = AuditBody::ExecutionDenied(ExecutionDenied {
            command: redacted,
            command_hash: self.settings.hash_key.hash(command.line.text().as_bytes()),
            command_kind: command.line.kind(),
            rule: denial.rule.clone(),
            reason: denial.reason.clone(),
            policy_hash,
        });
        let recorder = Recorder::new(
            Arc::clone(&self.audit),
            session.principal.clone(),
            session.id.clone(),
            command.origin.clone(),
        );
        match recorder.record_refused(id, record).await {
            Ok(()) => Error::PolicyDenied(Box::new(denial)),
            Err(error) => error.into(),
        }
    }

    fn start_request(
        &self,
        session: &Session,
        execution: Arc<Execution>,
        (command, secrets, trace): (Command, SecretVariables, CommandTrace),
        redacted: String,
        judged: Judged,
    ) -> StartRequest {
        let intent = ExecutionIntent {
            command: redacted,
            command_hash: self.settings.hash_key.hash(command.line.text().as_bytes()),
            command_kind: command.line.kind(),
            rule: judged.rule,
            policy_hash: judged.policy_hash,
            // A directory's name may be made of a secret too.
            cwd: session.redact(command.cwd.as_deref().unwrap_or(&session.snapshot().cwd)),
            secrets: secret_names(&command.secrets),
        };
        StartRequest {
            saves: session.saves(&command),
            execution,
            command,
            secrets,
            intent,
            trace,
        }
    }
}

/// An id for an execution whose caller chose none.
fn new_id() -> Result<ExecutionId, Error> {
    Ok(ExecutionId::from_random(random::bytes()?))
}

/// Where a command runs, and whether it waits for that.
fn place(command: &Command) -> Place {
    match (&command.line, command.queue_if_busy) {
        (CommandLine::Argv(_), _) => Place::Beside,
        (CommandLine::Script(_), true) => Place::Queue,
        (CommandLine::Script(_), false) => Place::Foreground,
    }
}

/// By what a command was allowed.
struct Judged {
    rule: String,
    policy_hash: Digest,
    /// The names it defines for the session.
    defined: SessionNames,
}

/// Has the policies that hold now judge a command; a denial comes with their hash.
fn judge(
    session: &Session,
    command: &Command,
    trace: &CommandTrace,
) -> Result<Judged, Box<(Denial, Digest)>> {
    let _judging = trace.stage(Stage::Policy);
    let policy = session.policy();
    let policy_hash = Digest(policy.content_hash());
    let judgement = session.judge(&policy, &command.line, &command.env);
    match judgement.verdict {
        Verdict::Allowed(allowed) => Ok(Judged {
            rule: allowed.rule.unwrap_or_default(),
            policy_hash,
            defined: judgement.defined,
        }),
        Verdict::Denied(denial) => Err(Box::new((denial, policy_hash))),
    }
}

/// What to answer where an id is known, or there is no room.
async fn attach(
    session: &Session,
    id: ExecutionId,
    known: Reserved,
) -> Result<Accepted, Arc<Error>> {
    let error = match known {
        Reserved::Existing(execution) => {
            let follower = execution.follow();
            execution.until_started().await?;
            return Ok(Accepted {
                follower,
                deduplicated: true,
            });
        }
        // A new one is started by the caller.
        Reserved::New | Reserved::Full => Error::from(LimitReached {
            kind: LimitKind::Executions,
            holder: LimitHolder::Session,
            current: QUEUE_LIMIT as u64,
            limit: QUEUE_LIMIT as u64,
            retry_after: QUEUE_RETRY,
        }),
        Reserved::Reused => Error::ExecutionIdReused { execution: id },
        Reserved::Forgotten => Error::ExecutionExpired { execution: id },
        Reserved::Busy(running) => Error::SessionBusy {
            session: session.id.clone(),
            running,
        },
    };
    Err(error.into())
}

/// A digest of what makes a command what it is. How it waits for its turn, for which shell,
/// and where it comes from, is no part of it.
fn payload(command: &Command) -> Digest {
    let Command {
        line,
        stdin,
        timeout,
        timeout_action,
        grace,
        env,
        secrets,
        cwd,
        expected_generation: _,
        queue_if_busy: _,
        overflow,
        checkpoint,
        origin: _,
    } = command;
    let mut bytes = Bytes::default();
    (line, stdin, timeout, timeout_action, grace).hash(&mut bytes);
    (env, secrets, cwd, overflow, checkpoint).hash(&mut bytes);
    Digest(Sha256::digest(&bytes.0).into())
}

/// What is hashed, as bytes: each text with its end, each list with its length.
#[derive(Debug, Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Nobody asks: the bytes are what counts.
    fn finish(&self) -> u64 {
        0
    }
}
