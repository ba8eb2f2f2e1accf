//! A command to be run, step by step.

use std::time::Duration;

use bytes::Bytes;
use execgate_proto::v1;
use execgate_proto::v1::execution_spec::{Command as Kind, Stdin};

use crate::error::Error;
use crate::resume::Resume;

/// Random bytes in an id: with them nobody meets another one by chance.
const ID_BYTES: usize = 16;

/// What becomes of a command when nobody follows it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisconnect {
    /// It runs on, and its output is retained.
    #[default]
    Detach,
    /// It is cancelled.
    Cancel,
}

/// A command: a script for the session's shell, or a program beside it.
///
/// ```
/// use std::time::Duration;
/// use execgate_client::Command;
///
/// let test = Command::script("make test").timeout(Duration::from_secs(60));
/// let status = Command::argv(["git", "status", "--short"]).env("LC_ALL", "C");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Command {
    spec: v1::ExecutionSpec,
    execution_id: String,
    queue_if_busy: bool,
    expected_generation: Option<u64>,
    on_disconnect: OnDisconnect,
    output_budget: Option<v1::OutputBudget>,
    resume: Option<Resume>,
}

impl Command {
    /// Text for the session's shell; what it changes there stays.
    pub fn script(text: impl Into<String>) -> Self {
        Self::new(Kind::Script(text.into()))
    }

    /// A program and its arguments, run beside the shell; no shell reads them.
    pub fn argv<I>(arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self::new(Kind::Argv(v1::Argv { arguments }))
    }

    fn new(kind: Kind) -> Self {
        let spec = v1::ExecutionSpec {
            command: Some(kind),
            ..v1::ExecutionSpec::default()
        };
        Self {
            spec,
            execution_id: String::new(),
            queue_if_busy: false,
            expected_generation: None,
            on_disconnect: OnDisconnect::Detach,
            output_budget: None,
            resume: None,
        }
    }

    /// An id of the caller's own, 1 to 64 of `[a-z0-9_-]`: a retry with the same id
    /// follows the execution that exists and never runs the command twice. Default: a
    /// random one, chosen on this side, so that the client's own retries are harmless.
    pub fn execution_id(mut self, id: impl Into<String>) -> Self {
        self.execution_id = id.into();
        self
    }

    /// The command's own time limit. Default: the session's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = Some(to_proto(timeout));
        self
    }

    /// A variable for this command only.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.env.insert(name.into(), value.into());
        self
    }

    /// A directory to run in, relative to the session's.
    pub fn cwd(mut self, cwd: impl Into<String>) -> Self {
        self.spec.cwd = cwd.into();
        self
    }

    /// Bytes for its standard input, at most 1 MiB. Default: none.
    pub fn stdin(mut self, data: impl Into<Bytes>) -> Self {
        let data = data.into();
        self.spec.stdin = Some(Stdin::Inline(v1::InlineStdin { data }));
        self
    }

    /// Leaves its standard input open, for
    /// [`ExecStream::write_stdin`](crate::ExecStream::write_stdin).
    pub fn open_stdin(mut self) -> Self {
        self.spec.stdin = Some(Stdin::Open(v1::OpenStdin {}));
        self
    }

    /// What happens at the time limit. Default: SIGINT, SIGTERM, SIGKILL in turn.
    pub fn timeout_action(mut self, action: v1::TimeoutAction) -> Self {
        self.spec.timeout_action = action.into();
        self
    }

    /// Time between two of those steps, up to a minute.
    pub fn grace_period(mut self, time: Duration) -> Self {
        self.spec.grace_period = Some(to_proto(time));
        self
    }

    /// What happens when it writes more than the server retains.
    pub fn overflow(mut self, action: v1::OverflowAction) -> Self {
        self.spec.overflow = action.into();
        self
    }

    /// Puts a registered secret into the variable of the same name.
    pub fn secret(mut self, name: impl Into<String>) -> Self {
        self.spec.secrets.push(v1::SecretReference {
            name: name.into(),
            variable: String::new(),
        });
        self
    }

    /// Waits for its turn while another script runs, instead of being refused.
    pub fn queue_if_busy(mut self) -> Self {
        self.queue_if_busy = true;
        self
    }

    /// Refuses to run in any other generation of the session's shell.
    pub fn expected_generation(mut self, generation: u64) -> Self {
        self.expected_generation = Some(generation);
        self
    }

    /// What becomes of it when this client goes away, or drops the call.
    pub fn on_disconnect(mut self, action: OnDisconnect) -> Self {
        self.on_disconnect = action;
        self
    }

    /// What of its output `run` returns, a [`Budget`](crate::Budget). Default: the session's.
    pub fn output_budget(mut self, budget: impl Into<v1::OutputBudget>) -> Self {
        self.output_budget = Some(budget.into());
        self
    }

    /// What happens when the connection breaks while it runs. Default: as
    /// [`ClientBuilder::resume`](crate::ClientBuilder::resume) says.
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume = Some(resume);
        self
    }

    /// Its id, chosen now if it has none, and whether it was.
    pub(crate) fn choose_id(&mut self) -> Result<(String, bool), Error> {
        let fresh = self.execution_id.is_empty();
        if fresh {
            self.execution_id = format!("exe_{}", random_digits()?);
        }
        Ok((self.execution_id.clone(), fresh))
    }

    pub(crate) fn resumes(&self) -> Option<Resume> {
        self.resume
    }

    pub(crate) fn into_spec(self) -> v1::ExecutionSpec {
        self.spec
    }

    pub(crate) fn into_run_request(self, session_id: String) -> v1::RunRequest {
        v1::RunRequest {
            session_id,
            execution_id: self.execution_id,
            spec: Some(self.spec),
            queue_if_busy: self.queue_if_busy,
            expected_generation: self.expected_generation,
            on_disconnect: self.on_disconnect.to_proto().into(),
            validate_only: false,
            output_budget: self.output_budget,
        }
    }

    pub(crate) fn into_exec_request(self, session_id: String) -> v1::ExecRequest {
        v1::ExecRequest {
            session_id,
            execution_id: self.execution_id,
            spec: Some(self.spec),
            queue_if_busy: self.queue_if_busy,
            expected_generation: self.expected_generation,
            on_disconnect: self.on_disconnect.to_proto().into(),
            validate_only: false,
        }
    }
}

impl From<&str> for Command {
    fn from(script: &str) -> Self {
        Self::script(script)
    }
}

impl From<String> for Command {
    fn from(script: String) -> Self {
        Self::script(script)
    }
}

impl OnDisconnect {
    fn to_proto(self) -> v1::OnDisconnect {
        match self {
            Self::Detach => v1::OnDisconnect::Detach,
            Self::Cancel => v1::OnDisconnect::Cancel,
        }
    }
}

/// What makes an id one of its own.
pub(crate) fn random_digits() -> Result<String, Error> {
    let mut random = [0; ID_BYTES];
    getrandom::fill(&mut random).map_err(|source| Error::LocalFile {
        path: "(random numbers)".into(),
        source: source.into(),
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

/// A duration beyond what the wire can say becomes the longest it can, which the
/// server refuses by name.
pub(crate) fn to_proto(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}
