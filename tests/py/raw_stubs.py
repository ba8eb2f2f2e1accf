"""The generated stubs, for tests of what is on the wire and not of a client."""

from __future__ import annotations

from typing import Any

import grpc
from running_server import LIMIT_SECONDS, Server

from execgate.v1 import (
    exec_pb2,
    exec_pb2_grpc,
    execution_pb2,
    session_pb2,
    session_pb2_grpc,
)


class Gate:
    """The server's stubs, with a session of its own."""

    def __init__(self, server: Server) -> None:
        self.channel = grpc.insecure_channel(server.address)
        self.metadata = (("authorization", f"Bearer {server.token}"),)
        self.sessions = session_pb2_grpc.SessionServiceStub(self.channel)
        self.exec = exec_pb2_grpc.ExecServiceStub(self.channel)
        self.session_id = self.create().session.session_id

    def create(self, **fields: Any) -> Any:
        """Creates a session."""
        return self.call(self.sessions.CreateSession, session_pb2.CreateSessionRequest(**fields))

    def run(self, script: str, **fields: Any) -> Any:
        """Runs a script."""
        spec = execution_pb2.ExecutionSpec(script=script)
        fields.setdefault("session_id", self.session_id)
        return self.call(self.exec.Run, exec_pb2.RunRequest(spec=spec, **fields))

    def call(self, method: Any, request: Any) -> Any:
        """One call, with the token."""
        return method(request, metadata=self.metadata, timeout=LIMIT_SECONDS)
