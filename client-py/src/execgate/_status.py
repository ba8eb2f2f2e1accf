"""From a gRPC status to an exception: the only place that reads one.

Works on a code, a text and the trailing metadata, so that a sync and an asyncio call
can share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from . import errors
from ._time import from_duration

#: Domain of the reasons in `errors.proto`.
ERROR_DOMAIN = "execgate.dev"

#: Metadata key of a `google.rpc.Status`.
_DETAILS_KEY = "grpc-status-details-bin"

#: What gRPC says of a connection that never was; it has no other sign for that.
_NEVER_CONNECTED = (
    "failed to connect",
    "errors resolving",
    "resolution failed",
    "Name resolution",
)

# What to do about errors that are made on this side.
_START = "start the server with `execgate serve`, or set EXECGATE_ADDR to where it listens"
_UPDATE = "update the server; Client.capabilities() says what it is"
_SHOW = (
    "give a token that is good there, as token=, token_file=, EXECGATE_TOKEN or "
    "EXECGATE_TOKEN_FILE: an API key that `execgate key list` still has, a JSON Web Token that has "
    "not expired, or on the server's machine the file `token` in its data directory"
)
_FOLLOW = (
    "connect again and follow the execution with Session.attach, or repeat the call with the "
    "same execution_id, which runs nothing twice"
)

_Metadata = Iterable[tuple[str, Union[str, bytes]]]

_BY_CODE: dict[grpc.StatusCode, type[errors.ExecgateError]] = {
    grpc.StatusCode.CANCELLED: errors.Cancelled,
    grpc.StatusCode.UNKNOWN: errors.InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ABORTED: errors.Aborted,
    grpc.StatusCode.OUT_OF_RANGE: errors.OutOfRange,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
    grpc.StatusCode.INTERNAL: errors.InternalError,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DATA_LOSS: errors.InternalError,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
}

_BY_REASON: dict[str, type[errors.ExecgateError]] = {
    "POLICY_DENIED": errors.PolicyDenied,
    "SESSION_BUSY": errors.SessionBusy,
    "SESSION_ENDED": errors.SessionEnded,
}


def from_status(
    code: grpc.StatusCode,
    text: str,
    metadata: _Metadata | None,
    *,
    address: str,
    execution_id: str = "",
) -> errors.ExecgateError:
    """The exception for a failed call to `address`, about `execution_id` if known."""
    details = _Details(metadata)
    if not details.found:
        broken = _broken_connection(code, text, address, execution_id)
        if broken is not None:
            broken.retry_after = details.retry_after
            return broken
    kind = _BY_CODE.get(code, errors.InternalError)
    special = _BY_REASON.get(details.reason)
    if special is not None and issubclass(special, kind):
        kind = special
    message = text or f"the server answered {code.name} without a word"
    if code is grpc.StatusCode.UNIMPLEMENTED and not details.found:
        message = f"the server at {address} does not know this call; it may be too old ({message})"
        details.metadata = {"suggestion": _UPDATE}
    if kind is errors.Unauthenticated:
        details.metadata = {**details.metadata, "suggestion": _SHOW}
    return kind(
        message,
        code=code.name,
        reason=details.reason,
        metadata=details.metadata,
        retry_after=details.retry_after,
        field_violations=details.field_violations,
    )


def _broken_connection(
    code: grpc.StatusCode, text: str, address: str, execution_id: str
) -> errors.Unavailable | None:
    """A status that gRPC made on this side, because the connection failed."""
    # gRPC has no sign for "made here" but its words.
    if code is grpc.StatusCode.UNAVAILABLE and any(words in text for words in _NEVER_CONNECTED):
        why = text.rpartition("last error: ")[2]
        return _connect_failed(f"no execgate server answers at {address}: {why}", code.name)
    cut = code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
    if code is grpc.StatusCode.UNAVAILABLE or (cut and ("RST_STREAM" in text or "GOAWAY" in text)):
        return disconnected(address, execution_id, text, code.name)
    return None


def disconnected(address: str, execution_id: str, text: str, code: str = "") -> errors.Disconnected:
    """The one error for a connection that broke while something was going on."""
    what = f" while execution {execution_id} was followed" if execution_id else ""
    return errors.Disconnected(
        f"the connection to {address} broke{what}; what ran may still run: {text}",
        code=code,
        execution_id=execution_id,
        metadata={"suggestion": _FOLLOW} if execution_id else None,
    )


def never_ready(address: str, timeout: float) -> errors.ConnectFailed:
    """The error for a server that does not answer in time."""
    return _connect_failed(f"no execgate server answers at {address} within {timeout:g} s", "")


def _connect_failed(message: str, code: str) -> errors.ConnectFailed:
    return errors.ConnectFailed(message, code=code, metadata={"suggestion": _START})


class _Details:
    """What a status carries beyond its code and text."""

    def __init__(self, metadata: _Metadata | None) -> None:
        self.found = False
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.retry_after: float | None = None
        self.field_violations: list[errors.FieldViolation] = []
        for key, value in metadata or ():
            if key == _DETAILS_KEY and isinstance(value, bytes):
                self._read(value)

    def _read(self, data: bytes) -> None:
        status = status_pb2.Status()
        if not _parses(status, data):
            return
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        for detail in status.details:
            if detail.Is(info.DESCRIPTOR) and _parses(info, detail.value):
                # A proxy's reasons are not ours.
                if info.domain == ERROR_DOMAIN:
                    self.found = True
                    self.reason = info.reason
                    self.metadata = dict(info.metadata)
            elif detail.Is(retry.DESCRIPTOR) and _parses(retry, detail.value):
                self.retry_after = from_duration(retry.retry_delay)
            elif detail.Is(bad_request.DESCRIPTOR) and _parses(bad_request, detail.value):
                self.field_violations += [
                    errors.FieldViolation(violation.field, violation.description)
                    for violation in bad_request.field_violations
                ]


def _parses(message: Message, data: bytes) -> bool:
    try:
        message.ParseFromString(data)
    except DecodeError:
        return False
    return True
