"""What a fake server is asked, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

from ..errors import ExecgateError, PolicyDenied
from ..v1 import exec_pb2, execution_pb2


@dataclass(frozen=True)
class Answer:
    """What a command does."""

    stdout: str | bytes | Sequence[str | bytes] = ""
    """What it writes; a sequence comes as one event for each."""
    stderr: str | bytes | Sequence[str | bytes] = ""
    exit_code: int = 0
    delay: float = 0.0
    """How long it runs after its output, in seconds. Longer than its time limit: it times
    out."""
    cwd: str = ""
    """The session's directory after it. Empty: as before."""
    redactions: int = 0
    """How many places of stdout the server is said to have hidden."""
    error: ExecgateError | None = None
    """Refuses it before it starts, with this; everything else is ignored."""


@dataclass(frozen=True)
class Command:
    """A command that the server was asked to run."""

    text: str
    """The script; of a program the words, joined by spaces."""
    argv: tuple[str, ...] = ()
    """The program and its arguments. Empty: it is a script."""
    stdin: bytes = b""
    """What was given with it; what is written later is in `FakeServer.stdin`."""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    """Where it was asked to run. Empty: in the session's directory."""
    timeout: float | None = None
    """Its time limit, in seconds. None: the session's."""
    session_id: str = ""
    execution_id: str = ""


#: What a rule matches: all of a text, a pattern that all of it must match, or a function.
Matcher = Union[str, "re.Pattern[str]", Callable[[Command], bool]]

#: What a rule answers: an answer, or a function that makes one.
Reply = Union[Answer, Callable[[Command], Answer]]


def denied(rule: str, message: str = "denied", *, suggestion: str = "") -> PolicyDenied:
    """The error for a command that the policy denies, as an `Answer.error`."""
    metadata = {"rule": rule, **({"suggestion": suggestion} if suggestion else {})}
    return PolicyDenied(
        message, code="PERMISSION_DENIED", reason="POLICY_DENIED", metadata=metadata
    )


def matches(matcher: Matcher, command: Command) -> bool:
    """Whether a rule is for this command."""
    if isinstance(matcher, str):
        return matcher == command.text
    if isinstance(matcher, re.Pattern):
        return matcher.fullmatch(command.text) is not None
    return matcher(command)


def read_command(request: exec_pb2.ExecRequest | exec_pb2.RunRequest, execution_id: str) -> Command:
    """The command in a request."""
    spec: execution_pb2.ExecutionSpec = request.spec
    argv = tuple(spec.argv.arguments)
    return Command(
        text=" ".join(argv) if argv else spec.script,
        argv=argv,
        stdin=spec.inline.data,
        env=dict(spec.env),
        cwd=spec.cwd,
        timeout=spec.timeout.ToTimedelta().total_seconds() if spec.HasField("timeout") else None,
        session_id=request.session_id,
        execution_id=execution_id,
    )


def pieces(output: str | bytes | Sequence[str | bytes]) -> list[bytes]:
    """Output as the events it comes in."""
    if isinstance(output, (str, bytes)):
        output = [output] if output else []
    return [piece.encode() if isinstance(piece, str) else piece for piece in output]
