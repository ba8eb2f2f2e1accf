"""A client of a later version meets this server, as docs/versioning.md tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from raw_stubs import Gate
from running_server import Server

from execgate.v1 import exec_pb2, execution_pb2

#: A field of number 1001 that holds three bytes: nothing of this version has it.
LATER_FIELD = b"\xca\x3e\x03abc"
#: A value that no enum of this version has.
LATER_VALUE: Any = 99


@pytest.fixture(scope="module")
def gate(server: Server) -> Iterator[Gate]:
    gate = Gate(server)
    yield gate
    gate.channel.close()


def request(gate: Gate, spec: bytes = b"", **fields: Any) -> exec_pb2.RunRequest:
    """A request to run `echo on`, or what the bytes of `spec` say."""
    known = execution_pb2.ExecutionSpec(script="echo on")
    message = exec_pb2.RunRequest(session_id=gate.session_id, **fields)
    message.spec.CopyFrom(execution_pb2.ExecutionSpec.FromString(spec) if spec else known)
    return message


def refusal(gate: Gate, method: str, message: bytes) -> tuple[str, ErrorInfo]:
    """Code and reason that a call ends with."""
    call: Any = gate.channel.unary_unary(method)
    with pytest.raises(grpc.RpcError) as caught:
        gate.call(call, message)
    error: Any = caught.value
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = ErrorInfo()
    next(d for d in status.details if d.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    return error.code().name, info


def test_later_method_is_not_implemented(gate: Gate) -> None:
    for method in ("/execgate.v1.ExecService/Undo", "/execgate.v2.ExecService/Run"):
        code, info = refusal(gate, method, b"")
        assert (code, info.reason) == ("UNIMPLEMENTED", "NOT_IMPLEMENTED")
        assert method in info.metadata["missing"]


def test_later_value_is_refused_by_its_field(gate: Gate) -> None:
    message = request(gate, on_disconnect=LATER_VALUE).SerializeToString()
    code, info = refusal(gate, "/execgate.v1.ExecService/Run", message)
    assert (code, info.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert info.metadata["field"] == "on_disconnect"


def test_later_kind_of_command_is_none(gate: Gate) -> None:
    message = request(gate, spec=LATER_FIELD).SerializeToString()
    code, info = refusal(gate, "/execgate.v1.ExecService/Run", message)
    assert (code, info.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert info.metadata["field"] == "spec.command"


def test_later_field_is_read_over(gate: Gate) -> None:
    call: Any = gate.channel.unary_unary("/execgate.v1.ExecService/Run")
    answer = gate.call(call, request(gate).SerializeToString() + LATER_FIELD)
    assert exec_pb2.RunResponse.FromString(answer).result.stdout == b"on\n"
