"""The sessions of a fake server. What is not here it answers as a server too old would."""

from __future__ import annotations

import secrets

import grpc

from .. import errors
from ..v1 import capabilities_pb2, outcome_pb2, session_pb2
from ..v1.session_pb2_grpc import SessionServiceServicer
from .world import FakeSession, Refused, World, refusals


class FakeSessions(SessionServiceServicer):
    """Sessions."""

    def __init__(self, world: World) -> None:
        self._world = world

    def CreateSession(
        self, request: session_pb2.CreateSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.CreateSessionResponse:
        """Opens a session, or finds the one with that id."""
        with refusals(context), self._world.lock:
            self._world.check(context)
            session_id = request.session_id or f"ses_{secrets.token_hex(8)}"
            found = self._world.sessions.get(session_id)
            if found is None or not found.open:
                found = FakeSession(request, session_id)
                self._world.sessions[session_id] = found
            elif found.request != request:
                raise Refused(
                    errors.AlreadyExists(
                        f"the id {session_id} belongs to another session",
                        reason="SESSION_ID_REUSED",
                    )
                )
            return session_pb2.CreateSessionResponse(session=found.message)

    def GetSession(
        self, request: session_pb2.GetSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.GetSessionResponse:
        """Looks a session up."""
        with refusals(context), self._world.lock:
            self._world.check(context)
            found = self._world.session(request.session_id)
            found.message.cwd = found.cwd
            return session_pb2.GetSessionResponse(session=found.message)

    def ListSessions(
        self, request: session_pb2.ListSessionsRequest, context: grpc.ServicerContext
    ) -> session_pb2.ListSessionsResponse:
        """Lists the open sessions, newest first, on one page."""
        with refusals(context), self._world.lock:
            self._world.check(context)
            wanted = dict(request.labels).items()
            found = [
                session.message
                for session in reversed(self._world.sessions.values())
                if session.open and wanted <= dict(session.message.labels).items()
            ]
            return session_pb2.ListSessionsResponse(sessions=found)

    def CloseSession(
        self, request: session_pb2.CloseSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.CloseSessionResponse:
        """Closes a session and ends what runs in it."""
        with refusals(context), self._world.lock:
            self._world.check(context)
            found = self._world.session(request.session_id)
            found.open = False
        for execution in found.executions.values():
            execution.signal("KILL", outcome_pb2.CAUSE_SESSION_CLOSED)
        return session_pb2.CloseSessionResponse()

    def GetCapabilities(
        self, request: capabilities_pb2.GetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> capabilities_pb2.GetCapabilitiesResponse:
        """Says that it is a fake."""
        with refusals(context):
            self._world.check(context)
            return capabilities_pb2.GetCapabilitiesResponse(
                api_version="1.0",
                server_version="fake",
                features=["attach", "stdin"],
                principal="test",
            )
