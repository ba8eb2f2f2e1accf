//! What is asked of a session's executions beside running and following them.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use execgate_proto::v1;
use execgate_proto::v1::read_output_request::Selection;
use futures::Stream;

use crate::command::{Command, to_proto};
use crate::error::Error;
use crate::event::Channel;
use crate::pages::{Page, pages};
use crate::session::Session;

impl Session {
    /// One of its executions as the server knows it.
    ///
    /// # Errors
    /// When there is none of this id, or the connection broke.
    pub async fn execution(&self, id: impl Into<String>) -> Result<v1::Execution, Error> {
        let request = v1::GetExecutionRequest {
            session_id: self.id().to_owned(),
            execution_id: id.into(),
        };
        let response = self.client.ask(request).await?;
        response.execution.ok_or(Error::Protocol {
            what: "an execution was asked for and not answered",
        })
    }

    /// Its executions that are still kept, newest first; pages are fetched as they
    /// are read.
    pub fn executions(
        &self,
    ) -> impl Stream<Item = Result<v1::Execution, Error>> + Send + Unpin + use<> {
        let session = self.clone();
        pages(String::new(), move |page_token| {
            let session = session.clone();
            async move {
                let request = v1::ListExecutionsRequest {
                    session_id: session.id().to_owned(),
                    page_token,
                    ..v1::ListExecutionsRequest::default()
                };
                let client = &session.client;
                let page = client.ask(request).await?;
                Ok(Page::new(page.executions, page.next_page_token))
            }
        })
    }

    /// How the policy would judge a command, without running it. A denial is an
    /// answer here, and not an error.
    ///
    /// # Errors
    /// When the command makes no sense, or the connection broke.
    pub async fn evaluate(&self, command: impl Into<Command>) -> Result<v1::PolicyVerdict, Error> {
        let request = v1::EvaluatePolicyRequest {
            session_id: self.id().to_owned(),
            spec: Some(command.into().into_spec()),
            policy: None,
        };
        let response = self.client.ask(request).await?;
        response.verdict.ok_or(Error::Protocol {
            what: "a command was judged without a verdict",
        })
    }

    /// Sends a signal to a running execution.
    ///
    /// # Errors
    /// When it does not run, or the connection broke.
    pub async fn signal(
        &self,
        execution_id: impl Into<String>,
        signal: v1::SignalKind,
    ) -> Result<v1::SignalResponse, Error> {
        let request = v1::SignalRequest {
            session_id: self.id().to_owned(),
            execution_id: execution_id.into(),
            signal: signal.into(),
        };
        // Two signals are not one.
        self.client.ask(request).await
    }

    /// Changes the size of its terminal.
    ///
    /// # Errors
    /// When it has none, or the connection broke.
    pub async fn resize_terminal(&self, rows: u32, columns: u32) -> Result<(), Error> {
        let request = v1::ResizeTerminalRequest {
            session_id: self.id().to_owned(),
            size: Some(v1::TerminalSize { rows, columns }),
        };
        self.client.ask(request).await?;
        Ok(())
    }

    /// Reads output that the server retains, without running anything again: await
    /// it, after saying what to read. Default: 1 MiB from the oldest byte on.
    ///
    /// ```no_run
    /// # async fn example(session: execgate_client::Session) -> Result<(), execgate_client::Error> {
    /// use execgate_client::Channel;
    ///
    /// let piece = session.read_output("build", Channel::Stderr).offset(4096).await?;
    /// println!("{} of {}", piece.next_offset, piece.end_offset);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_output(&self, execution_id: impl Into<String>, channel: Channel) -> ReadOutput {
        ReadOutput {
            session: self.clone(),
            execution_id: execution_id.into(),
            channel,
            range: v1::OutputRange::default(),
            budget: None,
        }
    }
}

/// Output to be read: awaiting it reads.
#[derive(Debug, Clone)]
#[must_use = "nothing is read before this is awaited"]
pub struct ReadOutput {
    session: Session,
    execution_id: String,
    channel: Channel,
    range: v1::OutputRange,
    budget: Option<v1::OutputBudget>,
}

impl ReadOutput {
    /// The first byte. Default: the oldest that is retained.
    pub fn offset(mut self, offset: u64) -> Self {
        self.range.offset = Some(offset);
        self
    }

    /// Most bytes, up to 1 MiB.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.range.limit = bytes;
        self
    }

    /// Waits up to this long for a first byte, if there is none yet.
    pub fn wait(mut self, time: Duration) -> Self {
        self.range.wait = Some(to_proto(time));
        self
    }

    /// What a budget chooses of all that is retained, instead of a range of bytes.
    pub fn budget(mut self, budget: impl Into<v1::OutputBudget>) -> Self {
        self.budget = Some(budget.into());
        self
    }

    async fn read(self) -> Result<OutputPiece, Error> {
        let request = v1::ReadOutputRequest {
            session_id: self.session.id().to_owned(),
            execution_id: self.execution_id,
            channel: self.channel.to_proto().into(),
            selection: Some(match self.budget {
                Some(budget) => Selection::Budget(budget),
                None => Selection::Range(self.range),
            }),
        };
        let client = &self.session.client;
        let piece = client.ask(request).await?;
        Ok(OutputPiece {
            data: piece.data,
            offset: piece.offset,
            next_offset: piece.next_offset,
            first_offset: piece.first_offset,
            end_offset: piece.end_offset,
            complete: piece.complete,
            report: piece.budget,
        })
    }
}

impl IntoFuture for ReadOutput {
    type Output = Result<OutputPiece, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

/// Retained output that was read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OutputPiece {
    /// The bytes.
    pub data: Bytes,
    /// Offset of the first of them; 0 with a budget.
    pub offset: u64,
    /// Where to read on.
    pub next_offset: u64,
    /// The oldest byte that is retained.
    pub first_offset: u64,
    /// One past the newest byte so far.
    pub end_offset: u64,
    /// Whether no byte will follow `end_offset`.
    pub complete: bool,
    /// What the budget did, where there was one.
    pub report: Option<v1::BudgetReport>,
}
