"""From events to a result: what a stream keeps while it is read."""

from __future__ import annotations

from collections import deque

from .enums import Channel
from .errors import InternalError
from .events import Event, Finished, Gap, Notice, Output, Started
from .result import Result

#: Bytes of one channel kept for `result()`: what the server's largest budget would give.
MAX_COLLECTED_BYTES = 16 * 1024 * 1024

#: Notices kept for `result()`: as many as the server keeps.
MAX_COLLECTED_NOTICES = 100


class Collector:
    """Takes the events of one execution in order and makes its result."""

    def __init__(self, session_id: str, max_bytes: int = MAX_COLLECTED_BYTES) -> None:
        self._session_id = session_id
        self._kept = {
            channel: _Kept(max_bytes)
            for channel in (Channel.STDOUT, Channel.STDERR, Channel.TERMINAL)
        }
        self._started: Started | None = None
        self._notices: deque[Notice] = deque(maxlen=MAX_COLLECTED_NOTICES)
        self._timed_out = False
        self._result: Result | None = None

    @property
    def started(self) -> Started | None:
        """The first event, if it was seen."""
        return self._started

    @property
    def result(self) -> Result | None:
        """The result, once the last event was seen."""
        return self._result

    def add(self, event: Event) -> None:
        """Takes the next event."""
        if isinstance(event, Output):
            kept = self._kept.get(event.channel)
            if kept is not None:
                kept.add(event.offset, event.data)
        elif isinstance(event, Started):
            self._started = event
        elif isinstance(event, Gap):
            kept = self._kept.get(event.channel)
            if kept is not None:
                kept.skip(event.to_offset)
        elif isinstance(event, Notice):
            self._notices.append(event)
            self._timed_out = self._timed_out or event.topic == "timeout_fired"
        else:
            self._result = self._finish(event)

    def _finish(self, finished: Finished) -> Result:
        started = self._started
        if started is None:
            raise InternalError("the server ended an execution that it had not started")
        for totals in finished.ending.channels:
            kept = self._kept.get(totals.channel)
            if kept is not None:
                kept.skip(totals.total_bytes)
        for kept in self._kept.values():
            kept.trim()
        return Result(
            session_id=self._session_id,
            execution_id=started.execution_id,
            command=started.command,
            stdout_bytes=self._kept[Channel.STDOUT].joined(),
            stderr_bytes=self._kept[Channel.STDERR].joined(),
            terminal_bytes=self._kept[Channel.TERMINAL].joined(),
            ending=finished.ending,
            truncated=any(kept.omitted for kept in self._kept.values()),
            timed_out=self._timed_out or finished.timed_out,
            notices=tuple(self._notices),
            deduplicated=started.deduplicated,
            generation=started.generation,
        )


class _Kept:
    """The beginning and the end of one channel, bounded; the middle goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._head: list[bytes] = []
        self._head_room = max_bytes - max_bytes // 2
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._tail_room = max_bytes // 2
        self._next_offset = 0
        self._dropped = 0
        self.omitted = 0

    def add(self, offset: int, data: bytes) -> None:
        """Takes the bytes at `offset`."""
        self.skip(offset)
        self._next_offset = offset + len(data)
        if self._head_room:
            head = data[: self._head_room]
            self._head.append(head)
            self._head_room -= len(head)
            data = data[len(head) :]
        if data:
            self._tail.append(data)
            self._tail_bytes += len(data)
        # Whole pieces only: to cut one is to copy it, at each piece that comes.
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._tail_room:
            self._drop(len(self._tail.popleft()))

    def trim(self) -> None:
        """Nothing more will come: lets go of what is above the bound."""
        surplus = self._tail_bytes - self._tail_room
        if surplus > 0:
            self._tail[0] = self._tail[0][surplus:]
            self._drop(surplus)

    def skip(self, offset: int) -> None:
        """Notes that everything before `offset` that was not added is missing."""
        self.omitted += max(0, offset - self._next_offset)
        self._next_offset = max(self._next_offset, offset)

    def joined(self) -> bytes:
        """All that is kept; a line says where the middle is missing."""
        if not self._dropped:
            return b"".join((*self._head, *self._tail))
        marker = b"\n[... %d bytes not kept by the client ...]\n" % self._dropped
        return b"".join((*self._head, marker, *self._tail))

    def _drop(self, count: int) -> None:
        self._tail_bytes -= count
        self._dropped += count
        self.omitted += count
