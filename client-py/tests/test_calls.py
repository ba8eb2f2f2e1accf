"""Calls over a real connection, to a server that answers from a script."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import grpc
import pytest

from execgate import (
    Cancelled,
    Channel,
    Client,
    ClientClosed,
    ConnectFailed,
    Disconnected,
    EndedProcess,
    InternalError,
    PolicyDenied,
    Session,
    SessionBusy,
    Unauthenticated,
    Unimplemented,
)
from execgate.events import EventKind

from .scripted import (
    LIMIT_SECONDS,
    TOKEN,
    RichError,
    Script,
    ScriptedServer,
    finished,
    output,
    started,
)

#: Set at the end of each test, so that no call outlives it.
NEVER = threading.Event()

SCRIPTS: dict[str, Script] = {
    "hello": [
        started(),
        output("STDOUT", 0, b"caf\xc3"),
        output("STDERR", 0, b"!"),
        output("STDOUT", 4, b"\xa9"),
        finished(3),
    ],
    "rm": [
        RichError(grpc.StatusCode.PERMISSION_DENIED, "denied", "POLICY_DENIED", {"rule": "no-rm"})
    ],
    "second": [
        RichError(
            grpc.StatusCode.FAILED_PRECONDITION, "busy", "SESSION_BUSY", {"execution_id": "e"}
        )
    ],
    "cut": [started(), output("STDOUT", 0, b"partial")],
    "lost connection": [started(), RichError(grpc.StatusCode.UNAVAILABLE, "Socket closed")],
    "endless": [started(), NEVER, finished(0)],
    "no start": [output("STDOUT", 0, b"x"), finished(0)],
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer(SCRIPTS)  # type: ignore[abstract]  # the rest is UNIMPLEMENTED
    NEVER.clear()
    yield server
    NEVER.set()
    server.stop()


@pytest.fixture
def session(server: ScriptedServer) -> Iterator[Session]:
    with Client(server.address, token=TOKEN) as client, client.session() as session:
        yield session


def test_run_gives_a_result(session: Session) -> None:
    result = session.run("hello", timeout=60)
    assert (result.stdout, result.exit_code, result.cwd) == ("café", 3, "/tmp")  # noqa: S108


def test_exec_gives_events_and_then_the_result(session: Session) -> None:
    stream = session.exec("hello")
    assert stream.execution_id == "exe_1"
    events = list(stream)
    assert [event.kind for event in events] == [
        EventKind.STARTED,
        EventKind.OUTPUT,
        EventKind.OUTPUT,
        EventKind.OUTPUT,
        EventKind.FINISHED,
    ]
    assert b"".join(event.stdout for event in events) == "café".encode()
    assert b"".join(event.stderr for event in events) == b"!"
    assert (stream.result().stdout, stream.result().exit_code) == ("café", 3)
    assert list(stream) == []


def test_result_needs_no_reading(session: Session) -> None:
    assert session.exec("hello").result().stdout_bytes == "café".encode()


def test_text_keeps_split_characters_whole(session: Session) -> None:
    text = list(session.exec("hello").text())
    assert text == [(Channel.STDOUT, "caf"), (Channel.STDERR, "!"), (Channel.STDOUT, "é")]


def test_refusal_is_raised_by_both_ways_to_start(session: Session) -> None:
    for start in (session.run, session.exec):
        with pytest.raises(PolicyDenied) as denied:
            start("rm")
        assert denied.value.rule == "no-rm"
        with pytest.raises(SessionBusy) as busy:
            start("second")
        assert busy.value.execution_id == "e"


@pytest.mark.parametrize("command", ["cut", "lost connection"])
def test_stream_cut_short_is_one_clear_error(session: Session, command: str) -> None:
    stream = session.exec(command)
    with pytest.raises(Disconnected, match="while execution exe_1 was followed") as caught:
        list(stream)
    assert caught.value.execution_id == "exe_1"
    assert list(stream) == []
    with pytest.raises(Disconnected):
        stream.result()


def test_stream_that_does_not_begin_with_started_is_refused(session: Session) -> None:
    with pytest.raises(InternalError, match="does not begin"):
        session.exec("no start")


def test_closed_stream_has_no_result(session: Session) -> None:
    with session.exec("hello") as stream:
        next(stream)
    assert list(stream) == []
    with pytest.raises(Cancelled):
        stream.result()


def test_dropped_stream_ends_the_call(server: ScriptedServer, session: Session) -> None:
    for event in session.exec("endless"):
        assert event.kind is EventKind.STARTED
        break
    assert server.exec_ended.wait(LIMIT_SECONDS)


def test_client_closed_elsewhere_ends_a_stream(server: ScriptedServer) -> None:
    client = Client(server.address, token=TOKEN)
    stream = client.session().exec("endless")
    next(stream)
    closing = threading.Timer(0.1, client.close)
    closing.start()
    with pytest.raises(ClientClosed):
        next(stream)
    closing.join()


def test_stream_closed_after_its_end_keeps_its_result(session: Session) -> None:
    with session.exec("hello") as stream:
        events = list(stream)
    assert len(events) == 5
    assert stream.result().exit_code == 3


def test_close_says_what_was_ended(session: Session) -> None:
    closed = session.close()
    assert closed.ended_processes == (EndedProcess(7, "sleep", "SIGTERM"),)
    assert closed.ended_process_count == 1


def test_session_is_closed_by_its_block(server: ScriptedServer) -> None:
    with Client(server.address, token=TOKEN) as client, client.session():
        pass
    names = [type(request).__name__ for request in server.requests]
    assert names == ["CreateSessionRequest", "CloseSessionRequest"]


def test_wrong_token_is_told(server: ScriptedServer) -> None:
    with Client(server.address, token="wrong") as client:  # noqa: S106 - opens nothing
        with pytest.raises(Unauthenticated) as caught:
            client.session()
        assert caught.value.reason == "UNAUTHENTICATED"


def test_old_server_is_told(server: ScriptedServer) -> None:
    with Client(server.address, token=TOKEN) as client, pytest.raises(Unimplemented):
        client.capabilities()


def test_wrong_address_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Client(address, token=TOKEN) as client:
            with pytest.raises(ConnectFailed, match=address):
                client.session()
            with pytest.raises(ConnectFailed, match=address):
                client.wait_ready(timeout=0.2)


def test_server_gone_is_one_error_also_at_the_end_of_the_block(server: ScriptedServer) -> None:
    def story(client: Client) -> None:
        with client.session() as session:
            server.stop()
            session.run("hello", resume=False)

    with Client(server.address, token=TOKEN) as client:
        with pytest.raises((Disconnected, ConnectFailed)) as caught:
            story(client)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_closed_client_is_told(server: ScriptedServer) -> None:
    client = Client(server.address, token=TOKEN)
    session = client.session()
    client.close()
    for use in (client.session, session.info, lambda: session.exec("hello")):
        with pytest.raises(ClientClosed):
            use()


def test_threads_share_a_client(session: Session) -> None:
    codes: list[int | None] = []

    def work() -> None:
        codes.append(session.run("hello").exit_code)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [3] * 8
