"""How a command ended: what, why, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Union

from ._time import from_duration, from_timestamp
from .enums import (
    CAUSE,
    CHANNEL,
    LAUNCH_FAILURE,
    OBSERVED_BY,
    Cause,
    Channel,
    LaunchFailure,
    ObservedBy,
)
from .errors import InternalError
from .v1 import outcome_pb2


@dataclass(frozen=True)
class Signal:
    """A signal, by its number on the target and its name.

    >>> str(Signal(9, "SIGKILL"))
    'SIGKILL'
    """

    number: int
    name: str

    def __str__(self) -> str:
        return self.name or str(self.number)


@dataclass(frozen=True)
class Exited:
    """It returned a code."""

    code: int
    """The code, 0 to 255."""
    possible_signal: Signal | None = None
    """For a script and a code of 128+n: the signal that may have ended its last command."""


@dataclass(frozen=True)
class Signaled:
    """A signal ended it."""

    signal: Signal


@dataclass(frozen=True)
class LaunchFailed:
    """It never ran."""

    failure: LaunchFailure
    errno: int | None
    """The target's error number, if it reported one."""
    detail: str


@dataclass(frozen=True)
class Lost:
    """Nobody can say."""

    reason: str


Outcome = Union[Exited, Signaled, LaunchFailed, Lost]


@dataclass(frozen=True)
class Usage:
    """What a command used. Fields that could not be measured are None."""

    user_cpu: float | None = None
    """CPU time in user mode, in seconds."""
    system_cpu: float | None = None
    """CPU time in the kernel, in seconds."""
    max_resident_bytes: int | None = None


@dataclass(frozen=True)
class ChannelTotals:
    """What one channel carried, after redaction, whatever of it was read."""

    channel: Channel
    total_bytes: int
    lines: int
    """Line feeds among the bytes."""
    redactions: int
    """Places that were redacted."""
    sha256: bytes
    """Empty: the output was not seen to its end."""


@dataclass(frozen=True)
class Ending:
    """Everything about the end of an execution."""

    outcome: Outcome
    """How it ended."""
    cause: Cause
    """Why. TIMEOUT stands here also when the outcome looks like an exit."""
    observed_by: ObservedBy
    """Who vouches for the outcome."""
    start_time: datetime | None
    """None: it never started."""
    end_time: datetime | None
    duration: float
    """Seconds between the two, by a clock that nobody sets."""
    cwd: str
    """The session's working directory after it. Empty: unknown."""
    generation: int
    """Generation of the session after it."""
    usage: Usage = Usage()
    channels: tuple[ChannelTotals, ...] = ()

    @property
    def exit_code(self) -> int | None:
        """The exit code; 128+n for signal n. None: lost, or it never ran."""
        if isinstance(self.outcome, Exited):
            return self.outcome.code
        if isinstance(self.outcome, Signaled):
            return 128 + self.outcome.signal.number
        return None

    @property
    def signal(self) -> Signal | None:
        """The signal that ended it for certain. None: none did."""
        return self.outcome.signal if isinstance(self.outcome, Signaled) else None

    @property
    def timed_out(self) -> bool:
        """Whether its time limit ended it."""
        return self.cause is Cause.TIMEOUT


def read_ending(message: outcome_pb2.Finished) -> Ending:
    """Reads the end of an execution from the wire."""
    return Ending(
        outcome=_read_outcome(message.outcome),
        cause=CAUSE.read(message.cause),
        observed_by=OBSERVED_BY.read(message.observed_by),
        start_time=from_timestamp(message.start_time) if message.HasField("start_time") else None,
        end_time=from_timestamp(message.end_time) if message.HasField("end_time") else None,
        duration=from_duration(message.wall_time),
        cwd=message.cwd,
        generation=message.generation,
        usage=_read_usage(message.usage),
        channels=tuple(
            ChannelTotals(
                channel=CHANNEL.read(totals.channel),
                total_bytes=totals.bytes,
                lines=totals.lines,
                redactions=totals.redactions,
                sha256=totals.sha256,
            )
            for totals in message.channels
        ),
    )


def _read_outcome(message: outcome_pb2.Outcome) -> Outcome:
    which = message.WhichOneof("result")
    if which == "exited":
        possible = message.exited.possible_signal
        found = message.exited.HasField("possible_signal")
        return Exited(message.exited.code, _read_signal(possible) if found else None)
    if which == "signaled":
        return Signaled(_read_signal(message.signaled))
    if which == "launch_failed":
        failed = message.launch_failed
        errno = failed.errno if failed.HasField("errno") else None
        return LaunchFailed(LAUNCH_FAILURE.read(failed.failure), errno, failed.detail)
    if which == "lost":
        return Lost(message.lost.reason)
    raise InternalError("the server ended an execution without an outcome")


def _read_signal(message: outcome_pb2.Signaled) -> Signal:
    return Signal(message.number, message.name)


def _read_usage(message: outcome_pb2.Usage) -> Usage:
    has = message.HasField
    return Usage(
        user_cpu=from_duration(message.user_cpu) if has("user_cpu") else None,
        system_cpu=from_duration(message.system_cpu) if has("system_cpu") else None,
        max_resident_bytes=message.max_resident_bytes if has("max_resident_bytes") else None,
    )
