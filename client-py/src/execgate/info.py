"""What the server says about sessions, executions and itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ._time import from_timestamp
from .budget import BudgetReport, read_budget_report
from .enums import EXECUTION_STATE, ROLE, SESSION_STATE, ExecutionState, Role, SessionState
from .outcome import Ending, read_ending
from .v1 import capabilities_pb2, exec_pb2, execution_pb2, policy_pb2, session_pb2


@dataclass(frozen=True)
class SessionInfo:
    """A session as the server knows it."""

    session_id: str
    state: SessionState
    generation: int
    """Rises whenever the shell is not the same process as before."""
    cwd: str
    shell: str
    """Path of the shell."""
    labels: Mapping[str, str]
    create_time: datetime
    expire_time: datetime | None
    """When it is closed if nothing uses it."""
    running_execution_id: str
    """The script that runs now. Empty: none."""
    end: str
    """Why it ended. Empty: it has not."""
    principal: str
    """Whose it is: as whom the server knows the caller."""
    message: session_pb2.Session = field(repr=False)
    """All that the server said, also the fence report and the settings."""


@dataclass(frozen=True)
class ExecutionInfo:
    """An execution as the server knows it."""

    session_id: str
    execution_id: str
    state: ExecutionState
    command: str
    generation: int
    create_time: datetime
    ending: Ending | None
    """How it ended. None: it has not."""
    message: execution_pb2.Execution = field(repr=False)
    """All that the server said."""


@dataclass(frozen=True)
class ReadOutput:
    """Output that was read after the fact."""

    data: bytes
    offset: int
    """Offset of the first byte of `data`. 0 with a budget."""
    next_offset: int
    """Where to read on."""
    first_offset: int
    """Oldest byte that is retained."""
    end_offset: int
    """One past the newest byte so far."""
    complete: bool
    """Whether no byte will follow `end_offset`."""
    budget: BudgetReport | None = None
    """What the budget did, if one was given."""


@dataclass(frozen=True)
class EndedProcess:
    """A process that was ended with its session."""

    pid: int
    command: str
    signal: str
    """Name of the last signal that was sent to it."""


@dataclass(frozen=True)
class Closed:
    """What closing a session did."""

    ended_processes: tuple[EndedProcess, ...]
    """At most 1000 are listed."""
    ended_process_count: int
    """How many were ended, also those that are not listed."""


@dataclass(frozen=True)
class Verdict:
    """How a command would be judged."""

    allowed: bool
    rule: str
    layer: str
    """Layer of the rule: `operator`, `profile` or `session`."""
    justification: str
    suggestion: str
    excerpt: str
    """The offending part of the command. Empty: all of it, or it is allowed."""
    message: policy_pb2.PolicyVerdict = field(repr=False)
    """All that the server said, also the simple commands it found."""


@dataclass(frozen=True)
class Capabilities:
    """What a server can do."""

    api_version: str
    """Version of the API as `MAJOR.MINOR`."""
    server_version: str
    features: frozenset[str]
    """Optional features that are on."""
    principal: str
    """Who the server takes the caller for."""
    role: Role
    """What it lets this caller do with the things of others."""
    message: capabilities_pb2.GetCapabilitiesResponse = field(repr=False)
    """All that the server said, also its limits and transports."""


def read_session(message: session_pb2.Session) -> SessionInfo:
    """A session from the wire."""
    expires = message.HasField("expire_time")
    end = message.end
    reason = session_pb2.SessionEndReason.Name(end.reason) if message.HasField("end") else ""
    return SessionInfo(
        session_id=message.session_id,
        state=SESSION_STATE.read(message.state),
        generation=message.generation,
        cwd=message.cwd,
        shell=message.shell.path,
        labels=dict(message.labels),
        create_time=from_timestamp(message.create_time),
        expire_time=from_timestamp(message.expire_time) if expires else None,
        running_execution_id=message.running_execution_id,
        end=end.detail or reason,
        principal=message.principal,
        message=message,
    )


def read_execution(message: execution_pb2.Execution) -> ExecutionInfo:
    """An execution from the wire."""
    finished = message.HasField("finished")
    return ExecutionInfo(
        session_id=message.session_id,
        execution_id=message.execution_id,
        state=EXECUTION_STATE.read(message.state),
        command=message.command,
        generation=message.generation,
        create_time=from_timestamp(message.create_time),
        ending=read_ending(message.finished) if finished else None,
        message=message,
    )


def read_closed(message: session_pb2.CloseSessionResponse) -> Closed:
    """What a close did, from the wire."""
    processes = message.ended_processes
    return Closed(
        tuple(EndedProcess(ended.pid, ended.command, ended.signal) for ended in processes),
        message.ended_process_count,
    )


def read_verdict(message: policy_pb2.PolicyVerdict) -> Verdict:
    """A verdict from the wire."""
    return Verdict(
        allowed=message.decision == policy_pb2.DECISION_ALLOW,
        rule=message.rule_id,
        layer=message.layer,
        justification=message.reason,
        suggestion=message.suggestion,
        excerpt=message.excerpt,
        message=message,
    )


def read_capabilities(message: capabilities_pb2.GetCapabilitiesResponse) -> Capabilities:
    """Capabilities from the wire."""
    return Capabilities(
        api_version=message.api_version,
        server_version=message.server_version,
        features=frozenset(message.features),
        principal=message.principal,
        role=ROLE.read(message.role),
        message=message,
    )


def read_output(message: exec_pb2.ReadOutputResponse) -> ReadOutput:
    """Output that was read after the fact, from the wire."""
    return ReadOutput(
        data=message.data,
        offset=message.offset,
        next_offset=message.next_offset,
        first_offset=message.first_offset,
        end_offset=message.end_offset,
        complete=message.complete,
        budget=read_budget_report(message.budget) if message.HasField("budget") else None,
    )
