//! ExecService: check, call, map, answer. Starting and following are next door.

mod caller;
mod events;
mod read;

use std::sync::Arc;
use std::time::Duration;

use execgate_core::ids::{ExecutionId, Principal};
use execgate_core::policy::{Dialect, Layer, Question, Verdict};
use execgate_engine::authority::Owner;
use execgate_engine::execution::{CommandLine, Follower};
use execgate_engine::session::Session;
use execgate_proto::v1;
use execgate_proto::v1::exec_service_server::ExecService;
use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use self::caller::Caller;
use self::events::Events;
pub(crate) use self::events::MAX_CHUNK_BYTES;
use super::auth::{origin, owner, reader, steward};
use super::deadline::{deadline, passes};
use super::edge::Edge;
use super::from_proto::{self, Ask, Position, Purpose};
use super::refusal::Refusal;
use super::to_proto::{self, ExecutionView};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Execs {
    edge: Arc<Edge>,
}

/// A command that was accepted, seen by the call that asked for it.
struct Started {
    view: ExecutionView,
    /// Has been there since before the start, so that nothing is missed.
    follower: Follower,
    /// Leaves the command to `on_disconnect` when the call goes.
    caller: Caller,
}

impl Execs {
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }

    /// Starts a command, or finds it. Acceptance itself is never interrupted: it runs in
    /// a task of its own, and a caller that goes meanwhile is dealt with by its guard.
    async fn start(
        &self,
        principal: &Owner,
        ask: Ask,
        deadline: Option<Instant>,
    ) -> Result<Started, Refusal> {
        let edge = Arc::clone(&self.edge);
        let session = edge.engine.find_session(principal, &ask.session)?;
        let id = ask.execution.map_or_else(new_id, Ok)?;
        let mut caller = Caller::asking(&session, &id, ask.on_disconnect);
        let timeout = ask.command.timeout.or(Some(session.default_timeout()));
        let (engine, owner, wanted) = (Arc::clone(&edge.engine), principal.clone(), id.clone());
        let accepting = tokio::spawn(
            async move {
                engine
                    .exec(&owner, &ask.session, Some(wanted), ask.command)
                    .await
            }
            .in_current_span(),
        );
        let accepted = tokio::select! {
            accepted = accepting => accepted.map_err(|error| incident(&error))?,
            () = passes(deadline) => return Err(Refusal::DeadlineExceeded { execution: id }),
        };
        match accepted {
            Ok(accepted) => {
                let execution = Arc::clone(accepted.follower.execution());
                caller.accepted(&execution);
                Ok(Started {
                    view: ExecutionView {
                        edge,
                        session,
                        execution,
                        timeout,
                        deduplicated: accepted.deduplicated,
                    },
                    follower: accepted.follower,
                    caller,
                })
            }
            Err(error) => {
                caller.dismiss();
                Err(edge.refused(error, &session))
            }
        }
    }

    /// How a command would be judged; a denial is the refusal that running it would get.
    fn validate(&self, principal: &Principal, ask: &Ask) -> Result<v1::PolicyVerdict, Refusal> {
        let session = self.edge.engine.session(principal, &ask.session)?;
        let policy = session.policy();
        let judgement = session.judge(&policy, &ask.command.line, &ask.command.env);
        match &judgement.verdict {
            Verdict::Denied(denial) => {
                Err(self.edge.denied(denial.clone(), &policy, Some(&session)))
            }
            Verdict::Allowed(_) => {
                let shown = self.edge.shown(Some(&session));
                let enforcement = self.edge.enforcement(&judgement, &policy, Some(&session));
                Ok(to_proto::verdict(&judgement, &policy, shown, enforcement))
            }
        }
    }

    fn view(
        &self,
        principal: &Principal,
        session: &Arc<Session>,
        id: &ExecutionId,
    ) -> Result<ExecutionView, Refusal> {
        Ok(ExecutionView {
            edge: Arc::clone(&self.edge),
            execution: self.edge.engine.execution(principal, &session.id, id)?,
            session: Arc::clone(session),
            timeout: None,
            deduplicated: true,
        })
    }
}

/// An id for an execution whose caller chose none.
fn new_id() -> Result<ExecutionId, Refusal> {
    let mut random = [0; 16];
    // Up to 256 bytes come whole or not at all.
    getrandom(&mut random, GetRandomFlags::empty()).map_err(|error| incident(&error))?;
    Ok(ExecutionId::from_random(random))
}

/// A defect, told to the log in full and to the caller by its name.
fn incident(error: &dyn std::error::Error) -> Refusal {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let incident = format!("inc-{:x}", since.unwrap_or(Duration::ZERO).as_micros());
    tracing::error!(%error, incident, "a call failed inside");
    Refusal::Internal { incident }
}

#[tonic::async_trait]
impl ExecService for Execs {
    type ExecStream = BoxStream<'static, Result<v1::ExecResponse, Status>>;
    type AttachStream = BoxStream<'static, Result<v1::AttachResponse, Status>>;

    async fn exec(
        &self,
        request: Request<v1::ExecRequest>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let principal = owner(&request)?;
        let deadline = deadline(request.metadata());
        let origin = origin(&request);
        let mut ask = from_proto::of_exec(request.into_inner(), &self.edge)?;
        ask.command.origin = origin;
        if ask.purpose == Purpose::Validate {
            let event = events::validated(self.validate(&principal, &ask)?);
            let only = Ok(v1::ExecResponse { event: Some(event) });
            return Ok(Response::new(futures::stream::iter([only]).boxed()));
        }
        let started = self.start(&principal, ask, deadline).await?;
        let events = Events::new(started, deadline).into_stream();
        let answers = events.map(|event| {
            event
                .map(|event| v1::ExecResponse { event: Some(event) })
                .map_err(Status::from)
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn attach(
        &self,
        request: Request<v1::AttachRequest>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let principal = reader(&request)?;
        let deadline = deadline(request.metadata());
        let attach = from_proto::attach(request.into_inner())?;
        let session = self.edge.engine.find_session(&principal, &attach.session);
        let session = session.map_err(Refusal::from)?;
        let view = self.view(&principal, &session, &attach.execution)?;
        view.execution
            .until_started()
            .await
            .map_err(Refusal::from)?;
        let events = Events::attached(view, &attach, deadline)?.into_stream();
        let answers = events.map(|event| {
            event
                .map(|event| v1::AttachResponse { event: Some(event) })
                .map_err(Status::from)
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn run(
        &self,
        request: Request<v1::RunRequest>,
    ) -> Result<Response<v1::RunResponse>, Status> {
        let principal = owner(&request)?;
        let deadline = deadline(request.metadata());
        let origin = origin(&request);
        let mut ask = from_proto::of_run(request.into_inner(), &self.edge)?;
        ask.command.origin = origin;
        if ask.purpose == Purpose::Validate {
            let verdict = Some(self.validate(&principal, &ask)?);
            return Ok(Response::new(v1::RunResponse {
                result: None,
                verdict,
            }));
        }
        let budget = ask.budget.take();
        let Started {
            view,
            follower,
            mut caller,
        } = self.start(&principal, ask, deadline).await?;
        let budget = budget.unwrap_or_else(|| view.session.defaults().output_budget);
        let result = tokio::select! {
            result = follower.result(&budget) => result,
            () = passes(deadline) => {
                let execution = view.execution.id.clone();
                return Err(Refusal::DeadlineExceeded { execution }.into());
            }
        };
        caller.dismiss();
        let result = Some(to_proto::result(result, &view));
        Ok(Response::new(v1::RunResponse {
            result,
            verdict: None,
        }))
    }

    async fn get_execution(
        &self,
        request: Request<v1::GetExecutionRequest>,
    ) -> Result<Response<v1::GetExecutionResponse>, Status> {
        let principal = reader(&request)?;
        let request = request.into_inner();
        let session = from_proto::session_id(&request.session_id)?;
        let id = from_proto::execution_id(&request.execution_id)?;
        let session = self
            .edge
            .engine
            .find_session(&principal, &session)
            .map_err(Refusal::from)?;
        let execution = to_proto::execution(&self.view(&principal, &session, &id)?);
        Ok(Response::new(v1::GetExecutionResponse {
            execution: Some(execution),
        }))
    }

    async fn list_executions(
        &self,
        request: Request<v1::ListExecutionsRequest>,
    ) -> Result<Response<v1::ListExecutionsResponse>, Status> {
        let principal = reader(&request)?;
        let (id, page, states) = from_proto::executions_page(request.into_inner())?;
        let session = self
            .edge
            .engine
            .find_session(&principal, &id)
            .map_err(Refusal::from)?;
        let known = self
            .edge
            .engine
            .executions(&principal, &id)
            .map_err(Refusal::from)?;
        let views = known.into_iter().map(|execution| ExecutionView {
            edge: Arc::clone(&self.edge),
            session: Arc::clone(&session),
            execution,
            timeout: None,
            deduplicated: true,
        });
        let wanted = views
            .filter(|view| states.is_empty() || states.contains(&to_proto::execution_state(view)));
        let placed = wanted.map(|v| {
            (
                Position::new(v.execution.created, v.execution.id.as_str()),
                v,
            )
        });
        let (views, next_page_token) = page.cut(to_proto::EXECUTIONS, placed);
        let executions = views.iter().map(to_proto::execution).collect();
        Ok(Response::new(v1::ListExecutionsResponse {
            executions,
            next_page_token,
        }))
    }

    async fn read_output(
        &self,
        request: Request<v1::ReadOutputRequest>,
    ) -> Result<Response<v1::ReadOutputResponse>, Status> {
        let principal = reader(&request)?;
        let asked = from_proto::read_output(request.into_inner(), &self.edge)?;
        let session = self.edge.engine.find_session(&principal, &asked.session);
        let session = session.map_err(Refusal::from)?;
        let execution = match &asked.execution {
            Some(id) => self.view(&principal, &session, id)?.execution,
            None => Arc::clone(session.background()),
        };
        Ok(Response::new(read::read(&execution, asked).await?))
    }

    async fn write_stdin(
        &self,
        request: Request<v1::WriteStdinRequest>,
    ) -> Result<Response<v1::WriteStdinResponse>, Status> {
        let principal = owner(&request)?;
        let write = from_proto::write(request.into_inner())?;
        let (engine, bytes) = (&self.edge.engine, (write.offset, write.data, write.eof));
        let next_offset = engine
            .write_stdin(&principal, &write.session, &write.execution, bytes)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(v1::WriteStdinResponse { next_offset }))
    }

    async fn signal(
        &self,
        request: Request<v1::SignalRequest>,
    ) -> Result<Response<v1::SignalResponse>, Status> {
        let principal = steward(&request)?;
        let request = request.into_inner();
        let session = from_proto::session_id(&request.session_id)?;
        let id = from_proto::execution_id(&request.execution_id)?;
        let signal = from_proto::signal(request.signal)?;
        let engine = &self.edge.engine;
        let execution = engine
            .execution(&principal, &session, &id)
            .map_err(Refusal::from)?;
        let processes = engine
            .signal(&principal, &session, &id, signal)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(v1::SignalResponse {
            process_count: u32::try_from(processes).unwrap_or(u32::MAX),
            state: to_proto::state_of(&execution).into(),
        }))
    }

    async fn resize_terminal(
        &self,
        request: Request<v1::ResizeTerminalRequest>,
    ) -> Result<Response<v1::ResizeTerminalResponse>, Status> {
        let principal = owner(&request)?;
        let request = request.into_inner();
        let session = from_proto::session_id(&request.session_id)?;
        let size = from_proto::terminal_size(request.size)?;
        self.edge
            .engine
            .resize_terminal(&principal, &session, size)
            .await
            .map_err(Refusal::from)?;
        let size = Some(to_proto::terminal_size(size));
        Ok(Response::new(v1::ResizeTerminalResponse { size }))
    }

    async fn evaluate_policy(
        &self,
        request: Request<v1::EvaluatePolicyRequest>,
    ) -> Result<Response<v1::EvaluatePolicyResponse>, Status> {
        let principal = reader(&request)?;
        let request = request.into_inner();
        let session = match request.session_id.as_str() {
            "" => None,
            id => {
                let id = from_proto::session_id(id)?;
                Some(
                    self.edge
                        .engine
                        .session(&principal, &id)
                        .map_err(Refusal::from)?,
                )
            }
        };
        let mut policy = self.edge.policy_of(session.as_deref(), &principal);
        if let Some(own) = from_proto::session_policy(request.policy.unwrap_or_default())? {
            policy = policy.narrowed_by(Layer::Session, own);
        }
        let (line, env) = from_proto::judged(request.spec, &self.edge)?;
        let judgement = match (&session, &line) {
            (Some(session), line) => session.judge(&policy, line, &env),
            (None, CommandLine::Script(script)) => policy.judge(&Question {
                env: &env,
                ..Question::script(Dialect::Bash, script)
            }),
            (None, CommandLine::Argv(words)) => policy.judge(&Question {
                env: &env,
                ..Question::argv(words)
            }),
        };
        let shown = self.edge.shown(session.as_deref());
        let enforcement = self
            .edge
            .enforcement(&judgement, &policy, session.as_deref());
        let verdict = to_proto::verdict(&judgement, &policy, shown, enforcement);
        let verdict = Some(verdict);
        Ok(Response::new(v1::EvaluatePolicyResponse { verdict }))
    }
}
