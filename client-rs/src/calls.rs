//! Every call that this client makes: one table, by the type of its request.
//!
//! It says whether a call may be made again that may have been done, and is what
//! `docs/retries.md` says of it.

use execgate_proto::v1;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tonic::{Response, Status, Streaming};

use crate::client::Client;
use crate::retry::Repeat;

/// A request, and the call that it is one of.
pub(crate) trait Ask: Clone + Send + 'static {
    /// What it is answered.
    type Answer;

    /// The call's name, for errors.
    const METHOD: &'static str;

    /// Whether it may be made again.
    const REPEAT: Repeat;

    /// Makes it, once.
    fn ask(self, client: &Client) -> BoxFuture<'static, Result<Response<Self::Answer>, Status>>;
}

macro_rules! calls {
    ($($repeat:ident $name:literal $service:ident.$method:ident($request:ident) -> $answer:ty;)*) => {
        $(
            impl Ask for v1::$request {
                type Answer = $answer;

                const METHOD: &'static str = $name;

                const REPEAT: Repeat = Repeat::$repeat;

                fn ask(
                    self,
                    client: &Client,
                ) -> BoxFuture<'static, Result<Response<Self::Answer>, Status>> {
                    let mut service = client.$service.clone();
                    async move { service.$method(self).await }.boxed()
                }
            }
        )*

        #[cfg(test)]
        const TABLE: &[(&str, Repeat)] = &[$(($name, Repeat::$repeat)),*];
    };
}

// Executions have an id, sessions too: one that is asked for again is the same one. A write
// carries its offset; `stdin` sees to those that do not.
calls! {
    Always "SessionService/CreateSession" sessions.create_session(CreateSessionRequest) -> v1::CreateSessionResponse;
    Always "SessionService/GetSession" sessions.get_session(GetSessionRequest) -> v1::GetSessionResponse;
    Always "SessionService/ListSessions" sessions.list_sessions(ListSessionsRequest) -> v1::ListSessionsResponse;
    Always "SessionService/UpdateSession" sessions.update_session(UpdateSessionRequest) -> v1::UpdateSessionResponse;
    Always "SessionService/CloseSession" sessions.close_session(CloseSessionRequest) -> v1::CloseSessionResponse;
    Always "SessionService/GetCapabilities" sessions.get_capabilities(GetCapabilitiesRequest) -> v1::GetCapabilitiesResponse;
    Always "ExecService/Exec" executions.exec(ExecRequest) -> Streaming<v1::ExecResponse>;
    Always "ExecService/Attach" executions.attach(AttachRequest) -> Streaming<v1::AttachResponse>;
    Always "ExecService/Run" executions.run(RunRequest) -> v1::RunResponse;
    Always "ExecService/WriteStdin" executions.write_stdin(WriteStdinRequest) -> v1::WriteStdinResponse;
    Refused "ExecService/Signal" executions.signal(SignalRequest) -> v1::SignalResponse;
    Always "ExecService/ResizeTerminal" executions.resize_terminal(ResizeTerminalRequest) -> v1::ResizeTerminalResponse;
    Always "ExecService/GetExecution" executions.get_execution(GetExecutionRequest) -> v1::GetExecutionResponse;
    Always "ExecService/ListExecutions" executions.list_executions(ListExecutionsRequest) -> v1::ListExecutionsResponse;
    Always "ExecService/ReadOutput" executions.read_output(ReadOutputRequest) -> v1::ReadOutputResponse;
    Always "ExecService/EvaluatePolicy" executions.evaluate_policy(EvaluatePolicyRequest) -> v1::EvaluatePolicyResponse;
    Refused "CheckpointService/CreateCheckpoint" checkpoints.create_checkpoint(CreateCheckpointRequest) -> v1::CreateCheckpointResponse;
    Always "CheckpointService/GetCheckpoint" checkpoints.get_checkpoint(GetCheckpointRequest) -> v1::GetCheckpointResponse;
    Always "CheckpointService/ListCheckpoints" checkpoints.list_checkpoints(ListCheckpointsRequest) -> v1::ListCheckpointsResponse;
    Always "CheckpointService/DiffCheckpoint" checkpoints.diff_checkpoint(DiffCheckpointRequest) -> Streaming<v1::DiffCheckpointResponse>;
    Refused "CheckpointService/RestoreCheckpoint" checkpoints.restore_checkpoint(RestoreCheckpointRequest) -> v1::RestoreCheckpointResponse;
    Refused "CheckpointService/DeleteCheckpoint" checkpoints.delete_checkpoint(DeleteCheckpointRequest) -> v1::DeleteCheckpointResponse;
    Always "AuditService/ListAuditRecords" audit.list_audit_records(ListAuditRecordsRequest) -> v1::ListAuditRecordsResponse;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_which_calls_are_made_again() {
        let page = include_str!("../../docs/retries.md");
        let row = |name: &str| {
            let (service, method) = name.split_once('/').unwrap();
            page.lines().find(|line| {
                line.starts_with(&format!("| `{service}` |"))
                    && line.contains(&format!("`{method}`"))
            })
        };
        for (name, repeat) in TABLE {
            let row = row(name).unwrap_or_else(|| panic!("{name} is not on the page"));
            assert_eq!(
                row.contains("| only if refused |"),
                *repeat == Repeat::Refused,
                "{row}"
            );
        }
    }
}
