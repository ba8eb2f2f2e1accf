"""Whether a call that failed is made again, and when. No clock of its own, no waiting.

What may be repeated is decided here, by two questions. What failed: only what passes by
itself (`Setback`). And whether a repeat is harmless: a call that was refused did nothing; one
that was cut may have done all of it, and is repeated only if that makes no difference.

gRPC could repeat calls by itself (its service config), but it knows codes only: neither our
reasons nor RetryInfo, nor whether an id makes a repeat harmless.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import Enum

from ._time import to_seconds
from .errors import ConnectFailed, Disconnected, ExecgateError, TlsFailed
from .retry import RetryPolicy

#: Doublings after which a pause is the longest one, whatever the first one is.
_MAX_DOUBLINGS = 30

#: Codes that proxies, and HTTP/2 itself, answer for a connection that failed.
_OF_THE_WAY = frozenset({"UNAVAILABLE", "CANCELLED", "UNKNOWN", "INTERNAL", "DEADLINE_EXCEEDED"})

chance = random.SystemRandom().random


class Setback(Enum):
    """What a failure means for another attempt."""

    FINAL = "another attempt would fail the same way"
    UNREACHED = "no connection could be made: nothing was asked"
    CUT = "it was asked, and nobody knows what became of it"
    LATER = "the server did nothing, and asks to come again"


class Repeat(Enum):
    """Which calls may be made again."""

    ALWAYS = "it reads, or says how things are to be, or has an id: twice is as good as once"
    REFUSED = "twice is not once: only where it is certain that nothing was done"


def setback(error: ExecgateError) -> Setback:
    """What this error is."""
    if isinstance(error, TlsFailed):
        return Setback.FINAL
    if isinstance(error, ConnectFailed):
        return Setback.UNREACHED
    if isinstance(error, Disconnected):
        return Setback.CUT
    if error.retry_after is not None:
        return Setback.LATER
    # What has no reason of ours was said by something on the way.
    return Setback.CUT if error.code in _OF_THE_WAY and not error.reason else Setback.FINAL


def backoff(policy: RetryPolicy, count: int, chance: float) -> float:
    """The pause after `count` others, in seconds. `chance` is a number from 0 to 1."""
    doubled = to_seconds(policy.initial_backoff) * 2.0 ** min(count, _MAX_DOUBLINGS)
    longest = min(doubled, to_seconds(policy.max_backoff))
    # At least half of it, so that many clients do not come back at once.
    return longest / 2 * (1 + chance)


class Acquaintance:
    """Whether a server has ever answered a client.

    One that never did is probably not there, or not what was meant: that is told at once. One
    that did is given the time to come back.
    """

    def __init__(self) -> None:
        self.made = False


class Tries:
    """The attempts at one call, from its first."""

    def __init__(
        self,
        policy: RetryPolicy,
        repeat: Repeat,
        acquaintance: Acquaintance,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._policy = policy
        self._repeat = repeat
        self._acquaintance = acquaintance
        self._clock = clock
        self._chance = chance
        self._began = clock()
        self._made = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the first attempt."""
        return self._clock() - self._began

    def pause(self, error: ExecgateError) -> float | None:
        """How long to wait before the next attempt, in seconds. None: there is to be none."""
        self._made += 1
        if self._made >= self._policy.max_attempts or not self._passes(setback(error)):
            return None
        pause = max(backoff(self._policy, self._made - 1, self._chance()), error.retry_after or 0.0)
        return pause if self.elapsed + pause <= to_seconds(self._policy.total) else None

    def _passes(self, kind: Setback) -> bool:
        if kind is Setback.LATER:
            return True
        if kind is Setback.UNREACHED:
            return self._acquaintance.made
        return kind is Setback.CUT and self._repeat is Repeat.ALWAYS
