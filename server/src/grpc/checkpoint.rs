//! CheckpointService: check, call, map, answer.

use std::sync::Arc;

use execgate_engine::checkpoint::Differences;
use execgate_proto::v1;
use execgate_proto::v1::checkpoint_service_server::CheckpointService;
use futures::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status};
use v1::diff_checkpoint_response::Item;

use super::auth::{owner, reader, steward};
use super::edge::Edge;
use super::from_proto::{self, CheckpointsPage, Position};
use super::refusal::Refusal;
use super::to_proto;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    edge: Arc<Edge>,
}

impl Checkpoints {
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}

/// Each difference, and the account of all once there are no more.
fn answers(
    differences: Differences,
) -> BoxStream<'static, Result<v1::DiffCheckpointResponse, Status>> {
    let answer = |item| v1::DiffCheckpointResponse { item: Some(item) };
    let summary = answer(Item::Summary(to_proto::summary(&differences.summary)));
    let changes = stream::unfold(differences.changes, move |mut changes| async move {
        let change = match changes.recv().await? {
            Ok(change) => Ok(answer(Item::Change(to_proto::change(change)))),
            Err(error) => Err(Refusal::from(error).into()),
        };
        Some((change, changes))
    });
    changes.chain(stream::iter([Ok(summary)])).boxed()
}

#[tonic::async_trait]
impl CheckpointService for Checkpoints {
    type DiffCheckpointStream = BoxStream<'static, Result<v1::DiffCheckpointResponse, Status>>;

    async fn create_checkpoint(
        &self,
        request: Request<v1::CreateCheckpointRequest>,
    ) -> Result<Response<v1::CreateCheckpointResponse>, Status> {
        let principal = owner(&request)?;
        let (session, asked) = from_proto::new_checkpoint(request.into_inner())?;
        let engine = &self.edge.engine;
        let created = engine.create_checkpoint(&principal, &session, asked).await;
        let (checkpoint, unchanged) = created.map_err(Refusal::from)?;
        Ok(Response::new(v1::CreateCheckpointResponse {
            checkpoint: Some(to_proto::checkpoint(&checkpoint)),
            unchanged,
        }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let principal = reader(&request)?;
        let id = from_proto::checkpoint_id(&request.into_inner().checkpoint_id)?;
        let found = self.edge.engine.checkpoint(&principal, &id);
        let checkpoint = Some(to_proto::checkpoint(&*found.map_err(Refusal::from)?));
        Ok(Response::new(v1::GetCheckpointResponse { checkpoint }))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        let principal = reader(&request)?;
        let CheckpointsPage {
            page,
            session,
            workspace,
            labels,
        } = from_proto::checkpoints_page(request.into_inner())?;
        let all = self.edge.engine.checkpoints(&principal).into_iter();
        let wanted = all.filter(|checkpoint| {
            session.as_ref().is_none_or(|id| *id == checkpoint.session)
                && workspace
                    .as_ref()
                    .is_none_or(|path| *path == checkpoint.workspace)
                && labels
                    .iter()
                    .all(|(key, value)| checkpoint.labels.get(key) == Some(value))
        });
        let placed = wanted.map(|c| (Position::new(c.created, c.id.as_str()), c));
        let (checkpoints, next_page_token) = page.cut(to_proto::CHECKPOINTS, placed);
        let checkpoints = checkpoints.iter().map(|c| to_proto::checkpoint(c));
        Ok(Response::new(v1::ListCheckpointsResponse {
            checkpoints: checkpoints.collect(),
            next_page_token,
        }))
    }

    async fn diff_checkpoint(
        &self,
        request: Request<v1::DiffCheckpointRequest>,
    ) -> Result<Response<Self::DiffCheckpointStream>, Status> {
        let principal = reader(&request)?;
        let asked = from_proto::comparison(request.into_inner())?;
        let differences = self.edge.engine.compare_checkpoint(&principal, asked).await;
        Ok(Response::new(answers(differences.map_err(Refusal::from)?)))
    }

    async fn restore_checkpoint(
        &self,
        request: Request<v1::RestoreCheckpointRequest>,
    ) -> Result<Response<v1::RestoreCheckpointResponse>, Status> {
        let principal = owner(&request)?;
        let asked = from_proto::restore(request.into_inner())?;
        let restored = self.edge.engine.restore_checkpoint(&principal, asked).await;
        let restored = restored.map_err(Refusal::from)?;
        Ok(Response::new(to_proto::restored(restored)))
    }

    async fn delete_checkpoint(
        &self,
        request: Request<v1::DeleteCheckpointRequest>,
    ) -> Result<Response<v1::DeleteCheckpointResponse>, Status> {
        let principal = steward(&request)?;
        let id = from_proto::checkpoint_id(&request.into_inner().checkpoint_id)?;
        let deleted = self.edge.engine.delete_checkpoint(&principal, &id).await;
        let checkpoint = Some(to_proto::checkpoint(&*deleted.map_err(Refusal::from)?));
        Ok(Response::new(v1::DeleteCheckpointResponse { checkpoint }))
    }
}
