//! AuditService: check, call, map, answer. Every reading is recorded, after the fact: a log
//! that takes no more records can still be read. Following and exporting are next door.

mod asciicast;
mod export;
mod tail;

use std::sync::Arc;
use std::time::SystemTime;

use execgate_core::audit::{AuditBody, AuditRead, Micros, NewRecord, Origin};
use execgate_engine::Error;
use execgate_engine::audit::{AuditError, AuditQuery, AuditStore, Durability};
use execgate_engine::authority::Caller;
use execgate_proto::v1;
use execgate_proto::v1::audit_service_server::AuditService;
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use self::tail::Tail;
use super::auth::{self, caller, origin};
use super::edge::Edge;
use super::refusal::Refusal;
use super::{from_proto, to_proto};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Audits {
    edge: Arc<Edge>,
}

/// Who reads, and whose records.
struct Reader {
    caller: Caller,
    origin: Origin,
    method: &'static str,
}

impl Reader {
    fn of<T>(request: &Request<T>, method: &'static str) -> Result<Self, Refusal> {
        Ok(Self {
            caller: caller(request)?.clone(),
            origin: origin(request),
            method,
        })
    }

    /// The question as far as the caller may ask it: agents see the records of their own.
    fn within(&self, query: AuditQuery) -> Result<AuditQuery, Refusal> {
        let own = self.caller.principal();
        match self.caller.overseer() {
            Ok(()) => Ok(query),
            Err(refused) => match &query.principal {
                Some(name) if name != own.as_str() => Err(refused.into()),
                _ => Ok(AuditQuery {
                    principal: Some(own.to_string()),
                    ..query
                }),
            },
        }
    }
}

impl Audits {
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }

    fn store(&self) -> &Arc<dyn AuditStore> {
        self.edge.engine.audit()
    }

    /// Records a reading.
    async fn record(&self, reader: Reader, (first, last): (u64, u64)) {
        let Reader {
            caller,
            origin,
            method,
        } = reader;
        let record = NewRecord {
            time: Micros::from(SystemTime::now()),
            principal: caller.principal().to_string(),
            session_id: None,
            execution_id: None,
            trace_id: origin.trace.map(|trace| trace.trace_id_text()),
            auth: origin.auth,
            body: AuditBody::AuditRead(AuditRead {
                method: format!("/execgate.v1.AuditService/{method}"),
                first_sequence: first,
                last_sequence: last,
            }),
        };
        if let Err(error) = self.store().append(record, Durability::Written).await {
            tracing::error!(%error, "audit record lost");
        }
    }
}

fn refused(error: AuditError) -> Refusal {
    match error {
        AuditError::HeadTooOld { .. } => Refusal::field(
            "known_checkpoint_note",
            format!("cannot be checked: {error}"),
        ),
        error => Error::from(error).into(),
    }
}

#[tonic::async_trait]
impl AuditService for Audits {
    type TailAuditRecordsStream = BoxStream<'static, Result<v1::TailAuditRecordsResponse, Status>>;
    type ExportRecordingStream = BoxStream<'static, Result<v1::ExportRecordingResponse, Status>>;

    async fn list_audit_records(
        &self,
        request: Request<v1::ListAuditRecordsRequest>,
    ) -> Result<Response<v1::ListAuditRecordsResponse>, Status> {
        let reader = Reader::of(&request, "ListAuditRecords")?;
        let query = reader.within(from_proto::audit_query(request.into_inner())?)?;
        let page = self.store().list(query).await.map_err(refused)?;
        let sequences = page.records.iter().map(|record| record.sequence);
        let range = (
            sequences.clone().min().unwrap_or_default(),
            sequences.max().unwrap_or_default(),
        );
        self.record(reader, range).await;
        Ok(Response::new(to_proto::audit_page(page)))
    }

    async fn tail_audit_records(
        &self,
        request: Request<v1::TailAuditRecordsRequest>,
    ) -> Result<Response<Self::TailAuditRecordsStream>, Status> {
        let reader = Reader::of(&request, "TailAuditRecords")?;
        let request = request.into_inner();
        let from = request.from_sequence;
        let filter = from_proto::audit_filter(request.filter.unwrap_or_default())?;
        let filter = reader.within(filter)?;
        let tail = Tail::start(Arc::clone(&self.edge), filter, from).await?;
        self.record(reader, (tail.next_sequence(), 0)).await;
        Ok(Response::new(tail.into_stream().boxed()))
    }

    async fn get_audit_head(
        &self,
        request: Request<v1::GetAuditHeadRequest>,
    ) -> Result<Response<v1::GetAuditHeadResponse>, Status> {
        let _caller = caller(&request)?;
        let signed = self.store().signed_head().await.map_err(refused)?;
        Ok(Response::new(match signed {
            Some(signed) => to_proto::signed_head(signed),
            None => to_proto::head(&self.store().head()),
        }))
    }

    async fn verify_audit_log(
        &self,
        request: Request<v1::VerifyAuditLogRequest>,
    ) -> Result<Response<v1::VerifyAuditLogResponse>, Status> {
        let reader = Reader::of(&request, "VerifyAuditLog")?;
        reader.caller.overseer().map_err(Refusal::from)?;
        let wanted = from_proto::verification(request.into_inner())?;
        let found = self.store().verify(wanted).await.map_err(refused)?;
        self.record(reader, (found.first, found.last)).await;
        Ok(Response::new(to_proto::verification(found)))
    }

    async fn export_recording(
        &self,
        request: Request<v1::ExportRecordingRequest>,
    ) -> Result<Response<Self::ExportRecordingStream>, Status> {
        let reader = Reader::of(&request, "ExportRecording")?;
        let principal = auth::reader(&request)?;
        let wanted = from_proto::recording(request.into_inner())?;
        let pieces = export::start(Arc::clone(&self.edge), &principal, wanted).await?;
        self.record(reader, pieces.sequences()).await;
        Ok(Response::new(pieces.into_stream().boxed()))
    }
}
