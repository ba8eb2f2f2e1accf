"""Following one execution."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

from . import _calls
from ._calls import StreamCall
from ._collect import MAX_COLLECTED_BYTES
from ._connection import Connection
from ._following import Following, Texts
from ._stdin import StdinWriting, pause
from .enums import Channel, ExecutionState, SignalKind
from .errors import ExecgateError, ResourceExhausted
from .events import Event, Output, Started
from .result import Result


class ExecStream:
    r"""The events of one execution: an iterator, with `result()` at its end.

    It is there once the command has started, so `execution_id` is known. Events are
    read as they are asked for; a slow reader delays nobody. Dropping the stream, or
    `close()`, ends only the following: the command runs on (unless it was started with
    `on_disconnect=OnDisconnect.CANCEL`), and `Session.attach` finds it again.

    >>> with s.exec("echo out; echo err >&2") as stream:
    ...     written = sorted(event.stdout + event.stderr for event in stream)
    >>> [data for data in written if data]
    [b'err\n', b'out\n']
    >>> stream.result().exit_code
    0
    """

    def __init__(
        self,
        connection: Connection,
        session_id: str,
        call: StreamCall,
        max_bytes: int = MAX_COLLECTED_BYTES,
    ) -> None:
        """Reads the first event; what refuses the command is raised here."""
        self._connection = connection
        self._session_id = session_id
        self._following = Following(session_id, max_bytes)
        self._responses = connection.stream(call)
        self._following.begin(self._receive())
        self._responses.execution_id = self.execution_id

    @property
    def execution_id(self) -> str:
        """The execution's id within its session."""
        return self.started.execution_id

    @property
    def started(self) -> Started:
        """What is running."""
        return self._following.started

    def __repr__(self) -> str:
        return f"<execgate.ExecStream {self.execution_id}>"

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        waiting = self._following.waiting()
        if waiting is not None:
            return waiting
        if self._following.over:
            raise StopIteration
        return self._receive()

    def result(self) -> Result:
        r"""Reads on to the end and returns the result, with what was read before.

        Of each channel the first and last 8 MiB are kept; what is missing between them
        is said by a line and by `truncated`.

        >>> s.exec("echo hi").result().stdout
        'hi\n'
        """
        for _ in self:
            pass
        return self._following.result()

    def text(self) -> Iterator[tuple[Channel, str]]:
        r"""The rest of the output as pieces of text, each with its channel.

        Characters that are split between two pieces of output stay whole.

        >>> "".join(text for _, text in s.exec("printf 'na\\303'; printf '\\257ve'").text())
        'naïve'
        """
        texts = Texts()
        for event in self:
            text = texts.take(event)
            if text and isinstance(event, Output):
                yield event.channel, text
        yield from texts.finish()

    def write_stdin(
        self, data: bytes | str = b"", *, eof: bool = False, offset: int | None = None
    ) -> int:
        """Writes to the command's standard input, which must be `Stdin.OPEN`.

        Waits while the command does not read; what is longer than 1 MiB goes in pieces.

        Args:
            data: The bytes; text as UTF-8.
            eof: Nothing follows these bytes.
            offset: Where in all of stdin they begin: bytes that were written before are
                skipped, so a write can be repeated. Default: after what was written.

        Returns:
            Where the next write begins.

        Raises:
            FailedPrecondition: The command has ended, or its input is closed.
        """
        given = data.encode() if isinstance(data, str) else data
        writing = StdinWriting(
            self._session_id, self.execution_id, len(given), eof=eof, offset=offset
        )
        while not writing.done:
            start, count = writing.piece()
            write_piece(self._connection, writing, given[start : start + count])
        return writing.offset or 0

    def close_stdin(self) -> None:
        """Ends the command's standard input; in a terminal it is Ctrl-D."""
        self.write_stdin(eof=True)

    def signal(self, signal: SignalKind | str = SignalKind.INT) -> ExecutionState:
        """Sends a signal to the command: INT as Ctrl-C would, TERM, KILL, ...

        Returns:
            The command's state right after.
        """
        call = _calls.signal(self._session_id, self.execution_id, SignalKind(signal))
        return self._connection.call(call)

    def close(self) -> None:
        """Ends the following, not the command. `result()` is refused after it."""
        self._following.close()
        self._responses.cancel()

    def __enter__(self) -> ExecStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self) -> Event:
        try:
            for response in self._responses:
                event = self._following.take(response)
                if event is not None:
                    return event
            raise self._responses.cut()
        except ExecgateError as error:
            # What `close` from another thread did is said by the stream itself.
            self._following.failure = self._following.failure or error
            raise self._following.failure from None


def write_piece(connection: Connection, writing: StdinWriting, data: bytes) -> None:
    """Writes the next piece, waiting while the command does not read."""
    while True:
        try:
            writing.accepted(data, connection.call(writing.write(data)))
        except ResourceExhausted as error:
            time.sleep(pause(error))
        else:
            return
