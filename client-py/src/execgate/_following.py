"""Following one execution, without the waiting: what each response does to a stream.

    begun ──Started──► live ──Finished──► ended
      │                 │ └── an error, or the stream's early end ──► failed
      └─ anything else ─┴──── close() ──► failed (Cancelled)

The sync and the asyncio stream differ only in how they wait for the next response.
"""

from __future__ import annotations

from ._calls import StreamResponse
from ._collect import MAX_COLLECTED_BYTES, Collector
from .enums import Channel
from .errors import Cancelled, ExecgateError, InternalError
from .events import Event, Output, Started, read_event
from .result import Result
from .text import TextDecoder


class Following:
    """The state of one stream."""

    def __init__(self, session_id: str, max_bytes: int = MAX_COLLECTED_BYTES) -> None:
        self._collector = Collector(session_id, max_bytes)
        self._waiting: Event | None = None
        self._started: Started | None = None
        self.failure: ExecgateError | None = None
        """Why the stream ended before the command did."""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.failure is not None or self._collector.result is not None

    @property
    def started(self) -> Started:
        """What is running."""
        if self._started is None:
            raise InternalError("the stream does not begin with what was started")
        return self._started

    def begin(self, event: Event) -> None:
        """Takes the first event, which a reader is still to be given."""
        if not isinstance(event, Started):
            self.failure = InternalError("the stream does not begin with what was started")
            raise self.failure
        self._started = event
        self._waiting = event

    def waiting(self) -> Event | None:
        """The event that was received and not yet given to a reader."""
        event, self._waiting = self._waiting, None
        return event

    def take(self, response: StreamResponse) -> Event | None:
        """What a response says. None: nothing that a reader need see."""
        event = read_event(response.event)
        if event is not None:
            self._collector.add(event)
        return event

    def close(self) -> None:
        """Ends the following."""
        self._waiting = None
        if not self.over:
            self.failure = Cancelled("the stream was closed before its end")

    def result(self) -> Result:
        """The result, at the end."""
        if self._collector.result is None:
            raise self.failure or Cancelled("the stream was closed before its end")
        return self._collector.result


class Texts:
    """Pieces of text from pieces of output, a decoder for each channel."""

    def __init__(self) -> None:
        self._decoders: dict[Channel, TextDecoder] = {}

    def take(self, event: Event) -> str:
        """The text that is complete with this event."""
        if not isinstance(event, Output):
            return ""
        return self._decoders.setdefault(event.channel, TextDecoder()).feed(event.data)

    def finish(self) -> list[tuple[Channel, str]]:
        """What is left at the end."""
        rests = [(channel, decoder.finish()) for channel, decoder in self._decoders.items()]
        return [(channel, rest) for channel, rest in rests if rest]
