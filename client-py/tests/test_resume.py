"""What was cut is tried again, without a server, a clock or chance."""

from __future__ import annotations

from datetime import timedelta

import pytest

from execgate import (
    Channel,
    ConnectFailed,
    Disconnected,
    Event,
    ExecgateError,
    ExecutionForgotten,
    Gap,
    GapReason,
    InternalError,
    NotFound,
    Output,
    PolicyDenied,
    TextDecoder,
    Unavailable,
    Unimplemented,
)
from execgate._following import Texts
from execgate._position import Position
from execgate._resume import Attempts, Resume, patience_seconds
from execgate._retry import Setback, setback
from execgate.v1 import events_pb2, types_pb2

from .scripted import output, started

OUT = types_pb2.CHANNEL_STDOUT
ERR = types_pb2.CHANNEL_STDERR

CUT = Disconnected("cut", execution_id="exe")
NOBODY = ConnectFailed("nobody", code="UNAVAILABLE")
DENIED = PolicyDenied("no", code="PERMISSION_DENIED", reason="POLICY_DENIED")


class Clock:
    """A clock that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def attempts(resume: Resume, clock: Clock | None = None, chance: float = 1.0) -> Attempts:
    return Attempts(resume, "exe", clock=clock or Clock(), chance=lambda: chance)


def test_pauses_double_up_to_the_longest() -> None:
    patient = attempts(3600)
    pauses = [round(patient.pause(CUT), 3) for _ in range(8)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    patient.progress()
    assert patient.pause(NOBODY) == pytest.approx(0.1)
    # Chance takes up to half of it away.
    assert attempts(3600, chance=0.0).pause(CUT) == pytest.approx(0.05)


def test_time_without_progress_is_bounded() -> None:
    clock = Clock()
    impatient = attempts(timedelta(seconds=1), clock)
    assert impatient.pause(CUT) == pytest.approx(0.1)
    clock.now = 0.9
    # The last pause ends with the time.
    assert impatient.pause(CUT) == pytest.approx(0.1)
    clock.now = 1.0
    with pytest.raises(Disconnected):
        impatient.pause(CUT)
    impatient.progress()
    assert impatient.pause(CUT) == pytest.approx(0.1)


def test_server_says_when_to_come_again() -> None:
    later = Unavailable("draining", code="UNAVAILABLE", reason="SERVER_DRAINING", retry_after=7)
    patient = attempts(True, chance=0.0)
    # A first call that is refused is one like any other, and bounded as such.
    assert [patient.pause(later) for _ in range(4)] == [7, 7, 7, 7]
    assert not patient.begun
    patient.progress()
    assert patient.pause(later) == 7
    later.retry_after = 61
    with pytest.raises(Disconnected, match="draining") as caught:
        patient.pause(later)
    assert caught.value.execution_id == "exe"


@pytest.mark.parametrize("error", [NOBODY, DENIED], ids=["nobody", "denied"])
def test_what_never_began_is_told_at_once(error: ExecgateError) -> None:
    with pytest.raises(type(error)):
        attempts(True).pause(error)


def test_nothing_is_repeated_that_shall_not_be() -> None:
    never = attempts(False)
    never.progress()
    with pytest.raises(Disconnected):
        never.pause(CUT)
    assert (patience_seconds(True), patience_seconds(False), patience_seconds(2)) == (
        60.0,
        0.0,
        2.0,
    )


def test_nobody_after_a_cut_is_a_broken_connection_that_names_the_execution() -> None:
    clock = Clock()
    begun = attempts(1, clock)
    begun.pause(CUT)
    clock.now = 2.0
    with pytest.raises(Disconnected, match="nobody") as caught:
        begun.pause(NOBODY)
    assert caught.value.execution_id == "exe"


def test_server_without_a_memory_says_so() -> None:
    gone = NotFound("no such session", code="NOT_FOUND", reason="SESSION_NOT_FOUND")
    begun = attempts(True)
    begun.pause(CUT)
    with pytest.raises(ExecutionForgotten, match="no longer knows execution exe") as caught:
        begun.pause(gone)
    assert (caught.value.reason, caught.value.execution_id) == ("SESSION_NOT_FOUND", "exe")
    with pytest.raises(NotFound) as plain:
        attempts(True).pause(gone)
    assert type(plain.value) is NotFound


def test_server_that_cannot_attach_leaves_the_broken_connection() -> None:
    begun = attempts(True)
    begun.pause(CUT)
    with pytest.raises(Disconnected, match="cut"):
        begun.pause(Unimplemented("what?", code="UNIMPLEMENTED"))


def test_what_something_on_the_way_says_is_no_refusal() -> None:
    assert setback(Unavailable("no upstream", code="UNAVAILABLE")) is Setback.CUT
    assert setback(InternalError("own", reason="INTERNAL", code="INTERNAL")) is Setback.FINAL
    # What this side makes of an answer is no better the next time.
    assert setback(InternalError("makes no sense")) is Setback.FINAL


def gap(first: int, end: int) -> events_pb2.ExecEvent:
    return events_pb2.ExecEvent(gap=events_pb2.Gap(channel=OUT, from_offset=first, to_offset=end))


def notice(number: int) -> events_pb2.ExecEvent:
    return events_pb2.ExecEvent(notice=events_pb2.Notice(number=number))


def test_everything_comes_once_however_it_is_cut() -> None:
    position = Position({OUT: 2})

    def admitted(event: events_pb2.ExecEvent) -> events_pb2.ExecEvent | None:
        return event if position.admit(event) else None

    def news(channel: str, offset: int, data: bytes) -> tuple[int, bytes]:
        return position.news(output(channel, offset, data).output)

    assert admitted(started()) == started()
    assert admitted(started()) is None
    assert news("STDOUT", 2, b"cd") == (2, b"cd")
    assert news("STDOUT", 0, b"abcd") == (4, b"")
    assert news("STDOUT", 3, b"def") == (4, b"ef")
    assert admitted(gap(4, 9)) == gap(6, 9)
    assert admitted(gap(6, 9)) is None
    assert news("STDERR", 0, b"e") == (0, b"e")
    assert news("STDOUT", 8, b"ij") == (9, b"j")
    assert admitted(notice(1)) == notice(1)
    assert admitted(notice(1)) is None
    assert position.offsets == {OUT: 10, ERR: 1}
    assert position.notices_seen == 1


def test_missing_bytes_are_not_passed_over() -> None:
    position = Position()
    with pytest.raises(InternalError, match="without a gap"):
        position.news(output("STDOUT", 1, b"b").output)
    # The session's own channel began before the execution.
    assert position.news(output("BACKGROUND", 7, b"x").output) == (7, b"x")


#: Valid text of every length, and everything that is not UTF-8.
MIXED = (
    b"a\xc3\xa9\xe2\x82\xac\xf0\x9f\xa6\x80 \xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80 \xe2\x82x"
    b"\xf0\x9f\xa6"
)


def test_any_cut_gives_the_text_of_the_whole() -> None:
    whole = MIXED.decode(errors="replace")
    for first in range(len(MIXED) + 1):
        for second in range(first, len(MIXED) + 1):
            decoder = TextDecoder()
            pieces = (MIXED[:first], MIXED[first:second], MIXED[second:])
            assert "".join(map(decoder.feed, pieces)) + decoder.finish() == whole


def test_channels_do_not_mix_and_a_gap_ends_a_character() -> None:
    texts = Texts()
    events: list[Event] = [
        Output(Channel.STDOUT, 0, b"\xe2\x82"),
        Output(Channel.STDERR, 0, b"\xac\xe2"),
        Gap(Channel.STDOUT, 2, 5, GapReason.EVICTED),
        Output(Channel.STDOUT, 5, b"\xac!"),
    ]
    assert [texts.take(event) for event in events] == [
        None,
        (Channel.STDERR, "\ufffd"),
        (Channel.STDOUT, "\ufffd"),
        (Channel.STDOUT, "\ufffd!"),
    ]
    assert texts.finish() == [(Channel.STDERR, "\ufffd")]
