//! SSH targets of sessions.

use execgate_engine::target::SshTarget;
use execgate_proto::v1;

use crate::grpc::edge::Edge;
use crate::grpc::refusal::Refusal;

/// The machine that a session is to run on.
pub(super) fn target(_target: v1::SshTarget, _edge: &Edge) -> Result<SshTarget, Refusal> {
    Err(Refusal::not_implemented("target ssh"))
}
