"""A small honest server for tests: real gRPC on a real port, answers from a script.

What it does not know it answers as a server that is too old would.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Union

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from execgate.v1 import events_pb2, exec_pb2, execution_pb2, outcome_pb2, session_pb2, types_pb2
from execgate.v1.exec_pb2_grpc import ExecServiceServicer, add_ExecServiceServicer_to_server
from execgate.v1.session_pb2_grpc import (
    SessionServiceServicer,
    add_SessionServiceServicer_to_server,
)

#: Longest wait for something that is about to happen, in seconds.
LIMIT_SECONDS = 20

TOKEN = "0123456789abcdef"  # noqa: S105 - opens nothing

#: Answers to one execution; an error ends it, an event is waited for.
Script = Sequence[Union[events_pb2.ExecEvent, "RichError", threading.Event]]


class RichError:
    """A status with google.rpc details, as the server makes them."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        *,
        domain: str = "execgate.dev",
        retry_after: Duration | None = None,
        violations: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.message = message
        status = status_pb2.Status(code=code.value[0], message=message)
        details: list[Message] = []
        if reason:
            details.append(
                error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)
            )
        if retry_after is not None:
            details.append(error_details_pb2.RetryInfo(retry_delay=retry_after))
        if violations:
            violation = error_details_pb2.BadRequest.FieldViolation
            details.append(
                error_details_pb2.BadRequest(
                    field_violations=[
                        violation(field=field, description=text)
                        for field, text in violations.items()
                    ]
                )
            )
        for detail in details:
            packed = Any()
            packed.Pack(detail)
            status.details.append(packed)
        self.metadata = (("grpc-status-details-bin", status.SerializeToString()),)

    def raise_in(self, context: grpc.ServicerContext) -> None:
        """Ends the call with it."""
        context.set_trailing_metadata(self.metadata)
        context.abort(self.code, self.message)


def started(execution_id: str = "exe_1") -> events_pb2.ExecEvent:
    """The first event."""
    return events_pb2.ExecEvent(
        started=events_pb2.Started(
            session_id="ses_1",
            execution_id=execution_id,
            generation=1,
            command="make",
            cwd="/srv",
        )
    )


def output(channel: str, offset: int, data: bytes) -> events_pb2.ExecEvent:
    """A piece of output."""
    return events_pb2.ExecEvent(
        output=events_pb2.Output(
            channel=types_pb2.Channel.Value(f"CHANNEL_{channel}"), offset=offset, data=data
        )
    )


def finished(code: int = 0, cause: str = "EXITED") -> events_pb2.ExecEvent:
    """The last event."""
    return events_pb2.ExecEvent(
        finished=outcome_pb2.Finished(
            outcome=outcome_pb2.Outcome(exited=outcome_pb2.Exited(code=code)),
            observed_by=outcome_pb2.OBSERVED_BY_SHELL,
            cause=outcome_pb2.Cause.Value(f"CAUSE_{cause}"),
            wall_time=Duration(seconds=1, nanos=500_000_000),
            cwd="/tmp",  # noqa: S108 - only a name
            generation=1,
        )
    )


class ScriptedServer(SessionServiceServicer, ExecServiceServicer):
    """Opens sessions, and answers each command by the script of that name."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts
        self.requests: list[Message] = []
        self.exec_ended = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        add_SessionServiceServicer_to_server(self, self._server)
        add_ExecServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends it and every call at once."""
        self._server.stop(grace=None).wait()

    def CreateSession(
        self, request: session_pb2.CreateSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.CreateSessionResponse:
        """Opens `ses_1`, for those who know the token."""
        self.requests.append(request)
        if ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
            RichError(
                grpc.StatusCode.UNAUTHENTICATED, "no valid token", "UNAUTHENTICATED"
            ).raise_in(context)
        return session_pb2.CreateSessionResponse(session=session_pb2.Session(session_id="ses_1"))

    def CloseSession(
        self, request: session_pb2.CloseSessionRequest, context: grpc.ServicerContext
    ) -> session_pb2.CloseSessionResponse:
        """Closes it."""
        self.requests.append(request)
        return session_pb2.CloseSessionResponse(
            ended_processes=[session_pb2.EndedProcess(pid=7, command="sleep", signal="SIGTERM")],
            ended_process_count=1,
        )

    def Exec(
        self, request: exec_pb2.ExecRequest, context: grpc.ServicerContext
    ) -> Iterator[exec_pb2.ExecResponse]:
        """Plays the script that the command names."""
        self.requests.append(request)
        context.add_callback(self.exec_ended.set)
        for step in self._scripts[request.spec.script]:
            if isinstance(step, RichError):
                step.raise_in(context)
            elif isinstance(step, threading.Event):
                step.wait(LIMIT_SECONDS)
            else:
                yield exec_pb2.ExecResponse(event=step)

    def Run(
        self, request: exec_pb2.RunRequest, context: grpc.ServicerContext
    ) -> exec_pb2.RunResponse:
        """Plays the script and answers its output."""
        self.requests.append(request)
        result = execution_pb2.ExecResult(session_id="ses_1", execution_id="exe_1")
        for step in self._scripts[request.spec.script]:
            if isinstance(step, RichError):
                step.raise_in(context)
            elif isinstance(step, threading.Event):
                step.wait(LIMIT_SECONDS)
            elif step.output.channel == types_pb2.CHANNEL_STDERR:
                result.stderr += step.output.data
            elif step.HasField("output"):
                result.stdout += step.output.data
            elif step.HasField("finished"):
                result.finished.CopyFrom(step.finished)
        return exec_pb2.RunResponse(result=result)
