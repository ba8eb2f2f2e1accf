"""Durations and times, between Python and the wire."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Union

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

#: A length of time: seconds, or a timedelta.
Seconds = Union[float, timedelta]

#: Longest duration that the wire can say, in seconds (about 10 000 years).
MAX_DURATION_SECONDS = 315_576_000_000

_NANOS = 1_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def to_duration(value: Seconds | None) -> Duration | None:
    """A duration for the wire; whether it makes sense is the server's to say."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        microseconds = value // timedelta(microseconds=1)
        nanos_in_all = microseconds * 1000
    else:
        if not math.isfinite(value):
            raise ValueError(f"a duration cannot be {value}")
        # An int keeps all of its digits, a float has only so many.
        whole = int(value)
        nanos_in_all = whole * _NANOS + round((value - whole) * _NANOS)
    if abs(nanos_in_all) > MAX_DURATION_SECONDS * _NANOS:
        raise ValueError(f"a duration cannot be {value}: it is longer than the wire can say")
    sign = -1 if nanos_in_all < 0 else 1
    seconds, nanos = divmod(abs(nanos_in_all), _NANOS)
    return Duration(seconds=sign * seconds, nanos=sign * nanos)


def to_seconds(value: Seconds) -> float:
    """A length of time in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def from_duration(value: Duration) -> float:
    """A duration from the wire, in seconds."""
    return float(value.seconds + value.nanos / _NANOS)


def from_timestamp(value: Timestamp) -> datetime:
    """A time from the wire, in UTC."""
    # As ToDatetime does, which takes several times as long: each event has a time.
    return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
