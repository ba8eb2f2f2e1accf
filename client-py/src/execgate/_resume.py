"""How what was cut is tried again: whether, and after which pause. No clock, no waiting.

    in touch ──setback──► in trouble ──progress──► in touch
                           │  └ setback: pause 0.1 s, 0.2 s, ... 5 s
                           └── nothing for as long as `Resume` says ──► given up

Up to the first sign that a command may have been started its call is one like any other, and
`Tries` says whether it is repeated. From then on this does: an execution id makes it harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Union

from . import _calls
from ._retry import Acquaintance, Repeat, Setback, Tries, backoff, chance, setback
from ._steps import Steps
from ._time import Seconds, to_seconds
from .errors import (
    Disconnected,
    ExecgateError,
    ExecutionForgotten,
    NotFound,
    Unimplemented,
)
from .result import Result
from .retry import RetryPolicy

#: What a client does when the connection breaks while a command runs. True: it repeats
#: the call and attaches where it was, for a minute without progress. A time: for so long.
#: False: what was cut fails at once.
Resume = Union[bool, Seconds]

#: How long a call that was cut is tried again without any progress, in seconds.
PATIENCE_SECONDS = 60.0

#: Longest wait for a server that is asked whether it is there, in seconds.
ASK_TIMEOUT_SECONDS = 10.0

#: A call that lasted so long, in seconds, did not break at its beginning, and is worth
#: another series of attempts.
LONG_CALL_SECONDS = 5.0

_FORGOTTEN = frozenset(
    {"SESSION_NOT_FOUND", "SESSION_EXPIRED", "EXECUTION_NOT_FOUND", "EXECUTION_EXPIRED"}
)


def patience_seconds(resume: Resume) -> float:
    """For how many seconds to try again."""
    if isinstance(resume, bool):
        return PATIENCE_SECONDS if resume else 0.0
    return to_seconds(resume)


class Attempts:
    """The attempts at one call about an execution."""

    def __init__(
        self,
        resume: Resume,
        execution_id: str,
        retry: RetryPolicy | None = None,
        acquaintance: Acquaintance | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._patience = patience_seconds(resume)
        self.execution_id = execution_id
        self._policy = retry or RetryPolicy()
        self._tries = Tries(
            self._policy,
            Repeat.ALWAYS,
            acquaintance or Acquaintance(),
            clock=clock,
            chance=chance,
        )
        self._clock = clock
        self._chance = chance
        self._touched = False
        self._trouble_since: float | None = None
        self._count = 0
        self._broke: ExecgateError | None = None

    @property
    def begun(self) -> bool:
        """Whether the command may have been started."""
        return self._touched

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
        kind = setback(error)
        if not self._touched and kind is not Setback.CUT:
            # Nothing was started. Who does not resume hears at once that nobody is there.
            hopeless = kind is Setback.UNREACHED and not self._patience
            pause = None if hopeless else self._tries.pause(error)
            if pause is None:
                raise error from None
            return pause
        pause = self._next_pause(error)
        if pause is None:
            raise self._given_up(error) from None
        self._touched = True
        self._broke = self._broke or error
        return pause

    def _next_pause(self, error: ExecgateError) -> float | None:
        if setback(error) is Setback.FINAL:
            return None
        now = self._clock()
        if self._trouble_since is None:
            self._trouble_since = now
        left = self._patience - (now - self._trouble_since)
        told = error.retry_after or 0.0
        if left <= 0 or told > left:
            return None
        pause = backoff(self._policy, self._count, self._chance())
        self._count += 1
        return min(max(pause, told), left)

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
    """Waits until the server answers again, or until the call may be made anew."""
    ask = _calls.get_execution(run.session_id, run.call.execution_id, ASK_TIMEOUT_SECONDS)
    while True:
        yield attempts.pause(failure)
        if not attempts.begun:
            return
        try:
            yield ask
        except ExecgateError as error:
            # The call never came that far, or it is about to be answered.
            if error.reason == "EXECUTION_NOT_FOUND":
                return
            failure = error
        else:
            return


class Patience:
    """What a client does about calls that fail."""

    def __init__(self, resume: Resume, retry: RetryPolicy | None) -> None:
        self.resume = resume
        self.retry = retry or RetryPolicy()
        self.acquaintance = Acquaintance()
        """Whether the server has ever answered."""

    def tries(self, repeat: Repeat = Repeat.ALWAYS) -> Tries:
        """The attempts at a call."""
        return Tries(self.retry, repeat, self.acquaintance)

    def attempts(self, execution_id: str, resume: Resume | None = None) -> Attempts:
        """The attempts at a call about an execution, which may say something else of breaks."""
        resume = self.resume if resume is None else resume
        return Attempts(resume, execution_id, self.retry, self.acquaintance)
