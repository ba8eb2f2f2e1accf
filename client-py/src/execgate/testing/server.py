"""The fake server: its rules, its life, and what it was asked."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import grpc

from .._resume import Resume
from ..aio import AsyncClient
from ..client import Client
from ..errors import ExecgateError, FailedPrecondition
from ..retry import RetryPolicy
from ..v1.exec_pb2_grpc import add_ExecServiceServicer_to_server
from ..v1.session_pb2_grpc import add_SessionServiceServicer_to_server
from .answer import Answer, Command, Matcher, Reply, matches
from .executions import FakeExecutions
from .files import FakeFiles
from .sessions import FakeSessions
from .world import World

#: Calls that are answered at the same time; each stream is one.
_MAX_CALLS = 256

#: Largest message, in bytes, as the clients take.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class FakeServer:
    """A gRPC server on a free port of this machine, with scripted answers.

    Runs from its making to `stop()`, or as a context manager. It keeps sessions and
    executions as the real one does (one script at a time, ids that are asked for again,
    attaching, time limits, signals) and files for `put` and `get`, but runs nothing.

    Args:
        default: The answer to commands that no rule matches. Default: they are refused
            with a FailedPrecondition, `NO_RULE`, so that a test notices.
    """

    def __init__(self, *, default: Reply | None = None) -> None:
        self.token = secrets.token_hex(16)
        """The token that callers must have; `client()` has it."""
        self._default = default
        self._rules: list[tuple[Matcher, list[Reply]]] = []
        self._files = FakeFiles()
        self._world = World(self.token, self._find)
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=_MAX_CALLS, thread_name_prefix="execgate-fake"),
            options=[("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)],
        )
        # What they leave out answers UNIMPLEMENTED; the generated types call that abstract.
        add_SessionServiceServicer_to_server(FakeSessions(self._world), self._server)  # type: ignore[abstract]
        add_ExecServiceServicer_to_server(FakeExecutions(self._world), self._server)  # type: ignore[abstract]
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        """Where it listens."""
        self._server.start()

    def on(
        self,
        command: Matcher,
        *replies: Reply,
        stdout: str | bytes | Sequence[str | bytes] = "",
        stderr: str | bytes | Sequence[str | bytes] = "",
        exit_code: int = 0,
        delay: float = 0.0,
        error: ExecgateError | None = None,
    ) -> FakeServer:
        """Adds a rule. The first rule that matches a command answers it.

        Args:
            command: The whole text of a command (of a program its words, joined by
                spaces); or a pattern that must match all of it; or a function of the
                `Command`.
            replies: What it does, each time the next of them, and then always the last: an
                `Answer`, or a function that makes one of the `Command`. Without any, the
                other arguments say it.
            stdout: As in `Answer`.
            stderr: As in `Answer`.
            exit_code: As in `Answer`.
            delay: As in `Answer`.
            error: As in `Answer`: refuses the command, e.g. with `denied("no-rm")`.
        """
        answer = Answer(stdout=stdout, stderr=stderr, exit_code=exit_code, delay=delay, error=error)
        self._rules.append((command, list(replies) or [answer]))
        return self

    @property
    def commands(self) -> list[str]:
        """The texts of all commands so far, in order; also of those that were refused."""
        return [command.text for command in self.requests]

    @property
    def requests(self) -> list[Command]:
        """All commands so far, but for those that put and get files."""
        known = list(self._world.commands)
        return [command for command in known if not self._files.concern(command)]

    @property
    def files(self) -> dict[str, bytes]:
        """Files by absolute path: what was put, and what can be gotten."""
        return self._files.contents

    @property
    def modes(self) -> dict[str, int]:
        """Permissions of the files."""
        return self._files.modes

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which clients find it that are given neither address nor token."""
        return {"EXECGATE_ADDR": self.address, "EXECGATE_TOKEN": self.token}

    def client(self, *, resume: Resume = True, retry: RetryPolicy | None = None) -> Client:
        """A client of it. Unless `retry` is given it repeats no call: errors show at once."""
        retry = retry or RetryPolicy.none()
        return Client(self.address, token=self.token, resume=resume, retry=retry)

    def async_client(
        self, *, resume: Resume = True, retry: RetryPolicy | None = None
    ) -> AsyncClient:
        """An asyncio client of it, likewise."""
        retry = retry or RetryPolicy.none()
        return AsyncClient(self.address, token=self.token, resume=resume, retry=retry)

    def stop(self) -> None:
        """Ends it, and every call at once, as a crash would."""
        self._world.stopping.set()
        self._server.stop(grace=None).wait()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _find(self, command: Command, cwd: str, *, taken: bool) -> Reply:
        if self._files.concern(command):
            return lambda known: self._files.answer(known, cwd)
        for matcher, replies in self._rules:
            if matches(matcher, command):
                return replies.pop(0) if taken and len(replies) > 1 else replies[0]
        if self._default is not None:
            return self._default
        message = f"no rule of the fake server answers {command.text!r}"
        return Answer(error=FailedPrecondition(message, reason="NO_RULE"))
