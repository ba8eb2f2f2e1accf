//! ReadOutput: retained output after the fact, by bytes or by a budget. It reads what the
//! engine keeps and runs nothing.

use std::sync::Arc;

use execgate_engine::execution::{Execution, OutputRead, RetainedRange};
use execgate_proto::v1;

use super::super::from_proto::{ReadOutput, Selection};
use super::super::refusal::Refusal;
use super::super::to_proto;

/// Reads what is asked for.
pub(super) async fn read(
    execution: &Arc<Execution>,
    request: ReadOutput,
) -> Result<v1::ReadOutputResponse, Refusal> {
    let channel = request.channel;
    match request.selection {
        Selection::Range {
            offset,
            limit,
            wait,
        } => {
            let read = execution.read_output(channel, offset, limit, wait);
            Ok(range(read.await?))
        }
        Selection::Budget(budget) => {
            let (stream, retained, complete) = execution.read_budgeted(channel, &budget).await;
            Ok(v1::ReadOutputResponse {
                budget: Some(to_proto::report(channel, &stream.report)),
                data: stream.bytes,
                offset: 0,
                next_offset: retained.end_offset,
                ..response(retained, complete)
            })
        }
    }
}

fn range(read: OutputRead) -> v1::ReadOutputResponse {
    v1::ReadOutputResponse {
        offset: read.offset,
        next_offset: read.offset + read.data.len() as u64,
        data: read.data,
        ..response(read.retained, read.complete)
    }
}

fn response(retained: RetainedRange, complete: bool) -> v1::ReadOutputResponse {
    v1::ReadOutputResponse {
        first_offset: retained.first_offset,
        end_offset: retained.end_offset,
        complete,
        ..v1::ReadOutputResponse::default()
    }
}
