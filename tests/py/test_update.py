"""What of a session can be changed while it lives."""

from __future__ import annotations

import time

import pytest
from running_server import LIMIT_SECONDS, Server

from execgate import Budget, Client, ExecgateError, InvalidArgument, Session


@pytest.fixture
def session(server: Server) -> Session:
    """A session with labels."""
    return server.client().session(labels={"a": "1"}, timeout=60, idle_ttl=600)


def test_what_is_given_changes_and_the_rest_stays(session: Session) -> None:
    updated = session.update(labels={"b": "2"})
    assert updated.labels == {"b": "2"}
    assert session.update(timeout=0.3).labels == {"b": "2"}
    assert session.run("sleep 30").timed_out
    assert session.run("sleep 0.1", timeout=20).exit_code == 0
    budget = Budget(tail=1)
    session.update(timeout=60, budget=budget)
    assert session.run("echo one; echo two").stdout.endswith("two\n")
    assert "one" not in session.run("echo one; echo two").stdout
    assert session.update(labels={}).labels == {}


def test_a_shorter_idle_time_counts_at_once(session: Session, server: Server) -> None:
    session.run("true")
    session.update(idle_ttl=0.5)
    with pytest.raises(ExecgateError) as error:
        look_until_it_is_gone(server.client(), session.id)
    assert error.value.reason in {"SESSION_ENDED", "SESSION_EXPIRED"}


def look_until_it_is_gone(client: Client, session_id: str) -> None:
    limit = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < limit:
        # Looking at it does not keep it.
        client.get_session(session_id).update(labels={})
        time.sleep(0.1)


def test_bad_values_are_refused_and_change_nothing(session: Session) -> None:
    before = session.info()
    for change in ({"timeout": -1.0}, {"idle_ttl": 1e9}, {"timeout": 1e9}):
        with pytest.raises(InvalidArgument):
            session.update(labels={"new": "1"}, **change)  # type: ignore[arg-type]
    assert session.info().labels == before.labels
