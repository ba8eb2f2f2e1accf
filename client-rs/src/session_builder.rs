//! A session to be created.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::create_session_request::Target;

use crate::client::Client;
use crate::command::{random_digits, to_proto};
use crate::error::Error;
use crate::session::Session;

/// A session to be created: awaiting it creates it.
///
/// ```no_run
/// # async fn example(client: execgate_client::Client) -> Result<(), execgate_client::Error> {
/// let session = client.session().cwd("/srv/project").env("CI", "1").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a session is created when this is awaited"]
pub struct SessionBuilder {
    client: Client,
    request: v1::CreateSessionRequest,
}

impl SessionBuilder {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            request: v1::CreateSessionRequest::default(),
        }
    }

    /// An id of the caller's own, 1 to 64 of `[a-z0-9_-]`: a retry with the same id
    /// finds the session that exists.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.request.session_id = id.into();
        self
    }

    /// Where the shell runs. Default: the server's own machine.
    pub fn target(mut self, target: Target) -> Self {
        self.request.target = Some(target);
        self
    }

    /// The shell: a path, or one of `bash`, `dash`, `ash`, `sh`.
    pub fn shell(mut self, shell: impl Into<String>) -> Self {
        self.request.shell = shell.into();
        self
    }

    /// The directory to begin in.
    pub fn cwd(mut self, cwd: impl Into<String>) -> Self {
        self.request.cwd = cwd.into();
        self
    }

    /// A variable of the session's environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.env.insert(name.into(), value.into());
        self
    }

    /// A label to find it by.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.labels.insert(name.into(), value.into());
        self
    }

    /// Time limit of commands that name none.
    pub fn default_timeout(mut self, timeout: Duration) -> Self {
        self.request.default_timeout = Some(to_proto(timeout));
        self
    }

    /// Idle time after which it is closed.
    pub fn idle_ttl(mut self, ttl: Duration) -> Self {
        self.request.idle_ttl = Some(to_proto(ttl));
        self
    }

    /// Puts the shell on a terminal of this size.
    pub fn terminal(mut self, rows: u32, columns: u32) -> Self {
        self.request.terminal = Some(v1::Terminal {
            size: Some(v1::TerminalSize { rows, columns }),
            term: String::new(),
        });
        self
    }

    /// What happens when the shell ends by itself. Default: a new one.
    pub fn on_shell_exit(mut self, action: v1::OnShellExit) -> Self {
        self.request.on_shell_exit = action.into();
        self
    }

    /// What of its output `run` returns where the command does not say.
    pub fn output_budget(mut self, budget: impl Into<v1::OutputBudget>) -> Self {
        self.request.output_budget = Some(budget.into());
        self
    }

    /// The directory whose files checkpoints cover.
    pub fn workspace(mut self, directory: impl Into<String>) -> Self {
        self.request.workspace = directory.into();
        self
    }

    /// When checkpoints are made by themselves.
    pub fn checkpoints(mut self, mode: v1::CheckpointMode) -> Self {
        self.request.checkpoints = mode.into();
        self
    }

    /// The checkpoint that the workspace begins with.
    pub fn from_checkpoint(mut self, id: impl Into<String>) -> Self {
        self.request.from_checkpoint = id.into();
        self
    }

    /// Further restrictions on its commands.
    pub fn policy(mut self, policy: v1::SessionPolicy) -> Self {
        self.request.policy = Some(policy);
        self
    }

    /// Any other field of the request, changed in place.
    pub fn with(mut self, change: impl FnOnce(&mut v1::CreateSessionRequest)) -> Self {
        change(&mut self.request);
        self
    }

    async fn create(mut self) -> Result<Session, Error> {
        if self.request.session_id.is_empty() {
            // With an id it is found again by a call that is repeated.
            self.request.session_id = format!("ses_{}", random_digits()?);
        }
        let response = self.client.ask(self.request).await?;
        let session = response.session.ok_or(Error::Protocol {
            what: "a session was created and not answered",
        })?;
        Ok(Session::new(self.client, session.session_id))
    }
}

impl IntoFuture for SessionBuilder {
    type Output = Result<Session, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.create())
    }
}
