"""What the services of a fake server share: its sessions, and the rules of starting a command."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import grpc

from .. import errors
from ..v1 import exec_pb2, session_pb2
from .answer import Answer, Command, Reply, read_command
from .execution import FakeExecution
from .refusal import refuse

#: Where sessions begin that name no directory.
HOME = "/home/agent"


class Refused(Exception):
    """A call is to end with an error."""

    def __init__(self, error: errors.ExecgateError) -> None:
        super().__init__(str(error))
        self.error = error


class FakeSession:
    """A session: a directory, and its executions."""

    def __init__(self, request: session_pb2.CreateSessionRequest, session_id: str) -> None:
        self.request = request
        self.cwd = request.cwd or HOME
        self.open = True
        self.executions: dict[str, FakeExecution] = {}
        self.message = session_pb2.Session(
            session_id=session_id,
            state=session_pb2.SESSION_STATE_READY,
            generation=1,
            cwd=self.cwd,
            labels=dict(request.labels),
        )
        self.message.create_time.GetCurrentTime()


class Find(Protocol):
    """Finds the reply to a command in a directory."""

    def __call__(self, command: Command, cwd: str, *, taken: bool) -> Reply:
        """With `taken` it is given, and the next command gets the next one."""


class World:
    """Everything that the services of one fake server share."""

    def __init__(self, token: str, find: Find) -> None:
        self._token = token
        self.find = find
        self.lock = threading.RLock()
        self.sessions: dict[str, FakeSession] = {}
        self.commands: list[Command] = []
        self.stopping = threading.Event()

    def check(self, context: grpc.ServicerContext) -> None:
        """Refuses who does not know the token."""
        if ("authorization", f"Bearer {self._token}") not in context.invocation_metadata():
            raise Refused(errors.Unauthenticated("no valid token"))

    def session(self, session_id: str) -> FakeSession:
        """A session that is open."""
        found = self.sessions.get(session_id)
        if found is None:
            raise Refused(errors.NotFound(f"no session {session_id}", reason="SESSION_NOT_FOUND"))
        if not found.open:
            raise Refused(errors.SessionEnded(f"the session {session_id} is closed"))
        return found

    def execution(self, session_id: str, execution_id: str) -> FakeExecution:
        """An execution that is known."""
        found = self.session(session_id).executions.get(execution_id)
        if found is None:
            raise Refused(
                errors.NotFound(f"no execution {execution_id}", reason="EXECUTION_NOT_FOUND")
            )
        return found

    def start(
        self, request: exec_pb2.ExecRequest | exec_pb2.RunRequest, active: Callable[[], bool]
    ) -> tuple[FakeExecution, bool]:
        """Starts what is asked for, or finds it; the second value says which."""
        execution_id = request.execution_id or f"exe_{secrets.token_hex(8)}"
        command = read_command(request, execution_id)
        with self.lock:
            session = self.session(request.session_id)
            known = session.executions.get(execution_id)
            if known is not None:
                if known.spec != request.spec:
                    raise Refused(
                        errors.AlreadyExists(
                            f"the id {execution_id} belongs to another command",
                            reason="EXECUTION_ID_REUSED",
                        )
                    )
                return known, True
        self._wait_for_turn(session, request, active)
        with self.lock:
            self.commands.append(command)
            cwd = command.cwd or session.cwd
            reply = self.find(command, cwd, taken=True)
            if isinstance(reply, Answer) and reply.error is not None:
                raise Refused(reply.error)
            execution = FakeExecution(command, request.spec, cwd, reply)
            session.executions[execution_id] = execution
        if not execution.stdin_open:
            self.finish_input(execution)
        return execution, False

    def finish_input(self, execution: FakeExecution) -> None:
        """Answers a command whose input is known to its end."""
        given = execution.command
        command = replace(given, stdin=bytes(execution.stdin))
        with self.lock:
            self.commands[:] = [command if known is given else known for known in self.commands]
            session = self.sessions[given.session_id]
        reply = execution.reply
        answer = reply if isinstance(reply, Answer) else reply(command)
        with self.lock:
            execution.command = command
            execution.answer(answer)
            if not command.argv:
                session.cwd = answer.cwd or command.cwd or session.cwd

    def _wait_for_turn(
        self,
        session: FakeSession,
        request: exec_pb2.ExecRequest | exec_pb2.RunRequest,
        active: Callable[[], bool],
    ) -> None:
        if request.spec.HasField("argv"):
            return
        for execution in list(session.executions.values()):
            if execution.command.argv or not execution.running:
                continue
            running = execution.command.execution_id
            if not request.queue_if_busy:
                raise Refused(
                    errors.SessionBusy("a script runs already", metadata={"execution_id": running})
                )
            for _ in execution.follow(active):
                pass


class refusals:  # noqa: N801 - reads as a function
    """Ends a call with what is refused in its block."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, value: BaseException | None, traceback: object) -> None:
        if isinstance(value, Refused):
            refuse(value.error, self._context)
