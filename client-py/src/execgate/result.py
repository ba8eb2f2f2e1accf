"""A command's result in one piece."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .budget import BudgetReport, read_budget_report
from .enums import Cause
from .errors import CommandFailed, InternalError
from .events import Notice, read_notice
from .outcome import Ending, Exited, LaunchFailed, Lost, Outcome, Signal, read_ending
from .text import decode
from .v1 import execution_pb2

#: Characters of an output that a `repr` shows.
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, repr=False)
class Result:
    r"""What a command wrote and how it ended. A non-zero exit is a result, not an error.

    >>> r = s.run("echo hello; echo oops >&2; exit_with() { return 3; }; exit_with")
    >>> r.stdout, r.stderr, r.exit_code
    ('hello\n', 'oops\n', 3)
    """

    session_id: str
    execution_id: str
    command: str
    """The command, redacted and shortened to 4096 bytes."""
    stdout_bytes: bytes
    """Standard output as it was, within the budget."""
    stderr_bytes: bytes
    """Standard error as it was, within the budget."""
    terminal_bytes: bytes
    """The terminal's output, in a session that has one."""
    ending: Ending
    """Everything about its end."""
    truncated: bool = False
    """Whether anything it wrote is missing above."""
    timed_out: bool = False
    """Whether it reached its time limit."""
    budgets: tuple[BudgetReport, ...] = ()
    """What the budget did, one report per channel; empty for a collected stream."""
    notices: tuple[Notice, ...] = ()
    """Everything noticed on the way."""
    deduplicated: bool = False
    """Whether an execution was found, instead of being started."""
    generation: int = 0
    """Generation of the session it ran in."""

    def __repr__(self) -> str:
        outputs = {"stdout": self.stdout, "stderr": self.stderr, "terminal": self.terminal}
        shown = [f"{name}={_shortened(text)}" for name, text in outputs.items() if text]
        words = [f"{self.command!r} {self.how}", *shown, f"cwd={self.cwd!r}"]
        return f"<Result {', '.join(words)}, {self.duration:.3g} s>"

    @cached_property
    def stdout(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return decode(self.stdout_bytes)

    @cached_property
    def stderr(self) -> str:
        """Standard error as text; bytes that are not UTF-8 become U+FFFD."""
        return decode(self.stderr_bytes)

    @cached_property
    def terminal(self) -> str:
        """The terminal's output as text; bytes that are not UTF-8 become U+FFFD."""
        return decode(self.terminal_bytes)

    @property
    def exit_code(self) -> int | None:
        """The exit code; 128+n for signal n. None: see `outcome`, nobody knows one."""
        return self.ending.exit_code

    @property
    def signal(self) -> Signal | None:
        """The signal that ended it for certain, with its `number` and `name`."""
        return self.ending.signal

    @property
    def outcome(self) -> Outcome:
        """How it ended: Exited, Signaled, LaunchFailed or Lost."""
        return self.ending.outcome

    @property
    def cause(self) -> Cause:
        """Why it ended."""
        return self.ending.cause

    @property
    def cwd(self) -> str:
        """The session's working directory after it. Empty: unknown."""
        return self.ending.cwd

    @property
    def duration(self) -> float:
        """How long it ran, in seconds."""
        return self.ending.duration

    @property
    def ok(self) -> bool:
        """Whether it returned 0 within its time limit."""
        return self.exit_code == 0 and not self.timed_out

    def check(self) -> Result:
        r"""Returns itself if the command succeeded, else raises CommandFailed.

        >>> s.run("echo fine").check().stdout
        'fine\n'
        """
        if not self.ok:
            raise CommandFailed(f"command {self.command!r} {self.how}", self)
        return self

    @property
    def how(self) -> str:
        """How it ended, in words, as in `the command …`."""
        if self.timed_out:
            return "reached its time limit"
        outcome = self.outcome
        if isinstance(outcome, Exited):
            return f"exited with code {outcome.code}"
        if isinstance(outcome, LaunchFailed):
            return f"could not be launched: {outcome.detail or outcome.failure}"
        if isinstance(outcome, Lost):
            return f"was lost: {outcome.reason or self.cause}"
        return f"was ended by {outcome.signal}"


def _shortened(text: str) -> str:
    left = len(text) - _SHOWN_CHARACTERS
    return f"{text[:_SHOWN_CHARACTERS]!r} and {left} characters more" if left > 0 else repr(text)


def read_result(message: execution_pb2.ExecResult) -> Result:
    """A result from the wire."""
    if not message.HasField("finished"):
        raise InternalError("the server answered a result without its end")
    return Result(
        session_id=message.session_id,
        execution_id=message.execution_id,
        command=message.command,
        stdout_bytes=message.stdout,
        stderr_bytes=message.stderr,
        terminal_bytes=message.terminal,
        ending=read_ending(message.finished),
        truncated=message.truncated,
        timed_out=message.timed_out,
        budgets=tuple(read_budget_report(report) for report in message.budgets),
        notices=tuple(read_notice(notice) for notice in message.notices),
        deduplicated=message.deduplicated,
        generation=message.generation,
    )
