"""What goes wrong is one clear, typed error each, against the real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import pytest
from conftest import Connect
from running_server import Server

from execgate import (
    AlreadyExists,
    Client,
    ClientClosed,
    ConnectFailed,
    Disconnected,
    InvalidArgument,
    NotFound,
    PolicyDenied,
    Session,
    SessionBusy,
    SessionEnded,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)


def test_denied_command_says_why_and_what_to_do(session: Session) -> None:
    # Harmless even if it were not denied: there is no such disk and it writes nothing.
    command = "dd if=/dev/null of=/dev/sdzz count=0"
    for start in (session.run, session.exec):
        with pytest.raises(PolicyDenied) as caught:
            start(command)
        error = caught.value
        assert (error.code, error.reason, error.rule) == (
            "PERMISSION_DENIED",
            "POLICY_DENIED",
            "no-raw-write",
        )
        assert error.suggestion
        assert error.justification
        assert error.suggestion in str(error)
    assert session.run("echo still here").stdout == "still here\n"


def test_session_denies_what_its_maker_denied(client: Client) -> None:
    with client.session(deny=["uname"]) as session:
        with pytest.raises(PolicyDenied):
            session.run("echo before; uname -a")
        assert session.run("echo fine").stdout == "fine\n"


def test_busy_session_names_what_runs(session: Session) -> None:
    with session.exec("sleep 30") as stream:
        with pytest.raises(SessionBusy) as caught:
            session.run("true")
        assert caught.value.execution_id == stream.execution_id


def test_wrong_token_is_told(connect: Connect, server: Server) -> None:
    with (
        connect(server.address, token="0" * 64) as client,
        pytest.raises(Unauthenticated) as caught,
    ):
        client.session()
    assert caught.value.reason == "UNAUTHENTICATED"


def test_no_token_is_told(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EXECGATE_TOKEN", "EXECGATE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/nonexistent")
    with connect(server.address) as client, pytest.raises(Unauthenticated):
        client.session()


def test_token_and_address_are_found(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXECGATE_TOKEN", raising=False)
    monkeypatch.setenv("EXECGATE_ADDR", server.address)
    monkeypatch.setenv("EXECGATE_DATA_DIR", str(server.data_dir))
    with connect() as client, client.session() as session:
        assert session.run("echo found").stdout == "found\n"


def test_unix_socket_needs_no_token(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXECGATE_TOKEN", raising=False)
    with connect(f"unix:{server.socket}") as client, client.session() as session:
        assert session.run("echo hi").stdout == "hi\n"
        assert session.exec("echo stream").result().stdout == "stream\n"


def test_unknown_session_is_told(client: Client) -> None:
    with pytest.raises(NotFound) as caught:
        client.get_session("ses_nothing")
    assert caught.value.reason == "SESSION_NOT_FOUND"


def test_bad_field_is_named(session: Session) -> None:
    with pytest.raises(InvalidArgument) as empty:
        session.run("")
    with pytest.raises(InvalidArgument) as negative:
        session.run("true", timeout=-1)
    assert [error.value.reason for error in (empty, negative)] == ["INVALID_FIELD"] * 2
    fields = [error.value.field_violations[0].field for error in (empty, negative)]
    assert "script" in fields[0]
    assert "timeout" in fields[1]


def test_execution_id_of_another_command_is_refused(session: Session) -> None:
    session.run("true", execution_id="mine")
    with pytest.raises(AlreadyExists) as caught:
        session.run("false", execution_id="mine")
    assert caught.value.reason == "EXECUTION_ID_REUSED"


def test_closed_session_is_told(client: Client) -> None:
    with client.session() as session:
        session.close()
        with pytest.raises((SessionEnded, NotFound)) as caught:
            session.run("true")
    assert caught.value.reason in ("SESSION_ENDED", "SESSION_EXPIRED")
    assert caught.value.suggestion


def test_server_killed_mid_stream_is_one_clear_error(connect: Connect, own_server: Server) -> None:
    with connect(own_server.address, own_server.token, resume=False) as client:
        session = client.session()
        stream = session.exec("echo begun; sleep 60")
        assert b"begun" in next(event.stdout for event in stream if event.stdout)
        own_server.kill()
        with pytest.raises(Disconnected) as caught:
            next(stream)
        assert caught.value.execution_id == stream.execution_id
        assert own_server.address in str(caught.value)
        assert list(stream) == []
        with pytest.raises(Disconnected):
            stream.result()
        # The channel may find out only now, so it is one of the two kinds.
        with pytest.raises(Unavailable, match=own_server.address):
            session.run("true")
        with pytest.raises(ConnectFailed, match=own_server.address):
            client.wait_ready(timeout=0.2)


@pytest.fixture(params=["nobody", "hangs up", "speaks HTTP/1"])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that is no execgate server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        if request.param == "nobody":
            yield address
            return
        listener.listen()
        answer = b"HTTP/1.1 400 Bad Request\r\n\r\n" if request.param != "hangs up" else b""

        def serve() -> None:
            with suppress(OSError):
                while True:
                    caller, _ = listener.accept()
                    caller.sendall(answer)
                    caller.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield address
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_wrong_address_is_one_clear_error(connect: Connect, stranger: str) -> None:
    with connect(stranger, "token") as client:
        for call in (client.session, client.capabilities, lambda: list(client.sessions())):
            with pytest.raises(ConnectFailed, match=stranger) as caught:
                call()
            assert caught.value.suggestion in str(caught.value)
            assert "EXECGATE_ADDR" in caught.value.suggestion


def test_server_without_the_api_is_told(connect: Connect) -> None:
    """A gRPC server, but one that has never heard of execgate."""
    other = grpc.server(ThreadPoolExecutor(max_workers=1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    with connect(f"127.0.0.1:{port}", "token") as client:
        for call in (client.session, client.capabilities, lambda: list(client.audit_records())):
            with pytest.raises(Unimplemented, match="too old") as caught:
                call()
            assert caught.value.suggestion
    other.stop(grace=None).wait()


def test_closed_client_is_told(connect: Connect, server: Server) -> None:
    client = connect(server.address, server.token)
    session = client.session()
    client.close()
    calls = (client.session, session.info, lambda: session.run("true"), session.close)
    for call in (*calls, lambda: session.exec("true"), lambda: list(client.sessions())):
        with pytest.raises(ClientClosed):
            call()


def test_server_gone_leaves_one_error_from_nested_blocks(
    connect: Connect, own_server: Server
) -> None:
    def story() -> None:
        client = connect(own_server.address, own_server.token, resume=False)
        with client, client.session() as session:
            own_server.kill()
            session.run("true")

    with pytest.raises(Unavailable):
        story()


def test_token_is_out_of_a_sessions_reach(server: Server, session: Session) -> None:
    result = session.run(f"cat {server.data_dir}/token; cat /proc/{server.process.pid}/environ")
    assert result.exit_code != 0
    assert server.token not in result.stdout
    assert result.stdout == ""
