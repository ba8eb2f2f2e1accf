"""A session: one live shell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from ._connection import Connection
from ._requests import (
    Command,
    ExecutionOptions,
    Input,
    exec_request,
    execution_spec,
    run_request,
)
from ._time import Seconds
from .budget import Budget
from .enums import CHANNEL, Channel
from .errors import ExecgateError, NotFound, SessionEnded
from .info import (
    Closed,
    ExecutionInfo,
    SessionInfo,
    Verdict,
    read_closed,
    read_execution,
    read_session,
    read_verdict,
)
from .result import Result, read_result
from .stream import ExecStream
from .v1 import exec_pb2, session_pb2, types_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import MoreExecutionOptions


class Session:
    r"""A live shell on a target. What a command changes there stays for the next one.

    Made by `Client.session`. As a context manager it is closed at the end; otherwise it
    lives until `close()` or its idle time. Threads may share it.

    >>> s.run("cd /tmp; export A=1; f() { echo hi; }").ok
    True
    >>> s.run("f; echo $A; pwd").stdout
    'hi\n1\n/tmp\n'
    """

    def __init__(self, connection: Connection, info: SessionInfo) -> None:
        self._connection = connection
        self._info = info

    @property
    def id(self) -> str:
        """Its id."""
        return self._info.session_id

    @property
    def created(self) -> SessionInfo:
        """The session as it was when this object was made; `info()` asks anew."""
        return self._info

    def __repr__(self) -> str:
        return f"<execgate.Session {self.id}>"

    def run(
        self,
        command: Command,
        *,
        timeout: Seconds | None = None,
        stdin: Input = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        budget: Budget | None = None,
        **more: Unpack[MoreExecutionOptions],
    ) -> Result:
        r"""Runs a command to its end. A non-zero exit, a signal and a timeout are results.

        >>> s.run("false").exit_code
        1
        >>> s.run("echo $GREETING", env={"GREETING": "hello"}).stdout
        'hello\n'
        >>> s.run("sleep 60", timeout=0.2).timed_out
        True

        Args:
            command: A script for the session's shell, or a program and its arguments,
                `["git", "status"]`, which run beside the shell and leave no state behind.
                A server that cannot do that yet answers Unimplemented.
            timeout: The command's own time limit; partial output is kept. Default: the
                session's.
            stdin: Its standard input. Default: empty. A server that cannot give it any yet
                answers Unimplemented.
            env: Variables for this command only.
            cwd: Where it runs. For a script a `cd` before it, which stays.
            budget: What of the output to return. Default: the session's.
            more: See `MoreExecutionOptions`.

        Raises:
            PolicyDenied: The policy denies it; nothing was started.
            SessionBusy: Another script runs.
            Disconnected: The connection broke; the command may still run.
        """
        options = ExecutionOptions(timeout=timeout, stdin=stdin, env=env, cwd=cwd, **more)
        request = run_request(self.id, command, options, budget)
        response = self._connection.call(
            self._connection.executions.Run,
            request,
            timeout=None,
            execution_id=options.execution_id,
        )
        return read_result(response.result)

    def exec(
        self,
        command: Command,
        *,
        timeout: Seconds | None = None,
        stdin: Input = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        **more: Unpack[MoreExecutionOptions],
    ) -> ExecStream:
        """Starts a command and follows it, event by event, as things happen.

        Returns when it has started, so with `queue_if_busy` when its turn has come.

        >>> for event in s.exec("for i in 1 2 3; do echo $i; done"):
        ...     _ = sys.stdout.write(event.stdout.decode())
        1
        2
        3

        Args:
            command: As in `run`.
            timeout: As in `run`.
            stdin: As in `run`; `Stdin.OPEN` lets `ExecStream.write_stdin` feed it.
            env: As in `run`.
            cwd: As in `run`.
            more: See `MoreExecutionOptions`.

        Raises:
            PolicyDenied: The policy denies it; nothing was started.
            SessionBusy: Another script runs.
        """
        options = ExecutionOptions(timeout=timeout, stdin=stdin, env=env, cwd=cwd, **more)
        responses = self._connection.stream(
            self._connection.executions.Exec,
            exec_request(self.id, command, options),
            execution_id=options.execution_id,
        )
        return ExecStream(self._connection, self.id, responses)

    def attach(
        self, execution_id: str, *, offsets: Mapping[Channel, int] | None = None
    ) -> ExecStream:
        """Follows an execution that runs or has finished, from the given offsets on."""
        request = exec_pb2.AttachRequest(
            session_id=self.id,
            execution_id=execution_id,
            offsets=[
                exec_pb2.ChannelOffset(channel=CHANNEL.write(channel), offset=offset)
                for channel, offset in (offsets or {}).items()
            ],
        )
        responses = self._connection.stream(
            self._connection.executions.Attach, request, execution_id=execution_id
        )
        return ExecStream(self._connection, self.id, responses)

    def evaluate(self, command: Command) -> Verdict:
        """Says how the policy would judge a command, without running it."""
        request = exec_pb2.EvaluatePolicyRequest(
            session_id=self.id, spec=execution_spec(command, ExecutionOptions())
        )
        response = self._connection.call(self._connection.executions.EvaluatePolicy, request)
        return read_verdict(response.verdict)

    def info(self) -> SessionInfo:
        """The session as the server knows it now."""
        request = session_pb2.GetSessionRequest(session_id=self.id)
        return read_session(
            self._connection.call(self._connection.sessions.GetSession, request).session
        )

    def execution(self, execution_id: str) -> ExecutionInfo:
        """One of its executions."""
        request = exec_pb2.GetExecutionRequest(session_id=self.id, execution_id=execution_id)
        return read_execution(
            self._connection.call(self._connection.executions.GetExecution, request).execution
        )

    def executions(self) -> Iterator[ExecutionInfo]:
        """Its executions that are still kept, newest first."""
        request = exec_pb2.ListExecutionsRequest(session_id=self.id)
        while True:
            page = self._connection.call(self._connection.executions.ListExecutions, request)
            yield from map(read_execution, page.executions)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def resize(self, rows: int, columns: int) -> None:
        """Changes the size of its terminal."""
        request = exec_pb2.ResizeTerminalRequest(
            session_id=self.id, size=types_pb2.TerminalSize(rows=rows, columns=columns)
        )
        self._connection.call(self._connection.executions.ResizeTerminal, request)

    def close(self) -> Closed:
        """Ends it and everything it started, and says what that was."""
        request = session_pb2.CloseSessionRequest(session_id=self.id)
        return read_closed(self._connection.call(self._connection.sessions.CloseSession, request))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What ended by itself need not be closed, and an error under way must not be
        # hidden by the one that follows from it.
        ignored = (NotFound, SessionEnded) if value is None else (ExecgateError,)
        with contextlib.suppress(*ignored):
            self.close()
