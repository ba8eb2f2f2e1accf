//! SessionService: check, call, map, answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use execgate_engine::LeftBehind;
use execgate_engine::authority::Owner;
use execgate_engine::session::Session;
use execgate_proto::v1;
use execgate_proto::v1::session_service_server::SessionService;
use tonic::{Request, Response, Status};

use super::auth::{self, Whose, origin, owner, reader, steward};
use super::edge::Edge;
use super::from_proto::{self, NewSession, Position};
use super::refusal::Refusal;
use super::to_proto;

/// Processes listed in an answer at most, as the API says.
const MAX_LISTED_PROCESSES: usize = 1000;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    edge: Arc<Edge>,
}

/// A row of a list.
enum Listed {
    /// Of an earlier server.
    Left(LeftBehind),
    Here(Arc<Session>),
}

impl Sessions {
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }

    fn describe(&self, session: &Session) -> v1::Session {
        let executions = self.edge.engine.executions(&session.principal, &session.id);
        to_proto::session(session, executions.map_or(0, |known| known.len()))
    }

    /// Creates a session, or finds the one that an equal request has created.
    async fn create(
        &self,
        principal: &Owner,
        wanted: NewSession,
    ) -> Result<(Arc<Session>, bool), Refusal> {
        let engine = &self.edge.engine;
        let known = wanted
            .id
            .as_ref()
            .and_then(|id| engine.session(principal, id).ok());
        let session = engine
            .create_session(principal, wanted.id, wanted.settings)
            .await?;
        let deduplicated = known.is_some_and(|known| Arc::ptr_eq(&known, &session));
        Ok((session, deduplicated))
    }
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        let principal = owner(&request)?;
        let origin = origin(&request);
        let mut wanted = from_proto::new_session(request.into_inner(), &self.edge)?;
        wanted.settings.origin = origin;
        let (session, deduplicated) = self.create(&principal, wanted).await?;
        let session = Some(self.describe(&session));
        Ok(Response::new(v1::CreateSessionResponse {
            session,
            deduplicated,
        }))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let principal = reader(&request)?;
        let id = from_proto::session_id(&request.into_inner().session_id)?;
        let engine = &self.edge.engine;
        let session = match engine.find_session(&principal, &id) {
            Ok(session) => session,
            Err(error) => {
                let left = engine.left_behind(&principal, &id);
                let left = left.ok_or_else(|| Refusal::from(error))?;
                let session = Some(to_proto::left_behind(&left));
                return Ok(Response::new(v1::GetSessionResponse { session }));
            }
        };
        let jobs = session.jobs().await;
        let jobs = jobs.iter().map(|job| to_proto::job(job, &session));
        let session = Some(v1::Session {
            background_jobs: jobs.collect(),
            ..self.describe(&session)
        });
        Ok(Response::new(v1::GetSessionResponse { session }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let whose = auth::whose(&request)?;
        let from_proto::SessionsPage {
            page,
            labels,
            states,
        } = from_proto::sessions_page(request.into_inner())?;
        let wanted = |state, own: &BTreeMap<String, String>| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| own.get(key) == Some(value))
                && (states.is_empty() || states.contains(&state))
        };
        let whose = match &whose {
            Whose::One(principal) => Some(principal),
            Whose::All => None,
        };
        let left = self.edge.engine.all_left_behind(whose).into_iter();
        let left = left
            .filter(|_| wanted(v1::SessionState::Lost, &BTreeMap::new()))
            // Nobody knows since when there were these; they are older than all that are here.
            .map(|left| {
                (
                    Position::new(UNIX_EPOCH, left.id.as_str()),
                    Listed::Left(left),
                )
            });
        let sessions = self.edge.engine.sessions(whose).into_iter();
        let sessions = sessions
            .filter(|session| {
                let state = to_proto::session_state(&session.snapshot().state);
                wanted(state, &session.defaults().labels)
            })
            .map(|s| (Position::new(s.created, s.id.as_str()), Listed::Here(s)));
        let (sessions, next_page_token) = page.cut(to_proto::SESSIONS, left.chain(sessions));
        let sessions = sessions.iter().map(|listed| match listed {
            Listed::Left(left) => to_proto::left_behind(left),
            Listed::Here(session) => self.describe(session),
        });
        let sessions = sessions.collect();
        Ok(Response::new(v1::ListSessionsResponse {
            sessions,
            next_page_token,
        }))
    }

    async fn update_session(
        &self,
        request: Request<v1::UpdateSessionRequest>,
    ) -> Result<Response<v1::UpdateSessionResponse>, Status> {
        let principal = owner(&request)?;
        let (id, update) = from_proto::session_update(request.into_inner(), &self.edge)?;
        let updated = self.edge.engine.update_session(&principal, &id, update);
        let session = updated.await.map_err(Refusal::from)?;
        Ok(Response::new(v1::UpdateSessionResponse {
            session: Some(self.describe(&session)),
        }))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        let principal = steward(&request)?;
        let request = request.into_inner();
        let id = from_proto::session_id(&request.session_id)?;
        if request.grace_period.is_some() {
            return Err(Refusal::not_implemented("field grace_period").into());
        }
        let closed = self.edge.engine.close_session(&principal, &id).await;
        let (session, ended) = closed.map_err(Refusal::from)?;
        let listed = ended.iter().take(MAX_LISTED_PROCESSES);
        Ok(Response::new(v1::CloseSessionResponse {
            session: Some(self.describe(&session)),
            ended_processes: listed
                .map(|p| to_proto::ended_process(p, &session))
                .collect(),
            ended_process_count: u32::try_from(ended.len()).unwrap_or(u32::MAX),
            kept_processes: Vec::new(),
        }))
    }

    async fn get_capabilities(
        &self,
        request: Request<v1::GetCapabilitiesRequest>,
    ) -> Result<Response<v1::GetCapabilitiesResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(to_proto::capabilities(&self.edge, caller)))
    }
}
