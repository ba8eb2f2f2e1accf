"""docs/errors.md is true: code, metadata and details of refusals, as the server sends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from raw_stubs import Gate
from running_server import LIMIT_SECONDS, REPOSITORY, Server

from execgate.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    exec_pb2,
    execution_pb2,
    fence_pb2,
    policy_pb2,
    session_pb2,
    types_pb2,
)

ROW = re.compile(r'\| <a name="\w+"></a>`(\w+)`(¹?) \| `(\w+)` \|[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|')
#: Harmless even if it were not denied: there is no such disk and it writes nothing.
DENIED = "dd if=/dev/null of=/dev/sdzz count=0"
#: More than a request may have, in bytes.
TOO_LARGE = 8 << 20


class Row(NamedTuple):
    """What the table says of a reason."""

    code: str
    always: frozenset[str]
    sometimes: frozenset[str]
    details: frozenset[str]


def read_table() -> dict[str, Row]:
    """The reasons that servers answer today."""
    page = (REPOSITORY / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = {}
    for reason, not_yet, code, metadata, details in ROW.findall(page):
        keys = {
            key: "where " in part or "none " in part
            for part in metadata.split(";")
            for key in re.findall(r"^\s*`(\w+)`", part)
        }
        if not not_yet:
            rows[reason] = Row(
                code,
                frozenset(key for key, maybe in keys.items() if not maybe),
                frozenset(keys),
                frozenset(re.findall(r"[A-Z][a-z]+[A-Z]\w+", details)),
            )
    return rows


@pytest.fixture(scope="module")
def gate(server: Server) -> Iterator[Gate]:
    gate = Gate(server)
    yield gate
    gate.channel.close()


def bad_page(gate: Gate) -> object:
    request = session_pb2.ListSessionsRequest()
    request.page_token = "of another listing"  # noqa: S105 - no password
    return gate.call(gate.sessions.ListSessions, request)


def unknown_method(gate: Gate) -> object:
    method: Any = gate.channel.unary_unary("/execgate.v1.ExecService/Undo")
    return gate.call(method, b"")


def wrong_token(gate: Gate) -> object:
    return gate.sessions.CreateSession(
        session_pb2.CreateSessionRequest(),
        metadata=(("authorization", f"Bearer {'0' * 64}"),),
        timeout=LIMIT_SECONDS,
    )


def closed_session(gate: Gate) -> object:
    gate.create(session_id="closed")
    gate.call(gate.sessions.CloseSession, session_pb2.CloseSessionRequest(session_id="closed"))
    return gate.run("true", session_id="closed")


def busy_session(gate: Gate) -> object:
    gate.create(session_id="busy")
    spec = execution_pb2.ExecutionSpec(script="sleep 600")
    stream = gate.call(gate.exec.Exec, exec_pb2.ExecRequest(session_id="busy", spec=spec))
    next(stream)
    return gate.run("true", session_id="busy")


def taken_session_id(gate: Gate) -> object:
    gate.create(session_id="taken")
    return gate.create(session_id="taken", cwd="/usr")


def taken_execution_id(gate: Gate) -> object:
    gate.run("true", execution_id="taken")
    return gate.run("false", execution_id="taken")


def beyond_the_end(gate: Gate) -> object:
    gate.run("echo short", execution_id="short")
    offset = exec_pb2.ChannelOffset(channel=types_pb2.CHANNEL_STDOUT, offset=1000)
    request = exec_pb2.AttachRequest(
        session_id=gate.session_id, execution_id="short", offsets=[offset]
    )
    return list(gate.call(gate.exec.Attach, request))


def no_execution(gate: Gate) -> object:
    request = exec_pb2.GetExecutionRequest(session_id=gate.session_id, execution_id="nothing")
    return gate.call(gate.exec.GetExecution, request)


def closed_stdin(gate: Gate) -> object:
    gate.create(session_id="deaf")
    spec = execution_pb2.ExecutionSpec(script="sleep 600")
    run = exec_pb2.ExecRequest(session_id="deaf", execution_id="deaf", spec=spec)
    next(gate.call(gate.exec.Exec, run))
    request = exec_pb2.WriteStdinRequest(session_id="deaf", execution_id="deaf", data=b"hello")
    return gate.call(gate.exec.WriteStdin, request)


def signal_to_finished(gate: Gate) -> object:
    gate.run("true", execution_id="finished")
    request = exec_pb2.SignalRequest(
        session_id=gate.session_id, execution_id="finished", signal=types_pb2.SIGNAL_KIND_INT
    )
    return gate.call(gate.exec.Signal, request)


def no_terminal(gate: Gate) -> object:
    size = types_pb2.TerminalSize(rows=40, columns=100)
    request = exec_pb2.ResizeTerminalRequest(session_id=gate.session_id, size=size)
    return gate.call(gate.exec.ResizeTerminal, request)


def no_fence(gate: Gate) -> object:
    # Nobody can have it: the shell itself reports how its commands end.
    control = fence_pb2.ControlRequirement(control=fence_pb2.CONTROL_EXIT_INTEGRITY)
    return gate.create(fence=fence_pb2.FenceRequirement(require=[control]))


def script_without_a_shell(gate: Gate) -> object:
    gate.create(session_id="bare", shell="none")
    return gate.run("true", session_id="bare")


def tail_from_the_future(gate: Gate) -> object:
    request = audit_pb2.TailAuditRecordsRequest(from_sequence=10**9)
    audits = audit_pb2_grpc.AuditServiceStub(gate.channel)
    return list(gate.call(audits.TailAuditRecords, request))


def too_many_sessions(gate: Gate) -> object:
    made: list[str] = []
    try:
        while True:
            made.append(gate.create().session.session_id)
    finally:
        for session_id in made:
            request = session_pb2.CloseSessionRequest(session_id=session_id)
            gate.call(gate.sessions.CloseSession, request)


CASES: Mapping[str, Callable[[Gate], object]] = {
    "INVALID_FIELD": lambda gate: gate.run(""),
    "PAGE_TOKEN_INVALID": bad_page,
    "MESSAGE_TOO_LARGE": lambda gate: gate.run("#" * TOO_LARGE),
    "NOT_IMPLEMENTED": unknown_method,
    "UNAUTHENTICATED": wrong_token,
    "SESSION_NOT_FOUND": lambda gate: gate.run("true", session_id="nothing"),
    "SESSION_ENDED": closed_session,
    "SESSION_BUSY": busy_session,
    "SESSION_ID_REUSED": taken_session_id,
    "GENERATION_MISMATCH": lambda gate: gate.run("true", expected_generation=7),
    "SESSION_LIMIT": too_many_sessions,
    "EXECUTION_NOT_FOUND": no_execution,
    "EXECUTION_ID_REUSED": taken_execution_id,
    "EXECUTION_NOT_RUNNING": signal_to_finished,
    "STDIN_NOT_OPEN": closed_stdin,
    "NO_TERMINAL": no_terminal,
    "OFFSET_OUT_OF_RANGE": beyond_the_end,
    "SEQUENCE_OUT_OF_RANGE": tail_from_the_future,
    "POLICY_DENIED": lambda gate: gate.run(DENIED),
    "POLICY_INVALID": lambda gate: gate.create(policy=policy_pb2.SessionPolicy(toml="[[rule]")),
    "FENCE_UNAVAILABLE": no_fence,
    "NO_SHELL": script_without_a_shell,
    "SHELL_NOT_FOUND": lambda gate: gate.create(shell="/nonexistent/bash"),
}


@pytest.mark.parametrize("reason", CASES)
def test_refusal_is_as_the_table_says(reason: str, gate: Gate) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        CASES[reason](gate)
    error: Any = caught.value
    trailers = dict(error.trailing_metadata())
    status = Status.FromString(trailers["grpc-status-details-bin"])
    kinds = {detail.TypeName().rpartition(".")[2] for detail in status.details}
    info = ErrorInfo()
    assert next(d for d in status.details if d.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    assert (info.domain, info.reason) == ("execgate.dev", reason)
    row = read_table()[reason]
    assert error.code().name == row.code
    assert row.always <= set(info.metadata) <= row.sometimes
    assert kinds - {"ErrorInfo"} == row.details


def test_table_has_every_reason() -> None:
    source = (REPOSITORY / "proto/execgate/v1/errors.proto").read_text(encoding="utf-8")
    page = (REPOSITORY / "docs" / "errors.md").read_text(encoding="utf-8")
    named = set(re.findall(r"ERROR_REASON_(\w+) =", source)) - {"UNSPECIFIED"}
    assert {found[0] for found in ROW.findall(page)} == named
    assert set(CASES) <= set(read_table())
