"""What happens while a command runs, as typed events.

The stream of one execution is `Started (Output | Gap | Notice)* Finished`. Signs of
life and kinds that a newer server may send are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import ClassVar, Union

from google.protobuf.message import Message

from ._time import from_timestamp
from .enums import CHANNEL, GAP_REASON, Channel, GapReason
from .outcome import Ending, read_ending
from .v1 import events_pb2


class EventKind(str, Enum):
    """What an event is about."""

    STARTED = "started"
    OUTPUT = "output"
    GAP = "gap"
    NOTICE = "notice"
    FINISHED = "finished"

    def __str__(self) -> str:
        return str(self.value)


class _Event:
    """What all events have. `stdout`, `stderr` and `terminal` are b"" but on Output."""

    kind: ClassVar[EventKind]

    @property
    def stdout(self) -> bytes:
        """The bytes, if this is a piece of standard output."""
        return b""

    @property
    def stderr(self) -> bytes:
        """The bytes, if this is a piece of standard error."""
        return b""

    @property
    def terminal(self) -> bytes:
        """The bytes, if this is a piece of a terminal's output."""
        return b""


@dataclass(frozen=True)
class Started(_Event):
    """What is running: the first event, always."""

    kind = EventKind.STARTED

    execution_id: str
    generation: int
    """Generation of the session it runs in."""
    command: str
    """The command, redacted."""
    cwd: str
    """Working directory at the start."""
    deduplicated: bool = False
    """Whether an execution was found, instead of being started."""
    time: datetime | None = None


@dataclass(frozen=True)
class Output(_Event):
    r"""A piece of one channel; a character may be split between two pieces.

    >>> event = Output(Channel.STDOUT, 0, b"hi\n")
    >>> event.stdout, event.stderr
    (b'hi\n', b'')
    """

    kind = EventKind.OUTPUT

    channel: Channel
    offset: int
    """Offset of the first byte in the channel."""
    data: bytes
    time: datetime | None = None

    @property
    def stdout(self) -> bytes:
        """The bytes, if this is a piece of standard output."""
        return self.data if self.channel is Channel.STDOUT else b""

    @property
    def stderr(self) -> bytes:
        """The bytes, if this is a piece of standard error."""
        return self.data if self.channel is Channel.STDERR else b""

    @property
    def terminal(self) -> bytes:
        """The bytes, if this is a piece of a terminal's output."""
        return self.data if self.channel is Channel.TERMINAL else b""


@dataclass(frozen=True)
class Gap(_Event):
    """A range of one channel that this stream does not have."""

    kind = EventKind.GAP

    channel: Channel
    from_offset: int
    to_offset: int
    """One past the last missing byte."""
    reason: GapReason
    time: datetime | None = None


@dataclass(frozen=True)
class Notice(_Event):
    """Something worth knowing about an execution or its session."""

    kind = EventKind.NOTICE

    number: int
    """Place among the execution's notices, from 1."""
    message: str
    """In words."""
    topic: str
    """For programs: `timeout_fired`, `signal_sent`, `shell_restarted`, `input_wanted`,
    ... as the proto names it. Empty: a topic that this client does not know."""
    details: Message | None = None
    """The proto message of that topic."""
    time: datetime | None = None


@dataclass(frozen=True)
class Finished(_Event):
    """The last event of every execution, exactly once."""

    kind = EventKind.FINISHED

    ending: Ending
    """How, why, when and where it ended."""
    time: datetime | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit code; 128+n for signal n. None: lost, or it never ran."""
        return self.ending.exit_code

    @property
    def timed_out(self) -> bool:
        """Whether its time limit ended it."""
        return self.ending.timed_out


Event = Union[Started, Output, Gap, Notice, Finished]


def read_event(message: events_pb2.ExecEvent) -> Event | None:
    """An event from the wire. None: nothing that a caller need see."""
    which = message.WhichOneof("kind")
    if which == "output":
        return read_output(message, message.output.offset, message.output.data)
    time = from_timestamp(message.time) if message.HasField("time") else None
    if which == "started":
        started = message.started
        return Started(
            execution_id=started.execution_id,
            generation=started.generation,
            command=started.command,
            cwd=started.cwd,
            deduplicated=started.deduplicated,
            time=time,
        )
    if which == "gap":
        gap = message.gap
        return Gap(
            channel=CHANNEL.read(gap.channel),
            from_offset=gap.from_offset,
            to_offset=gap.to_offset,
            reason=GAP_REASON.read(gap.reason),
            time=time,
        )
    if which == "notice":
        return read_notice(message.notice)
    if which == "finished":
        return Finished(read_ending(message.finished), time)
    return None


def read_output(message: events_pb2.ExecEvent, offset: int, data: bytes) -> Output:
    """A piece of output from the wire, of which this much counts."""
    time = from_timestamp(message.time) if message.HasField("time") else None
    return Output(CHANNEL.read(message.output.channel), offset, data, time)


def read_notice(message: events_pb2.Notice) -> Notice:
    """A notice from the wire."""
    topic = message.WhichOneof("kind")
    details: Message | None = getattr(message, topic) if topic else None
    return Notice(
        number=message.number,
        message=message.message,
        topic=topic or "",
        details=details,
        time=from_timestamp(message.time) if message.HasField("time") else None,
    )
