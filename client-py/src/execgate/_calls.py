"""Every call that a client makes, described and not yet made.

A description knows the method, the request, how long it may take, and what the answer
means. How it is made, blocking or awaited, is a connection's to know; so the sync and
the asyncio client say the same, word for word.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, Union

import grpc

from ._channel import CALL_TIMEOUT_SECONDS
from ._requests import (
    Command,
    ExecutionOptions,
    SessionChanges,
    SessionOptions,
    create_session_request,
    exec_request,
    execution_spec,
    run_request,
)
from ._retry import Repeat
from ._stubs import Stubs
from ._time import Seconds, to_duration
from .budget import Budget, write_budget
from .enums import (
    CHANNEL,
    EXECUTION_STATE,
    SESSION_STATE,
    SIGNAL_KIND,
    Channel,
    ExecutionState,
    SessionState,
    SignalKind,
)
from .info import (
    Capabilities,
    Closed,
    ExecutionInfo,
    ReadOutput,
    SessionInfo,
    Verdict,
    read_capabilities,
    read_closed,
    read_execution,
    read_output,
    read_session,
    read_verdict,
)
from .result import Result, read_result
from .v1 import (
    audit_pb2,
    audit_record_pb2,
    capabilities_pb2,
    exec_pb2,
    session_pb2,
    types_pb2,
)

#: Random bytes in an id: with them nobody meets another one by chance.
_ID_BYTES = 16

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Call(Generic[_Request, _Response, _Value]):
    """A call with one answer."""

    method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[_Request, _Response]]
    request: _Request
    read: Callable[[_Response], _Value]
    """What the answer means."""
    timeout: float | None = CALL_TIMEOUT_SECONDS
    """Longest time that it may take, in seconds."""
    execution_id: str = ""
    """The execution it is about, for errors."""
    repeat: Repeat = Repeat.ALWAYS
    """Whether it may be made again."""


class Paged(Protocol):
    """A request for a page."""

    page_token: str


class PageOf(Protocol):
    """A page."""

    next_page_token: str


_PagedRequest = TypeVar("_PagedRequest", bound=Paged)
_PageResponse = TypeVar("_PageResponse", bound=PageOf)


@dataclass(frozen=True)
class Listing(Generic[_PagedRequest, _PageResponse, _Value]):
    """A call whose answers are pages."""

    method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[_PagedRequest, _PageResponse]]
    request: _PagedRequest
    read: Callable[[_PageResponse], Iterable[_Value]]
    """What is on a page."""

    def page(self) -> Call[_PagedRequest, _PageResponse, tuple[list[_Value], bool]]:
        """The call for the next page; its value is what is on it and whether more follow."""

        def read(response: _PageResponse) -> tuple[list[_Value], bool]:
            self.request.page_token = response.next_page_token
            return list(self.read(response)), bool(response.next_page_token)

        return Call(self.method, self.request, read)


#: What a stream carries, whether it was started or attached to.
StreamResponse = Union[exec_pb2.ExecResponse, exec_pb2.AttachResponse]


@dataclass(frozen=True)
class RunCall:
    """A call that runs a command, and may be repeated because of its id."""

    call: Call[exec_pb2.RunRequest, exec_pb2.RunResponse, Result]
    session_id: str
    resume: bool | Seconds | None
    """What the caller asked for. None: nothing."""


@dataclass(frozen=True)
class StreamCall:
    """A call with a stream of events, of an execution that it starts or finds."""

    # Two methods, with requests and responses of their own that hold the same events.
    method: Callable[[Stubs], grpc.UnaryStreamMultiCallable[Any, Any]]
    request: exec_pb2.ExecRequest | exec_pb2.AttachRequest
    execution_id: str = ""
    resume: bool | Seconds | None = None
    """What the caller asked for. None: nothing."""
    starts: bool = False
    """Whether it starts the command."""
    fresh: bool = False
    """Whether nobody else can have used the id before."""


def create_session(
    options: SessionOptions,
) -> Call[session_pb2.CreateSessionRequest, session_pb2.CreateSessionResponse, SessionInfo]:
    """Opens a session."""
    # With an id it is found again by a call that is repeated.
    chosen = options.session_id or f"ses_{secrets.token_hex(_ID_BYTES)}"
    request = create_session_request(replace(options, session_id=chosen))
    return Call(
        lambda stubs: stubs.sessions.CreateSession, request, lambda r: read_session(r.session)
    )


def get_session(
    session_id: str,
) -> Call[session_pb2.GetSessionRequest, session_pb2.GetSessionResponse, SessionInfo]:
    """Looks a session up."""
    request = session_pb2.GetSessionRequest(session_id=session_id)
    return Call(lambda stubs: stubs.sessions.GetSession, request, lambda r: read_session(r.session))


def list_sessions(
    labels: Mapping[str, str] | None, states: Iterable[SessionState]
) -> Listing[session_pb2.ListSessionsRequest, session_pb2.ListSessionsResponse, SessionInfo]:
    """Lists sessions."""
    request = session_pb2.ListSessionsRequest(
        labels=labels, states=[SESSION_STATE.write(state) for state in states]
    )
    return Listing(
        lambda stubs: stubs.sessions.ListSessions, request, lambda r: map(read_session, r.sessions)
    )


def close_session(
    session_id: str,
) -> Call[session_pb2.CloseSessionRequest, session_pb2.CloseSessionResponse, Closed]:
    """Closes a session."""
    request = session_pb2.CloseSessionRequest(session_id=session_id)
    return Call(lambda stubs: stubs.sessions.CloseSession, request, read_closed)


def capabilities() -> Call[
    capabilities_pb2.GetCapabilitiesRequest, capabilities_pb2.GetCapabilitiesResponse, Capabilities
]:
    """Asks what the server can do."""
    request = capabilities_pb2.GetCapabilitiesRequest()
    return Call(lambda stubs: stubs.sessions.GetCapabilities, request, read_capabilities)


def list_audit_records(
    session_id: str, execution_id: str, newest_first: bool
) -> Listing[
    audit_pb2.ListAuditRecordsRequest,
    audit_pb2.ListAuditRecordsResponse,
    audit_record_pb2.AuditRecord,
]:
    """Lists audit records."""
    request = audit_pb2.ListAuditRecordsRequest(
        filter=audit_pb2.AuditFilter(
            session_ids=[session_id] if session_id else [], execution_id=execution_id
        ),
        newest_first=newest_first,
    )
    return Listing(lambda stubs: stubs.audit.ListAuditRecords, request, lambda r: r.records)


def run(
    session_id: str, command: Command, options: ExecutionOptions, budget: Budget | None
) -> RunCall:
    """Runs a command to its end, however long that takes."""
    execution_id, fresh = _identified(options)

    def read(response: exec_pb2.RunResponse) -> Result:
        result = read_result(response.result)
        # A call that was repeated finds what it started before.
        return replace(result, deduplicated=False) if fresh and result.deduplicated else result

    call = Call(
        lambda stubs: stubs.executions.Run,
        run_request(session_id, execution_id, command, options, budget),
        read,
        timeout=None,
        execution_id=execution_id,
    )
    return RunCall(call, session_id, options.resume)


def execute(session_id: str, command: Command, options: ExecutionOptions) -> StreamCall:
    """Starts a command and follows it."""
    execution_id, fresh = _identified(options)
    return StreamCall(
        lambda stubs: stubs.executions.Exec,
        exec_request(session_id, execution_id, command, options),
        execution_id,
        options.resume,
        starts=True,
        fresh=fresh,
    )


def _identified(options: ExecutionOptions) -> tuple[str, bool]:
    """An execution's id, and whether it was chosen here."""
    if options.execution_id:
        return options.execution_id, False
    return f"exe_{secrets.token_hex(_ID_BYTES)}", True


def attach(
    session_id: str,
    execution_id: str,
    offsets: Mapping[Channel, int] | None,
    resume: bool | Seconds | None = None,
) -> StreamCall:
    """Follows an execution that exists."""
    wire = {CHANNEL.write(channel): offset for channel, offset in (offsets or {}).items()}
    return attach_at(session_id, execution_id, wire, 0, resume)


def attach_at(
    session_id: str,
    execution_id: str,
    offsets: Mapping[types_pb2.Channel.ValueType, int],
    notices_seen: int,
    resume: bool | Seconds | None = None,
) -> StreamCall:
    """Follows an execution from where a reader stands."""
    request = exec_pb2.AttachRequest(
        session_id=session_id,
        execution_id=execution_id,
        offsets=[
            exec_pb2.ChannelOffset(channel=channel, offset=offset)
            for channel, offset in offsets.items()
        ],
        notices_seen=notices_seen,
    )
    return StreamCall(lambda stubs: stubs.executions.Attach, request, execution_id, resume)


def evaluate(
    session_id: str, command: Command
) -> Call[exec_pb2.EvaluatePolicyRequest, exec_pb2.EvaluatePolicyResponse, Verdict]:
    """Asks the policy."""
    request = exec_pb2.EvaluatePolicyRequest(
        session_id=session_id, spec=execution_spec(command, ExecutionOptions())
    )
    return Call(
        lambda stubs: stubs.executions.EvaluatePolicy, request, lambda r: read_verdict(r.verdict)
    )


def get_execution(
    session_id: str, execution_id: str, timeout: float = CALL_TIMEOUT_SECONDS
) -> Call[exec_pb2.GetExecutionRequest, exec_pb2.GetExecutionResponse, ExecutionInfo]:
    """Looks an execution up."""
    request = exec_pb2.GetExecutionRequest(session_id=session_id, execution_id=execution_id)
    return Call(
        lambda stubs: stubs.executions.GetExecution,
        request,
        lambda r: read_execution(r.execution),
        timeout=timeout,
        execution_id=execution_id,
    )


def list_executions(
    session_id: str,
) -> Listing[exec_pb2.ListExecutionsRequest, exec_pb2.ListExecutionsResponse, ExecutionInfo]:
    """Lists a session's executions."""
    request = exec_pb2.ListExecutionsRequest(session_id=session_id)
    return Listing(
        lambda stubs: stubs.executions.ListExecutions,
        request,
        lambda r: map(read_execution, r.executions),
    )


@dataclass(frozen=True)
class OutputSelection:
    """What of an execution's retained output to read; `Session.read_output` explains it."""

    channel: Channel = Channel.STDOUT
    offset: int | None = None
    limit: int = 0
    wait: Seconds | None = None
    budget: Budget | None = None


def read_retained(
    session_id: str, execution_id: str, selection: OutputSelection
) -> Call[exec_pb2.ReadOutputRequest, exec_pb2.ReadOutputResponse, ReadOutput]:
    """Reads output after the fact."""
    request = exec_pb2.ReadOutputRequest(
        session_id=session_id,
        execution_id=execution_id,
        channel=CHANNEL.write(selection.channel),
    )
    if selection.budget is not None:
        request.budget.MergeFrom(write_budget(selection.budget) or types_pb2.OutputBudget())
    else:
        request.range.CopyFrom(
            exec_pb2.OutputRange(
                offset=selection.offset,
                limit=selection.limit,
                wait=to_duration(selection.wait),
            )
        )
    return Call(
        lambda stubs: stubs.executions.ReadOutput,
        request,
        read_output,
        timeout=None if selection.wait is not None else CALL_TIMEOUT_SECONDS,
        execution_id=execution_id,
    )


def write_stdin(
    session_id: str, execution_id: str, data: bytes, eof: bool, offset: int | None
) -> Call[exec_pb2.WriteStdinRequest, exec_pb2.WriteStdinResponse, int]:
    """Writes to a command's standard input; the value is where the next write begins."""
    request = exec_pb2.WriteStdinRequest(
        session_id=session_id, execution_id=execution_id, offset=offset, data=data, eof=eof
    )
    return Call(
        lambda stubs: stubs.executions.WriteStdin,
        request,
        lambda r: r.next_offset,
        execution_id=execution_id,
    )


def signal(
    session_id: str, execution_id: str, kind: SignalKind
) -> Call[exec_pb2.SignalRequest, exec_pb2.SignalResponse, ExecutionState]:
    """Sends a signal; the value is the execution's state right after."""
    request = exec_pb2.SignalRequest(
        session_id=session_id, execution_id=execution_id, signal=SIGNAL_KIND.write(SignalKind(kind))
    )
    return Call(
        lambda stubs: stubs.executions.Signal,
        request,
        lambda r: EXECUTION_STATE.read(r.state),
        execution_id=execution_id,
        repeat=Repeat.REFUSED,
    )


def update_session(
    session_id: str, changes: SessionChanges
) -> Call[session_pb2.UpdateSessionRequest, session_pb2.UpdateSessionResponse, SessionInfo]:
    """Changes a live session's labels and defaults; the value is the session after that."""
    labels = changes.labels
    request = session_pb2.UpdateSessionRequest(
        session_id=session_id,
        labels=None if labels is None else session_pb2.Labels(labels=labels),
        idle_ttl=to_duration(changes.idle_ttl),
        default_timeout=to_duration(changes.timeout),
        output_budget=write_budget(changes.budget),
    )
    return Call(
        lambda stubs: stubs.sessions.UpdateSession,
        request,
        lambda r: read_session(r.session),
    )


def resize(
    session_id: str, rows: int, columns: int
) -> Call[exec_pb2.ResizeTerminalRequest, exec_pb2.ResizeTerminalResponse, tuple[int, int]]:
    """Changes a terminal's size; the value is the one it has then."""
    request = exec_pb2.ResizeTerminalRequest(
        session_id=session_id, size=types_pb2.TerminalSize(rows=rows, columns=columns)
    )
    return Call(
        lambda stubs: stubs.executions.ResizeTerminal,
        request,
        lambda r: (r.size.rows, r.size.columns),
    )
