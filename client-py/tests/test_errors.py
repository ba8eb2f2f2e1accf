"""A status becomes the exception that says the same."""

from __future__ import annotations

import pickle

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from execgate import errors
from execgate._status import from_status
from execgate.v1 import errors_pb2

from .scripted import RichError


def converted(rich: RichError) -> errors.ExecgateError:
    return from_status(rich.code, rich.message, rich.metadata, address="127.0.0.1:1")


def test_every_detail_of_a_refusal_is_kept() -> None:
    error = converted(
        RichError(
            grpc.StatusCode.PERMISSION_DENIED,
            "rm is denied",
            "POLICY_DENIED",
            {
                "rule": "no-rm",
                "suggestion": "use git clean -n",
                "justification": "files cannot be brought back",
                "span": "5-12",
                "excerpt": "rm -rf /",
            },
            retry_after=Duration(seconds=1, nanos=500_000_000),
            violations={"spec.script": "is denied"},
        )
    )
    assert isinstance(error, errors.PolicyDenied)
    assert error.code == "PERMISSION_DENIED"
    assert error.reason == "POLICY_DENIED"
    assert error.rule == "no-rm"
    assert error.suggestion == "use git clean -n"
    assert error.justification == "files cannot be brought back"
    assert (error.excerpt, error.span) == ("rm -rf /", (5, 12))
    assert error.retry_after == 1.5
    assert error.field_violations == (errors.FieldViolation("spec.script", "is denied"),)
    assert str(error) == ("POLICY_DENIED: rm is denied; spec.script: is denied (use git clean -n)")


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("INVALID_ARGUMENT", "INVALID_FIELD", errors.InvalidArgument),
        ("UNAUTHENTICATED", "UNAUTHENTICATED", errors.Unauthenticated),
        ("PERMISSION_DENIED", "CALLED_FROM_SESSION", errors.PermissionDenied),
        ("NOT_FOUND", "SESSION_NOT_FOUND", errors.NotFound),
        ("ALREADY_EXISTS", "EXECUTION_ID_REUSED", errors.AlreadyExists),
        ("FAILED_PRECONDITION", "SESSION_BUSY", errors.SessionBusy),
        ("FAILED_PRECONDITION", "SESSION_ENDED", errors.SessionEnded),
        ("FAILED_PRECONDITION", "GENERATION_MISMATCH", errors.FailedPrecondition),
        ("OUT_OF_RANGE", "OFFSET_OUT_OF_RANGE", errors.OutOfRange),
        ("RESOURCE_EXHAUSTED", "SESSION_LIMIT", errors.ResourceExhausted),
        ("ABORTED", "CHECKPOINT_BUSY", errors.Aborted),
        ("CANCELLED", "CALL_CANCELLED", errors.Cancelled),
        ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        ("UNIMPLEMENTED", "NOT_IMPLEMENTED", errors.Unimplemented),
        ("UNAVAILABLE", "AUDIT_UNAVAILABLE", errors.Unavailable),
        ("INTERNAL", "INTERNAL", errors.InternalError),
    ],
)
def test_kind_follows_code_and_reason(
    code: str, reason: str, kind: type[errors.ExecgateError]
) -> None:
    error = converted(RichError(grpc.StatusCode[code], "no", reason))
    assert type(error) is kind
    assert (error.code, error.reason) == (code, reason)


def test_every_code_has_an_exception() -> None:
    for code in grpc.StatusCode:
        if code is not grpc.StatusCode.OK:
            assert from_status(code, "", None, address="x").message


def test_busy_session_names_what_runs() -> None:
    code = grpc.StatusCode.FAILED_PRECONDITION
    error = converted(RichError(code, "busy", "SESSION_BUSY", {"execution_id": "exe_7"}))
    assert isinstance(error, errors.SessionBusy)
    assert error.execution_id == "exe_7"


def test_reason_of_a_foreign_domain_is_not_ours() -> None:
    code = grpc.StatusCode.FAILED_PRECONDITION
    error = converted(RichError(code, "no", "SESSION_BUSY", domain="proxy.example"))
    assert (type(error), error.reason) == (errors.FailedPrecondition, "")


def test_reason_of_a_newer_server_keeps_its_name() -> None:
    error = converted(RichError(grpc.StatusCode.ABORTED, "no", "NOVELTY"))
    assert (type(error), error.reason) == (errors.Aborted, "NOVELTY")
    assert "NOVELTY" not in errors_pb2.ErrorReason.keys()  # noqa: SIM118 - not a dict


def test_details_that_are_garbage_are_ignored() -> None:
    metadata = (("grpc-status-details-bin", b"\xff\xff"), ("other", "text"))
    error = from_status(grpc.StatusCode.NOT_FOUND, "gone", metadata, address="x")
    assert (type(error), error.reason, str(error)) == (errors.NotFound, "", "gone")


def test_broken_connection_is_told_from_a_refusal() -> None:
    unavailable = grpc.StatusCode.UNAVAILABLE
    broken = from_status(unavailable, "Socket closed", None, address="x:1", execution_id="exe_7")
    assert isinstance(broken, errors.Disconnected)
    assert broken.execution_id == "exe_7"
    assert "Session.attach" in broken.suggestion
    never = [
        "failed to connect to all addresses; last error: UNKNOWN: Connection refused",
        "errors resolving x:1: Domain name not found",
        "DNS resolution failed for x:1",
    ]
    refused = [from_status(unavailable, text, (), address="x:1") for text in never]
    assert {type(error) for error in refused} == {errors.ConnectFailed}
    assert all("EXECGATE_ADDR" in error.suggestion for error in refused)
    for error in (broken, *refused):
        assert "x:1" in str(error)


def test_old_server_is_named_as_such() -> None:
    error = from_status(grpc.StatusCode.UNIMPLEMENTED, "", None, address="x:1")
    assert type(error) is errors.Unimplemented
    assert "too old" in str(error)
    assert "update the server" in error.suggestion


def test_exceptions_survive_pickling() -> None:
    code = grpc.StatusCode.FAILED_PRECONDITION
    error = converted(RichError(code, "busy", "SESSION_BUSY", {"execution_id": "exe_7"}))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made on this line
    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))
