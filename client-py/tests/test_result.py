"""Results and events say what the server said, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from execgate import (
    Cause,
    Channel,
    CommandFailed,
    Ending,
    Exited,
    LaunchFailed,
    LaunchFailure,
    Lost,
    Notice,
    ObservedBy,
    Result,
    Signal,
    Signaled,
    TextDecoder,
)
from execgate._collect import Collector
from execgate._time import from_duration, from_timestamp, to_duration
from execgate.events import Output, read_event
from execgate.outcome import read_ending
from execgate.result import read_result
from execgate.v1 import events_pb2, execution_pb2, outcome_pb2, types_pb2

from .scripted import finished, output, started


def ending(**outcome: object) -> Ending:
    message = outcome_pb2.Finished(cause=outcome_pb2.CAUSE_EXITED)
    for name, value in outcome.items():
        getattr(message.outcome, name).CopyFrom(value)
    return read_ending(message)


def collected(events: Iterable[events_pb2.ExecEvent], max_bytes: int = 1000) -> Result:
    collector = Collector("ses_1", max_bytes)
    for message in events:
        event = read_event(message)
        if event is not None:
            collector.add(event)
    assert collector.result is not None
    return collector.result


EXPECTED_ENDING = Ending(
    outcome=Exited(3),
    cause=Cause.EXITED,
    observed_by=ObservedBy.SHELL,
    start_time=None,
    end_time=None,
    duration=1.5,
    cwd="/tmp",  # noqa: S108 - only a name
    generation=1,
)


def test_stream_collects_to_a_whole_result() -> None:
    stream = [
        started(),
        output("STDOUT", 0, b"a\0\xff"),
        events_pb2.ExecEvent(keep_alive=events_pb2.KeepAlive()),
        output("STDERR", 0, b"e"),
        output("BACKGROUND", 0, b"not the command's"),
        output("STDOUT", 3, b"b\r\n"),
        events_pb2.ExecEvent(notice=events_pb2.Notice(number=1, message="hm")),
        finished(3),
    ]
    result = collected(stream)
    assert result == Result(
        session_id="ses_1",
        execution_id="exe_1",
        command="make",
        stdout_bytes=b"a\0\xffb\r\n",
        stderr_bytes=b"e",
        terminal_bytes=b"",
        ending=EXPECTED_ENDING,
        notices=(Notice(1, "hm", ""),),
        generation=1,
    )
    assert result.stdout == "a\0\ufffdb\r\n"
    assert (result.exit_code, result.signal, result.cwd) == (3, None, "/tmp")  # noqa: S108
    assert (result.duration, result.ok) == (1.5, False)


def test_run_and_stream_give_the_same_result() -> None:
    message = execution_pb2.ExecResult(
        session_id="ses_1",
        execution_id="exe_1",
        command="make",
        stdout=b"out",
        finished=finished(3).finished,
        generation=1,
    )
    assert read_result(message) == collected([started(), output("STDOUT", 0, b"out"), finished(3)])


def test_gap_makes_a_result_truncated() -> None:
    gap = events_pb2.Gap(channel=types_pb2.CHANNEL_STDERR, to_offset=9)
    stream = [started(), events_pb2.ExecEvent(gap=gap), output("STDERR", 9, b"x"), finished()]
    result = collected(stream)
    assert (result.stderr_bytes, result.truncated) == (b"x", True)


def test_output_that_began_before_makes_a_result_truncated() -> None:
    result = collected([started(), output("STDOUT", 5, b"x"), finished()])
    assert (result.stdout_bytes, result.truncated) == (b"x", True)


def test_collected_output_is_bounded_and_says_so() -> None:
    stream = [output("STDOUT", offset, b"%02d" % (offset // 2)) for offset in range(0, 60, 2)]
    result = collected([started(), *stream, finished()], max_bytes=11)
    assert result.stdout_bytes == b"000102\n[... 49 bytes not kept by the client ...]\n72829"
    assert result.truncated


@pytest.mark.parametrize("seed", range(20))
def test_any_split_of_the_output_collects_to_the_same(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    data = dice.randbytes(100)
    cuts = sorted(dice.sample(range(1, 100), dice.randrange(1, 40)))
    pieces = [
        output("STDOUT", begin, data[begin:end]) for begin, end in zip([0, *cuts], [*cuts, 100])
    ]
    bounded = collected([started(), *pieces, finished()], max_bytes=30)
    assert collected([started(), *pieces, finished()]).stdout_bytes == data
    marker = b"\n[... 70 bytes not kept by the client ...]\n"
    assert bounded.stdout_bytes == data[:15] + marker + data[-15:]


def test_timeout_is_flagged_by_cause_or_notice() -> None:
    notice = events_pb2.Notice(timeout_fired=events_pb2.TimeoutFired())
    by_notice = collected([started(), events_pb2.ExecEvent(notice=notice), finished(130)])
    by_cause = collected([started(), finished(130, cause="TIMEOUT")])
    assert (by_notice.timed_out, by_cause.timed_out) == (True, True)
    assert not collected([started(), finished(0)]).timed_out


def test_outcomes_and_their_exit_codes() -> None:
    possible = outcome_pb2.Signaled(number=9, name="SIGKILL")
    failed = outcome_pb2.LaunchFailed(
        failure=outcome_pb2.LAUNCH_FAILURE_NOT_FOUND, errno=2, detail="no such file"
    )
    endings = [
        ending(exited=outcome_pb2.Exited(code=137, possible_signal=possible)),
        ending(signaled=outcome_pb2.Signaled(number=15, name="SIGTERM")),
        ending(launch_failed=failed),
        ending(lost=outcome_pb2.Lost(reason="the server ended")),
    ]
    kill, term = Signal(9, "SIGKILL"), Signal(15, "SIGTERM")
    assert [(end.outcome, end.exit_code, end.signal) for end in endings] == [
        (Exited(137, possible_signal=kill), 137, None),
        (Signaled(term), 143, term),
        (LaunchFailed(LaunchFailure.NOT_FOUND, 2, "no such file"), None, None),
        (Lost("the server ended"), None, None),
    ]


def test_check_raises_what_failed() -> None:
    good = collected([started(), finished(0)])
    assert good.check() is good
    bad = collected([started(), finished(2)])
    with pytest.raises(CommandFailed, match="exited with code 2") as caught:
        bad.check()
    assert caught.value.result is bad
    late = collected([started(), finished(0, cause="TIMEOUT")])
    with pytest.raises(CommandFailed, match="time limit"):
        late.check()


def test_repr_shows_what_matters_and_not_everything() -> None:
    short = collected([started(), output("STDERR", 0, b"oops\n"), finished(3)])
    assert repr(short) == (
        "<Result 'make' exited with code 3, stderr='oops\\n', cwd='/tmp', 1.5 s>"
    )
    long = collected([started(), output("STDOUT", 0, b"x" * 500), finished()])
    assert "x' and 300 characters more" in repr(long)


def test_event_bytes_show_only_on_their_channel() -> None:
    events = [Output(channel, 0, b"x") for channel in Channel]
    found = [(event.stdout, event.stderr, event.terminal) for event in events]
    assert found == [
        (b"", b"", b""),
        (b"x", b"", b""),
        (b"", b"x", b""),
        (b"", b"", b"x"),
        (b"", b"", b""),
    ]
    first = read_event(started())
    assert first is not None
    assert (str(first.kind), first.stdout, first.stderr) == ("started", b"", b"")


def test_unknown_kind_of_event_is_left_out() -> None:
    newer = events_pb2.ExecEvent.FromString(b"\xa2\x06\x00")
    assert read_event(newer) is None


def test_any_split_of_text_decodes_to_the_same() -> None:
    data = "naïve €𝄞".encode() + b"\xff\xe2\x82"
    for cut in range(len(data) + 1):
        decoder = TextDecoder()
        text = decoder.feed(data[:cut]) + decoder.feed(data[cut:]) + decoder.finish()
        assert text == data.decode(errors="replace")


@pytest.mark.parametrize(
    ("value", "seconds", "nanos"),
    [
        (60, 60, 0),
        (0.1, 0, 100_000_000),
        (1.9999999999, 2, 0),
        (-1.5, -1, -500_000_000),
        (timedelta(minutes=1, microseconds=1), 60, 1000),
        (timedelta(milliseconds=-1500), -1, -500_000_000),
    ],
)
def test_durations_are_seconds_or_timedeltas(
    value: float | timedelta, seconds: int, nanos: int
) -> None:
    assert to_duration(value) == Duration(seconds=seconds, nanos=nanos)
    assert from_duration(Duration(seconds=seconds, nanos=nanos)) == seconds + nanos / 1e9


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_durations_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        to_duration(value)


def test_times_are_utc() -> None:
    message = outcome_pb2.Finished(outcome=outcome_pb2.Outcome(exited=outcome_pb2.Exited()))
    message.end_time.FromSeconds(0)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert read_ending(message).end_time == epoch == from_timestamp(message.end_time)
    for time in (Timestamp(seconds=1_767_225_600, nanos=999_999_999), Timestamp(seconds=-1)):
        assert from_timestamp(time) == time.ToDatetime(tzinfo=timezone.utc)
