"""Following one execution."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Union

from ._collect import Collector
from ._connection import Connection, Responses
from .enums import SIGNAL_KIND, Channel, SignalKind
from .errors import Cancelled, ExecgateError, InternalError
from .events import Event, Output, Started, read_event
from .result import Result
from .text import TextDecoder
from .v1 import exec_pb2

_Response = Union[exec_pb2.ExecResponse, exec_pb2.AttachResponse]


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
        responses: Responses[exec_pb2.ExecResponse] | Responses[exec_pb2.AttachResponse],
    ) -> None:
        """Reads the first event; what refuses the command is raised here."""
        self._connection = connection
        self._session_id = session_id
        self._responses = responses
        self._collector = Collector(session_id)
        self._failure: ExecgateError | None = None
        self._waiting: Event | None = self._receive()
        if not isinstance(self._waiting, Started):
            raise InternalError("the stream does not begin with what was started")
        self._started = self._waiting
        responses.execution_id = self._started.execution_id

    @property
    def execution_id(self) -> str:
        """The execution's id within its session."""
        return self._started.execution_id

    @property
    def started(self) -> Started:
        """What is running."""
        return self._started

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._waiting is not None:
            event, self._waiting = self._waiting, None
            return event
        if self._collector.result is not None:
            raise StopIteration
        if self._failure is not None:
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
        if self._collector.result is None:
            raise self._failure or Cancelled("the stream was closed before its end")
        return self._collector.result

    def text(self) -> Iterator[tuple[Channel, str]]:
        r"""The rest of the output as pieces of text, each with its channel.

        Characters that are split between two pieces of output stay whole.

        >>> "".join(text for _, text in s.exec("printf 'na\\303'; printf '\\257ve'").text())
        'naïve'
        """
        decoders: dict[Channel, TextDecoder] = {}
        for event in self:
            if isinstance(event, Output):
                decoder = decoders.setdefault(event.channel, TextDecoder())
                text = decoder.feed(event.data)
                if text:
                    yield event.channel, text
        for channel, decoder in decoders.items():
            rest = decoder.finish()
            if rest:
                yield channel, rest

    def write_stdin(self, data: bytes | str = b"", *, eof: bool = False) -> None:
        r"""Writes to the command's standard input, which must be `Stdin.OPEN`.

        With `eof` nothing follows these bytes.
        """
        request = exec_pb2.WriteStdinRequest(
            session_id=self._session_id,
            execution_id=self.execution_id,
            data=data.encode() if isinstance(data, str) else data,
            eof=eof,
        )
        self._connection.call(self._connection.executions.WriteStdin, request)

    def signal(self, signal: SignalKind = SignalKind.INT) -> None:
        """Sends a signal to the command: INT as Ctrl-C would, TERM, KILL, ..."""
        request = exec_pb2.SignalRequest(
            session_id=self._session_id,
            execution_id=self.execution_id,
            signal=SIGNAL_KIND.write(SignalKind(signal)),
        )
        self._connection.call(self._connection.executions.Signal, request)

    def close(self) -> None:
        """Ends the following, not the command. `result()` is refused after it."""
        self._waiting = None
        if self._collector.result is None and self._failure is None:
            self._failure = Cancelled("the stream was closed before its end")
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
                event = read_event(response.event)
                if event is not None:
                    self._collector.add(event)
                    return event
            raise self._responses.cut("the stream ended before the command did")
        except ExecgateError as error:
            self._failure = error
            raise
