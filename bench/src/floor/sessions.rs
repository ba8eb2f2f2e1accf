//! As much of the sessions' API as our clients ask for before they run anything: a session
//! is there as soon as somebody names it.

use execgate_proto::v1 as pb;
use execgate_proto::v1::session_service_server::SessionService;
use tonic::{Request, Response};

use super::{Answer, absent};

/// Sessions that need no opening.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sessions;

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<pb::CreateSessionRequest>,
    ) -> Answer<pb::CreateSessionResponse> {
        let session = pb::Session {
            session_id: request.into_inner().session_id,
            ..pb::Session::default()
        };
        Ok(Response::new(pb::CreateSessionResponse {
            session: Some(session),
            ..pb::CreateSessionResponse::default()
        }))
    }

    async fn get_session(
        &self,
        _: Request<pb::GetSessionRequest>,
    ) -> Answer<pb::GetSessionResponse> {
        absent()
    }

    async fn list_sessions(
        &self,
        _: Request<pb::ListSessionsRequest>,
    ) -> Answer<pb::ListSessionsResponse> {
        absent()
    }

    async fn update_session(
        &self,
        _: Request<pb::UpdateSessionRequest>,
    ) -> Answer<pb::UpdateSessionResponse> {
        absent()
    }

    async fn close_session(
        &self,
        _: Request<pb::CloseSessionRequest>,
    ) -> Answer<pb::CloseSessionResponse> {
        absent()
    }

    async fn get_capabilities(
        &self,
        _: Request<pb::GetCapabilitiesRequest>,
    ) -> Answer<pb::GetCapabilitiesResponse> {
        absent()
    }
}
