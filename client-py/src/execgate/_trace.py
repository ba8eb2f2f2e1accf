"""The trace that a call belongs to, as W3C headers.

The server puts its spans below whoever calls, and tells commands where they stand
(`TRACEPARENT`). OpenTelemetry is asked where it is installed; nothing here needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Union

from .errors import ConfigurationError

#: gRPC metadata.
Metadata = tuple[tuple[str, str], ...]

#: What a source of one's own may answer: a `traceparent`, the headers, or nothing.
TraceHeaders = Union[str, Mapping[str, str], None]

#: Where the trace of a call comes from. True: OpenTelemetry's current span, if it is
#: installed; False: nowhere; a text: this `traceparent`; a function: what it answers, asked
#: at each call.
Trace = Union[bool, str, Callable[[], TraceHeaders]]

#: The headers of the W3C recommendation.
HEADERS = ("traceparent", "tracestate")

#: Length of a `traceparent` of the version that is known.
TRACEPARENT_LENGTH = 55


def trace_source(trace: Trace) -> Callable[[], Metadata] | None:
    """What to ask for the metadata of each call; None where there is nothing to ask."""
    if trace is False:
        return None
    if trace is True:
        return _opentelemetry()
    if isinstance(trace, str):
        if len(trace) < TRACEPARENT_LENGTH or not (trace.isascii() and trace.isprintable()):
            raise ConfigurationError(f"{trace!r} is no traceparent like 00-TRACE-SPAN-01")
        fixed = as_metadata(trace)
        return lambda: fixed
    return lambda: as_metadata(trace())


def as_metadata(headers: TraceHeaders) -> Metadata:
    """The headers that count, as metadata; what no header can hold is left out."""
    if headers is None:
        return ()
    if isinstance(headers, str):
        headers = {HEADERS[0]: headers}
    found = ((name, headers.get(name, "")) for name in HEADERS)
    return tuple(
        (name, value) for name, value in found if value and value.isascii() and value.isprintable()
    )


def _opentelemetry() -> Callable[[], Metadata] | None:
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    propagator = TraceContextTextMapPropagator()

    def current() -> Metadata:
        headers: dict[str, str] = {}
        propagator.inject(headers)
        return as_metadata(headers)

    return current
