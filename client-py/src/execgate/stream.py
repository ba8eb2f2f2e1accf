"""Following one execution."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType

from . import _calls
from ._calls import StreamCall
from ._collect import MAX_COLLECTED_BYTES
from ._connection import Connection
from ._following import Following, Texts
from ._stdin import StdinWriting, written
from .enums import Channel, ExecutionState, SignalKind
from .errors import ExecgateError
from .events import Event, Started
from .result import Result


class ExecStream:
    r"""The events of one execution: an iterator, with `result()` at its end.

    It is there once the command has started, so `execution_id` is known. Events are
    read as they are asked for; a slow reader delays nobody. Dropping the stream, or
    `close()`, ends only the following: the command runs on (unless it was started with
    `on_disconnect=OnDisconnect.CANCEL`), and `Session.attach` finds it again.

    When the connection breaks, it attaches again where it was, for as long as `resume` says;
    its reader sees nothing of that.

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
        self._following = Following(session_id, call, connection.patience, max_bytes)
        self._writing = threading.Lock()
        self._responses = connection.stream(call)
        self._following.begin(self._receive())
        self._responses.execution_id = self.execution_id

    @property
    def execution_id(self) -> str:
        """The execution's id within its session."""
        return self.started.execution_id

    @property
    def offsets(self) -> dict[Channel, int]:
        """The next byte of each channel that had any: where `Session.attach` goes on."""
        return self._following.offsets

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
            piece = texts.take(event)
            if piece is not None:
                yield piece
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
        with self._writing:
            alone = offset is None
            writing = StdinWriting(
                self._session_id,
                self.execution_id,
                len(given),
                eof=eof,
                offset=self._following.written if alone else offset,
                alone=alone,
            )
            try:
                while not writing.done:
                    start, count = writing.piece()
                    data = given[start : start + count]
                    steps = written(
                        writing,
                        data,
                        self._connection.patience,
                        self._following.resume,
                        self.execution_id,
                    )
                    self._connection.perform(steps)
            finally:
                # What came of an offset that was wrong is no place to go on from.
                if alone or writing.done:
                    self._following.written = writing.offset
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
        while True:
            try:
                for response in self._responses:
                    event = self._following.take(response)
                    if event is not None:
                        return event
                raise self._responses.cut()
            except ExecgateError as error:
                pause = self._following.interrupted(error)
            self._connection.pause(pause)
            self._reconnect()

    def _reconnect(self) -> None:
        call = self._following.next_call()
        try:
            self._responses = self._connection.stream(call)
        except ExecgateError as error:
            self._following.failure = error
            raise
        # Closed by another thread meanwhile, which ended the call before.
        if self._following.failure is not None:
            self._responses.cancel()


def write_piece(
    connection: Connection, writing: StdinWriting, data: bytes, execution_id: str
) -> None:
    """Writes the next piece, waiting while the command does not read."""
    patience = connection.patience
    connection.perform(written(writing, data, patience, patience.resume, execution_id))
