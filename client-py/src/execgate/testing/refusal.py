"""Errors, as the server puts them on the wire."""

from __future__ import annotations

from typing import TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from .. import errors
from .._status import ERROR_DOMAIN
from .._time import to_duration

_Value = TypeVar("_Value")

#: Codes of errors that name none.
_CODES: tuple[tuple[type[errors.ExecgateError], grpc.StatusCode], ...] = (
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.OutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (errors.ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Aborted, grpc.StatusCode.ABORTED),
    (errors.Cancelled, grpc.StatusCode.CANCELLED),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Unimplemented, grpc.StatusCode.UNIMPLEMENTED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
)

#: Reasons of errors that name none.
_REASONS: tuple[tuple[type[errors.ExecgateError], str], ...] = (
    (errors.PolicyDenied, "POLICY_DENIED"),
    (errors.SessionBusy, "SESSION_BUSY"),
    (errors.SessionEnded, "SESSION_ENDED"),
    (errors.InvalidArgument, "INVALID_FIELD"),
    (errors.Unauthenticated, "UNAUTHENTICATED"),
    (errors.Unimplemented, "NOT_IMPLEMENTED"),
    (errors.Unavailable, "TARGET_UNAVAILABLE"),
)


def refuse(error: errors.ExecgateError, context: grpc.ServicerContext) -> None:
    """Ends a call with this error: the client raises its like."""
    code = grpc.StatusCode[error.code] if error.code else _by_kind(error, _CODES)
    status = status_pb2.Status(
        code=(code or grpc.StatusCode.INTERNAL).value[0], message=error.message
    )
    info = error_details_pb2.ErrorInfo(
        reason=error.reason or _by_kind(error, _REASONS) or "INTERNAL",
        domain=ERROR_DOMAIN,
        metadata=dict(error.metadata),
    )
    details = [info]
    if error.retry_after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=to_duration(error.retry_after)))
    if error.field_violations:
        violation = error_details_pb2.BadRequest.FieldViolation
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    violation(field=found.field, description=found.description)
                    for found in error.field_violations
                ]
            )
        )
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code or grpc.StatusCode.INTERNAL, error.message)


def _by_kind(error: errors.ExecgateError, kinds: tuple[tuple[type, _Value], ...]) -> _Value | None:
    return next((value for kind, value in kinds if isinstance(error, kind)), None)
