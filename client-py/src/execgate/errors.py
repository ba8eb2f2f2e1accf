"""What can go wrong, as a small tree of exceptions.

    ExecgateError
    ├── ConfigurationError      address, token or certificate cannot be used (a ValueError)
    ├── ClientClosed            the client was closed before
    ├── CommandFailed           `Result.check()` met a command that failed
    ├── FileError               a file could not be put or gotten; `reason` says why
    │   ├── FileMissing         there is no such file, or directory to put it in
    │   ├── FileChanged         it changed while it was read
    │   ├── FileRedacted        the server hid a secret that is in it
    │   └── FileIncomplete      not all of it arrived
    ├── InvalidArgument         a field is wrong; `field_violations` names it
    ├── Unauthenticated         no valid token
    ├── PermissionDenied
    │   └── PolicyDenied        the policy denies the command
    ├── NotFound                no such session, execution, checkpoint, ...
    │   └── ExecutionForgotten  the server no longer knows a command that it was asked for
    ├── AlreadyExists           an id belongs to something else
    ├── FailedPrecondition
    │   ├── SessionBusy         a script runs already
    │   └── SessionEnded        the session is closed or lost
    ├── OutOfRange              an offset lies beyond what there is
    ├── ResourceExhausted       a limit; `retry_after` says when to try again
    ├── Aborted                 something else was in the way
    ├── Cancelled               the call was cancelled on this side
    ├── DeadlineExceeded        the call's own deadline passed
    ├── Unimplemented           the server does not do that, or is too old for it
    ├── Unavailable             the server, its audit log or the target cannot serve now
    │   ├── ConnectFailed       nobody answers at the address; nothing was started
    │   │   └── TlsFailed       somebody does, and TLS does not come about; `reason` says why
    │   └── Disconnected        the connection broke; what ran may still run
    └── InternalError           a defect of the server, or an answer that makes no sense

What a started command does is never an exception: a non-zero exit, a signal and a
timeout are in the `Result`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import Result


@dataclass(frozen=True)
class FieldViolation:
    """A field of a request that was wrong."""

    field: str
    """Its path in the request, e.g. `spec.timeout`."""
    description: str
    """What is wrong with it."""


class ExecgateError(Exception):
    """Anything that went wrong, with everything the server said about it.

    >>> error = PolicyDenied("rm is denied", reason="POLICY_DENIED",
    ...                      metadata={"rule": "no-rm", "suggestion": "use git clean -n"})
    >>> print(error)
    POLICY_DENIED: rm is denied (use git clean -n)
    >>> error.rule
    'no-rm'
    """

    message: str
    """What went wrong, for people."""
    code: str
    """Name of the gRPC status code, e.g. `PERMISSION_DENIED`. Empty: not from a call."""
    reason: str
    """Why, for programs: a reason of `errors.proto`, e.g. `SESSION_BUSY`. Empty: none."""
    metadata: Mapping[str, str]
    """Further facts; `errors.proto` says which reason has which."""
    retry_after: float | None
    """Seconds after which a retry makes sense. None: a plain retry will fail again."""
    field_violations: Sequence[FieldViolation]
    """The fields that were wrong."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        field_violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.field_violations = tuple(field_violations)

    @property
    def suggestion(self) -> str:
        """What to do instead, in words for an agent. Empty: no suggestion."""
        return self.metadata.get("suggestion", "")

    def __str__(self) -> str:
        text = f"{self.reason}: {self.message}" if self.reason else self.message
        for violation in self.field_violations:
            text += f"; {violation.field}: {violation.description}"
        return f"{text} ({self.suggestion})" if self.suggestion else text


class ConfigurationError(ExecgateError, ValueError):
    """The address, the token or a certificate cannot be used."""


class ClientClosed(ExecgateError):
    """The client was closed before."""


class CommandFailed(ExecgateError):
    """A command failed, and `Result.check()` was asked."""

    result: Result | None
    """What it wrote and how it ended."""

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


class FileError(ExecgateError):
    """A file could not be put or gotten. Nothing was changed, on either side.

    `reason` is one of `FILE_NOT_FOUND`, `FILE_NOT_REGULAR`, `FILE_NOT_READABLE`,
    `FILE_NOT_WRITABLE`, `FILE_WRITE_FAILED`, `FILE_READ_FAILED`, `FILE_SIZE_MISMATCH`,
    `FILE_HASH_MISMATCH`, `FILE_LINK_LOOP`, `FILE_CHANGED`, `FILE_REDACTED`,
    `FILE_INCOMPLETE`, `FILE_TOO_LARGE`, `FILE_TIMEOUT`, `FILE_TRANSFER_FAILED`.
    """

    path: str
    """The file in the session."""
    result: Result | None
    """What the script that reads or writes it said."""

    def __init__(
        self, message: str, *, reason: str = "", path: str = "", result: Result | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.path = path
        self.result = result


class FileMissing(FileError):
    """There is no such file, or no directory to put it in."""


class FileChanged(FileError):
    """The file changed while it was read: what arrived is no version of it. Try again."""


class FileRedacted(FileError):
    """The server hid a secret that is in the file, so what arrived is not the file.

    `redacted_ok=True` takes it as it came.
    """


class FileIncomplete(FileError):
    """Not all of the file arrived."""


class InvalidArgument(ExecgateError):
    """A field of the request is wrong; `field_violations` names it."""


class Unauthenticated(ExecgateError):
    """The caller has no valid token."""


class PermissionDenied(ExecgateError):
    """The caller may not do that."""


class PolicyDenied(PermissionDenied):
    """The policy denies the command; nothing was started."""

    @property
    def rule(self) -> str:
        """The rule that denies it."""
        return self.metadata.get("rule", "")

    @property
    def justification(self) -> str:
        """Why the rule is there."""
        return self.metadata.get("justification", "")

    @property
    def excerpt(self) -> str:
        """The offending part of the command. Empty: all of it."""
        return self.metadata.get("excerpt", "")

    @property
    def span(self) -> tuple[int, int] | None:
        """Where in the command's bytes that part begins and ends. None: all of it."""
        start, dash, end = self.metadata.get("span", "").partition("-")
        return (int(start), int(end)) if dash and start.isdigit() and end.isdigit() else None


class NotFound(ExecgateError):
    """There is no such thing, or it is another principal's."""


class ExecutionForgotten(NotFound):
    """The connection broke, and the server that answers now no longer knows the command.

    It was restarted, which ends its sessions, or too much time has passed. The command may
    have been started and will not be again; the audit log says what became of it.
    """

    execution_id: str
    """The execution."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        execution_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, reason=reason, metadata=metadata)
        self.execution_id = execution_id

    @classmethod
    def of(cls, error: NotFound, execution_id: str) -> ExecutionForgotten:
        """What the server's answer means."""
        return cls(
            f"the server no longer knows execution {execution_id} since the connection broke; "
            f"it may have been restarted, which ends its sessions: {error.message}",
            code=error.code,
            reason=error.reason,
            execution_id=execution_id,
            metadata=error.metadata,
        )


class AlreadyExists(ExecgateError):
    """The id belongs to something else."""


class FailedPrecondition(ExecgateError):
    """The state of things does not allow it."""


class SessionBusy(FailedPrecondition):
    """A script runs already: wait, queue, signal it, or use another session."""

    @property
    def execution_id(self) -> str:
        """The execution that runs."""
        return self.metadata.get("execution_id", "")


class SessionEnded(FailedPrecondition):
    """The session is closing, closed or lost; create a new one."""


class OutOfRange(ExecgateError):
    """An offset lies beyond what there is, or before what is kept."""


class ResourceExhausted(ExecgateError):
    """A limit or quota was reached."""


class Aborted(ExecgateError):
    """Something else was in the way."""


class Cancelled(ExecgateError):
    """The call was cancelled on this side; what ran may still run."""


class DeadlineExceeded(ExecgateError):
    """The call's own deadline passed; what ran may still run."""


class Unimplemented(ExecgateError):
    """The server does not do that, or is too old for it."""


class Unavailable(ExecgateError):
    """The server, its audit log or the target cannot serve now."""


class ConnectFailed(Unavailable):
    """Nobody answers at the address; nothing was started."""


class TlsFailed(ConnectFailed):
    """Somebody answers at the address, but not as the client's TLS settings want it.

    `reason` is one of `TLS_UNKNOWN_AUTHORITY`, `TLS_WRONG_NAME`, `TLS_EXPIRED`,
    `TLS_CERTIFICATE_REQUIRED`, `TLS_CERTIFICATE_REFUSED`, `TLS_EXPECTED` (the server speaks
    TLS and the client does not), `TLS_NOT_SPOKEN` (the other way round), `TLS_FAILED`.
    `suggestion` says what helps.
    """


class Disconnected(Unavailable):
    """The connection broke and did not come back. What ran may still run: see `execution_id`.

    `Session.attach` follows it.
    """

    execution_id: str
    """The execution that was followed. Empty: unknown, or none."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        execution_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, metadata=metadata)
        self.execution_id = execution_id


class InternalError(ExecgateError):
    """A defect of the server, or an answer that makes no sense."""
