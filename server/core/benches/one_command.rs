//! All that the pure core does with one command, in the order in which the engine asks for
//! it, between a caller that asks and a shell that answers at once. What the rooms around the
//! core add (channels, system calls, gRPC) is not here.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;

use bytes::Bytes;
use execgate_core::audit::merkle::Frontier;
use execgate_core::audit::{
    AuditBody, AuditCause, AuditChannel, AuditObserver, AuditOutcome, AuthMethod, ChainState,
    ChannelTotals, CommandKind, Digest, ExecutionIntent, ExecutionOutcome, HashKey, Micros,
    NewRecord,
};
use execgate_core::budget::{Budgeted, OutputBudget};
use execgate_core::framing::{Framed, Framing, Nonce, Streams, Token};
use execgate_core::outcome::Channel;
use execgate_core::pipeline::{Pipeline, PipelineEvent, Stream};
use execgate_core::policy::{Asked, Dialect, Policy, PolicyStack, Question, SessionNames, Verdict};
use execgate_core::redact::{RedactionRules, assigned_secrets, given_secrets, redact_text};

/// What ends a benchmark: it does not do what it says.
pub(crate) type Fault = Box<dyn Error>;

/// Where the shell is.
const CWD: &str = "/srv/work/repository";

/// A second of audit time: records must have one, and none may differ from run to run.
const TIME: Micros = Micros(1_767_225_600_000_000);

/// A time that a command takes.
const WALL_MICROS: u64 = 234;

/// A session with the server's defaults.
pub(crate) struct Gate {
    rules: RedactionRules,
    policy: PolicyStack,
    names: SessionNames,
    key: HashKey,
    framing: Framing,
    pipeline: Pipeline,
    budget: OutputBudget,
    chain: ChainState,
    frontier: Frontier,
    commands: u64,
}

/// What the shell prints on each stream for one command.
pub(crate) struct Answer {
    /// Start marker, output, end marker.
    pub(crate) stdout: Bytes,
    /// End marker.
    pub(crate) stderr: Bytes,
}

impl Gate {
    /// Opens it: the shell has just said that it is ready.
    pub(crate) fn open() -> Self {
        let key = HashKey::new([3; 32]);
        let rules = RedactionRules::builtin().with_key(key.clone());
        let mut framing = Framing::new(Nonce::new([5; 8]), Streams::Separate);
        let ready = token(0);
        let start = framing.marker_start();
        let mut pipeline = Pipeline::new(Streams::Separate, &start, rules.clone(), &ready);
        let (mut events, answer) = (Vec::new(), answer(&start, &ready, 1, b""));
        pipeline.push(Stream::Stdout, answer.stdout, &mut events);
        pipeline.push(Stream::Stderr, answer.stderr, &mut events);
        framing.learn(Some(1));
        Self {
            rules,
            policy: PolicyStack::new(Policy::guard()),
            names: SessionNames::default(),
            key,
            framing,
            pipeline,
            budget: OutputBudget::default(),
            chain: ChainState::default(),
            frontier: Frontier::default(),
            commands: 0,
        }
    }

    /// One command whose output is `printed`, from the question to its second record.
    pub(crate) fn run(&mut self, script: &str, printed: &[u8]) -> Result<Budgeted, Fault> {
        let mut log = Vec::new();
        let intent = self.admit(script)?;
        let token = self.next_token();
        self.record(AuditBody::ExecutionIntent(intent), &mut log)?;
        let framed = self.frame(script, &token);
        let answer = self.answer(&token, printed);
        let shown = self.read(&token, answer)?;
        let budgeted = self.keep(&shown);
        let outcome = self.outcome();
        self.record(AuditBody::ExecutionOutcome(outcome), &mut log)?;
        match framed.is_empty() || log.is_empty() {
            true => Err("nothing was sent or recorded".into()),
            false => Ok(budgeted),
        }
    }

    /// The policy's word, what is learned of the text, and what is to be recorded of it.
    pub(crate) fn admit(&self, script: &str) -> Result<ExecutionIntent, Fault> {
        let learned = assigned_secrets(script).len() + given_secrets(&self.rules, script).len();
        let judgement = self.policy.judge(&Question {
            asked: Asked::Script(Dialect::Bash, script),
            names: &self.names,
            env: &BTreeMap::new(),
        });
        match judgement.verdict {
            Verdict::Allowed(allowed) if learned == 0 => Ok(ExecutionIntent {
                command: redact_text(&self.rules, script),
                command_hash: self.key.hash(script.as_bytes()),
                command_kind: CommandKind::Script,
                rule: allowed.rule.unwrap_or_default(),
                policy_hash: Digest(self.policy.content_hash()),
                cwd: redact_text(&self.rules, CWD),
                secrets: Vec::new(),
            }),
            _ => Err("the command is denied, or holds a secret".into()),
        }
    }

    /// What goes into the shell.
    pub(crate) fn frame(&self, script: &str, token: &Token) -> Vec<u8> {
        let framed = Framed {
            script,
            env: &[],
            cwd: None,
            cwd_before: None,
            stdin: None,
        };
        self.framing.command(&framed, token)
    }

    /// What comes out of it, for a command that prints this and succeeds.
    pub(crate) fn answer(&self, token: &Token, printed: &[u8]) -> Answer {
        answer(&self.framing.marker_start(), token, 0, printed)
    }

    /// The command's redacted output, complete.
    pub(crate) fn read(&mut self, token: &Token, answer: Answer) -> Result<Vec<u8>, Fault> {
        let (mut events, mut shown, mut ended) = (Vec::new(), Vec::new(), false);
        self.pipeline.begin(token, &mut events);
        self.pipeline
            .push(Stream::Stdout, answer.stdout, &mut events);
        self.pipeline
            .push(Stream::Stderr, answer.stderr, &mut events);
        for event in events {
            match event {
                PipelineEvent::Output {
                    channel: Channel::Stdout,
                    data,
                    ..
                } => shown.extend_from_slice(&data),
                PipelineEvent::Ended(end) => ended = end.status == Some(0) && end.cwd == CWD,
                _ => return Err("an event that nothing caused".into()),
            }
        }
        match ended {
            true => Ok(shown),
            false => Err("the command has not ended".into()),
        }
    }

    /// What an answer carries of it; of the two empty channels, too.
    pub(crate) fn keep(&self, shown: &[u8]) -> Budgeted {
        black_box(self.budget.apply(&[]));
        black_box(self.budget.apply(&[]));
        self.budget.apply(shown)
    }

    /// What is recorded of the command that was read last.
    pub(crate) fn outcome(&self) -> ExecutionOutcome {
        let totals = self.pipeline.totals().into_iter();
        let totals = totals.map(|totals| ChannelTotals {
            channel: match totals.channel {
                Channel::Stderr => AuditChannel::Stderr,
                _ => AuditChannel::Stdout,
            },
            bytes: totals.bytes,
            lines: totals.lines,
            redactions: 0,
            redacted: BTreeMap::new(),
            sha256: Digest(totals.sha256),
        });
        ExecutionOutcome {
            outcome: AuditOutcome::Exit { code: 0 },
            cause: AuditCause::Exited,
            observed_by: AuditObserver::Shell,
            wall_micros: WALL_MICROS,
            totals: totals.collect(),
        }
    }

    /// A line of the log, in its chain and its tree.
    pub(crate) fn record(&mut self, body: AuditBody, log: &mut Vec<u8>) -> Result<(), Fault> {
        let record = NewRecord {
            time: TIME,
            principal: "agent".to_owned(),
            session_id: Some("s-0123456789abcdef".to_owned()),
            execution_id: Some("e-0123456789abcdef".to_owned()),
            trace_id: None,
            auth: Some(AuthMethod::Token),
            body,
        };
        let appended = self.chain.append(&record, self.chain.sequence, log)?;
        self.frontier.push(appended.hash);
        Ok(())
    }

    /// A token that was not there before.
    pub(crate) fn next_token(&mut self) -> Token {
        self.commands += 1;
        token(self.commands)
    }
}

fn token(number: u64) -> Token {
    let mut random = [0; 16];
    let low = random.iter_mut().zip(number.to_le_bytes());
    low.for_each(|(byte, digit)| *byte = digit);
    Token::new(random)
}

/// The markers as the shell's function prints them, around what the command prints.
fn answer(start: &[u8], token: &Token, status: u8, printed: &[u8]) -> Answer {
    let (token, status) = (token.as_bytes(), [b' ', b'0' + status, b' ']);
    let begun: [&[u8]; 3] = [start, token, b">\x1e"];
    let ended: [&[u8]; 7] = [
        start,
        token,
        &status,
        CWD.as_bytes(),
        b"\x1e",
        token,
        b"\x1e",
    ];
    let errors: [&[u8]; 3] = [start, token, b"\x1e"];
    Answer {
        stdout: [begun.concat().as_slice(), printed, &ended.concat()]
            .concat()
            .into(),
        stderr: errors.concat().into(),
    }
}
