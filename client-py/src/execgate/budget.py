"""What part of the output `run` returns, and what became of the rest."""

from __future__ import annotations

from dataclasses import dataclass

from .enums import CHANNEL, Channel
from .v1 import types_pb2


@dataclass(frozen=True)
class Budget:
    """Chooses a part of each output stream: lines that match, then lines by position,
    then a bound in bytes. What is left out is said in the text by a marker line.

    The last 20 lines that speak of errors, with two lines of context:

    >>> budget = Budget(grep="(?i)error", before=2, after=2, tail=20)

    The first and the last 50 lines, 20 kB at most:

    >>> budget = Budget(head=50, tail=50, max_bytes=20_000)
    """  # noqa: D205 - the first sentence needs the second line

    max_bytes: int | None = None
    """Most bytes of one channel. None: 100 000."""
    head: int | None = None
    """How many of the first lines. None with `tail` also None: all lines."""
    tail: int | None = None
    """How many of the last lines."""
    grep: str | None = None
    """Regular expression that a line must match (syntax of Rust's `regex` crate)."""
    before: int = 0
    """Lines kept before each match."""
    after: int = 0
    """Lines kept after each match."""
    invert: bool = False
    """Whether lines count that do not match."""


@dataclass(frozen=True)
class BudgetReport:
    """What a budget did to one channel."""

    channel: Channel
    total_bytes: int
    total_lines: int
    kept_bytes: int
    kept_lines: int
    omitted_bytes: int
    matched_lines: int
    truncated: bool
    """Whether position or size left out anything that the grep let through."""


def write_budget(budget: Budget | None) -> types_pb2.OutputBudget | None:
    """A budget for the wire."""
    if budget is None:
        return None
    message = types_pb2.OutputBudget(max_bytes=budget.max_bytes)
    if budget.head is not None and budget.tail is not None:
        message.head_tail.CopyFrom(types_pb2.HeadTailLines(head=budget.head, tail=budget.tail))
    elif budget.head is not None:
        message.head.CopyFrom(types_pb2.HeadLines(lines=budget.head))
    elif budget.tail is not None:
        message.tail.CopyFrom(types_pb2.TailLines(lines=budget.tail))
    if budget.grep is not None:
        mode = types_pb2.GREP_MODE_NOT_MATCHING if budget.invert else types_pb2.GREP_MODE_MATCHING
        message.grep.CopyFrom(
            types_pb2.Grep(pattern=budget.grep, before=budget.before, after=budget.after, mode=mode)
        )
    return message


def read_budget_report(message: types_pb2.BudgetReport) -> BudgetReport:
    """A report from the wire."""
    return BudgetReport(
        channel=CHANNEL.read(message.channel),
        total_bytes=message.total_bytes,
        total_lines=message.total_lines,
        kept_bytes=message.kept_bytes,
        kept_lines=message.kept_lines,
        omitted_bytes=message.omitted_bytes,
        matched_lines=message.matched_lines,
        truncated=message.truncated,
    )
