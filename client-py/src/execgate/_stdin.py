"""Writing to a command's standard input, without the waiting.

What is long goes in pieces, and a command that does not keep up makes the writer wait as a
pipe would, until it reads or ends. A write that the connection broke under is repeated at
its offset, so that its bytes are not doubled.
"""

from __future__ import annotations

from . import _calls
from ._resume import Patience, Resume
from ._retry import Setback, setback
from ._steps import Steps
from .errors import (
    Aborted,
    ExecgateError,
    FailedPrecondition,
    NotFound,
)
from .v1 import exec_pb2

#: Most bytes of one write, which the server accepts at once: its own bound is not smaller.
MAX_PIECE_BYTES = 1024 * 1024

#: Pause before a write that found the command's input full is tried again, in seconds,
#: where the server names none.
RETRY_SECONDS = 0.05

_ENDED = frozenset({"EXECUTION_NOT_RUNNING", "STDIN_NOT_OPEN", "EXECUTION_EXPIRED"})

_WriteCall = _calls.Call[exec_pb2.WriteStdinRequest, exec_pb2.WriteStdinResponse, int]


class StdinWriting:
    """One write of any length. `piece` says which bytes are wanted next."""

    def __init__(
        self,
        session_id: str,
        execution_id: str,
        size: int,
        *,
        eof: bool,
        offset: int | None,
        alone: bool = False,
    ) -> None:
        self._session_id = session_id
        self._execution_id = execution_id
        self._size = size
        self._eof = eof
        self._written = 0
        self._alone = alone
        self.offset = offset
        """Where the next write begins. None: after what the server has."""
        self.done = False
        """Whether everything was written."""

    def piece(self) -> tuple[int, int]:
        """Which bytes to write next: the first and how many."""
        return self._written, min(self._size - self._written, MAX_PIECE_BYTES)

    def write(self, data: bytes) -> _WriteCall:
        """The call that writes them."""
        last = self._written + len(data) >= self._size
        return _calls.write_stdin(
            self._session_id, self._execution_id, data, self._eof and last, self.offset
        )

    def accepted(self, data: bytes, next_offset: int) -> None:
        """Goes on after a write."""
        if self._alone and self.offset is not None and next_offset > self.offset + len(data):
            raise Aborted("somebody else writes to this input, too: bytes were taken for theirs")
        # Bytes may have been there already, or not all of them taken.
        self._written += next_offset - self.offset if self.offset is not None else len(data)
        self.offset = next_offset
        self.done = self._written >= self._size

    @property
    def only_ends(self) -> bool:
        """Whether the next write has no bytes."""
        return self._eof and self._written >= self._size

    def finish(self) -> None:
        """Nothing more is to be written."""
        self.done = True


def written(
    writing: StdinWriting, data: bytes, patience: Patience, resume: Resume, execution_id: str
) -> Steps[None]:
    """Writes the next piece, waiting while the command does not read."""
    tries = patience.tries()
    attempts = patience.attempts(execution_id, resume)
    # The execution is known to exist.
    attempts.progress()
    while True:
        try:
            next_offset: int = yield writing.write(data)
        except ExecgateError as error:
            if error.reason == "STDIN_FULL":
                yield error.retry_after or RETRY_SECONDS
                continue
            if attempts.in_trouble and writing.only_ends and ended(error):
                # The answer to the end was lost, and the command has read it.
                return writing.finish()
            kind = setback(error)
            if writing.offset is None and kind is Setback.CUT:
                # Without an offset the bytes could be written twice.
                raise
            if kind is Setback.LATER and not attempts.in_trouble:
                pause = tries.pause(error)
                if pause is None:
                    raise
                yield pause
            else:
                yield attempts.pause(error)
        else:
            return writing.accepted(data, next_offset)


def ended(error: ExecgateError) -> bool:
    """Whether a write was refused because the command reads no more."""
    return isinstance(error, (FailedPrecondition, NotFound)) and error.reason in _ENDED
