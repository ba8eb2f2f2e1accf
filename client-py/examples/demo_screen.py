"""How the demo prints: commands, what came of them, and what was to be shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from execgate import Cause, Channel, ExecgateError, Result

#: Most lines of one command that are shown.
SHOWN_LINES = 14
#: Widest line that is shown, in characters.
SHOWN_WIDTH = 96

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"


class Screen:
    """Prints, and counts what was not as told."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._chapters = 0
        self.checked = 0
        self.failures: list[str] = []
        self._partial: dict[Channel, str] = {}

    def title(self, text: str) -> None:
        """The first lines."""
        self._line(self._paint(BOLD, text))

    def chapter(self, title: str, told: str) -> None:
        """A new part of the story, and what it is to show."""
        self._chapters += 1
        self._line("")
        self._line(self._paint(BOLD, f"{self._chapters}. {title}"))
        for line in told.splitlines():
            self._line(f"   {line}")

    def command(self, script: str) -> None:
        """A command, as the agent gives it."""
        first, *rest = script.strip().splitlines()
        self._line(f"   {self._paint(YELLOW, '$')} {self._paint(BOLD, first)}")
        for line in rest:
            self._line(f"     {self._paint(BOLD, line)}")

    def output(self, channel: Channel, text: str) -> None:
        """Output: stdout behind a bar, stderr behind a red one."""
        lines = text.splitlines()
        bar = self._paint(RED, "!") if channel is Channel.STDERR else self._paint(DIM, "|")
        for line in lines[:SHOWN_LINES]:
            self._line(f"   {bar} {shortened(line)}".rstrip())
        if len(lines) > SHOWN_LINES:
            self._line(f"   {bar} (and {len(lines) - SHOWN_LINES} lines)")

    def piece(self, channel: Channel, text: str) -> None:
        """A piece of output as it comes; shown when its line is whole."""
        *lines, self._partial[channel] = (self._partial.get(channel, "") + text).split("\n")
        if lines:
            self.output(channel, "\n".join(lines) + "\n")

    def result(self, result: Result) -> None:
        """What a command wrote, and how it ended."""
        self.output(Channel.STDOUT, result.stdout)
        self.output(Channel.STDERR, result.stderr)
        self.ending(result)

    def ending(self, result: Result) -> None:
        """How a command ended."""
        for channel, text in self._partial.items():
            self.output(channel, text)
        self._partial.clear()
        how = f"exit {result.exit_code}" if result.cause is Cause.EXITED else result.cause.name
        self.note(f"{how}, {result.duration * 1000:.0f} ms, in {result.cwd}")

    def error(self, error: ExecgateError) -> None:
        """A refusal."""
        self._line(f"   {self._paint(RED, f'{error.code} / {error.reason}')}")
        for key in ("rule", "excerpt", "justification", "suggestion"):
            if error.metadata.get(key):
                self._line(f"   {key + ':':<15}{error.metadata[key]}")

    def note(self, text: str) -> None:
        """Something beside the output."""
        self._line(f"   {self._paint(DIM, text)}")

    def expect(self, holds: bool, fact: str) -> None:
        """A fact that was to be shown."""
        self.checked += 1
        if holds:
            self._line(f"   {self._paint(GREEN, 'ok')} {fact}")
        else:
            self.failures.append(fact)
            self._line(f"   {self._paint(RED, 'NOT SO:')} {fact}")

    def table(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Rows in columns; the last one may be long."""
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            *cells, last = (cell.ljust(width) for cell, width in zip(row, widths))
            self._line(shortened(f"   {'  '.join(cells)}  {last}".rstrip()))

    def summary(self, text: str) -> None:
        """The last lines."""
        self._line("")
        self._line(text)
        good = not self.failures
        told = f"{self.checked - len(self.failures)} of {self.checked} facts shown as told"
        self._line(self._paint(GREEN if good else RED, told))
        for fact in self.failures:
            self._line(self._paint(RED, f"not so: {fact}"))

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def shortened(line: str) -> str:
    """A line that fits."""
    return line if len(line) <= SHOWN_WIDTH else f"{line[: SHOWN_WIDTH - 3]}..."
