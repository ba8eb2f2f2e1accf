"""Which trace a call says it is in."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace as otel

from execgate import Client, ConfigurationError, Trace
from execgate._metadata import call_metadata
from execgate._token import Token

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TOKEN = ("authorization", "Bearer 0123456789")


def metadata(trace: Trace) -> tuple[tuple[str, str], ...]:
    """What a call with this source carries."""
    return call_metadata(Token("0123456789"), trace)()


@pytest.fixture
def span() -> Iterator[otel.Span]:
    """A span that OpenTelemetry has as the current one."""
    state = otel.TraceState([("vendor", "a")])
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED)
    trace_id, span_id = (int(part, 16) for part in PARENT.split("-")[1:3])
    context = otel.SpanContext(
        trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=state
    )
    span = otel.NonRecordingSpan(context)
    with otel.use_span(span):
        yield span


def test_by_default_it_is_that_of_the_current_span(span: otel.Span) -> None:
    assert metadata(True) == (TOKEN, ("traceparent", PARENT), ("tracestate", "vendor=a"))
    assert metadata(False) == (TOKEN,)


def test_without_a_current_span_it_is_none() -> None:
    assert metadata(True) == (TOKEN,)


def test_without_opentelemetry_it_is_none(monkeypatch: pytest.MonkeyPatch, span: otel.Span) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace.propagation.tracecontext", None)
    assert metadata(True) == (TOKEN,)


def test_one_that_is_set_by_hand_counts(span: otel.Span) -> None:
    other = PARENT.replace("b7ad", "0000")
    assert metadata(other) == (TOKEN, ("traceparent", other))


def test_a_function_is_asked_at_each_call() -> None:
    answers = iter([PARENT, None, {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b"}])
    asked = call_metadata(None, lambda: next(answers))
    assert asked() == (("traceparent", PARENT),)
    assert asked() == ()
    assert asked() == (("traceparent", PARENT), ("tracestate", "a=1"))


@pytest.mark.parametrize("text", ["", "00-short", PARENT + "\n", "é" * 55])
def test_what_is_no_traceparent_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Client("127.0.0.1:1", trace=text)


def test_what_no_header_can_hold_is_left_out() -> None:
    assert metadata(lambda: {"traceparent": "a\nb", "tracestate": "é"}) == (TOKEN,)
