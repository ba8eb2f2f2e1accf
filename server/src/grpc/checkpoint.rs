//! CheckpointService: not there yet, and says so.

use execgate_proto::v1;
use execgate_proto::v1::checkpoint_service_server::CheckpointService;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::auth::principal;
use super::refusal::Refusal;

/// The service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpoints;

/// Answers whoever calls that this method is missing.
fn missing<T, R>(request: &Request<T>, method: &str) -> Result<Response<R>, Status> {
    let _caller = principal(request)?;
    Err(Refusal::not_implemented(format!("method {method}")).into())
}

#[tonic::async_trait]
impl CheckpointService for Checkpoints {
    type DiffCheckpointStream = BoxStream<'static, Result<v1::DiffCheckpointResponse, Status>>;

    async fn create_checkpoint(
        &self,
        request: Request<v1::CreateCheckpointRequest>,
    ) -> Result<Response<v1::CreateCheckpointResponse>, Status> {
        missing(&request, "CreateCheckpoint")
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        missing(&request, "GetCheckpoint")
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        missing(&request, "ListCheckpoints")
    }

    async fn diff_checkpoint(
        &self,
        request: Request<v1::DiffCheckpointRequest>,
    ) -> Result<Response<Self::DiffCheckpointStream>, Status> {
        missing(&request, "DiffCheckpoint")
    }

    async fn restore_checkpoint(
        &self,
        request: Request<v1::RestoreCheckpointRequest>,
    ) -> Result<Response<v1::RestoreCheckpointResponse>, Status> {
        missing(&request, "RestoreCheckpoint")
    }

    async fn delete_checkpoint(
        &self,
        request: Request<v1::DeleteCheckpointRequest>,
    ) -> Result<Response<v1::DeleteCheckpointResponse>, Status> {
        missing(&request, "DeleteCheckpoint")
    }
}
