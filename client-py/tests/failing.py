"""A real gRPC server that fails as often as it is told, and then answers."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from execgate.v1 import (
    capabilities_pb2,
    exec_pb2,
    execution_pb2,
    outcome_pb2,
    session_pb2,
)
from execgate.v1.exec_pb2_grpc import ExecServiceServicer, add_ExecServiceServicer_to_server
from execgate.v1.session_pb2_grpc import (
    SessionServiceServicer,
    add_SessionServiceServicer_to_server,
)

from .scripted import RichError

#: A connection that breaks under the call, as far as a client can tell.
CUT = RichError(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")


def limited(seconds: float = 0.02) -> RichError:
    """A limit that passes: a reason that this client has never heard of, and a delay."""
    delay = Duration(nanos=round(seconds % 1 * 1e9), seconds=int(seconds))
    return RichError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", "RATE_LIMITED", retry_after=delay
    )


def draining() -> RichError:
    """A server that is about to go."""
    delay = Duration(nanos=20_000_000)
    return RichError(grpc.StatusCode.UNAVAILABLE, "stopping", "SERVER_DRAINING", retry_after=delay)


def proxy() -> RichError:
    """What something on the way says when it finds nobody behind it."""
    return RichError(grpc.StatusCode.UNAVAILABLE, "no healthy upstream")


def answers(client: Any, call: str) -> Any:
    """Makes a call by its name; the client's kind decides whether it is to be awaited."""
    made = {
        "GetSession": lambda: client.get_session("ses_a"),
        "CreateSession": lambda: client.session(session_id="created"),
        "CloseSession": lambda: client.get_session("ses_a"),
        "Signal": lambda: client.get_session("ses_a"),
        "Run": lambda: client.get_session("ses_a"),
    }[call]()

    def then(session: Any) -> Any:
        return {
            "GetSession": lambda: session.id,
            "CreateSession": lambda: session.id,
            "CloseSession": session.close,
            "Signal": lambda: session.signal("exe_a", "INT"),
            "Run": lambda: session.run("true"),
        }[call]()

    def text(value: Any) -> str:
        if call == "CloseSession":
            return str(value.ended_process_count)
        if call == "Signal":
            return str(value.name)
        return str(value.exit_code) if call == "Run" else str(value)

    if not hasattr(made, "__await__"):
        return text(then(made))

    async def awaited() -> str:
        value = then(await made)
        return text(await value if hasattr(value, "__await__") else value)

    return awaited()


class FailingServer(SessionServiceServicer, ExecServiceServicer):
    """Fails calls as it is told, and then answers them with next to nothing."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self._failures: dict[str, list[RichError]] = {}
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        add_SessionServiceServicer_to_server(self, self._server)
        add_ExecServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def fail(self, call: str, failures: Iterable[Any]) -> None:
        """The next calls of this name fail so, one after the other."""
        self._failures[call] = list(failures)

    def count(self, call: str) -> int:
        """How often it was called."""
        return sum(type(request).__name__ == f"{call}Request" for request in self.requests)

    def stop(self) -> None:
        """Ends it and every call at once."""
        self._server.stop(grace=None).wait()

    def _take(self, request: Message, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        failures = self._failures.get(type(request).__name__.replace("Request", ""))
        if failures:
            failures.pop(0).raise_in(context)

    def GetCapabilities(
        self, request: capabilities_pb2.GetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> capabilities_pb2.GetCapabilitiesResponse:
        """Says nothing."""
        self._take(request, context)
        return capabilities_pb2.GetCapabilitiesResponse()

    def CreateSession(
        self, request: session_pb2.CreateSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.CreateSessionResponse:
        """Opens one."""
        self._take(request, context)
        session = session_pb2.Session(session_id=request.session_id)
        return session_pb2.CreateSessionResponse(session=session)

    def GetSession(
        self, request: session_pb2.GetSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.GetSessionResponse:
        """Finds any."""
        self._take(request, context)
        session = session_pb2.Session(session_id=request.session_id)
        return session_pb2.GetSessionResponse(session=session)

    def CloseSession(
        self, request: session_pb2.CloseSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.CloseSessionResponse:
        """Closes any."""
        self._take(request, context)
        return session_pb2.CloseSessionResponse()

    def Signal(
        self, request: exec_pb2.SignalRequest, context: grpc.ServicerContext
    ) -> exec_pb2.SignalResponse:
        """Leaves it running."""
        self._take(request, context)
        return exec_pb2.SignalResponse(state=execution_pb2.EXECUTION_STATE_RUNNING)

    def Run(
        self, request: exec_pb2.RunRequest, context: grpc.ServicerContext
    ) -> exec_pb2.RunResponse:
        """Exits with 0."""
        self._take(request, context)
        outcome = outcome_pb2.Outcome(exited=outcome_pb2.Exited(code=0))
        finished = outcome_pb2.Finished(
            outcome=outcome,
            observed_by=outcome_pb2.OBSERVED_BY_SHELL,
            cause=outcome_pb2.CAUSE_EXITED,
        )
        result = execution_pb2.ExecResult(
            session_id=request.session_id, execution_id=request.execution_id, finished=finished
        )
        return exec_pb2.RunResponse(result=result)
