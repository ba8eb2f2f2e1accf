"""Which calls are made again, and when: by a table, and against a server that fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from execgate import (
    AsyncClient,
    Client,
    ConnectFailed,
    Disconnected,
    ExecgateError,
    InternalError,
    NotFound,
    ResourceExhausted,
    RetryPolicy,
    SignalKind,
    TlsFailed,
    Unavailable,
    _calls,
    _checkpoint_calls,
)
from execgate._requests import ExecutionOptions, SessionChanges, SessionOptions
from execgate._retry import Acquaintance, Repeat, Tries
from execgate.v1 import session_pb2

from .failing import CUT, FailingServer, answers, draining, limited, proxy

#: Quick enough for tests; the pauses are still there.
QUICK = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)

LATER = Unavailable("wait", code="UNAVAILABLE", reason="ANY_REASON", retry_after=0.5)
UNREACHED = ConnectFailed("nobody", code="UNAVAILABLE")
BROKEN = Disconnected("cut", code="UNAVAILABLE")
FINAL = NotFound("no", code="NOT_FOUND", reason="SESSION_NOT_FOUND")
#: `Unavailable` without a delay: the server says that a plain retry fails again.
HOPELESS = Unavailable("no", code="UNAVAILABLE", reason="SHELL_START_FAILED")
FOREIGN = InternalError("bad gateway", code="UNKNOWN")
UNTRUSTED = TlsFailed("no", code="UNAVAILABLE", reason="TLS_EXPIRED")


class Clock:
    """A clock that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def tries(
    policy: RetryPolicy | None = None,
    repeat: Repeat = Repeat.ALWAYS,
    *,
    known: bool = True,
    clock: Clock | None = None,
    chance: float = 1.0,
) -> Tries:
    acquaintance = Acquaintance()
    acquaintance.made = known
    return Tries(
        policy or RetryPolicy(),
        repeat,
        acquaintance,
        clock=clock or Clock(),
        chance=lambda: chance,
    )


@pytest.mark.parametrize(
    ("error", "always", "refused", "stranger"),
    [
        (LATER, True, True, True),
        (UNREACHED, True, True, False),
        (BROKEN, True, False, True),
        (FOREIGN, True, False, True),
        (FINAL, False, False, False),
        (HOPELESS, False, False, False),
        (UNTRUSTED, False, False, False),
    ],
    ids=["later", "unreached", "cut", "foreign", "final", "hopeless", "untrusted"],
)
def test_what_passes_is_tried_again_where_that_is_harmless(
    error: ExecgateError, always: bool, refused: bool, stranger: bool
) -> None:
    found = [
        tries().pause(error) is not None,
        tries(repeat=Repeat.REFUSED).pause(error) is not None,
        tries(known=False).pause(error) is not None,
    ]
    assert found == [always, refused, stranger]


def test_pauses_double_and_end_with_the_attempts() -> None:
    patient = tries()
    pauses = [patient.pause(BROKEN) for _ in range(8)]
    assert pauses[:-1] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0])
    assert pauses[-1] is None
    assert tries(chance=0.0).pause(BROKEN) == pytest.approx(0.05)
    assert tries(RetryPolicy.none()).pause(LATER) is None


def test_the_servers_delay_wins_and_the_total_bounds_all() -> None:
    clock = Clock()
    patient = tries(RetryPolicy(total=timedelta(seconds=2)), clock=clock)
    assert patient.pause(LATER) == 0.5
    clock.now = 1.6
    assert patient.pause(LATER) is None
    assert patient.pause(BROKEN) == pytest.approx(0.4)
    clock.now = 2.0
    assert patient.pause(BROKEN) is None


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"initial_backoff": 0}, {"max_backoff": 0.01}, {"total": -1}]
)
def test_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"max_attempts|pause"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


def page() -> str:
    return (Path(__file__).parents[2] / "docs" / "retries.md").read_text("utf-8")


def test_the_page_says_how_often_and_when() -> None:
    policy = RetryPolicy()
    defaults = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+)", page(), re.MULTILINE))
    assert {name: float(value) for name, value in defaults.items()} == {
        "max_attempts": policy.max_attempts,
        "initial_backoff": policy.initial_backoff,
        "max_backoff": policy.max_backoff,
        "total": policy.total,
    }


def test_the_page_says_which_calls_are_made_again() -> None:
    rows = re.findall(r"^\| `\w+Service` \| ([^|]+) \| ([^|]+) \|", page(), re.MULTILINE)
    told = {
        call: Repeat.REFUSED if again == "only if refused" else Repeat.ALWAYS
        for again, calls in rows
        for call in re.findall(r"`(\w+)`", calls)
    }
    made = [
        _calls.create_session(SessionOptions()),
        _calls.get_session("s"),
        _calls.close_session("s"),
        _calls.update_session("s", SessionChanges()),
        _calls.capabilities(),
        _calls.list_sessions(None, ()).page(),
        _calls.list_audit_records("", "", False).page(),
        _calls.run("s", "true", ExecutionOptions(), None).call,
        _calls.evaluate("s", "true"),
        _calls.get_execution("s", "e"),
        _calls.list_executions("s").page(),
        _calls.read_retained("s", "e", _calls.OutputSelection()),
        _calls.write_stdin("s", "e", b"", False, 0),
        _calls.signal("s", "e", SignalKind.INT),
        _calls.resize("s", 1, 1),
        _checkpoint_calls.create_checkpoint("s", "", None, (), ()),
        _checkpoint_calls.get_checkpoint("c"),
        _checkpoint_calls.list_checkpoints("", "", None).page(),
        _checkpoint_calls.delete_checkpoint("c"),
        _checkpoint_calls.restore_checkpoint("c", "s", _checkpoint_calls.RestoreOptions()),
    ]
    done = {
        type(call.request).__name__.replace("Request", ""): call.repeat  # type: ignore[attr-defined]
        for call in made
    }
    assert done == {call: told[call] for call in done}


@pytest.fixture
def failing() -> Iterator[FailingServer]:
    server = FailingServer()  # type: ignore[abstract]
    yield server
    server.stop()


def outcome(failing: FailingServer, kind: str, policy: RetryPolicy, call: str) -> str:
    """What a client of this kind sees: the value, or the reason or type of the error."""
    try:
        if kind == "sync":
            with Client(failing.address, retry=policy) as client:
                return str(answers(client, call))
        return str(asyncio.run(_async_outcome(failing, policy, call)))
    except ExecgateError as error:
        return error.reason or type(error).__name__


async def _async_outcome(failing: FailingServer, policy: RetryPolicy, call: str) -> object:
    async with AsyncClient(failing.address, retry=policy) as client:
        return await answers(client, call)


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
@pytest.mark.parametrize(
    ("call", "failures", "expected", "made"),
    [
        ("GetSession", [draining(), limited(), proxy(), CUT], "ses_a", 5),
        ("GetSession", [limited(0.01)] * 8, "RATE_LIMITED", 8),
        ("GetSession", [limited(60)], "RATE_LIMITED", 1),
        ("CreateSession", [CUT, proxy()], "created", 3),
        ("CloseSession", [CUT, draining()], "0", 3),
        ("Signal", [draining(), limited()], "RUNNING", 3),
        ("Signal", [CUT], "Disconnected", 1),
        ("Signal", [proxy()], "Disconnected", 1),
        ("Run", [draining(), limited()], "0", 3),
    ],
)
def test_server_that_fails_for_a_while_is_asked_again(
    failing: FailingServer, kind: str, call: str, failures: list[object], expected: str, made: int
) -> None:
    failing.fail(call, failures)
    assert (outcome(failing, kind, QUICK, call), failing.count(call)) == (expected, made)


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_nothing_is_repeated_where_nobody_wants_it(failing: FailingServer, kind: str) -> None:
    failing.fail("GetSession", [limited()])
    assert outcome(failing, kind, RetryPolicy.none(), "GetSession") == "RATE_LIMITED"
    assert failing.count("GetSession") == 1


def test_session_that_is_asked_for_again_has_the_same_id(failing: FailingServer) -> None:
    failing.fail("CreateSession", [CUT, CUT])
    with Client(failing.address, retry=QUICK) as client:
        client.session()
    ids = [
        request.session_id
        for request in failing.requests
        if isinstance(request, session_pb2.CreateSessionRequest)
    ]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert re.fullmatch(r"ses_[0-9a-f]{32}", ids[0])


def test_server_that_went_away_is_waited_for_and_one_that_never_was_is_not(
    failing: FailingServer,
) -> None:
    policy = RetryPolicy(max_attempts=3, initial_backoff=0.01, max_backoff=0.02)
    with Client(failing.address, retry=policy) as client:
        client.capabilities()
        failing.stop()
        with pytest.raises(Unavailable):
            client.capabilities()
        assert client._connection.patience.acquaintance.made
    with Client(failing.address, retry=RetryPolicy()) as client:
        with pytest.raises(ConnectFailed):
            client.capabilities()
        assert not client._connection.patience.acquaintance.made


def test_refusal_tells_what_it_was(failing: FailingServer) -> None:
    failing.fail("GetSession", [limited(60)])
    with (
        Client(failing.address, retry=QUICK) as client,
        pytest.raises(ResourceExhausted) as caught,
    ):
        client.get_session("ses_a")
    assert (caught.value.reason, caught.value.retry_after) == ("RATE_LIMITED", 60)
