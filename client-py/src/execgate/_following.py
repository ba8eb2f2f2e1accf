"""Following one execution, without the waiting: what each response does to a stream.

    begun ──Started──► live ──Finished──► ended
      │                 │ ├── cut: a pause, then the next call, as `Attempts` says
      │                 │ └── an error for good ──► failed
      └─ anything else ─┴──── close() ──► failed (Cancelled)

The sync and the asyncio stream differ only in how they wait for the next response.
"""

from __future__ import annotations

from dataclasses import replace

from . import _calls
from ._calls import StreamCall, StreamResponse
from ._collect import MAX_COLLECTED_BYTES, Collector
from ._position import Position
from ._resume import Patience
from .enums import CHANNEL, Channel
from .errors import Cancelled, ExecgateError, InternalError
from .events import Event, Gap, Output, Started, read_event, read_output
from .result import Result
from .text import TextDecoder
from .v1 import events_pb2, exec_pb2


class Following:
    """The state of one stream."""

    def __init__(
        self,
        session_id: str,
        call: StreamCall,
        patience: Patience,
        max_bytes: int = MAX_COLLECTED_BYTES,
    ) -> None:
        self._session_id = session_id
        self._call = call
        request = call.request
        wanted = request.offsets if isinstance(request, exec_pb2.AttachRequest) else ()
        self._position = Position({place.channel: place.offset for place in wanted})
        self.resume = patience.resume if call.resume is None else call.resume
        """What was asked for, or else is the client's."""
        self._attempts = patience.attempts(call.execution_id, self.resume)
        self._collector = Collector(session_id, max_bytes)
        self._waiting: Event | None = None
        self._started: Started | None = None
        self.written: int | None = None
        """Where the next write to standard input begins. None: after what the server has."""
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

    @property
    def offsets(self) -> dict[Channel, int]:
        """The next byte of each channel that had any."""
        places = [(CHANNEL.read(number), at) for number, at in self._position.offsets.items()]
        return {channel: at for channel, at in places if channel is not Channel.UNSPECIFIED}

    def begin(self, event: Event) -> None:
        """Takes the first event, which a reader is still to be given."""
        if not isinstance(event, Started):
            self.failure = InternalError("the stream does not begin with what was started")
            raise self.failure
        self._started = event
        self._waiting = event
        self._attempts.execution_id = event.execution_id
        # Somebody else may have written to what was found.
        if self._call.starts and not event.deduplicated:
            self.written = 0

    def interrupted(self, error: ExecgateError) -> float:
        """How long to wait before `next_call`, in seconds; raises if there is to be none."""
        # What `close` did is said by the stream itself, not by what came of it.
        if self.failure is not None:
            raise self.failure from None
        try:
            return self._attempts.pause(error)
        except ExecgateError as failure:
            self.failure = failure
            raise

    def next_call(self) -> StreamCall:
        """The call that goes on where the last one was cut."""
        if self.failure is not None:
            raise self.failure from None
        if not self._position.started:
            return self._call
        return _calls.attach_at(
            self._session_id,
            self._attempts.execution_id,
            self._position.offsets,
            self._position.notices_seen,
        )

    def waiting(self) -> Event | None:
        """The event that was received and not yet given to a reader."""
        event, self._waiting = self._waiting, None
        return event

    def take(self, response: StreamResponse) -> Event | None:
        """What a response says. None: nothing that a reader need see."""
        message = response.event
        event = self._news(message)
        if event is None:
            return None
        if isinstance(event, Started) and event.deduplicated and self._call.fresh:
            # A call that was repeated finds what it started before.
            event = replace(event, deduplicated=False)
        self._collector.add(event)
        return event

    def _news(self, message: events_pb2.ExecEvent) -> Event | None:
        """The event, without what was had before. None: nothing that a reader need see."""
        if message.HasField("output"):
            offset, data = self._position.news(message.output)
            if not data:
                return None
            self._attempts.progress()
            return read_output(message, offset, data)
        if not self._position.admit(message):
            return None
        self._attempts.progress()
        return read_event(message)

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

    def take(self, event: Event) -> tuple[Channel, str] | None:
        """The text that is complete with this event."""
        if isinstance(event, Output):
            decoder = self._decoders.setdefault(event.channel, TextDecoder())
            text = decoder.feed(event.data)
        elif isinstance(event, Gap) and event.channel in self._decoders:
            # What follows does not belong to what was begun.
            text = self._decoders[event.channel].finish()
        else:
            return None
        return (event.channel, text) if text else None

    def finish(self) -> list[tuple[Channel, str]]:
        """What is left at the end."""
        rests = [(channel, decoder.finish()) for channel, decoder in self._decoders.items()]
        return [(channel, rest) for channel, rest in rests if rest]
