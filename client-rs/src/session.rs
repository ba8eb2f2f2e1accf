//! A session: one live shell.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use execgate_proto::v1;
use execgate_proto::v1::create_session_request::Target;

use crate::client::Client;
use crate::command::{Command, to_proto};
use crate::error::Error;
use crate::result::RunResult;
use crate::stream::ExecStream;

/// A live shell on a target. Cheap to clone; clones are the same session.
///
/// Dropping it does not close it: the session can be found again by its id, and is
/// closed when nobody uses it for its idle time.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    id: String,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs a command and waits for its result. A non-zero exit is a result.
    ///
    /// ```no_run
    /// # async fn example(session: execgate_client::Session) -> Result<(), execgate_client::Error> {
    /// use std::time::Duration;
    /// use execgate_client::Command;
    ///
    /// let here = session.run("pwd").await?;
    /// let test = session.run(Command::script("make test").timeout(Duration::from_secs(60))).await?;
    /// if test.timed_out() {
    ///     println!("{}", test.stdout_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the command was refused, or the connection broke.
    pub async fn run(&self, command: impl Into<Command>) -> Result<RunResult, Error> {
        let request = command.into().into_run_request(self.id.clone());
        let response = self.client.executions.clone().run(request).await?;
        response.into_inner().try_into()
    }

    /// Starts a command and follows it.
    ///
    /// ```no_run
    /// # async fn example(session: execgate_client::Session) -> Result<(), execgate_client::Error> {
    /// use futures::StreamExt as _;
    ///
    /// let mut events = session.exec("make").await?;
    /// while let Some(event) = events.next().await {
    ///     if let Some(bytes) = event?.stderr() {
    ///         eprint!("{}", String::from_utf8_lossy(bytes));
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the command was refused, or the connection broke.
    pub async fn exec(&self, command: impl Into<Command>) -> Result<ExecStream, Error> {
        let request = command.into().into_exec_request(self.id.clone());
        let response = self.client.executions.clone().exec(request).await?;
        Ok(ExecStream::new(response.into_inner()))
    }

    /// The session as the server knows it.
    ///
    /// # Errors
    /// When the session is gone, or the connection broke.
    pub async fn describe(&self) -> Result<v1::Session, Error> {
        let request = v1::GetSessionRequest {
            session_id: self.id.clone(),
        };
        let response = self.client.sessions.clone().get_session(request).await?;
        let session = response.into_inner().session;
        session.ok_or(Error::Protocol {
            what: "a session was asked for and not answered",
        })
    }

    /// Ends the session and what it started.
    ///
    /// # Errors
    /// When the session is gone, or the connection broke.
    pub async fn close(self) -> Result<Closed, Error> {
        let request = v1::CloseSessionRequest {
            session_id: self.id,
            grace_period: None,
        };
        let response = self.client.sessions.clone().close_session(request).await?;
        let response = response.into_inner();
        Ok(Closed {
            ended_processes: response.ended_processes,
            ended_process_count: response.ended_process_count,
        })
    }
}

/// What closing a session did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Processes that were ended with it; at most 1000 are listed.
    pub ended_processes: Vec<v1::EndedProcess>,
    /// How many were ended, also those that are not listed.
    pub ended_process_count: u32,
}

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

    async fn create(self) -> Result<Session, Error> {
        let mut sessions = self.client.sessions.clone();
        let response = sessions.create_session(self.request).await?.into_inner();
        let session = response.session.ok_or(Error::Protocol {
            what: "a session was created and not answered",
        })?;
        Ok(Session {
            client: self.client,
            id: session.session_id,
        })
    }
}

impl IntoFuture for SessionBuilder {
    type Output = Result<Session, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.create())
    }
}
