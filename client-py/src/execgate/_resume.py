"""How what was cut is tried again: whether, and after which pause. No clock, no waiting.

    in touch ──setback──► in trouble ──progress──► in touch
                           │  └ setback: pause 0.1 s, 0.2 s, ... 5 s
                           └── nothing for as long as `Resume` says ──► given up

The sync and the asyncio client differ only in how they wait. What a call may be repeated
for is decided here, and nowhere else: an execution id makes it harmless.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar, Union

from . import _calls
from ._time import Seconds
from .errors import (
    ConnectFailed,
    Disconnected,
    ExecgateError,
    ExecutionForgotten,
    NotFound,
    Unimplemented,
)
from .result import Result

#: What a client does when the connection breaks while a command runs. True: it repeats
#: the call and attaches where it was, for a minute without progress. A time: for so long.
#: False: what was cut fails at once.
Resume = Union[bool, Seconds]

#: How long a call that was cut is tried again without any progress, in seconds.
PATIENCE_SECONDS = 60.0

#: Pause before the first new attempt, in seconds: what a proxy or server needs to come
#: back at best.
FIRST_PAUSE_SECONDS = 0.1

#: Longest pause between two attempts, in seconds, unless the server asks for a longer one.
LONGEST_PAUSE_SECONDS = 5.0

#: Doublings after which a pause is the longest one.
_MAX_DOUBLINGS = 6

#: Longest wait for a server that is asked whether it is there, in seconds.
ASK_TIMEOUT_SECONDS = 10.0

#: A call that lasted so long, in seconds, did not break at its beginning, and is worth
#: another series of attempts.
LONG_CALL_SECONDS = 5.0

#: Codes that proxies, and HTTP/2 itself, answer for a connection that failed.
_OF_THE_WAY = frozenset({"UNAVAILABLE", "CANCELLED", "UNKNOWN", "INTERNAL", "DEADLINE_EXCEEDED"})

_FORGOTTEN = frozenset(
    {"SESSION_NOT_FOUND", "SESSION_EXPIRED", "EXECUTION_NOT_FOUND", "EXECUTION_EXPIRED"}
)

_chance = random.SystemRandom().random

_Value = TypeVar("_Value")

#: What is to be done, step by step: calls to make, whose values are sent in and whose
#: errors are thrown in, and pauses in seconds.
Steps = Generator[Union["_calls.Call[Any, Any, Any]", float], Any, _Value]


def patience(resume: Resume) -> float:
    """For how many seconds to try again."""
    if isinstance(resume, bool):
        return PATIENCE_SECONDS if resume else 0.0
    return resume.total_seconds() if isinstance(resume, timedelta) else float(resume)


class Setback(Enum):
    """What a failure means for another attempt."""

    FINAL = "another attempt would fail the same way"
    UNREACHED = "no connection could be made: nothing was asked"
    CUT = "it was asked, and nobody knows what became of it"
    LATER = "the server asks to come again"


def setback(error: ExecgateError) -> Setback:
    """What this error is."""
    if isinstance(error, ConnectFailed):
        return Setback.UNREACHED
    if isinstance(error, Disconnected):
        return Setback.CUT
    if error.retry_after is not None:
        return Setback.LATER
    # What has no reason of ours was said by something on the way.
    return Setback.CUT if error.code in _OF_THE_WAY and not error.reason else Setback.FINAL


class Attempts:
    """The attempts at one call about an execution."""

    def __init__(
        self,
        resume: Resume,
        execution_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = _chance,
    ) -> None:
        self._patience = patience(resume)
        self.execution_id = execution_id
        self._clock = clock
        self._chance = chance
        self._touched = False
        self._trouble_since: float | None = None
        self._count = 0
        self._broke: ExecgateError | None = None

    @property
    def in_trouble(self) -> bool:
        """Whether the call failed before and is made anew."""
        return self._broke is not None

    def progress(self) -> None:
        """The server was heard, and the time without it begins anew."""
        self._touched = True
        self._trouble_since = None
        self._count = 0
        self._broke = None

    def pause(self, error: ExecgateError) -> float:
        """How long to wait before the next attempt, in seconds.

        Raises:
            ExecgateError: What to tell the caller, when there is to be none.
        """
        pause = self._next_pause(error)
        if pause is None:
            raise self._given_up(error) from None
        self._touched = True
        self._broke = self._broke or error
        return pause

    def _next_pause(self, error: ExecgateError) -> float | None:
        kind = setback(error)
        # What never began was not started: the caller hears it at once.
        if kind is Setback.FINAL or (kind is not Setback.CUT and not self._touched):
            return None
        now = self._clock()
        if self._trouble_since is None:
            self._trouble_since = now
        left = self._patience - (now - self._trouble_since)
        told = error.retry_after or 0.0
        if left <= 0 or told > left:
            return None
        doublings = min(self._count, _MAX_DOUBLINGS)
        self._count += 1
        longest = min(FIRST_PAUSE_SECONDS * (1 << doublings), LONGEST_PAUSE_SECONDS)
        # At least half of it, so that many clients do not come back at once.
        return min(max(longest / 2 * (1 + self._chance()), told), left)

    def _given_up(self, error: ExecgateError) -> ExecgateError:
        if isinstance(error, NotFound) and self._touched and error.reason in _FORGOTTEN:
            return ExecutionForgotten.of(error, self.execution_id)
        broke = self._broke
        if isinstance(error, Disconnected) or broke is None:
            return error
        if isinstance(error, Unimplemented):
            # A server that cannot be asked to go on.
            error = broke
        elif setback(error) is Setback.FINAL:
            return error
        if isinstance(error, Disconnected):
            return error
        return Disconnected(
            f"the connection broke while execution {self.execution_id} was followed and did "
            f"not come back; what ran may still run: {error.message}",
            code=error.code,
            execution_id=self.execution_id,
            metadata=error.metadata,
        )


def run_to_its_end(run: _calls.RunCall, attempts: Attempts) -> Steps[Result]:
    """Runs a command once, however often the call has to be repeated."""
    while True:
        began = time.monotonic()
        try:
            result: Result = yield run.call
        except ExecgateError as error:
            failure = error
        else:
            return result
        lasted = time.monotonic() - began > LONG_CALL_SECONDS
        yield from _find_again(run, failure, attempts)
        if lasted:
            attempts.progress()


def _find_again(run: _calls.RunCall, failure: ExecgateError, attempts: Attempts) -> Steps[None]:
    """Waits until the server answers again."""
    ask = _calls.get_execution(run.session_id, run.call.execution_id, ASK_TIMEOUT_SECONDS)
    while True:
        yield attempts.pause(failure)
        try:
            yield ask
        except ExecgateError as error:
            # The call never came that far, or it is about to be answered.
            if error.reason == "EXECUTION_NOT_FOUND":
                return
            failure = error
        else:
            return
