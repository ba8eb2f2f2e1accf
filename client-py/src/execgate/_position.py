"""Where a reader of an execution stands, and what of a new stream it has had before.

Streams of one execution may cut its output differently. Each begins with its own start,
and a proxy may repeat what it sent; none of it reaches a reader twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import InternalError
from .v1 import events_pb2, types_pb2


class Position:
    """What was delivered so far. Channels are numbers of the wire, which may be new ones."""

    def __init__(
        self,
        offsets: Mapping[types_pb2.Channel.ValueType, int] | None = None,
        notices_seen: int = 0,
    ) -> None:
        self.started = False
        """Whether the start was delivered."""
        self.offsets: dict[types_pb2.Channel.ValueType, int] = dict(offsets or {})
        """The next byte of each channel that had any."""
        self.notices_seen = notices_seen

    def admit(self, event: events_pb2.ExecEvent) -> bool:
        """Whether there is news in an event that is no output; cuts off what is none."""
        which = event.WhichOneof("kind")
        if which == "started":
            again, self.started = self.started, True
            return not again
        if which == "gap":
            gap = event.gap
            known = self.offsets.get(gap.channel, 0)
            self.offsets[gap.channel] = max(known, gap.to_offset)
            if gap.from_offset < known:
                gap.from_offset = known
            return gap.from_offset < gap.to_offset
        if which == "notice":
            number = event.notice.number
            news = number == 0 or number > self.notices_seen
            self.notices_seen = max(self.notices_seen, number)
            return news
        return True

    def news(self, output: events_pb2.Output) -> tuple[int, bytes]:
        """The bytes of an output that are new, and where they begin.

        Raises:
            InternalError: Bytes are missing of which no gap was told.
        """
        # Read once: each reading of `data` copies it.
        channel, offset, data = output.channel, output.offset, output.data
        known = self.offsets.get(channel, 0)
        if offset > known:
            # What comes between commands counts from the session's beginning.
            if channel != types_pb2.CHANNEL_BACKGROUND:
                raise InternalError("the server left out output without a gap")
            known = offset
        elif offset < known:
            data = data[known - offset :]
        self.offsets[channel] = known + len(data)
        return known, data
