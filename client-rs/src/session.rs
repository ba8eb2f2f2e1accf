//! A session: one live shell.

use std::time::{Duration, Instant};

use execgate_proto::v1;
use execgate_proto::v1::ErrorReason;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use crate::client::Client;
use crate::command::Command;
use crate::error::Error;
use crate::event::Channel;
use crate::position::Position;
use crate::result::RunResult;
use crate::resume::Attempts;
#[cfg(doc)]
use crate::resume::Resume;
use crate::stream::{ExecStream, Following, Opener, Source, Start};

/// Longest wait for a server that is asked whether it is there: it answers at once.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// A call that lasted so long did not break at its beginning, and is worth another
/// series of attempts.
const LONG_CALL: Duration = Duration::from_secs(5);

/// A live shell on a target. Cheap to clone; clones are the same session.
///
/// Dropping it does not close it: the session can be found again by its id, and is
/// closed when nobody uses it for its idle time.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) client: Client,
    id: String,
}

impl Session {
    pub(crate) fn new(client: Client, id: String) -> Self {
        Self { client, id }
    }

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
    /// It may be repeated when the connection breaks, as [`Resume`] says, and never runs
    /// twice.
    ///
    /// # Errors
    /// When the command was refused, or the connection broke and did not come back.
    pub async fn run(&self, command: impl Into<Command>) -> Result<RunResult, Error> {
        let mut command = command.into();
        let (execution_id, fresh) = command.choose_id()?;
        let resume = command.resumes().unwrap_or(self.client.resume);
        let request = command.into_run_request(self.id.clone());
        let call = self.client.call("ExecService/Run");
        let mut attempts = self.client.attempts(resume, call.clone(), &execution_id);
        loop {
            let began = Instant::now();
            let error = match self.client.once(request.clone()).await {
                Ok(response) => {
                    let mut result = RunResult::try_from(response)?;
                    // A call that was repeated finds what it started before.
                    result.deduplicated &= !fresh;
                    return Ok(result);
                }
                Err(error) => error,
            };
            let lasted = began.elapsed() > LONG_CALL;
            self.find_again(&execution_id, error, &mut attempts).await?;
            if lasted {
                attempts.progress();
            }
        }
    }

    /// Asks for an execution, once.
    async fn look_up(&self, execution_id: &str) -> Result<(), Error> {
        let request = v1::GetExecutionRequest {
            session_id: self.id.clone(),
            execution_id: execution_id.to_owned(),
        };
        self.client.once(request).await.map(|_known| ())
    }

    /// Waits until the server answers again, after a call about an execution failed, or until
    /// the call may be made anew.
    async fn find_again(
        &self,
        execution_id: &str,
        mut error: Error,
        attempts: &mut Attempts,
    ) -> Result<(), Error> {
        loop {
            tokio::time::sleep(attempts.pause(error)?).await;
            if !attempts.begun() {
                return Ok(());
            }
            let asking = tokio::time::timeout(ASK_TIMEOUT, self.look_up(execution_id));
            error = match asking.await {
                // The call never came that far, or it is about to be answered.
                Ok(Err(error)) if error.reason() == Some(ErrorReason::ExecutionNotFound) => {
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Ok(Ok(_)) => return Ok(()),
                Err(_) => self.client.call("ExecService/GetExecution").timed_out(),
            };
        }
    }

    /// Starts a command and follows it. Returns when it has started, with
    /// [`Command::queue_if_busy`] when its turn has come.
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
    /// When the command was refused, or the connection broke and did not come back.
    pub async fn exec(&self, command: impl Into<Command>) -> Result<ExecStream, Error> {
        let mut command = command.into();
        let (execution_id, fresh) = command.choose_id()?;
        let following = Following {
            session_id: self.id.clone(),
            execution_id,
            call: self.client.call("ExecService/Exec"),
            resume: command.resumes().unwrap_or(self.client.resume),
            retry: self.client.retry,
            starts: true,
            fresh,
        };
        let request = command.into_exec_request(self.id.clone());
        let client = self.client.clone();
        let opener: Opener = Box::new(move |start| match start {
            Start::First => client.clone().exec(request.clone()).boxed(),
            Start::Again(request) => client.clone().attach(request).boxed(),
        });
        ExecStream::open(self.clone(), following, Position::default(), opener).await
    }

    /// Follows an execution that runs or has finished, from its beginning: what is
    /// retained of its output, then what comes.
    ///
    /// # Errors
    /// When there is none of this id, or the connection broke and did not come back.
    pub async fn attach(&self, execution_id: impl Into<String>) -> Result<ExecStream, Error> {
        self.attach_from(execution_id, []).await
    }

    /// The same from these offsets on, those of [`ExecStream::offsets`]; a channel that is
    /// not named begins at 0.
    ///
    /// # Errors
    /// As [`Session::attach`], and when an offset lies beyond the end.
    pub async fn attach_from(
        &self,
        execution_id: impl Into<String>,
        offsets: impl IntoIterator<Item = (Channel, u64)>,
    ) -> Result<ExecStream, Error> {
        let following = Following {
            session_id: self.id.clone(),
            execution_id: execution_id.into(),
            call: self.client.call("ExecService/Attach"),
            resume: self.client.resume,
            retry: self.client.retry,
            starts: false,
            fresh: false,
        };
        let position = Position::at(offsets);
        let first = position.request(self.id.clone(), following.execution_id.clone());
        let client = self.client.clone();
        let opener: Opener = Box::new(move |start| match start {
            Start::First => client.clone().attach(first.clone()).boxed(),
            Start::Again(request) => client.clone().attach(request).boxed(),
        });
        ExecStream::open(self.clone(), following, position, opener).await
    }

    /// The session as the server knows it.
    ///
    /// # Errors
    /// When the session is gone, or the connection broke.
    pub async fn describe(&self) -> Result<v1::Session, Error> {
        let request = v1::GetSessionRequest {
            session_id: self.id.clone(),
        };
        let response = self.client.ask(request).await?;
        response.session.ok_or(Error::Protocol {
            what: "a session was asked for and not answered",
        })
    }

    /// Changes its labels and defaults while it lives; answers what it is then. The id in
    /// `changes` does not count, and what is absent stays.
    ///
    /// # Errors
    /// When a value is refused, the session is over, or the connection broke.
    pub async fn update(&self, changes: v1::UpdateSessionRequest) -> Result<v1::Session, Error> {
        let request = v1::UpdateSessionRequest {
            session_id: self.id.clone(),
            ..changes
        };
        let response = self.client.ask(request).await?;
        response.session.ok_or(Error::Protocol {
            what: "a session was changed and not answered",
        })
    }

    /// Ends the session and what it started.
    ///
    /// # Errors
    /// When the session is gone, or the connection broke.
    pub async fn close(&self) -> Result<Closed, Error> {
        let request = v1::CloseSessionRequest {
            session_id: self.id.clone(),
            grace_period: None,
        };
        let response = self.client.ask(request).await?;
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

impl Client {
    async fn exec(self, request: v1::ExecRequest) -> Result<Source, Error> {
        let responses = self.once(request).await?;
        let events = responses.map_ok(|response| response.event.unwrap_or_default());
        Ok(events.boxed())
    }

    async fn attach(self, request: v1::AttachRequest) -> Result<Source, Error> {
        let responses = self.once(request).await?;
        let events = responses.map_ok(|response| response.event.unwrap_or_default());
        Ok(events.boxed())
    }
}
