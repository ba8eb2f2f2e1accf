"""Calls that are made again: how often, and after which pauses."""

from __future__ import annotations

from dataclasses import dataclass

from ._time import Seconds, to_seconds


@dataclass(frozen=True)
class RetryPolicy:
    """How a call is repeated that failed in a way that passes, where a repeat is harmless.

    Pauses double from the first to the longest one, with some chance in them; where the server
    says when to come again, no pause is shorter than that. What becomes of a command's call
    once it was begun is said by `resume`, which takes the pauses from here.

    >>> RetryPolicy(max_attempts=3).max_attempts, RetryPolicy.none().max_attempts
    (3, 1)
    """

    max_attempts: int = 8
    """How often a call is made at most, the first time included."""
    initial_backoff: Seconds = 0.1
    """The first pause."""
    max_backoff: Seconds = 5.0
    """The longest pause, unless the server asks for a longer one."""
    total: Seconds = 30.0
    """Longest time from the first attempt to the last. A call that has a deadline of its own
    ends by that, too."""

    @classmethod
    def none(cls) -> RetryPolicy:
        """Every call is made once."""
        return cls(max_attempts=1)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError("max_attempts counts the first one, so it is 1 at least")
        first, longest, total = map(
            to_seconds, (self.initial_backoff, self.max_backoff, self.total)
        )
        if first <= 0 or longest < first or total < 0:
            raise ValueError("pauses and total are positive, and the longest pause is the longest")
