"""One execution of a fake server: what it says when, and how it ends.

    started ──(stdin's end)──► answered ──► its output ──(delay, time limit, signal)──► ended

Nothing runs; followers wait for the moments at which something would have happened.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from .._time import to_duration
from ..v1 import events_pb2, exec_pb2, execution_pb2, outcome_pb2, types_pb2
from .answer import Answer, Command, Reply, pieces

#: Time limit of commands that name none, in seconds, as the server's own.
DEFAULT_TIMEOUT_SECONDS = 1800.0

_STDOUT = types_pb2.CHANNEL_STDOUT
_STDERR = types_pb2.CHANNEL_STDERR
_NUMBERS = {"INT": 2, "TERM": 15, "KILL": 9, "HUP": 1, "QUIT": 3, "USR1": 10, "USR2": 12}


class FakeExecution:
    """An execution. All that changes it holds its condition's lock."""

    def __init__(
        self, command: Command, spec: execution_pb2.ExecutionSpec, cwd: str, reply: Reply
    ) -> None:
        self.command = command
        self.spec = spec
        self.reply = reply
        self.stdin = bytearray(spec.inline.data)
        self.stdin_open = spec.HasField("open")
        self.cwd = cwd
        """The session's directory, before it and then after it."""
        self.changed = threading.Condition()
        self._began = time.monotonic()
        self._ends = self._began
        self._answer = Answer()
        self._events: list[events_pb2.ExecEvent] = []
        self._finished: outcome_pb2.Finished | None = None
        # Why it will end, if not by itself, and the signal that ends it.
        self._fate: tuple[outcome_pb2.Cause.ValueType, str] | None = None
        self._say(
            started=events_pb2.Started(
                session_id=command.session_id,
                execution_id=command.execution_id,
                generation=1,
                kind=types_pb2.COMMAND_KIND_ARGV if command.argv else types_pb2.COMMAND_KIND_SCRIPT,
                command=command.text,
                cwd=cwd,
            )
        )

    def answer(self, answer: Answer) -> None:
        """Takes what it does, once its input is known."""
        with self.changed:
            self._answer = answer
            for channel, output in ((_STDOUT, answer.stdout), (_STDERR, answer.stderr)):
                offset = 0
                for data in pieces(output):
                    self._say(output=events_pb2.Output(channel=channel, offset=offset, data=data))
                    offset += len(data)
            limit = self.command.timeout or DEFAULT_TIMEOUT_SECONDS
            self._ends = time.monotonic() + min(answer.delay, limit)
            if answer.delay > limit:
                self._end_at(self._ends, outcome_pb2.CAUSE_TIMEOUT, "SIGINT")
            self.changed.notify_all()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        with self.changed:
            self._look()
            return self._finished is None

    def signal(self, name: str, cause: outcome_pb2.Cause.ValueType) -> None:
        """Ends it by a signal."""
        with self.changed:
            self._look()
            self._end_at(time.monotonic(), cause, f"SIG{name}")
            self._ends, self.stdin_open = time.monotonic(), False
            self._look()
            self.changed.notify_all()

    def follow(self, active: Callable[[], bool]) -> Iterator[events_pb2.ExecEvent]:
        """Its events from the first on, as they happen, while `active` says so."""
        seen = 0
        while active():
            with self.changed:
                self._look()
                fresh = self._events[seen:]
                seen += len(fresh)
                if not fresh:
                    self.changed.wait(self._patience())
            yield from fresh
            if fresh and fresh[-1].HasField("finished"):
                return

    def result(self, active: Callable[[], bool]) -> execution_pb2.ExecResult:
        """Everything about it, at its end."""
        for _ in self.follow(active):
            pass
        finished = self._finished or outcome_pb2.Finished()
        return execution_pb2.ExecResult(
            session_id=self.command.session_id,
            execution_id=self.command.execution_id,
            command=self.command.text,
            stdout=self.output(_STDOUT),
            stderr=self.output(_STDERR),
            finished=finished,
            timed_out=finished.cause == outcome_pb2.CAUSE_TIMEOUT,
            generation=1,
        )

    def output(self, channel: types_pb2.Channel.ValueType) -> bytes:
        """What it wrote so far."""
        return b"".join(
            event.output.data for event in self._events if event.output.channel == channel
        )

    def describe(self) -> execution_pb2.Execution:
        """The execution as the server knows it."""
        running = self.running
        return execution_pb2.Execution(
            session_id=self.command.session_id,
            execution_id=self.command.execution_id,
            state=execution_pb2.EXECUTION_STATE_RUNNING
            if running
            else execution_pb2.EXECUTION_STATE_FINISHED,
            command=self.command.text,
            generation=1,
            finished=self._finished,
            stdin_offset=len(self.stdin),
            stdin_open=self.stdin_open,
        )

    def _patience(self) -> float:
        # Looked at again now and then, since a caller who went away wakes nobody.
        left = self._ends - time.monotonic()
        return min(left, 0.2) if left > 0 else 0.2

    def _look(self) -> None:
        if self._finished is None and not self.stdin_open and time.monotonic() >= self._ends:
            self._finish(outcome_pb2.CAUSE_EXITED, "")

    def _end_at(self, moment: float, cause: outcome_pb2.Cause.ValueType, signal: str) -> None:
        if self._finished is None:
            self._ends = moment
            self._fate = (cause, signal)

    def _finish(self, cause: outcome_pb2.Cause.ValueType, signal: str) -> None:
        if self._fate is not None:
            cause, signal = self._fate
        outcome = outcome_pb2.Outcome(exited=outcome_pb2.Exited(code=self._answer.exit_code))
        if signal:
            number = _NUMBERS.get(signal[3:], 15)
            outcome = outcome_pb2.Outcome(signaled=outcome_pb2.Signaled(number=number, name=signal))
        self.cwd = self._answer.cwd or self.cwd
        argv = bool(self.command.argv)
        self._finished = outcome_pb2.Finished(
            outcome=outcome,
            cause=cause,
            observed_by=outcome_pb2.OBSERVED_BY_KERNEL if argv else outcome_pb2.OBSERVED_BY_SHELL,
            wall_time=to_duration(time.monotonic() - self._began),
            cwd=self.cwd,
            generation=1,
            channels=[self._totals(_STDOUT, self._answer.redactions), self._totals(_STDERR, 0)],
        )
        self._say(finished=self._finished)

    def _totals(
        self, channel: types_pb2.Channel.ValueType, redactions: int
    ) -> outcome_pb2.ChannelTotals:
        data = self.output(channel)
        return outcome_pb2.ChannelTotals(
            channel=channel,
            bytes=len(data),
            lines=data.count(b"\n"),
            redactions=redactions,
            sha256=hashlib.sha256(data).digest(),
        )

    def _say(
        self,
        started: events_pb2.Started | None = None,
        output: events_pb2.Output | None = None,
        finished: outcome_pb2.Finished | None = None,
    ) -> None:
        now = Timestamp()
        now.GetCurrentTime()
        self._events.append(
            events_pb2.ExecEvent(
                sequence=len(self._events) + 1,
                time=now,
                started=started,
                output=output,
                finished=finished,
            )
        )


def read_range(execution: FakeExecution, request: exec_pb2.ReadOutputRequest) -> bytes:
    """The bytes that a range asks for."""
    data = execution.output(request.channel)
    start = request.range.offset if request.range.HasField("offset") else 0
    return data[start : start + (request.range.limit or 1024 * 1024)]
