//! One running shell: its process, the framing into it and the pipeline out of it.

use std::sync::Arc;
use std::time::Duration;

use execgate_core::environment::{self, Variable};
use execgate_core::framing::{Framing, Nonce, Streams, Token};
use execgate_core::pipeline::{Pipeline, PipelineEvent};
use execgate_core::shell::ShellKind;

use super::pump::{Pump, PumpEvent};
use super::redaction::{FollowedRules, SessionRedaction};
use crate::error::Error;
use crate::random;
use crate::transport::{Program, ProgramStdin, ProgramStreams, Transport, WindowSize};

/// How long a shell may take to print its first marker.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long an idle shell may take to say what it exports.
const ENVIRONMENT_LIMIT: Duration = Duration::from_secs(2);

/// How to start a shell, now and after it has ended.
#[derive(Clone)]
pub(crate) struct ShellSpec {
    /// Nothing where the session has no shell.
    pub(crate) kind: Option<ShellKind>,
    /// A path or a name.
    pub(crate) program: String,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) terminal: Option<WindowSize>,
    pub(crate) redaction: Arc<SessionRedaction>,
}

/// A shell that takes commands.
pub(crate) struct Shell {
    pub(crate) pump: Pump,
    pub(crate) framing: Framing,
}

impl Shell {
    /// Starts a shell and waits until it takes commands; answers its working directory.
    pub(crate) async fn start(
        transport: &dyn Transport,
        spec: &ShellSpec,
        cwd: &str,
    ) -> Result<(Self, String), Error> {
        let kind = spec.kind.ok_or_else(|| Error::NoShell {
            reason: "the session was made without one".to_owned(),
        })?;
        let (streams, program_streams) = match spec.terminal {
            Some(size) => (Streams::Terminal, ProgramStreams::Terminal(size)),
            None => (Streams::Separate, ProgramStreams::Separate),
        };
        let program = Program {
            program: spec.program.clone(),
            arguments: kind
                .arguments(&spec.program)
                .iter()
                .map(|&word| word.to_owned())
                .collect(),
            env: spec.env.clone(),
            cwd: cwd.to_owned(),
            stdin: ProgramStdin::Private,
            streams: program_streams,
        };
        let process = transport.spawn(&program).await?;
        let framing = Framing::new(Nonce::new(random::bytes()?), streams);
        let ready = Token::new(random::bytes()?);
        let (followed, rules) = FollowedRules::new(&spec.redaction);
        let pipeline = Pipeline::new(streams, &framing.marker_start(), rules, &ready);
        let mut pump = Pump::new(process, pipeline, followed);
        pump.write(&framing.init(&ready));
        let mut shell = Self { pump, framing };
        let cwd = tokio::time::timeout(READY_LIMIT, shell.until_ready())
            .await
            .unwrap_or_else(|_elapsed| Err(not_ready("it said nothing in time")))?;
        Ok((shell, cwd))
    }

    async fn until_ready(&mut self) -> Result<String, Error> {
        let mut events = Vec::new();
        loop {
            if let PumpEvent::Ended(end) = self.pump.next(true, &mut events).await {
                return Err(not_ready(&format!("it ended: {end:?}")));
            }
            for event in events.drain(..) {
                if let PipelineEvent::Ended(end) = event {
                    self.framing.learn(end.status);
                    return Ok(end.cwd);
                }
            }
        }
    }

    /// Asks an idle shell what it exports, and waits for the answer; what else comes is in
    /// `events`. Nothing where it does not answer in time.
    pub(crate) async fn environment(
        &mut self,
        events: &mut Vec<PipelineEvent>,
    ) -> Result<Option<Vec<Variable>>, Error> {
        let token = Token::new(random::bytes()?);
        self.pump.pipeline.await_environment(&token);
        let question = self.framing.environment(&token);
        self.pump.write(&question);
        let answer = tokio::time::timeout(ENVIRONMENT_LIMIT, self.until_environment(events)).await;
        Ok(answer.unwrap_or_default())
    }

    async fn until_environment(
        &mut self,
        events: &mut Vec<PipelineEvent>,
    ) -> Option<Vec<Variable>> {
        loop {
            let PumpEvent::Output = self.pump.next(true, events).await else {
                return None;
            };
            let answer = events
                .iter()
                .position(|event| matches!(event, PipelineEvent::Environment(_)));
            if let Some(PipelineEvent::Environment(text)) = answer.map(|at| events.remove(at)) {
                return Some(environment::parse(&text));
            }
        }
    }
}

fn not_ready(reason: &str) -> Error {
    Error::ShellNotReady {
        reason: reason.to_owned(),
    }
}
