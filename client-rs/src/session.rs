//! A session: one live shell.

use execgate_proto::v1;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::client::{Client, answer};
use crate::command::Command;
use crate::error::Error;
use crate::event::Channel;
use crate::result::RunResult;
use crate::stream::ExecStream;

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
    /// # Errors
    /// When the command was refused, or the connection broke.
    pub async fn run(&self, command: impl Into<Command>) -> Result<RunResult, Error> {
        let request = command.into().into_run_request(self.id.clone());
        let call = self.client.call("ExecService/Run");
        answer(call, self.client.executions.clone().run(request))
            .await?
            .try_into()
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
    /// When the command was refused, or the connection broke.
    pub async fn exec(&self, command: impl Into<Command>) -> Result<ExecStream, Error> {
        let request = command.into().into_exec_request(self.id.clone());
        let call = self.client.call("ExecService/Exec");
        let responses = answer(call.clone(), self.client.executions.clone().exec(request)).await?;
        let events = responses.map_ok(|response| response.event.unwrap_or_default());
        ExecStream::open(self.clone(), call, events.boxed()).await
    }

    /// Follows an execution that runs or has finished, from its beginning: what is
    /// retained of its output, then what comes.
    ///
    /// # Errors
    /// When there is none of this id, or the connection broke.
    pub async fn attach(&self, execution_id: impl Into<String>) -> Result<ExecStream, Error> {
        self.attach_from(execution_id, []).await
    }

    /// The same from these offsets on; a channel that is not named begins at 0.
    ///
    /// # Errors
    /// As [`Session::attach`], and when an offset lies beyond the end.
    pub async fn attach_from(
        &self,
        execution_id: impl Into<String>,
        offsets: impl IntoIterator<Item = (Channel, u64)>,
    ) -> Result<ExecStream, Error> {
        let offset_of = |(channel, offset): (Channel, u64)| v1::ChannelOffset {
            channel: channel.to_proto().into(),
            offset,
        };
        let request = v1::AttachRequest {
            session_id: self.id.clone(),
            execution_id: execution_id.into(),
            offsets: offsets.into_iter().map(offset_of).collect(),
            notices_seen: 0,
        };
        let call = self.client.call("ExecService/Attach");
        let mut service = self.client.executions.clone();
        let responses = answer(call.clone(), service.attach(request)).await?;
        let events = responses.map_ok(|response| response.event.unwrap_or_default());
        ExecStream::open(self.clone(), call, events.boxed()).await
    }

    /// The session as the server knows it.
    ///
    /// # Errors
    /// When the session is gone, or the connection broke.
    pub async fn describe(&self) -> Result<v1::Session, Error> {
        let request = v1::GetSessionRequest {
            session_id: self.id.clone(),
        };
        let call = self.client.call("SessionService/GetSession");
        let response = answer(call, self.client.sessions.clone().get_session(request)).await?;
        response.session.ok_or(Error::Protocol {
            what: "a session was asked for and not answered",
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
        let call = self.client.call("SessionService/CloseSession");
        let response = answer(call, self.client.sessions.clone().close_session(request)).await?;
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
