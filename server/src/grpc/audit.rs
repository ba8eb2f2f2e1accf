//! AuditService: check, call, map, answer.

use std::sync::Arc;

use execgate_engine::Error;
use execgate_engine::audit::{AuditError, AuditStore};
use execgate_proto::v1;
use execgate_proto::v1::audit_service_server::AuditService;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::auth::principal;
use super::refusal::Refusal;
use super::{from_proto, to_proto};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Audits {
    store: Arc<dyn AuditStore>,
}

impl Audits {
    pub(crate) fn new(store: Arc<dyn AuditStore>) -> Self {
        Self { store }
    }
}

fn refused(error: AuditError) -> Refusal {
    Error::from(error).into()
}

#[tonic::async_trait]
impl AuditService for Audits {
    type TailAuditRecordsStream = BoxStream<'static, Result<v1::TailAuditRecordsResponse, Status>>;
    type ExportRecordingStream = BoxStream<'static, Result<v1::ExportRecordingResponse, Status>>;

    async fn list_audit_records(
        &self,
        request: Request<v1::ListAuditRecordsRequest>,
    ) -> Result<Response<v1::ListAuditRecordsResponse>, Status> {
        let principal = principal(&request)?;
        let query = from_proto::audit_query(request.into_inner(), &principal)?;
        let page = self.store.list(query).await.map_err(refused)?;
        Ok(Response::new(to_proto::audit_page(page)))
    }

    async fn tail_audit_records(
        &self,
        request: Request<v1::TailAuditRecordsRequest>,
    ) -> Result<Response<Self::TailAuditRecordsStream>, Status> {
        let _caller = principal(&request)?;
        Err(Refusal::not_implemented("method TailAuditRecords").into())
    }

    async fn get_audit_head(
        &self,
        request: Request<v1::GetAuditHeadRequest>,
    ) -> Result<Response<v1::GetAuditHeadResponse>, Status> {
        let _caller = principal(&request)?;
        let head = self.store.head().await.map_err(refused)?;
        Ok(Response::new(to_proto::head(&head)))
    }

    async fn verify_audit_log(
        &self,
        request: Request<v1::VerifyAuditLogRequest>,
    ) -> Result<Response<v1::VerifyAuditLogResponse>, Status> {
        let _caller = principal(&request)?;
        Err(Refusal::not_implemented("method VerifyAuditLog").into())
    }

    async fn export_recording(
        &self,
        request: Request<v1::ExportRecordingRequest>,
    ) -> Result<Response<Self::ExportRecordingStream>, Status> {
        let _caller = principal(&request)?;
        Err(Refusal::not_implemented("method ExportRecording").into())
    }
}
