"""The generated stubs of all services, on one channel."""

from __future__ import annotations

import grpc
import grpc.aio

from .v1.audit_pb2_grpc import AuditServiceStub
from .v1.checkpoint_pb2_grpc import CheckpointServiceStub
from .v1.exec_pb2_grpc import ExecServiceStub
from .v1.session_pb2_grpc import SessionServiceStub


class Stubs:
    """What can be called; on an asyncio channel, what can be awaited.

    Calls are described once, for a sync channel (`_calls.py`). A stub has the same methods
    on either kind of channel, so only the asyncio connection knows that they differ.
    """

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
        self.sessions: SessionServiceStub = SessionServiceStub(channel)
        self.executions: ExecServiceStub = ExecServiceStub(channel)
        self.checkpoints: CheckpointServiceStub = CheckpointServiceStub(channel)
        self.audit: AuditServiceStub = AuditServiceStub(channel)
